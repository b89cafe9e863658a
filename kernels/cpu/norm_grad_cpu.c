/* Gradient of norms over rows: a row stays in L1 between its passes. Sums over rows are made per chunk of rows, then
 * over the chunks in their order. */
#include <string.h>

#include "kernels/cpu/math_cpu.h"
#include "kernels/cpu/nn_cpu.h"

enum {
    CHUNK = 1 << 14, /* elements in a chunk of work, at least */
    CHUNKS = 64      /* at most: each has its own sums */
};

struct job {
    const struct mc_norm_grad *g;
    float *sums;       /* [chunks, 2, params]: dscale, dbias; or NULL */
    int64_t per, size; /* rows in a chunk; params rounded up to whole vectors */
};

struct row { /* one row, and what its gradient needs */
    const float *x, *dy, *scale;
    float *dx, *dscale, *dbias; /* of the chunk, or NULL: no sums wanted */
    float mean, inv;
};

static int64_t params_of(const struct mc_norm_grad *g)
{
    return g->inner > 0 ? g->groups * (g->n / g->inner) : 0;
}

static int64_t rows_per_chunk(const struct mc_norm_grad *g)
{
    int64_t least = g->n < CHUNK ? CHUNK / (g->n > 0 ? g->n : 1) : 1;
    int64_t even = (g->rows + CHUNKS - 1) / CHUNKS;
    return even > least ? even : least;
}

static bool sums_wanted(const struct mc_norm_grad *g)
{
    return g->dscale || g->dbias;
}

static int64_t padded(int64_t n)
{
    return (n + LANES - 1) / LANES * LANES;
}

size_t MC_CPU(mc_norm_grad_scratch)(const struct mc_norm_grad *g)
{
    int64_t per = rows_per_chunk(g), chunks = (g->rows + per - 1) / per;
    return sums_wanted(g) ? (size_t)(chunks * 2 * padded(params_of(g))) * sizeof(float) : 0;
}

static void find_spread(const struct mc_norm_grad *g, struct row *r)
{
    vf sum = {0}, square = {0};
    for (int64_t i = 0; i < g->n && !g->rms; i += LANES)
        sum += vf_load_mask(r->x + i, vm_first(g->n - i));
    r->mean = vf_sum(sum) / (float)g->n;
    for (int64_t i = 0; i < g->n; i += LANES) {
        vm m = vm_first(g->n - i);
        vf d = vf_select(m, vf_load_mask(r->x + i, m) - r->mean, (vf){0});
        square = vf_fma(d, d, square);
    }
    r->inv = 1 / sqrtf(vf_sum(square) / (float)g->n + (float)g->eps);
}

/* Sums of e and e (x - mean) over the row, where each column has a parameter; and the row's part of the sums over
 * rows. */
static void sum_columns(const struct mc_norm_grad *g, const struct row *r, float ret[2])
{
    vf a = {0}, b = {0};
    for (int64_t i = 0; i < g->n; i += LANES) {
        vm m = vm_first(g->n - i);
        vf dy = vf_load_mask(r->dy + i, m), e = dy;
        vf d = vf_select(m, vf_load_mask(r->x + i, m) - r->mean, (vf){0});
        if (r->scale)
            e *= vf_load_mask(r->scale + i, m);
        a += e;
        b = vf_fma(e, d, b);
        if (r->dscale) {
            vf_store_mask(r->dscale + i, vf_fma(dy, d * r->inv, vf_load_mask(r->dscale + i, m)), m);
            vf_store_mask(r->dbias + i, dy + vf_load_mask(r->dbias + i, m), m);
        }
    }
    ret[0] = vf_sum(a);
    ret[1] = vf_sum(b);
}

/* The same where a parameter belongs to `inner` columns. */
static void sum_parts(const struct mc_norm_grad *g, const struct row *r, float ret[2])
{
    ret[0] = ret[1] = 0;
    for (int64_t p = 0; p < g->n / g->inner; p++) {
        const float *x = r->x + p * g->inner, *dy = r->dy + p * g->inner;
        vf a = {0}, b = {0};
        for (int64_t i = 0; i < g->inner; i += LANES) {
            vm m = vm_first(g->inner - i);
            vf e = vf_load_mask(dy + i, m);
            vf d = vf_select(m, vf_load_mask(x + i, m) - r->mean, (vf){0});
            a += e;
            b = vf_fma(e, d, b);
        }
        float sum = vf_sum(a), product = vf_sum(b), scale = r->scale ? r->scale[p] : 1;
        ret[0] += scale * sum;
        ret[1] += scale * product;
        if (r->dscale) {
            r->dscale[p] += product * r->inv;
            r->dbias[p] += sum;
        }
    }
}

/* dx = (e - sum / n - (x - mean) product / n / variance) / deviation. */
static void put_row(const struct mc_norm_grad *g, const struct row *r, const float sum[2])
{
    vf mean = vf_set1(r->mean), inv = vf_set1(r->inv);
    vf a = vf_set1(g->rms ? 0 : sum[0] / (float)g->n);
    vf b = vf_set1(sum[1] / (float)g->n * r->inv * r->inv), scale = vf_set1(1);
    for (int64_t p = 0; p < (g->inner == 1 ? 1 : g->n / g->inner); p++) {
        int64_t from = p * g->inner, n = g->inner == 1 ? g->n : g->inner;
        if (r->scale && g->inner > 1)
            scale = vf_set1(r->scale[p]);
        for (int64_t i = 0; i < n; i += LANES) {
            vm m = vm_first(n - i);
            if (r->scale && g->inner == 1)
                scale = vf_load_mask(r->scale + i, m);
            vf e = vf_fma(vf_load_mask(r->dy + from + i, m), scale, -a);
            vf d = mean - vf_load_mask(r->x + from + i, m);
            vf_store_mask(r->dx + from + i, vf_fma(d, b, e) * inv, m);
        }
    }
}

static void grad_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_norm_grad *g = j->g;
    float *sums = j->sums ? j->sums + chunk * 2 * j->size : NULL, sum[2];
    if (sums)
        memset(sums, 0, (size_t)(2 * j->size) * sizeof *sums);
    for (int64_t i = chunk * j->per; i < (chunk + 1) * j->per && i < g->rows; i++) {
        int64_t p = i % g->groups * (g->n / g->inner);
        struct row r = {.x = (const float *)g->x + i * g->n,
                        .dy = (const float *)g->dy + i * g->n,
                        .scale = g->scale ? (const float *)g->scale + p : NULL,
                        .dx = g->dx ? (float *)g->dx + i * g->n : NULL,
                        .dscale = sums ? sums + p : NULL,
                        .dbias = sums ? sums + j->size + p : NULL};
        find_spread(g, &r);
        if (g->inner == 1)
            sum_columns(g, &r, sum);
        else
            sum_parts(g, &r, sum);
        if (r.dx)
            put_row(g, &r, sum);
    }
}

/* Sum over the chunks of the part that begins at `part`. */
static void add_chunks(const struct job *j, int64_t chunks, int64_t part, float *to)
{
    int64_t n = params_of(j->g);
    for (int64_t i = 0; to && i < n; i += LANES) {
        vf sum = {0};
        for (int64_t c = 0; c < chunks; c++)
            sum += vf_load(j->sums + (2 * c + part) * j->size + i);
        vf_store_mask(to + i, sum, vm_first(n - i));
    }
}

void MC_CPU(mc_norm_grad)(const struct mc_norm_grad *g, void *scratch, struct mc_pool *pool)
{
    struct job j = {g, sums_wanted(g) ? scratch : NULL, rows_per_chunk(g), padded(params_of(g))};
    int64_t chunks = g->n > 0 ? (g->rows + j.per - 1) / j.per : 0;
    mc_pool_run(pool, chunks, grad_chunk, &j);
    if (!sums_wanted(g))
        return;
    add_chunks(&j, chunks, 0, g->dscale);
    add_chunks(&j, chunks, 1, g->dbias);
}
