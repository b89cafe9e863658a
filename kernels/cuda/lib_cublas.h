/* What we call of cuBLAS and cuBLASLt, with handles that are opaque and enumerations as numbers: the same in CUDA 12
 * and 13. tests/cuda/headers_cublas.cu compares this with the real headers. */
#ifndef MC_KERNELS_CUDA_LIB_CUBLAS_H
#define MC_KERNELS_CUDA_LIB_CUBLAS_H

#include "kernels/cuda/cuda.h"

enum mc_cublas_number {
    MC_CUBLAS_SUCCESS = 0,
    MC_CUBLAS_OP_N = 0,
    MC_CUBLAS_OP_T = 1,
    MC_CUBLAS_LOWER = 0,
    MC_CUBLAS_UPPER = 1,
    MC_CUBLAS_LEFT = 0,
    MC_CUBLAS_RIGHT = 1,
    MC_CUBLAS_NON_UNIT = 0,
    MC_CUBLAS_32F = 68,
    MC_CUBLAS_32F_FAST_16BF = 75,
    MC_CUBLAS_32F_FAST_TF32 = 77,
    MC_CUBLAS_GEMM_DEFAULT = -1,
    MC_CUBLAS_R_32F = 0, /* cudaDataType */
};

struct mc_cublas {
    int (*cublasCreate_v2)(void **handle);
    int (*cublasDestroy_v2)(void *handle);
    int (*cublasSetStream_v2)(void *handle, cudaStream_t stream);
    int (*cublasSetWorkspace_v2)(void *handle, void *workspace, size_t bytes);
    int (*cublasGemmStridedBatchedEx)(void *handle, int ta, int tb, int m, int n, int k,
                                      const void *alpha, const void *a, int a_type, int lda,
                                      long long a_step, const void *b, int b_type, int ldb,
                                      long long b_step, const void *beta, void *c, int c_type,
                                      int ldc, long long c_step, int batch, int compute, int algo);
    int (*cublasSsyrk_v2)(void *handle, int uplo, int trans, int n, int k, const float *alpha,
                          const float *a, int lda, const float *beta, float *c, int ldc);
    int (*cublasStrsm_v2)(void *handle, int side, int uplo, int trans, int diag, int m, int n,
                          const float *alpha, const float *a, int lda, float *b, int ldb);
};

enum mc_cublaslt_number {
    MC_CUBLASLT_DESC_TRANSA = 3,
    MC_CUBLASLT_DESC_TRANSB = 4,
    MC_CUBLASLT_DESC_EPILOGUE = 7,
    MC_CUBLASLT_DESC_BIAS_POINTER = 8,
    MC_CUBLASLT_LAYOUT_BATCH_COUNT = 5,
    MC_CUBLASLT_LAYOUT_BATCH_OFFSET = 6,
    MC_CUBLASLT_PREF_WORKSPACE = 1,
    MC_CUBLASLT_PREF_REDUCTION = 3,
    MC_CUBLASLT_PREF_ALIGN_A = 5, /* then B, C, D */
    MC_CUBLASLT_EPILOGUE_DEFAULT = 1,
    MC_CUBLASLT_EPILOGUE_RELU = 2, /* added to the next */
    MC_CUBLASLT_EPILOGUE_BIAS = 4,
    MC_CUBLASLT_REDUCTION_COMPUTE = 2, /* parts of a sum in memory of their own, added in order */
};

struct mc_cublaslt_algo {
    uint64_t data[8];
};
struct mc_cublaslt_result {
    struct mc_cublaslt_algo algo;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

struct mc_cublaslt {
    int (*cublasLtCreate)(void **handle);
    int (*cublasLtDestroy)(void *handle);
    int (*cublasLtMatmulDescCreate)(void **desc, int compute, int scale_type);
    int (*cublasLtMatmulDescDestroy)(void *desc);
    int (*cublasLtMatmulDescSetAttribute)(void *desc, int what, const void *value, size_t bytes);
    int (*cublasLtMatrixLayoutCreate)(void **layout, int type, uint64_t rows, uint64_t columns,
                                      int64_t ld);
    int (*cublasLtMatrixLayoutDestroy)(void *layout);
    int (*cublasLtMatrixLayoutSetAttribute)(void *layout, int what, const void *value,
                                            size_t bytes);
    int (*cublasLtMatmulPreferenceCreate)(void **preference);
    int (*cublasLtMatmulPreferenceDestroy)(void *preference);
    int (*cublasLtMatmulPreferenceSetAttribute)(void *preference, int what, const void *value,
                                                size_t bytes);
    int (*cublasLtMatmulAlgoGetHeuristic)(void *handle, void *desc, void *a, void *b, void *c,
                                          void *d, void *preference, int most,
                                          struct mc_cublaslt_result *results, int *ret_n);
    int (*cublasLtMatmul)(void *handle, void *desc, const void *alpha, const void *a,
                          void *a_layout, const void *b, void *b_layout, const void *beta,
                          const void *c, void *c_layout, void *d, void *d_layout,
                          const struct mc_cublaslt_algo *algo, void *workspace, size_t bytes,
                          cudaStream_t stream);
};

#endif
