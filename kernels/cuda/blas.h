/* cuBLAS and cuBLASLt for the device of this thread. Matrices are column-major here, as the libraries have them: a
 * row-major C = A B is Cᵀ = Bᵀ Aᵀ in the same memory. */
#ifndef MC_KERNELS_CUDA_BLAS_H
#define MC_KERNELS_CUDA_BLAS_H

#include "kernels/cuda/lib_cublas.h"

struct mc_cuda_gemm { /* C = act(alpha op(A) op(B) + bias + residual), C [m,n]; bias [m] */
    int64_t m, n, k;
    bool ta, tb; /* op is a transposition */
    const float *a, *b;
    float *c;
    int64_t lda, ldb, ldc;
    int64_t batch, a_step, b_step, c_step;
    float alpha;
    const float *bias, *residual; /* or NULL; a residual has the strides of C, and may be C */
    bool relu;
    enum mc_gpu_precision precision;
};

/* What of g it did not do: 0 is all of it, the product alone is MC_CUDA_BIAS, …, and MC_CUDA_PRODUCT nothing, since no
 * library is there or takes it. A residual that is C is always in the product. */
enum mc_cuda_rest {
    MC_CUDA_BIAS = 1,
    MC_CUDA_RESIDUAL = 2,
    MC_CUDA_RELU = 4,
    MC_CUDA_PRODUCT = 8,
};
unsigned mc_cuda_blas_gemm(const struct mc_cuda_gemm *g);

/* The matrix whose element (r, c) is x[r row_step + c column_step], as the libraries want it: column-major with *ret_ld,
 * or the transpose of such a one. False: it is neither. */
bool mc_cuda_blas_layout(int64_t rows, int64_t columns, int64_t row_step, int64_t column_step,
                         bool *ret_transposed, int64_t *ret_ld);

/* cuBLAS with its handle for this device, or NULL. */
const struct mc_cublas *mc_cuda_blas(void **ret_handle);

#endif
