/* Picking elements along several axes at once, as resizing to the nearest does. Elements are opaque, so there is
 * one version for every type and no reference beside it. */
#ifndef MC_KERNELS_PICK_H
#define MC_KERNELS_PICK_H

#include <stdint.h>

#include "base/threads.h"
#include "kernels/move.h"

/* dst[o, p, …] = src[index[0][o], index[1][p], …]; where an index is negative, *fill.
 * Cost: one write for each element of the result, one read for those that differ from their neighbours'. */
struct mc_pick {
    int rank;                           /* at least 1 */
    int64_t in[MC_MOVE_RANK];           /* sizes of src */
    int64_t out[MC_MOVE_RANK];          /* and of dst, both dense */
    const int32_t *index[MC_MOVE_RANK]; /* [out], below in; NULL: 0, 1, 2, … and in is out */
    int elem_bytes;                     /* 1, 2, 4 or 8 */
    const void *fill;                   /* one element, or NULL where no index is negative */
    const void *src;
    void *dst;
};
void mc_pick_run(const struct mc_pick *p, struct mc_pool *pool);

#endif
