#include "kernels/cpu/loss_cpu.h"

#include "kernels/cpu/math_cpu.h"
#include "kernels/cpu/nn_cpu.h"
#include "kernels/fill.h"

enum { CHUNK = 1 << 14 }; /* elements per chunk of work */

static void row_grad(bool log, int64_t n, const float *dy, const float *y, float *dx)
{
    vf sum = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        sum = log ? sum + vf_load(dy + i) : vf_fma(vf_load(dy + i), vf_load(y + i), sum);
    if (i < n) {
        vm m = vm_first(n - i);
        vf d = vf_load_mask(dy + i, m);
        sum = log ? sum + d : vf_fma(d, vf_load_mask(y + i, m), sum);
    }
    vf all = vf_set1(vf_sum(sum));
    for (i = 0; i < n; i += LANES) {
        vm m = vm_first(n - i);
        vf d = vf_load_mask(dy + i, m), v = vf_load_mask(y + i, m);
        vf_store_mask(dx + i, log ? d - vf_exp(v) * all : v * (d - all), m);
    }
}

/* LANES columns side by side, rows `inner` apart. */
static void column_grad(bool log, int64_t n, int64_t inner, const float *dy, const float *y,
                        float *dx, vm m)
{
    vf sum = {0};
    for (int64_t i = 0; i < n * inner; i += inner) {
        vf d = vf_load_mask(dy + i, m);
        sum = log ? sum + d : vf_fma(d, vf_load_mask(y + i, m), sum);
    }
    for (int64_t i = 0; i < n * inner; i += inner) {
        vf d = vf_load_mask(dy + i, m), v = vf_load_mask(y + i, m);
        vf_store_mask(dx + i, log ? d - vf_exp(v) * sum : v * (d - sum), m);
    }
}

struct job {
    const struct mc_softmax_grad *s;
    int64_t blocks, pieces, per_chunk; /* blocks of columns, 1 for rows; pieces in all */
};

static void grad_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_softmax_grad *s = j->s;
    for (int64_t i = chunk * j->per_chunk; i < (chunk + 1) * j->per_chunk && i < j->pieces; i++) {
        int64_t col = i % j->blocks * LANES, at = i / j->blocks * s->n * s->inner + col;
        const float *dy = (const float *)s->dy + at, *y = (const float *)s->y + at;
        float *dx = (float *)s->dx + at;
        if (s->inner == 1)
            row_grad(s->log, s->n, dy, y, dx);
        else
            column_grad(s->log, s->n, s->inner, dy, y, dx, vm_first(s->inner - col));
    }
}

static void softmax_grad(const struct mc_softmax_grad *s, struct mc_pool *pool)
{
    struct job j = {.s = s, .blocks = (s->inner + LANES - 1) / LANES};
    int64_t each = s->n * (s->inner == 1 ? 1 : LANES);
    j.pieces = s->outer * j.blocks;
    j.per_chunk = each > 0 && each < CHUNK ? CHUNK / each : 1;
    if (each > 0)
        mc_pool_run(pool, (j.pieces + j.per_chunk - 1) / j.per_chunk, grad_chunk, &j);
}

void MC_CPU(mc_loss_fill)(struct mc_loss_kernels *k)
{
    k->softmax_grad = softmax_grad;
    k->ctc = MC_CPU(mc_ctc);
}
