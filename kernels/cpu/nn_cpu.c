/* Softmax, norms, channel scaling, arg max: a row stays in L1 between its passes. */
#include "kernels/cpu/nn_cpu.h"

#include <math.h>

#include "kernels/cpu/math_cpu.h"
#include "kernels/fill.h"

/* Elements per chunk of work: about 10 us of exponentials, 64 KiB. */
enum { CHUNK = 1 << 14 };

static int64_t rows_per_chunk(int64_t n)
{
    return n < CHUNK ? CHUNK / (n > 0 ? n : 1) : 1;
}

static void run_rows(struct mc_pool *pool, int64_t rows, int64_t n,
                     void (*fn)(void *, int64_t, int), void *ctx)
{
    int64_t per = rows_per_chunk(n);
    mc_pool_run(pool, (rows + per - 1) / per, fn, ctx);
}

/* ---- softmax ---- */

static void softmax_row(bool log, int64_t n, const float *x, float *y)
{
    vf top = vf_set1(-INFINITY), sum = {0};
    int64_t i;
    for (i = 0; i + LANES <= n; i += LANES)
        top = vf_at_least(top, vf_load(x + i)); /* passes over NaN, which shows in the sum */
    float most = vf_max_lane(top);
    for (; i < n; i++)
        most = x[i] > most ? x[i] : most;
    vm last = vm_first(n % LANES);
    int64_t whole = n - n % LANES;
    for (i = 0; i < whole; i += LANES) {
        vf e = vf_exp(vf_load(x + i) - most);
        sum += e;
        if (!log)
            vf_store(y + i, e);
    }
    if (whole < n) {
        vf e = vf_select(last, vf_exp(vf_load_mask(x + whole, last) - most), (vf){0});
        sum += e;
        if (!log)
            vf_store_mask(y + whole, e, last);
    }
    float total = vf_sum(sum), scale = 1 / total, shift = logf(total);
    for (i = 0; i < n; i += LANES) {
        vm m = vm_first(n - i);
        vf v = vf_load_mask(log ? x + i : y + i, m);
        vf_store_mask(y + i, log ? v - most - shift : v * scale, m);
    }
}

/* One block of LANES neighbouring columns, each a softmax of its own along rows `inner` apart. */
static void softmax_columns(bool log, int64_t n, int64_t inner, const float *x, float *y, vm m)
{
    vf top = vf_set1(-INFINITY), sum = {0};
    for (int64_t i = 0; i < n; i++)
        top = vf_at_least(top, vf_load_mask(x + i * inner, m));
    for (int64_t i = 0; i < n; i++) {
        vf e = vf_exp(vf_load_mask(x + i * inner, m) - top);
        sum += e;
        if (!log)
            vf_store_mask(y + i * inner, e, m);
    }
    vf shift = vf_log(sum);
    for (int64_t i = 0; i < n; i++) {
        vf v = vf_load_mask(log ? x + i * inner : y + i * inner, m);
        vf_store_mask(y + i * inner, log ? v - top - shift : v / sum, m);
    }
}

static void softmax_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_softmax *s = ctx;
    if (s->inner == 1) {
        int64_t per = rows_per_chunk(s->n);
        for (int64_t r = chunk * per; r < (chunk + 1) * per && r < s->outer; r++)
            softmax_row(s->log, s->n, (const float *)s->x + r * s->n, (float *)s->y + r * s->n);
        return;
    }
    int64_t blocks = (s->inner + LANES - 1) / LANES, per = rows_per_chunk(s->n * LANES);
    for (int64_t b = chunk * per; b < (chunk + 1) * per && b < s->outer * blocks; b++) {
        int64_t col = b % blocks * LANES, at = b / blocks * s->n * s->inner + col;
        softmax_columns(s->log, s->n, s->inner, (const float *)s->x + at, (float *)s->y + at,
                        vm_first(s->inner - col));
    }
}

static void softmax(const struct mc_softmax *s, struct mc_pool *pool)
{
    struct mc_softmax job = *s;
    if (s->n == 0 || s->inner == 0)
        return;
    if (s->inner == 1)
        run_rows(pool, s->outer, s->n, softmax_chunk, &job);
    else
        run_rows(pool, s->outer * ((s->inner + LANES - 1) / LANES), s->n * LANES, softmax_chunk,
                 &job);
}

/* ---- norm ---- */

static float sum_row(const float *x, int64_t n)
{
    vf a = {0}, b = {0};
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        a += vf_load(x + i);
        b += vf_load(x + i + LANES);
    }
    for (; i < n; i += LANES)
        a += vf_load_mask(x + i, vm_first(n - i));
    return vf_sum(a + b);
}

static float sum_square_row(const float *x, int64_t n, float mean)
{
    vf a = {0}, b = {0};
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        vf p = vf_load(x + i) - mean, q = vf_load(x + i + LANES) - mean;
        a = vf_fma(p, p, a);
        b = vf_fma(q, q, b);
    }
    for (; i < n; i += LANES) {
        vm m = vm_first(n - i);
        vf p = vf_select(m, vf_load_mask(x + i, m) - mean, (vf){0});
        a = vf_fma(p, p, a);
    }
    return vf_sum(a + b);
}

static void norm_row(const struct mc_norm *m, int64_t r)
{
    const float *x = (const float *)m->x + r * m->n, *scale = m->scale, *bias = m->bias;
    float *y = (float *)m->y + r * m->n;
    float mean = m->rms ? 0 : sum_row(x, m->n) / (float)m->n;
    float inv = 1 / sqrtf(sum_square_row(x, m->n, mean) / (float)m->n + (float)m->eps);
    bool columns = m->channels == 0;
    vf s = vf_set1(!columns && scale ? scale[r % m->channels] : 1);
    vf b = vf_set1(!columns && bias ? bias[r % m->channels] : 0);
    for (int64_t i = 0; i < m->n; i += LANES) {
        vm k = vm_first(m->n - i);
        if (columns && scale)
            s = vf_load_mask(scale + i, k);
        if (columns && bias)
            b = vf_load_mask(bias + i, k);
        vf_store_mask(y + i, vf_fma((vf_load_mask(x + i, k) - mean) * inv, s, b), k);
    }
    if (m->mean)
        ((float *)m->mean)[r] = mean;
    if (m->inv_std)
        ((float *)m->inv_std)[r] = inv;
}

static void norm_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_norm *m = ctx;
    int64_t per = rows_per_chunk(m->n);
    for (int64_t r = chunk * per; r < (chunk + 1) * per && r < m->rows; r++)
        norm_row(m, r);
}

static void norm(const struct mc_norm *m, struct mc_pool *pool)
{
    struct mc_norm job = *m;
    run_rows(pool, m->rows, m->n, norm_chunk, &job);
}

/* ---- affine ---- */

/* Rows: of one channel, or (inner 1) of all channels. */
static void affine_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_affine *a = ctx;
    const float *scale = a->scale, *shift = a->shift;
    bool columns = a->inner == 1;
    int64_t n = columns ? a->channels : a->inner, per = rows_per_chunk(n);
    int64_t rows = columns ? a->outer : a->outer * a->channels;
    for (int64_t r = chunk * per; r < (chunk + 1) * per && r < rows; r++) {
        const float *x = (const float *)a->x + r * n;
        float *y = (float *)a->y + r * n;
        vf s = vf_set1(columns ? 1 : scale[r % a->channels]);
        vf t = vf_set1(columns ? 0 : shift[r % a->channels]);
        for (int64_t i = 0; i < n; i += LANES) {
            vm m = vm_first(n - i);
            if (columns) {
                s = vf_load_mask(scale + i, m);
                t = vf_load_mask(shift + i, m);
            }
            vf_store_mask(y + i, vf_fma(vf_load_mask(x + i, m), s, t), m);
        }
    }
}

static void affine(const struct mc_affine *a, struct mc_pool *pool)
{
    struct mc_affine job = *a;
    bool columns = a->inner == 1;
    run_rows(pool, columns ? a->outer : a->outer * a->channels, columns ? a->channels : a->inner,
             affine_chunk, &job);
}

/* ---- arg max, arg min ---- */

static int64_t argext_row(const struct mc_argext *a, const float *x)
{
    int64_t best = 0;
    float top = x[0];
    for (int64_t i = 1; i < a->n; i++) {
        float v = x[i * a->inner];
        bool better = a->smallest ? v < top : v > top;
        if (better || (a->last && v == top) || (isnan(top) && !isnan(v))) {
            best = i;
            top = v;
        }
    }
    return best;
}

static void argext_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_argext *a = ctx;
    int64_t per = rows_per_chunk(a->n), rows = a->outer * a->inner;
    for (int64_t r = chunk * per; r < (chunk + 1) * per && r < rows; r++)
        a->y[r] =
            argext_row(a, (const float *)a->x + r / a->inner * a->n * a->inner + r % a->inner);
}

static void argext(const struct mc_argext *a, struct mc_pool *pool)
{
    struct mc_argext job = *a;
    run_rows(pool, a->outer * a->inner, a->n, argext_chunk, &job);
}

void MC_CPU(mc_nn_fill)(struct mc_nn_kernels *k)
{
    *k = (struct mc_nn_kernels){MC_CPU(mc_nn_window),
                                softmax,
                                norm,
                                affine,
                                MC_CPU(mc_nn_reduce),
                                argext,
                                MC_CPU(mc_nn_lstm_cell),
                                MC_CPU(mc_nn_gru_reset),
                                MC_CPU(mc_nn_gru_cell),
                                MC_CPU(mc_nn_rnn_cell)};
}
