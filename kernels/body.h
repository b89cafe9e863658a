/* Arithmetic of one element, written once for the reference and the device: functions declared MC_HD over the type
 * `elem`. In C the reference's type (kernels/ref/elem.h), whose functions come from tgmath; in the C++ of a device
 * float. Both choose the function for the type of its argument. */
#ifndef MC_KERNELS_BODY_H
#define MC_KERNELS_BODY_H

#ifdef __cplusplus
#include <math.h>

#include "kernels/cuda/cuda.h"
#define MC_HD static __host__ __device__ inline
typedef float elem;
#else
#include "kernels/ref/elem.h"
#define MC_HD static inline
#endif

/* 1 / (1 + exp(-x)), in the form that does not overflow below 0. */
MC_HD elem mc_sigmoid_of(elem x)
{
    elem e = exp(x < 0 ? x : -x);
    return (x < 0 ? e : 1) / (1 + e);
}

#endif
