/* Product of 8-bit integers, exact in 32 bits (wrapping, as int32 does):
 *
 *     C[i,j] = sum over p of (A[i,p] - a_zero[i]) (B[p,j] - b_zero[j])
 * A [m,k] and B [k,n] are uint8 or int8, each on its own; C is row-major int32. Either side may be a weight and
 * packed once. Any sizes (0 too: k 0 gives 0). Cost: 2mnk operations. Same bits at every level. */
#ifndef MC_KERNELS_GEMM_S8_H
#define MC_KERNELS_GEMM_S8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"

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
    struct mc_s8_side a;     /* packed during the run; not read where packed_a is there */
    const void *packed_a;    /* from pack_a, or NULL */
    const void *packed_b;    /* from pack_b */
    bool a_signed, b_signed; /* of the packed sides; a_signed is not read without packed_a */
    struct mc_s8_zero a_zero, b_zero;
    int32_t *c;
    int64_t c_row; /* elements between rows of C; columns are adjacent */
};

struct mc_gemm_s8_kernels {
    size_t (*pack_a_bytes)(int64_t m, int64_t k);
    size_t (*pack_b_bytes)(int64_t k, int64_t n);
    /* dst 64-byte aligned. */
    void (*pack_a)(int64_t m, int64_t k, const struct mc_s8_side *a, void *dst,
                   struct mc_pool *pool);
    void (*pack_b)(int64_t k, int64_t n, const struct mc_s8_side *b, void *dst,
                   struct mc_pool *pool);
    size_t (*scratch_bytes)(int64_t m, int64_t n, int64_t k); /* of a run without packed_a */
    /* scratch: 64-byte aligned, NULL if packed_a is given. */
    void (*run)(const struct mc_gemm_s8 *g, void *scratch, struct mc_pool *pool);
};

#endif
