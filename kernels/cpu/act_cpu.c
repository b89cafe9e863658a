#include "kernels/cpu/act_cpu.h"

#include "kernels/cpu/math_cpu.h"

#define INLINE static inline __attribute__((always_inline))

INLINE vf act_of(enum mc_act act, vf lo, vf x)
{
    switch (act) {
    case MC_ACT_LEAKY: return vf_select(vf_lt(x, vf_set1(0)), lo * x, x);
    case MC_ACT_SIGMOID: return vf_sigmoid(x);
    case MC_ACT_TANH: return vf_tanh(x);
    case MC_ACT_SILU: return x * vf_sigmoid(x);
    case MC_ACT_GELU: return vf_gelu(x);
    case MC_ACT_HARDSWISH: return x * vf_at_most(vf_at_least(x / 6 + 0.5F, vf_set1(0)), vf_set1(1));
    case MC_ACT_NONE:
    case MC_ACT_CLAMP: break;
    }
    return x;
}

/* act is a constant where this is inlined. */
INLINE void block(enum mc_act act, vf lo, float *c, int64_t c_row, int rows, int64_t cols)
{
    vm rest = vm_first(cols % LANES);
    for (int i = 0; i < rows; i++, c += c_row) {
        int64_t j = 0;
        for (; j + LANES <= cols; j += LANES)
            vf_store(c + j, act_of(act, lo, vf_load(c + j)));
        if (j < cols)
            vf_store_mask(c + j, act_of(act, lo, vf_load_mask(c + j, rest)), rest);
    }
}

void MC_CPU(mc_act_block)(const struct mc_epilogue *e, float *c, int64_t c_row, int rows,
                          int64_t cols)
{
    vf lo = vf_set1((float)e->lo);
    switch (e->act) {
    case MC_ACT_NONE:
    case MC_ACT_CLAMP: break;
    case MC_ACT_LEAKY: block(MC_ACT_LEAKY, lo, c, c_row, rows, cols); break;
    case MC_ACT_SIGMOID: block(MC_ACT_SIGMOID, lo, c, c_row, rows, cols); break;
    case MC_ACT_TANH: block(MC_ACT_TANH, lo, c, c_row, rows, cols); break;
    case MC_ACT_SILU: block(MC_ACT_SILU, lo, c, c_row, rows, cols); break;
    case MC_ACT_GELU: block(MC_ACT_GELU, lo, c, c_row, rows, cols); break;
    case MC_ACT_HARDSWISH: block(MC_ACT_HARDSWISH, lo, c, c_row, rows, cols); break;
    }
}
