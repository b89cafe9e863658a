/* Sums into places given by indices: what flows back through Gather, Pad and resizing to the nearest. */
#ifndef MC_KERNELS_SCATTER_H
#define MC_KERNELS_SCATTER_H

#include <stdint.h>

#include "base/threads.h"
#include "kernels/move.h"

/* dst = 0, then dst[index[0][o], index[1][p], …] += src[o, p, …] in the order of src: the same sums for any
 * number of threads. Arrays are dense and may not overlap. Cost: one read of src, one write of dst, one read
 * and write of what is met. */
struct mc_scatter_sum {
    int rank;                           /* at least 1 */
    int64_t from[MC_MOVE_RANK];         /* sizes of src */
    int64_t to[MC_MOVE_RANK];           /* sizes of dst */
    const int64_t *index[MC_MOVE_RANK]; /* [from], in [0, to); NULL: 0, 1, 2, … and from is to */
    const void *src;
    void *dst;
};

struct mc_scatter_kernels {
    void (*sum)(const struct mc_scatter_sum *s, struct mc_pool *pool);
};

#endif
