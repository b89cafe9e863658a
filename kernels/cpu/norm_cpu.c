/* Batch norm in training and its gradient: a channel is a chunk of work, so that its second pass reads what the
 * first has brought into the cache. Where a channel is a column, LANES of them go together. */
#include "kernels/norm.h"

#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/math_cpu.h"
#include "kernels/cpu/nn_cpu.h"
#include "kernels/fill.h"

enum {
    CHUNK = 1 << 14, /* elements in a chunk of work, at least */
    FLUSH = 64       /* vectors summed in float before the sum goes on in double */
};

/* Two sums over a row, in float for a while. */
struct sums {
    vf a[2], b[2];
    int64_t n; /* vectors since the last flush */
    double sum_a, sum_b;
};

static void flush(struct sums *s)
{
    s->sum_a += (double)vf_sum(s->a[0] + s->a[1]);
    s->sum_b += (double)vf_sum(s->b[0] + s->b[1]);
    s->a[0] = s->a[1] = s->b[0] = s->b[1] = (vf){0};
    s->n = 0;
}

/* Sums of w and w (x - shift) over a row; w NULL: x - shift itself. */
static inline __attribute__((always_inline)) void add_row(struct sums *s, const float *x,
                                                          const float *w, float shift, int64_t n)
{
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES)
        for (int k = 0; k < 2; k++) {
            vf d = vf_load(x + i + k * LANES) - shift, v = w ? vf_load(w + i + k * LANES) : d;
            s->a[k] += v;
            s->b[k] = vf_fma(v, d, s->b[k]);
        }
    for (; i < n; i += LANES) {
        vm m = vm_first(n - i);
        vf d = vf_select(m, vf_load_mask(x + i, m) - shift, (vf){0});
        vf v = w ? vf_load_mask(w + i, m) : d;
        s->a[0] += v;
        s->b[0] = vf_fma(v, d, s->b[0]);
    }
    s->n += n / LANES + 1;
    if (s->n >= FLUSH)
        flush(s);
}

/* The same of LANES columns over rows `row` apart. */
struct column_sums {
    double a[LANES], b[LANES];
};

static inline __attribute__((always_inline)) void add_columns(struct column_sums *s, const float *x,
                                                              const float *w, vf shift,
                                                              int64_t rows, int64_t row, vm m)
{
    for (int k = 0; k < LANES; k++)
        s->a[k] = s->b[k] = 0;
    for (int64_t from = 0; from < rows; from += FLUSH) {
        vf a = {0}, b = {0};
        for (int64_t r = from; r < from + FLUSH && r < rows; r++) {
            vf d = vf_load_mask(x + r * row, m) - shift;
            vf v = w ? vf_load_mask(w + r * row, m) : d;
            a += v;
            b = vf_fma(v, d, b);
        }
        for (int k = 0; k < LANES; k++) {
            s->a[k] += (double)a[k];
            s->b[k] += (double)b[k];
        }
    }
}

static int64_t blocks_of(int64_t channels, int64_t inner)
{
    return inner == 1 ? (channels + LANES - 1) / LANES : channels;
}

/* Channels, or blocks of columns, in a chunk of work. */
static int64_t per_chunk(int64_t outer, int64_t inner)
{
    int64_t n = outer * (inner == 1 ? LANES : inner);
    return n < CHUNK ? CHUNK / (n > 0 ? n : 1) : 1;
}

/* ---- forward ---- */

static double spread(double sum, double square, double m, double *mean)
{
    *mean = 0;
    if (!(m > 0))
        return 0;
    *mean = sum / m;
    double var = square / m - *mean * *mean;
    return var < 0 ? 0 : var;
}

static void put_row(const struct mc_batch_norm *b, int64_t at, float mean, float scale, float bias)
{
    const struct mc_epilogue *e = b->epilogue;
    const float *x = (const float *)b->x + at;
    const float *more = e && e->residual ? (const float *)e->residual + at : NULL;
    float *y = (float *)b->y + at;
    bool clamp = e && e->act == MC_ACT_CLAMP;
    vf lo = vf_set1(clamp ? (float)e->lo : -INFINITY),
       hi = vf_set1(clamp ? (float)e->hi : INFINITY);
    for (int64_t i = 0; i < b->inner; i += LANES) {
        vm m = vm_first(b->inner - i);
        vf v = vf_fma(vf_load_mask(x + i, m) - mean, vf_set1(scale), vf_set1(bias));
        if (more)
            v += vf_load_mask(more + i, m);
        vf_store_mask(y + i, vf_at_most(vf_at_least(v, lo), hi), m);
    }
    if (e)
        MC_CPU(mc_act_block)(e, y, b->inner, 1, b->inner);
}

static void norm_channel(const struct mc_batch_norm *b, int64_t c)
{
    const float *x = (const float *)b->x + c * b->inner;
    int64_t step = b->channels * b->inner;
    double m = (double)b->outer * (double)b->inner, mean;
    struct sums s = {.n = 0};
    /* Deviations from a first guess: their squares hold a variance that those of x itself would lose. */
    if (b->outer > 0)
        add_row(&s, x, NULL, 0, b->inner);
    flush(&s);
    float shift = b->inner > 0 ? (float)(s.sum_a / (double)b->inner) : 0;
    s = (struct sums){.n = 0};
    for (int64_t o = 0; o < b->outer; o++)
        add_row(&s, x + o * step, NULL, shift, b->inner);
    flush(&s);
    double var = spread(s.sum_a, s.sum_b, m, &mean);
    mean += (double)shift;
    ((float *)b->mean)[c] = (float)mean;
    ((float *)b->var)[c] = (float)var;
    float scale = (float)((double)((const float *)b->scale)[c] / sqrt(var + b->eps));
    for (int64_t o = 0; o < b->outer; o++)
        put_row(b, o * step + c * b->inner, (float)mean, scale, ((const float *)b->bias)[c]);
}

static void put_columns(const struct mc_batch_norm *b, int64_t c, const vf par[3], vm mask)
{
    const struct mc_epilogue *e = b->epilogue;
    int64_t n = b->channels - c < LANES ? b->channels - c : LANES;
    bool clamp = e && e->act == MC_ACT_CLAMP;
    vf lo = vf_set1(clamp ? (float)e->lo : -INFINITY),
       hi = vf_set1(clamp ? (float)e->hi : INFINITY);
    for (int64_t o = 0; o < b->outer; o++) {
        int64_t at = o * b->channels + c;
        vf v = vf_fma(vf_load_mask((const float *)b->x + at, mask) - par[0], par[1], par[2]);
        if (e && e->residual)
            v += vf_load_mask((const float *)e->residual + at, mask);
        vf_store_mask((float *)b->y + at, vf_at_most(vf_at_least(v, lo), hi), mask);
    }
    if (e)
        MC_CPU(mc_act_block)(e, (float *)b->y + c, b->channels, (int)b->outer, n);
}

static void norm_columns(const struct mc_batch_norm *b, int64_t block)
{
    int64_t c = block * LANES;
    vm mask = vm_first(b->channels - c);
    const float *x = (const float *)b->x + c;
    struct column_sums s;
    vf shift = b->outer > 0 ? vf_load_mask(x, mask) : (vf){0}, par[3] = {0};
    add_columns(&s, x, NULL, shift, b->outer, b->channels, mask);
    for (int k = 0; k < LANES; k++) {
        double mean, var = spread(s.a[k], s.b[k], (double)b->outer, &mean);
        par[0][k] = (float)(mean + (double)shift[k]);
        par[1][k] = (float)(1 / sqrt(var + b->eps));
        par[2][k] = (float)var;
    }
    vf_store_mask((float *)b->mean + c, par[0], mask);
    vf_store_mask((float *)b->var + c, par[2], mask);
    par[1] *= vf_load_mask((const float *)b->scale + c, mask);
    par[2] = vf_load_mask((const float *)b->bias + c, mask);
    put_columns(b, c, par, mask);
}

static void norm_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_batch_norm *b = ctx;
    int64_t per = per_chunk(b->outer, b->inner), blocks = blocks_of(b->channels, b->inner);
    for (int64_t c = chunk * per; c < (chunk + 1) * per && c < blocks; c++) {
        if (b->inner == 1)
            norm_columns(b, c);
        else
            norm_channel(b, c);
    }
}

static void batch(const struct mc_batch_norm *b, struct mc_pool *pool)
{
    struct mc_batch_norm job = *b;
    int64_t per = per_chunk(b->outer, b->inner);
    mc_pool_run(pool, (blocks_of(b->channels, b->inner) + per - 1) / per, norm_chunk, &job);
}

/* ---- backward ---- */

/* dx = (dy - p[0] - (x - p[1]) p[2]) p[3] */
static inline vf slope(vf dy, vf x, const vf p[4])
{
    return vf_fma(p[1] - x, p[2], dy - p[0]) * p[3];
}

/* What slope needs, from the sums of dy and dy (x - mean). */
static void weights(const struct mc_batch_grad *b, double scale, double var, double sum,
                    double product, double p[4], double ret[2])
{
    double inv = 1 / sqrt(var + b->eps), m = (double)b->outer * (double)b->inner;
    p[0] = b->frozen ? 0 : sum / m;
    p[2] = b->frozen ? 0 : inv * inv * product / m;
    p[3] = scale * inv;
    ret[0] = sum;
    ret[1] = product * inv;
}

static void grad_channel(const struct mc_batch_grad *b, int64_t c)
{
    int64_t step = b->channels * b->inner;
    const float *x = (const float *)b->x + c * b->inner, *dy = (const float *)b->dy + c * b->inner;
    float mean = ((const float *)b->mean)[c];
    struct sums s = {.n = 0};
    double q[4], sum[2];
    vf p[4];
    for (int64_t o = 0; o < b->outer && (!b->frozen || b->dscale || b->dbias); o++)
        add_row(&s, x + o * step, dy + o * step, mean, b->inner);
    flush(&s);
    weights(b, (double)((const float *)b->scale)[c], (double)((const float *)b->var)[c], s.sum_a,
            s.sum_b, q, sum);
    q[1] = (double)mean;
    for (int i = 0; i < 4; i++)
        p[i] = vf_set1((float)q[i]);
    if (b->dbias)
        ((float *)b->dbias)[c] = (float)sum[0];
    if (b->dscale)
        ((float *)b->dscale)[c] = (float)sum[1];
    for (int64_t o = 0; o < b->outer && b->dx; o++) {
        float *dx = (float *)b->dx + c * b->inner + o * step;
        for (int64_t i = 0; i < b->inner; i += LANES) {
            vm m = vm_first(b->inner - i);
            vf d = vf_load_mask(dy + o * step + i, m);
            d = b->frozen ? d * p[3] : slope(d, vf_load_mask(x + o * step + i, m), p);
            vf_store_mask(dx + i, d, m);
        }
    }
}

static void grad_columns(const struct mc_batch_grad *b, int64_t block)
{
    int64_t c = block * LANES;
    vm m = vm_first(b->channels - c);
    const float *x = (const float *)b->x + c, *dy = (const float *)b->dy + c;
    struct column_sums s;
    vf scale = vf_load_mask((const float *)b->scale + c, m);
    vf var = vf_load_mask((const float *)b->var + c, m), p[4] = {0}, out[2] = {0};
    p[1] = vf_load_mask((const float *)b->mean + c, m);
    add_columns(&s, x, dy, p[1], b->outer, b->channels, m);
    for (int k = 0; k < LANES; k++) {
        double q[4], sum[2];
        weights(b, (double)scale[k], (double)var[k], s.a[k], s.b[k], q, sum);
        p[0][k] = (float)q[0];
        p[2][k] = (float)q[2];
        p[3][k] = (float)q[3];
        out[0][k] = (float)sum[0];
        out[1][k] = (float)sum[1];
    }
    if (b->dbias)
        vf_store_mask((float *)b->dbias + c, out[0], m);
    if (b->dscale)
        vf_store_mask((float *)b->dscale + c, out[1], m);
    for (int64_t o = 0; o < b->outer && b->dx; o++) {
        int64_t at = o * b->channels;
        vf d = vf_load_mask(dy + at, m);
        d = b->frozen ? d * p[3] : slope(d, vf_load_mask(x + at, m), p);
        vf_store_mask((float *)b->dx + c + at, d, m);
    }
}

static void grad_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_batch_grad *b = ctx;
    int64_t per = per_chunk(b->outer, b->inner), blocks = blocks_of(b->channels, b->inner);
    for (int64_t c = chunk * per; c < (chunk + 1) * per && c < blocks; c++) {
        if (b->inner == 1)
            grad_columns(b, c);
        else
            grad_channel(b, c);
    }
}

static void batch_grad(const struct mc_batch_grad *b, struct mc_pool *pool)
{
    struct mc_batch_grad job = *b;
    int64_t per = per_chunk(b->outer, b->inner);
    mc_pool_run(pool, (blocks_of(b->channels, b->inner) + per - 1) / per, grad_chunk, &job);
}

void MC_CPU(mc_norm_fill)(struct mc_norm_kernels *k)
{
    k->batch = batch;
    k->batch_grad = batch_grad;
    k->norm_grad_scratch = MC_CPU(mc_norm_grad_scratch);
    k->norm_grad = MC_CPU(mc_norm_grad);
}
