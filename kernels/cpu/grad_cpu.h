/* Parts of the spatial gradients of one level. Private to kernels/cpu. */
#ifndef MC_KERNELS_CPU_GRAD_CPU_H
#define MC_KERNELS_CPU_GRAD_CPU_H

#include <stdbool.h>

#include "kernels/conv_grad.h"
#include "kernels/cpu/vec.h"

/* Each puts its entries into the table. */
void MC_CPU(mc_conv_dx_fill)(struct mc_conv_grad_kernels *k);
void MC_CPU(mc_conv_dw_fill)(struct mc_conv_grad_kernels *k);
void MC_CPU(mc_window_grad)(const struct mc_window_grad *g, struct mc_pool *pool);

static inline bool has_epilogue(const struct mc_epilogue *e)
{
    return e->scale || e->bias || e->residual || e->act != MC_ACT_NONE;
}

/* even[0], odd[0], even[1], odd[1], … in two vectors */
static inline vf weave_low(vf even, vf odd)
{
#if MC_LEVEL == 5
    return __builtin_shufflevector(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                   23);
#elif MC_LEVEL == 2
    return __builtin_shufflevector(even, odd, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return __builtin_shufflevector(even, odd, 0, 4, 1, 5);
#endif
}

static inline vf weave_high(vf even, vf odd)
{
#if MC_LEVEL == 5
    return __builtin_shufflevector(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                   15, 31);
#elif MC_LEVEL == 2
    return __builtin_shufflevector(even, odd, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    return __builtin_shufflevector(even, odd, 2, 6, 3, 7);
#endif
}

#endif
