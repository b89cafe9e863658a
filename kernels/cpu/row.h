/* Vectors out of a row of an image, at a stride, with zeros for what lies outside. */
#ifndef MC_KERNELS_CPU_ROW_H
#define MC_KERNELS_CPU_ROW_H

#include "kernels/cpu/vec.h"

/* Elements 0, 2, 4, … of a followed by b. */
static inline vf vf_even(vf a, vf b)
{
#if MC_LEVEL == 5
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#elif MC_LEVEL == 2
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#else
    return __builtin_shufflevector(a, b, 0, 2, 4, 6);
#endif
}

/* Elements 1, 3, 5, … */
static inline vf vf_odd(vf a, vf b)
{
#if MC_LEVEL == 5
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif MC_LEVEL == 2
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    return __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
}

/* Lane i is from[i * step] where lo <= i * step < hi, else 0. */
static inline vf load_row(const float *from, int64_t step, int64_t lo, int64_t hi)
{
    if (step == 1)
        return vf_load_mask(from, vm_range(lo, hi));
    if (step == 2)
        return vf_even(vf_load_mask(from, vm_range(lo, hi)),
                       vf_load_mask(from + LANES, vm_range(lo - LANES, hi - LANES)));
    vf v = vf_set1(0);
    for (int64_t i = 0; i < LANES; i++) {
        if (i * step >= lo && i * step < hi)
            v[i] = from[i * step];
    }
    return v;
}

#endif
