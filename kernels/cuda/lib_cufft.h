/* What is used of cuFFT, declared here so that its header is not needed to build; tests/cuda/headers_cufft.cu compares the
 * two where that is there. */
#ifndef MC_KERNELS_CUDA_LIB_CUFFT_H
#define MC_KERNELS_CUDA_LIB_CUFFT_H

#include <cstddef>

#include "kernels/cuda/cuda.h"

enum { MC_CUFFT_SUCCESS = 0, MC_CUFFT_R2C = 0x2a, MC_CUFFT_C2R = 0x2c };

struct mc_cufft {
    int (*cufftCreate)(int *plan);
    int (*cufftDestroy)(int plan);
    int (*cufftSetAutoAllocation)(int plan, int automatic);
    int (*cufftMakePlanMany64)(int plan, int rank, long long *n, long long *inembed,
                               long long istride, long long idist, long long *onembed,
                               long long ostride, long long odist, int type, long long batch,
                               size_t *work);
    int (*cufftSetStream)(int plan, cudaStream_t stream);
    int (*cufftSetWorkArea)(int plan, void *work);
    int (*cufftExecR2C)(int plan, float *in, float2 *out);
    int (*cufftExecC2R)(int plan, float2 *in, float *out);
};

#endif
