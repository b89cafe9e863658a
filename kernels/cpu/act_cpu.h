/* Activations of an epilogue that a tile does not apply itself, on a block of C still in L1. */
#ifndef MC_KERNELS_CPU_ACT_CPU_H
#define MC_KERNELS_CPU_ACT_CPU_H

#include "kernels/cpu/math_cpu.h"
#include "kernels/epilogue.h"

static inline __attribute__((always_inline)) vf act_of(enum mc_act act, vf lo, vf v)
{
    switch (act) {
    case MC_ACT_LEAKY: return vf_select(vf_lt(v, (vf){0}), lo * v, v);
    case MC_ACT_SIGMOID: return vf_sigmoid(v);
    case MC_ACT_TANH: return vf_tanh(v);
    case MC_ACT_SILU: return v * vf_sigmoid(v);
    case MC_ACT_GELU: return vf_gelu(v);
    default: return v;
    }
}

static inline void act_block(const struct mc_epilogue *e, float *c, int64_t c_row, int rows,
                             int64_t cols)
{
    if (e->act == MC_ACT_NONE || e->act == MC_ACT_CLAMP)
        return;
    for (int i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j += LANES) {
            vm m = vm_first(cols - j);
            float *at = c + i * c_row + j;
            vf_store_mask(at, act_of(e->act, vf_set1((float)e->lo), vf_load_mask(at, m)), m);
        }
    }
}

#endif
