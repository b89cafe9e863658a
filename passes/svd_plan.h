/* Which rank for which layer. */
#ifndef MC_PASSES_SVD_PLAN_H
#define MC_PASSES_SVD_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct mc_svd_choice {  /* one layer */
    double weight;      /* what its whole error is worth beside that of other layers */
    const double *tail; /* [known + 1] share of the error left at each rank */
    int64_t known;
    uint64_t dense_bytes, rank_bytes; /* ranks with rank * rank_bytes < dense_bytes save */
    int64_t rank;                     /* answer; 0: stays dense */
};

/* Ranks with the least sum of weight * tail[rank] whose bytes stay within budget, by one Lagrange
 * multiplier for all layers, then single steps while one fits: as close to the budget as one rank. Without
 * such ranks: rank 1 everywhere. Returns the bytes.
 * Source: Shoham, Gersho, Efficient bit allocation for an arbitrary set of quantizers, 1988. */
uint64_t mc_svd_plan(struct mc_svd_choice *c, size_t n, uint64_t budget);

/* Smallest rank that leaves at most `left` of the error; known + 1 if none of the known ones does. */
int64_t mc_svd_rank_for(const struct mc_svd_choice *c, double left);

#endif
