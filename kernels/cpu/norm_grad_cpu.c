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

#define INLINE static inline __attribute__((always_inline))

/* A mask is none where `whole`, a constant where these are inlined: making one costs more than what is done with it. */
INLINE vf get(const float *p, vm m, bool whole)
{
    return whole ? vf_load(p) : vf_load_mask(p, m);
}

INLINE void put(float *p, vf v, vm m, bool whole)
{
    if (whole)
        vf_store(p, v);
    else
        vf_store_mask(p, v, m);
}

INLINE vf from_mean(const float *x, float mean, vm m, bool whole)
{
    vf d = get(x, m, whole) - mean;
    return whole ? d : vf_select(m, d, (vf){0});
}

static void find_spread(const struct mc_norm_grad *g, struct row *r)
{
    vf sum = {0}, square = {0};
    int64_t n = g->n, whole = n - n % LANES;
    vm rest = vm_first(n % LANES);
    for (int64_t i = 0; i < whole && !g->rms; i += LANES)
        sum += vf_load(r->x + i);
    if (whole < n && !g->rms)
        sum += vf_load_mask(r->x + whole, rest);
    r->mean = vf_sum(sum) / (float)n;
    for (int64_t i = 0; i < whole; i += LANES) {
        vf d = vf_load(r->x + i) - r->mean;
        square = vf_fma(d, d, square);
    }
    if (whole < n) {
        vf d = from_mean(r->x + whole, r->mean, rest, false);
        square = vf_fma(d, d, square);
    }
    r->inv = 1 / sqrtf(vf_sum(square) / (float)n + (float)g->eps);
}

INLINE void sum_vector(const struct row *r, int64_t i, vm m, bool whole, vf sum[2])
{
    vf dy = get(r->dy + i, m, whole), e = dy, d = from_mean(r->x + i, r->mean, m, whole);
    if (r->scale)
        e *= get(r->scale + i, m, whole);
    sum[0] += e;
    sum[1] = vf_fma(e, d, sum[1]);
    if (r->dscale) {
        put(r->dscale + i, vf_fma(dy, d * r->inv, get(r->dscale + i, m, whole)), m, whole);
        put(r->dbias + i, dy + get(r->dbias + i, m, whole), m, whole);
    }
}

/* Sums of e and e (x - mean) over the row, where each column has a parameter; and the row's part of the sums over
 * rows. */
static void sum_columns(const struct mc_norm_grad *g, const struct row *r, float ret[2])
{
    vf sum[2] = {{0}};
    int64_t i = 0;
    for (; i + LANES <= g->n; i += LANES)
        sum_vector(r, i, vm_first(LANES), true, sum);
    if (i < g->n)
        sum_vector(r, i, vm_first(g->n - i), false, sum);
    ret[0] = vf_sum(sum[0]);
    ret[1] = vf_sum(sum[1]);
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
            vf e = vf_load_mask(dy + i, m), d = from_mean(x + i, r->mean, m, false);
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

struct slope { /* dx = (dy scale - a - (x - mean) b) inv */
    float mean, inv, a, b;
};

INLINE void put_vector(const struct row *r, const struct slope *s, int64_t i, vf scale, vm m,
                       bool whole)
{
    vf e = vf_fma(get(r->dy + i, m, whole), scale, vf_set1(-s->a));
    vf d = s->mean - get(r->x + i, m, whole);
    put(r->dx + i, vf_fma(d, vf_set1(s->b), e) * s->inv, m, whole);
}

static void put_row(const struct mc_norm_grad *g, const struct row *r, const float sum[2])
{
    float n = (float)g->n;
    struct slope s = {r->mean, r->inv, g->rms ? 0 : sum[0] / n, sum[1] / n * r->inv * r->inv};
    if (g->inner == 1) {
        int64_t i = 0;
        vm rest = vm_first(g->n % LANES);
        for (; i + LANES <= g->n; i += LANES)
            put_vector(r, &s, i, r->scale ? vf_load(r->scale + i) : vf_set1(1), rest, true);
        if (i < g->n)
            put_vector(r, &s, i, r->scale ? vf_load_mask(r->scale + i, rest) : vf_set1(1), rest,
                       false);
        return;
    }
    for (int64_t p = 0; p < g->n / g->inner; p++) {
        vf scale = vf_set1(r->scale ? r->scale[p] : 1);
        for (int64_t i = 0; i < g->inner; i += LANES)
            put_vector(r, &s, p * g->inner + i, scale, vm_first(g->inner - i), false);
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
