/* Float operations that are each rounded by themselves, where nvcc would join a product and a sum. */
#ifndef MC_KERNELS_CUDA_EXACT_H
#define MC_KERNELS_CUDA_EXACT_H

#include "kernels/cuda/cuda.h"

#ifdef MC_CUDA_SIM /* built for a CPU without such an operation */
static inline float mc_mul_rn(float a, float b)
{
    return a * b;
}
static inline float mc_add_rn(float a, float b)
{
    return a + b;
}
static inline float mc_div_rn(float a, float b)
{
    return a / b;
}
#else
static __device__ __forceinline__ float mc_mul_rn(float a, float b)
{
    return __fmul_rn(a, b);
}
static __device__ __forceinline__ float mc_add_rn(float a, float b)
{
    return __fadd_rn(a, b);
}
static __device__ __forceinline__ float mc_div_rn(float a, float b)
{
    return __fdiv_rn(a, b);
}
#endif

#endif
