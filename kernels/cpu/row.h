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

/* Lane i is x[first + i * step] where that lies in [0, width), else 0. */
static inline vf load_row(const float *x, int64_t first, int64_t step, int64_t width)
{
    vm low = vm_range(-first, width - first);
    if (step == 1)
        return vf_load_mask(x + first, low);
    if (step == 2)
        return vf_even(
            vf_load_mask(x + first, low),
            vf_load_mask(x + first + LANES, vm_range(-first - LANES, width - first - LANES)));
    vf v = vf_set1(0);
    for (int i = 0; i < LANES; i++) {
        int64_t at = first + i * step;
        if (at >= 0 && at < width)
            v[i] = x[at];
    }
    return v;
}

#endif
