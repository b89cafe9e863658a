/* Folding as gathering: a row of the output is the sum of the rows of columns that reach it. At stride s along
 * a row, outputs of equal remainder modulo s form a phase, in which every tap is a plain shift; phases are
 * summed one after the other in a buffer in L1 and woven into the row. Each output is written once. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/spatial_cpu.h"

enum {
    PHASE = 1024,    /* outputs of a phase summed at a time: two buffers are 8 KiB */
    CHUNK = 1 << 15, /* sums in a chunk of work: about 10 us */
};

/* One output row: where its taps lie. */
struct row {
    const struct mc_fold *f;
    const float *x; /* of the channel */
    int64_t z, y;   /* output */
    float *to;
};

static inline void add(float *sum, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(sum + i, vf_load(sum + i) + vf_load(x + i));
    if (i < n) {
        vm m = vm_first(n - i);
        vf_store_mask(sum + i, vf_load_mask(sum + i, m) + vf_load_mask(x + i, m), m);
    }
}

/* Input position that tap k puts on output o of dimension d, -1 if there is none. */
static int64_t source(const struct mc_fold *f, int d, int64_t o, int64_t k)
{
    int64_t at = o + f->pad[d] - k * f->dilation[d];
    if (at < 0 || at % f->stride[d])
        return -1;
    at /= f->stride[d];
    return at < f->in[d] ? at : -1;
}

/* sum[j - j0] += every tap of one row of columns on output j*stride + phase, j0 <= j < j0 + n. */
static void add_row(const struct mc_fold *f, const float *x, int64_t phase, int64_t j0, int64_t n,
                    float *sum)
{
    int64_t plane = f->in[0] * f->in[1] * f->in[2], s = f->stride[2];
    for (int64_t k = 0; k < f->kernel[2]; k++, x += plane) {
        int64_t offset = k * f->dilation[2] - f->pad[2] - phase;
        if (offset % s)
            continue;
        offset /= s; /* input i reaches j = i + offset */
        int64_t from = max64(j0, offset), to = min64(j0 + n, f->in[2] + offset);
        if (from < to)
            add(sum + from - j0, x + from - offset, to - from);
    }
}

static void sum_phase(const struct row *r, int64_t phase, int64_t j0, int64_t n, float *sum)
{
    const struct mc_fold *f = r->f;
    int64_t plane = f->in[0] * f->in[1] * f->in[2];
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t k0 = 0; k0 < f->kernel[0]; k0++) {
        int64_t z = source(f, 0, r->z, k0);
        for (int64_t k1 = 0; z >= 0 && k1 < f->kernel[1]; k1++) {
            int64_t y = source(f, 1, r->y, k1);
            int64_t tap = (k0 * f->kernel[1] + k1) * f->kernel[2];
            if (y >= 0)
                add_row(f, r->x + tap * plane + (z * f->in[1] + y) * f->in[2], phase, j0, n, sum);
        }
    }
}

/* to[j*step] = sum[j], and what is in residual there, which may be `to`. */
static inline void put(const float *sum, int64_t n, int64_t step, const float *residual, float *to)
{
    for (int64_t j = 0; !residual && j < n; j++)
        to[j * step] = sum[j];
    for (int64_t j = 0; residual && j < n; j++)
        to[j * step] = sum[j] + residual[j * step];
}

static void fold_row(const struct row *r, const float *residual)
{
    int64_t s = r->f->stride[2], n = r->f->out[2];
    float even[PHASE], odd[PHASE];
    for (int64_t j0 = 0; j0 * s < n; j0 += PHASE) {
        float *to = r->to + j0 * s;
        const float *prior = residual ? residual + j0 * s : NULL;
        int64_t left = n - j0 * s;
        if (s == 2 && !prior) { /* both phases in one pass over the row */
            int64_t n_even = min64(PHASE, (left + 1) / 2), n_odd = min64(PHASE, left / 2);
            sum_phase(r, 0, j0, n_even, even);
            sum_phase(r, 1, j0, n_odd, odd);
            for (int64_t j = 0; j < n_odd; j++) {
                to[2 * j] = even[j];
                to[2 * j + 1] = odd[j];
            }
            if (n_even > n_odd)
                to[2 * n_odd] = even[n_odd];
            continue;
        }
        for (int64_t phase = 0; phase < s && phase < left; phase++) {
            int64_t count = min64(PHASE, (left - phase + s - 1) / s);
            sum_phase(r, phase, j0, count, even);
            if (s == 1)
                put(even, count, 1, prior, to);
            else
                put(even, count, s, prior ? prior + phase : NULL, to + phase);
        }
    }
}

/* Bias and activation, on a row just written. */
static void finish_row(const struct mc_fold *f, int64_t channel, float *y)
{
    const struct mc_epilogue *e = &f->epilogue;
    vf bias = vf_set1(e->bias ? ((const float *)e->bias)[channel] : 0);
    bool clamp = e->act == MC_ACT_CLAMP;
    vf lo = vf_set1(clamp ? (float)e->lo : -INFINITY);
    vf hi = vf_set1(clamp ? (float)e->hi : INFINITY);
    for (int64_t i = 0; i < f->out[2]; i += LANES) {
        vm m = vm_first(f->out[2] - i);
        vf v = vf_load_mask(y + i, m) + bias;
        vf_store_mask(y + i, vf_at_most(vf_at_least(v, lo), hi), m);
    }
    MC_CPU(mc_act_block)(e, y, 0, 1, f->out[2]);
}

struct job {
    const struct mc_fold *f;
    int64_t rows, per_chunk;
};

static void fold_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_fold *f = j->f;
    const struct mc_epilogue *e = &f->epilogue;
    int64_t per = f->out[0] * f->out[1], taps = f->kernel[0] * f->kernel[1] * f->kernel[2];
    int64_t size = taps * f->in[0] * f->in[1] * f->in[2];
    bool plain = !e->bias && e->act == MC_ACT_NONE;
    for (int64_t i = chunk * j->per_chunk; i < (chunk + 1) * j->per_chunk && i < j->rows; i++) {
        int64_t channel = i / per;
        float *y = (float *)f->y + i * f->out[2];
        const float *residual = e->residual ? (const float *)e->residual + i * f->out[2] : NULL;
        struct row r = {f, (const float *)f->x + channel * size, i % per / f->out[1], i % f->out[1],
                        y};
        fold_row(&r, residual);
        if (!plain)
            finish_row(f, channel, y);
    }
}

void MC_CPU(mc_fold)(const struct mc_fold *f, struct mc_pool *pool)
{
    struct job j = {.f = f, .rows = f->channels * f->out[0] * f->out[1]};
    int64_t reach = ceil_div(f->kernel[0], f->stride[0]) * ceil_div(f->kernel[1], f->stride[1]);
    int64_t cost = f->out[2] * reach * ceil_div(f->kernel[2], f->stride[2]);
    j.per_chunk = max64(1, CHUNK / max64(1, cost));
    mc_pool_run(pool, ceil_div(j.rows, j.per_chunk), fold_chunk, &j);
}
