/* What the cells of LSTM, GRU and RNN share. Private to kernels/cpu. */
#ifndef MC_KERNELS_CPU_RNN_CPU_H
#define MC_KERNELS_CPU_RNN_CPU_H

#include <stddef.h>
#include <string.h>

#include "kernels/cpu/math_cpu.h"
#include "kernels/cpu/nn_cpu.h"

static inline vf rnn_apply(const struct mc_rnn_fn *f, float clip, vf x)
{
    vf zero = {0};
    float a = (float)f->a, b = (float)f->b;
    if (clip > 0)
        x = vf_at_most(vf_at_least(x, vf_set1(-clip)), vf_set1(clip));
    switch (f->act) {
    case MC_RNN_SIGMOID: return vf_sigmoid(x);
    case MC_RNN_TANH: return vf_tanh(x);
    case MC_RNN_RELU: return vf_at_least(x, zero);
    case MC_RNN_AFFINE: return a * x + b;
    case MC_RNN_LEAKY: return vf_select(vf_lt(x, zero), a * x, x);
    case MC_RNN_THRESHOLDED:
        return vf_select(vf_lt(vf_set1(a), x), x, vf_select(vf_is_nan(x), x, zero));
    case MC_RNN_SCALED_TANH: return a * vf_tanh(b * x);
    case MC_RNN_HARD_SIGMOID: return vf_at_most(vf_at_least(a * x + b, zero), vf_set1(1));
    case MC_RNN_ELU: return vf_select(vf_lt(x, zero), a * vf_expm1_negative(x), x);
    case MC_RNN_SOFTSIGN: return x / (1 + vf_abs(x));
    case MC_RNN_SOFTPLUS: return vf_softplus(x);
    case MC_RNN_COUNT: break;
    }
    return x;
}

/* A row of a state that a step leaves as it was. */
static inline void rnn_skip(int64_t n, const void *before, float *now, int64_t row)
{
    if (before)
        memcpy(now, (const float *)before + row * n, (size_t)n * sizeof *now);
}

/* Rows in a chunk of work: 2048 cells, of up to five activations each, are some 10 us. */
static inline int64_t rnn_chunk_rows(int64_t hidden)
{
    return hidden < 2048 ? 2048 / (hidden > 0 ? hidden : 1) : 1;
}

#endif
