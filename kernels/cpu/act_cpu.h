/* Activations of an epilogue that a tile does not apply itself, on a block of C still in L1. */
#ifndef MC_KERNELS_CPU_ACT_CPU_H
#define MC_KERNELS_CPU_ACT_CPU_H

#include <math.h>

#include "kernels/cpu/vec.h"
#include "kernels/epilogue.h"

static inline float act_scalar(enum mc_act act, float lo, float v)
{
    switch (act) {
    case MC_ACT_LEAKY: return v < 0 ? lo * v : v;
    case MC_ACT_SIGMOID: return 1 / (1 + expf(-v));
    case MC_ACT_TANH: return tanhf(v);
    case MC_ACT_SILU: return v / (1 + expf(-v));
    case MC_ACT_GELU: return v * erfcf(-v * 0.707106781f) / 2;
    default: return v;
    }
}

static inline void act_block(const struct mc_epilogue *e, float *c, int64_t c_row, int rows,
                             int64_t cols)
{
    if (e->act == MC_ACT_NONE || e->act == MC_ACT_CLAMP)
        return;
    for (int i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++)
            c[i * c_row + j] = act_scalar(e->act, (float)e->lo, c[i * c_row + j]);
    }
}

#endif
