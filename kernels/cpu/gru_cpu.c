/* One step of a GRU or an RNN: the gates of LANES cells at a time. */
#include <stddef.h>
#include <string.h>

#include "kernels/cpu/rnn_cpu.h"

static void reset_row(const struct mc_gru_cell *g, int64_t row)
{
    int64_t n = g->hidden;
    const float *gate = (const float *)g->gates + (row * 3 + 1) * n;
    const float *h = (const float *)(g->h_before ? g->h_before : g->h) + row * n;
    float *to = (float *)g->reset + row * n, clip = (float)g->clip;
    for (int64_t j = 0; j < n; j += LANES) {
        vm m = vm_first(n - j);
        vf r = rnn_apply(&g->f[0], clip, vf_load_mask(gate + j, m));
        vf_store_mask(to + j, r * vf_load_mask(h + j, m), m);
    }
}

static void gru_row(const struct mc_gru_cell *g, int64_t row)
{
    int64_t n = g->hidden;
    const float *gate = (const float *)g->gates + row * 3 * n;
    const float *product = g->product ? (const float *)g->product + row * n : NULL;
    float *h = (float *)g->h + row * n, *y = g->y ? (float *)g->y + row * g->y_row : NULL;
    const float *before = g->h_before ? (const float *)g->h_before + row * n : h;
    float clip = (float)g->clip, *acts = g->acts ? (float *)g->acts + row * 3 * n : NULL;
    if (g->active && !g->active[row]) {
        rnn_skip(n, g->h_before, h, row);
        if (y)
            memset(y, 0, (size_t)n * sizeof *y);
        return;
    }
    for (int64_t j = 0; j < n; j += LANES) {
        vm m = vm_first(n - j);
        vf z = rnn_apply(&g->f[0], clip, vf_load_mask(gate + j, m));
        vf sum = vf_load_mask(gate + 2 * n + j, m), old = vf_load_mask(before + j, m), r = z;
        if (product || acts)
            r = rnn_apply(&g->f[0], clip, vf_load_mask(gate + n + j, m));
        if (product)
            sum = vf_fma(r, vf_load_mask(product + j, m), sum);
        sum = rnn_apply(&g->f[1], clip, sum);
        vf now = vf_fma(z, old, (1 - z) * sum);
        if (acts) {
            vf_store_mask(acts + j, z, m);
            vf_store_mask(acts + n + j, r, m);
            vf_store_mask(acts + 2 * n + j, sum, m);
        }
        vf_store_mask(h + j, now, m);
        if (y)
            vf_store_mask(y + j, now, m);
    }
}

static void rnn_row(const struct mc_rnn_cell *r, int64_t row)
{
    int64_t n = r->hidden;
    const float *gate = (const float *)r->gates + row * n;
    float *h = (float *)r->h + row * n, *y = r->y ? (float *)r->y + row * r->y_row : NULL;
    if (r->active && !r->active[row]) {
        rnn_skip(n, r->h_before, h, row);
        if (y)
            memset(y, 0, (size_t)n * sizeof *y);
        return;
    }
    for (int64_t j = 0; j < n; j += LANES) {
        vm m = vm_first(n - j);
        vf now = rnn_apply(&r->f, (float)r->clip, vf_load_mask(gate + j, m));
        vf_store_mask(h + j, now, m);
        if (y)
            vf_store_mask(y + j, now, m);
    }
}

struct job {
    const struct mc_gru_cell *gru;
    const struct mc_rnn_cell *rnn;
    int64_t batch, per; /* rows; in a chunk */
    bool reset;
};

static void cell_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    for (int64_t r = chunk * j->per; r < (chunk + 1) * j->per && r < j->batch; r++) {
        if (j->rnn)
            rnn_row(j->rnn, r);
        else if (j->reset)
            reset_row(j->gru, r);
        else
            gru_row(j->gru, r);
    }
}

static void run_cell(struct job *j, int64_t hidden, struct mc_pool *pool)
{
    j->per = rnn_chunk_rows(hidden);
    mc_pool_run(pool, (j->batch + j->per - 1) / j->per, cell_chunk, j);
}

void MC_CPU(mc_nn_gru_reset)(const struct mc_gru_cell *g, struct mc_pool *pool)
{
    run_cell(&(struct job){.gru = g, .batch = g->batch, .reset = true}, g->hidden, pool);
}

void MC_CPU(mc_nn_gru_cell)(const struct mc_gru_cell *g, struct mc_pool *pool)
{
    run_cell(&(struct job){.gru = g, .batch = g->batch}, g->hidden, pool);
}

void MC_CPU(mc_nn_rnn_cell)(const struct mc_rnn_cell *r, struct mc_pool *pool)
{
    run_cell(&(struct job){.rnn = r, .batch = r->batch}, r->hidden, pool);
}
