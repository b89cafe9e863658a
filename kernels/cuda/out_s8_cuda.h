/* The output stage of integer products (kernels/out_s8.h) as kernels of the device apply it: every operation rounded by
 * itself, so that bits are those of a CPU. */
#ifndef MC_KERNELS_CUDA_OUT_S8_CUDA_H
#define MC_KERNELS_CUDA_OUT_S8_CUDA_H

#include "kernels/cuda/exact.h"

static __device__ __forceinline__ int32_t mc_cuda_byte(const void *data, bool is_signed, int64_t at)
{
    return is_signed ? (int32_t)((const int8_t *)data)[at] : (int32_t)((const uint8_t *)data)[at];
}

/* clamp(round(v) + zero, lo, hi); NaN becomes lo. */
static __device__ __forceinline__ int32_t mc_cuda_round(float v, int32_t zero, int32_t lo,
                                                        int32_t hi)
{
    float least = (float)(lo - zero), most = (float)(hi - zero);
    v = !(v > least) ? least : v > most ? most : v;
    return (int32_t)rintf(v) + zero;
}

/* Sum of channel j to element `at` of y. */
static __device__ __forceinline__ void mc_cuda_put(const struct mc_s8_out &t, uint32_t sum,
                                                   int64_t j, void *y, int64_t at)
{
    if (t.bias)
        sum += (uint32_t)t.bias[j];
    if (t.type == MC_S8_I32) {
        ((int32_t *)y)[at] = (int32_t)sum;
        return;
    }
    float v = mc_mul_rn((float)(int32_t)sum, t.scale[j * t.scale_step]);
    if (t.type == MC_S8_F32) {
        v = mc_add_rn(v, t.shift ? t.shift[j] : 0);
        ((float *)y)[at] = v < t.least ? t.least : v > t.most ? t.most : v;
        return;
    }
    if (t.residual) {
        int32_t r = mc_cuda_byte(t.residual, t.r_signed, at) - t.r_zero;
        v = mc_add_rn(v, mc_mul_rn((float)r, t.r_scale));
    }
    ((uint8_t *)y)[at] = (uint8_t)mc_cuda_round(v, t.zero, t.lo, t.hi);
}

#endif
