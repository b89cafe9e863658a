/* Which elements of a weight are masked, from their scores. */
#ifndef MC_PASSES_MASK_CHOOSE_H
#define MC_PASSES_MASK_CHOOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Of x [outer, n, inner], all >= 0: in every m positions in a row within each `run` of n the least m - keep are gone; of a
 * shorter row at the end those beyond keep. Equal ones: the first stays. */
void mc_mask_pattern(const float *x, int64_t outer, int64_t n, int64_t inner, int64_t run, int keep,
                     int m, bool *gone);

/* The `count` least of x[n]. Equal ones: the last go. Errors: MC_ENOMEM. Cost: linear. */
int mc_mask_least(const float *x, int64_t n, int64_t count, bool *gone, struct mc_err *err);

/* x[n] >= 0 becomes, in ascending order, x² / (sum of the x² that are not smaller). Errors: MC_ENOMEM. */
int mc_mask_adapt(float *x, int64_t n, struct mc_err *err);
/* Of ascending lists x[i][n[i]]: how many of each belong to the `count` least of all, in ret[i]. Equal ones: those of earlier
 * lists first. */
void mc_mask_share(const float *const *x, const int64_t *n, int lists, int64_t count, int64_t *ret);

#endif
