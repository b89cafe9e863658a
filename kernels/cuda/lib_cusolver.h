/* What we call of cuSOLVER, as in lib_cublas.h. tests/cuda/headers_cublas.cu compares it with the real header. */
#ifndef MC_KERNELS_CUDA_LIB_CUSOLVER_H
#define MC_KERNELS_CUDA_LIB_CUSOLVER_H

#include "kernels/cuda/cuda.h"

enum mc_cusolver_number { MC_CUSOLVER_SUCCESS = 0, MC_CUSOLVER_VECTORS = 1, MC_CUSOLVER_UPPER = 1 };

struct mc_cusolver {
    int (*cusolverDnCreate)(void **handle);
    int (*cusolverDnDestroy)(void *handle);
    int (*cusolverDnSetStream)(void *handle, cudaStream_t stream);
    int (*cusolverDnSgeqrf_bufferSize)(void *handle, int m, int n, float *a, int lda, int *lwork);
    int (*cusolverDnSgeqrf)(void *handle, int m, int n, float *a, int lda, float *tau, float *work,
                            int lwork, int *info);
    int (*cusolverDnSorgqr_bufferSize)(void *handle, int m, int n, int k, const float *a, int lda,
                                       const float *tau, int *lwork);
    int (*cusolverDnSorgqr)(void *handle, int m, int n, int k, float *a, int lda, const float *tau,
                            float *work, int lwork, int *info);
    int (*cusolverDnSgesvd_bufferSize)(void *handle, int m, int n, int *lwork);
    int (*cusolverDnSgesvd)(void *handle, signed char jobu, signed char jobvt, int m, int n,
                            float *a, int lda, float *s, float *u, int ldu, float *vt, int ldvt,
                            float *work, int lwork, float *rwork, int *info);
    int (*cusolverDnSsyevd_bufferSize)(void *handle, int job, int uplo, int n, const float *a,
                                       int lda, const float *w, int *lwork);
    int (*cusolverDnSsyevd)(void *handle, int job, int uplo, int n, float *a, int lda, float *w,
                            float *work, int lwork, int *info);
};

#endif
