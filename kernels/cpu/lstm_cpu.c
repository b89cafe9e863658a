/* One LSTM step: the gates of LANES cells at a time. */
#include <stddef.h>
#include <string.h>

#include "kernels/cpu/rnn_cpu.h"

static void lstm_row(const struct mc_lstm_cell *l, int64_t row)
{
    int64_t n = l->hidden;
    const float *g = (const float *)l->gates + row * 4 * n, *p = l->peephole;
    float *c = (float *)l->c + row * n, *h = (float *)l->h + row * n;
    const float *before = l->c_before ? (const float *)l->c_before + row * n : c;
    float *y = l->y ? (float *)l->y + row * l->y_row : NULL, clip = (float)l->clip;
    float *acts = l->acts ? (float *)l->acts + row * 4 * n : NULL;
    if (l->active && !l->active[row]) {
        rnn_skip(n, l->c_before, c, row);
        rnn_skip(n, l->h_before, h, row);
        if (y)
            memset(y, 0, (size_t)n * sizeof *y);
        return;
    }
    for (int64_t j = 0; j < n; j += LANES) {
        vm m = vm_first(n - j);
        vf old = vf_load_mask(before + j, m);
        vf i = vf_load_mask(g + j, m), f = vf_load_mask(g + 2 * n + j, m);
        vf o = vf_load_mask(g + n + j, m);
        if (p) {
            i = vf_fma(vf_load_mask(p + j, m), old, i);
            f = vf_fma(vf_load_mask(p + 2 * n + j, m), old, f);
        }
        i = rnn_apply(&l->f[0], clip, i);
        f = l->input_forget ? 1 - i : rnn_apply(&l->f[0], clip, f);
        vf z = rnn_apply(&l->f[1], clip, vf_load_mask(g + 3 * n + j, m));
        vf now = vf_fma(f, old, i * z);
        if (p)
            o = vf_fma(vf_load_mask(p + n + j, m), now, o);
        o = rnn_apply(&l->f[0], clip, o);
        vf out = o * rnn_apply(&l->f[2], 0, now);
        if (acts) {
            vf_store_mask(acts + j, i, m);
            vf_store_mask(acts + n + j, o, m);
            vf_store_mask(acts + 2 * n + j, f, m);
            vf_store_mask(acts + 3 * n + j, z, m);
        }
        vf_store_mask(c + j, now, m);
        vf_store_mask(h + j, out, m);
        if (y)
            vf_store_mask(y + j, out, m);
    }
}

static void lstm_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_lstm_cell *l = ctx;
    int64_t per = rnn_chunk_rows(l->hidden);
    for (int64_t r = chunk * per; r < (chunk + 1) * per && r < l->batch; r++)
        lstm_row(l, r);
}

void MC_CPU(mc_nn_lstm_cell)(const struct mc_lstm_cell *l, struct mc_pool *pool)
{
    struct mc_lstm_cell job = *l;
    int64_t per = rnn_chunk_rows(l->hidden);
    mc_pool_run(pool, (l->batch + per - 1) / per, lstm_chunk, &job);
}
