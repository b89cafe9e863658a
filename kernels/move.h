/* Moving bytes: transposes, slices, concatenations, gathers. Elements are opaque, of 1, 2, 4, 8 or 16
 * bytes, so there is one version for every type and no reference beside it. */
#ifndef MC_KERNELS_MOVE_H
#define MC_KERNELS_MOVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"

enum { MC_MOVE_RANK = 12 };

/* dst[i·dst_stride] = src[i·src_stride] for every index i below dim. Strides are in elements; a source
 * stride may be 0 (repeat) or negative. The arrays may not overlap. Cost: one read and one write each. */
struct mc_move {
    int rank;
    int64_t dim[MC_MOVE_RANK];
    int64_t src_stride[MC_MOVE_RANK], dst_stride[MC_MOVE_RANK];
    const void *src; /* element at index 0 */
    void *dst;
    int elem_bytes;
};
void mc_move_run(const struct mc_move *m, struct mc_pool *pool);

/* Drop dimensions of 1 and merge neighbours that every one of the `n` stride lists walks as one. Returns
 * the new rank, at least 1 (a scalar becomes one dimension of 1). */
int mc_move_merge(int rank, int64_t *dim, int n, int64_t (*stride)[MC_MOVE_RANK]);

/* dst[o][j] = src[o][index[j]] : rows of `inner` bytes, `axis` rows per outer step in the source, `n` in
 * the result. Indices are in [0, axis): the caller has checked them. */
struct mc_gather {
    int64_t outer, axis, n;
    size_t inner;
    const int64_t *index;
    const void *src;
    void *dst;
};
void mc_move_gather(const struct mc_gather *g, struct mc_pool *pool);

/* n elements of elem_bytes, all equal to *value. */
void mc_move_fill(void *dst, int64_t n, const void *value, int elem_bytes, struct mc_pool *pool);

/* As they stand in the kernel tables: the three above, or those of a device. */
struct mc_move_kernels {
    void (*run)(const struct mc_move *m, struct mc_pool *pool);
    void (*gather)(const struct mc_gather *g, struct mc_pool *pool);
    void (*fill)(void *dst, int64_t n, const void *value, int elem_bytes, struct mc_pool *pool);
};

#endif
