/* Product of 8-bit integers, exact in 32 bits (wrapping, as int32 does), and what is made of its sums:
 *
 *     C[i,j] = to( sum over p of (A[i,p] - a_zero[i]) (B[p,j] - b_zero[j]) )
 * A [m,k] and B [k,n] are uint8 or int8, each on its own; B is packed once. C is row-major, of the type in `to`. Any
 * sizes (0 too: the sums of k 0 are 0). Cost: 2mnk operations. Same bits at every level. */
#ifndef MC_KERNELS_GEMM_S8_H
#define MC_KERNELS_GEMM_S8_H

#include <stddef.h>

#include "base/threads.h"
#include "kernels/out_s8.h"

struct mc_s8_side { /* element (i,j) at data[i*row + j*col] */
    const void *data;
    bool is_signed; /* int8; else uint8 */
    int64_t row, col;
};

struct
    mc_s8_zero { /* zero point of row or column i at value[i*step]; value NULL: 0. Within the type of its side */
    const int32_t *value;
    int64_t step; /* 0: one for all */
};

struct mc_gemm_s8 {
    int64_t m, n, k;
    struct mc_s8_side a;
    const void *packed_b; /* from pack_b */
    bool b_signed;        /* of what was packed */
    struct mc_s8_zero a_zero, b_zero;
    struct mc_s8_out to; /* channel: column; all zero: int32 */
    void *c;             /* may not overlap A */
    int64_t c_row;       /* elements between rows of C, and of the residual; columns are adjacent */
};

struct mc_gemm_s8_kernels {
    size_t (*pack_b_bytes)(int64_t k, int64_t n);
    /* dst 64-byte aligned. */
    void (*pack_b)(int64_t k, int64_t n, const struct mc_s8_side *b, void *dst,
                   struct mc_pool *pool);
    size_t (*scratch_bytes)(int64_t m, int64_t n, int64_t k, int threads);
    /* scratch: 64-byte aligned. */
    void (*run)(const struct mc_gemm_s8 *g, void *scratch, struct mc_pool *pool);
};

#endif
