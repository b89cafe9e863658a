/* One LSTM step: the gates of LANES cells at a time. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "kernels/cpu/math_cpu.h"
#include "kernels/cpu/nn_cpu.h"

enum { CHUNK = 1 << 11 }; /* cells, of five activations each: some 10 us */

static inline vf apply(const struct mc_rnn_fn *f, float clip, vf x)
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

static void lstm_row(const struct mc_lstm_cell *l, int64_t row)
{
    int64_t n = l->hidden;
    const float *g = (const float *)l->gates + row * 4 * n, *p = l->peephole;
    float *c = (float *)l->c + row * n, *h = (float *)l->h + row * n;
    float *y = l->y ? (float *)l->y + row * l->y_row : NULL, clip = (float)l->clip;
    if (l->active && !l->active[row]) {
        if (y)
            memset(y, 0, (size_t)n * sizeof *y);
        return;
    }
    for (int64_t j = 0; j < n; j += LANES) {
        vm m = vm_first(n - j);
        vf old = vf_load_mask(c + j, m);
        vf i = vf_load_mask(g + j, m), f = vf_load_mask(g + 2 * n + j, m);
        vf o = vf_load_mask(g + n + j, m);
        if (p) {
            i = vf_fma(vf_load_mask(p + j, m), old, i);
            f = vf_fma(vf_load_mask(p + 2 * n + j, m), old, f);
        }
        i = apply(&l->f[0], clip, i);
        f = l->input_forget ? 1 - i : apply(&l->f[0], clip, f);
        vf z = apply(&l->f[1], clip, vf_load_mask(g + 3 * n + j, m));
        vf now = vf_fma(f, old, i * z);
        if (p)
            o = vf_fma(vf_load_mask(p + n + j, m), now, o);
        vf out = apply(&l->f[0], clip, o) * apply(&l->f[2], 0, now);
        vf_store_mask(c + j, now, m);
        vf_store_mask(h + j, out, m);
        if (y)
            vf_store_mask(y + j, out, m);
    }
}

static int64_t rows_per_chunk(const struct mc_lstm_cell *l)
{
    return l->hidden < CHUNK ? CHUNK / (l->hidden > 0 ? l->hidden : 1) : 1;
}

static void lstm_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_lstm_cell *l = ctx;
    int64_t per = rows_per_chunk(l);
    for (int64_t r = chunk * per; r < (chunk + 1) * per && r < l->batch; r++)
        lstm_row(l, r);
}

void MC_CPU(mc_nn_lstm_cell)(const struct mc_lstm_cell *l, struct mc_pool *pool)
{
    struct mc_lstm_cell job = *l;
    int64_t per = rows_per_chunk(l);
    mc_pool_run(pool, (l->batch + per - 1) / per, lstm_chunk, &job);
}
