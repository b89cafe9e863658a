/* Matrix product: C[m,n] = A[m,k] B[k,n], then the epilogue. Row-major, any sizes (0 too: k 0 gives 0).
 *
 * B, usually a weight, is packed once into panels; A is packed block by block during the run.
 * C may be the residual; otherwise nothing overlaps. Cost: 2mnk operations. */
#ifndef MC_KERNELS_GEMM_H
#define MC_KERNELS_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"
#include "kernels/epilogue.h"

struct mc_gemm {
    int64_t m, n, k;
    const void *a;
    int64_t a_row,
        a_col; /* strides in elements: element (i,p) at a[i*a_row + p*a_col]; so transposes are free */
    const void *packed_b; /* from pack_b for (k, n) */
    const void
        *b; /* of a table that packs nothing (pack_b is NULL): B as it is, with its strides */
    int64_t b_row, b_col;
    /* batch > 1, of such a table alone: so many products, A, B, C and the residual this far apart in elements; a
     * step of 0 repeats. */
    int64_t batch, a_step, b_step, c_step;
    void *c;
    int64_t c_row; /* elements between rows of C; columns are adjacent */
    double alpha;  /* scales A·B before the epilogue */
    bool exact;    /* of a device: factors are not rounded, whatever its precision */
    struct mc_epilogue
        epilogue; /* zeroed: none; bias is per column [n]; residual has row stride c_row */
};

/* A device's table packs nothing: pack_b is NULL, pack_b_bytes and scratch_bytes too. */
struct mc_gemm_kernels {
    size_t (*pack_b_bytes)(int64_t k, int64_t n);
    /* b(p,j) = b[p*b_row + j*b_col]; dst 64-byte aligned. */
    void (*pack_b)(int64_t k, int64_t n, const void *b, int64_t b_row, int64_t b_col, void *dst,
                   struct mc_pool *pool);
    /* scratch: scratch_bytes(m, n, k, threads) bytes, 64-byte aligned. */
    size_t (*scratch_bytes)(int64_t m, int64_t n, int64_t k, int threads);
    void (*run)(const struct mc_gemm *g, void *scratch, struct mc_pool *pool);
};

#endif
