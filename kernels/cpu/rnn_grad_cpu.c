/* One step back through LSTM, GRU and RNN: the gates of LANES cells at a time. */
#include "kernels/cpu/rnn_cpu.h"
#include "kernels/fill.h"
#include "kernels/rnn.h"

/* f'(x) from y = f(x). */
static inline vf slope(const struct mc_rnn_fn *f, vf y)
{
    vf zero = {0}, one = vf_set1(1);
    float a = (float)f->a, b = (float)f->b;
    switch (f->act) {
    case MC_RNN_SIGMOID: return y - y * y;
    case MC_RNN_TANH: return one - y * y;
    case MC_RNN_RELU: return vf_select(vf_lt(zero, y), one, zero);
    case MC_RNN_AFFINE: return vf_set1(a);
    case MC_RNN_LEAKY: return vf_select(vf_lt(y, zero), vf_set1(a), one);
    case MC_RNN_THRESHOLDED:
        return vf_select(vf_lt(y, zero), one, vf_select(vf_lt(zero, y), one, zero));
    case MC_RNN_SCALED_TANH: return a < 0 || a > 0 ? a * b * (one - y / a * (y / a)) : zero;
    case MC_RNN_HARD_SIGMOID:
        return vf_select(vf_lt(zero, y), vf_select(vf_lt(y, one), vf_set1(a), zero), zero);
    case MC_RNN_ELU: return vf_select(vf_lt(y, zero), y + a, one);
    case MC_RNN_SOFTSIGN: return (one - vf_abs(y)) * (one - vf_abs(y));
    case MC_RNN_SOFTPLUS: return -vf_expm1_negative(-y);
    case MC_RNN_COUNT: break;
    }
    return one;
}

static void clear(float *x, int64_t n)
{
    memset(x, 0, (size_t)n * sizeof *x);
}

static const float *row_of(const void *x, int64_t row, int64_t step)
{
    return x ? (const float *)x + row * step : NULL;
}

static void lstm_row(const struct mc_lstm_grad *g, int64_t row)
{
    int64_t n = g->hidden;
    const float *a = row_of(g->acts, row, 4 * n), *p = g->peephole;
    const float *c = row_of(g->c, row, n), *before = row_of(g->c_before, row, n);
    const float *dy = row_of(g->dy, row, g->dy_row);
    float *d = (float *)g->dgates + row * 4 * n, *dh = (float *)g->dh + row * n;
    float *dc = (float *)g->dc + row * n;
    if (g->active && !g->active[row]) {
        clear(d, 4 * n);
        return;
    }
    for (int64_t j = 0; j < n; j += LANES) {
        vm m = vm_first(n - j);
        vf i = vf_load_mask(a + j, m), o = vf_load_mask(a + n + j, m);
        vf f = vf_load_mask(a + 2 * n + j, m), z = vf_load_mask(a + 3 * n + j, m);
        vf y = rnn_apply(&g->f[2], 0, vf_load_mask(c + j, m)), old = vf_load_mask(before + j, m);
        vf h = vf_load_mask(dh + j, m), di, df = {0};
        if (dy)
            h += vf_load_mask(dy + j, m);
        vf out = h * y * slope(&g->f[0], o);
        vf cell = vf_fma(h * o, slope(&g->f[2], y), vf_load_mask(dc + j, m));
        if (p)
            cell = vf_fma(out, vf_load_mask(p + n + j, m), cell);
        di = cell * (g->input_forget ? z - old : z) * slope(&g->f[0], i);
        if (!g->input_forget)
            df = cell * old * slope(&g->f[0], f);
        vf now = cell * f;
        if (p) {
            now = vf_fma(di, vf_load_mask(p + j, m), now);
            now = vf_fma(df, vf_load_mask(p + 2 * n + j, m), now);
        }
        vf_store_mask(d + j, di, m);
        vf_store_mask(d + n + j, out, m);
        vf_store_mask(d + 2 * n + j, df, m);
        vf_store_mask(d + 3 * n + j, cell * i * slope(&g->f[1], z), m);
        vf_store_mask(dc + j, now, m);
    }
    clear(dh, n);
}

static void gru_row(const struct mc_gru_grad *g, int64_t row)
{
    int64_t n = g->hidden;
    const float *a = row_of(g->acts, row, 3 * n), *before = row_of(g->h_before, row, n);
    const float *q = row_of(g->product, row, n), *dy = row_of(g->dy, row, g->dy_row);
    float *d = (float *)g->dgates + row * 3 * n, *dh = (float *)g->dh + row * n;
    float *dq = g->product ? (float *)g->dproduct + row * n : NULL;
    if (g->active && !g->active[row]) {
        clear(d, 3 * n);
        if (dq)
            clear(dq, n);
        return;
    }
    for (int64_t j = 0; j < n; j += LANES) {
        vm m = vm_first(n - j);
        vf z = vf_load_mask(a + j, m), r = vf_load_mask(a + n + j, m);
        vf now = vf_load_mask(a + 2 * n + j, m), h = vf_load_mask(dh + j, m);
        if (dy)
            h += vf_load_mask(dy + j, m);
        vf dz = h * (vf_load_mask(before + j, m) - now) * slope(&g->f[0], z);
        vf dn = h * (1 - z) * slope(&g->f[1], now);
        vf_store_mask(d + j, dz, m);
        vf_store_mask(d + 2 * n + j, dn, m);
        vf_store_mask(dh + j, h * z, m);
        if (q) {
            vf dr = dn * vf_load_mask(q + j, m) * slope(&g->f[0], r);
            vf_store_mask(d + n + j, dr, m);
            vf_store_mask(dq + j, dn * r, m);
        }
    }
}

static void reset_row(const struct mc_gru_grad *g, int64_t row)
{
    int64_t n = g->hidden;
    const float *a = row_of(g->acts, row, 3 * n), *before = row_of(g->h_before, row, n);
    const float *dreset = row_of(g->dreset, row, n);
    float *d = (float *)g->dgates + row * 3 * n + n, *dh = (float *)g->dh + row * n;
    float *reset = (float *)g->reset + row * n;
    if (g->active && !g->active[row]) {
        clear(d, n);
        clear(reset, n);
        return;
    }
    for (int64_t j = 0; j < n; j += LANES) {
        vm m = vm_first(n - j);
        vf r = vf_load_mask(a + n + j, m), h = vf_load_mask(before + j, m);
        vf to = vf_load_mask(dreset + j, m);
        vf_store_mask(d + j, to * h * slope(&g->f[0], r), m);
        vf_store_mask(reset + j, r * h, m);
        vf_store_mask(dh + j, vf_fma(to, r, vf_load_mask(dh + j, m)), m);
    }
}

static void rnn_row(const struct mc_rnn_grad *g, int64_t row)
{
    int64_t n = g->hidden;
    const float *h = row_of(g->h, row, n), *dy = row_of(g->dy, row, g->dy_row);
    float *d = (float *)g->dgates + row * n, *dh = (float *)g->dh + row * n;
    if (g->active && !g->active[row]) {
        clear(d, n);
        return;
    }
    for (int64_t j = 0; j < n; j += LANES) {
        vm m = vm_first(n - j);
        vf to = vf_load_mask(dh + j, m);
        if (dy)
            to += vf_load_mask(dy + j, m);
        vf_store_mask(d + j, to * slope(&g->f, vf_load_mask(h + j, m)), m);
    }
    clear(dh, n);
}

struct job {
    const struct mc_lstm_grad *lstm;
    const struct mc_gru_grad *gru, *reset;
    const struct mc_rnn_grad *rnn;
    int64_t batch, per; /* rows; in a chunk */
};

static void grad_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    for (int64_t r = chunk * j->per; r < (chunk + 1) * j->per && r < j->batch; r++) {
        if (j->lstm)
            lstm_row(j->lstm, r);
        else if (j->gru)
            gru_row(j->gru, r);
        else if (j->reset)
            reset_row(j->reset, r);
        else
            rnn_row(j->rnn, r);
    }
}

static void run(struct job *j, int64_t hidden, struct mc_pool *pool)
{
    j->per = rnn_chunk_rows(hidden);
    mc_pool_run(pool, (j->batch + j->per - 1) / j->per, grad_chunk, j);
}

static void lstm_grad(const struct mc_lstm_grad *g, struct mc_pool *pool)
{
    run(&(struct job){.lstm = g, .batch = g->batch}, g->hidden, pool);
}

static void gru_grad(const struct mc_gru_grad *g, struct mc_pool *pool)
{
    run(&(struct job){.gru = g, .batch = g->batch}, g->hidden, pool);
}

static void gru_reset_grad(const struct mc_gru_grad *g, struct mc_pool *pool)
{
    run(&(struct job){.reset = g, .batch = g->batch}, g->hidden, pool);
}

static void rnn_grad(const struct mc_rnn_grad *g, struct mc_pool *pool)
{
    run(&(struct job){.rnn = g, .batch = g->batch}, g->hidden, pool);
}

/* ---- sums of columns ---- */

enum {
    BLOCK = 4,
    PART = 128
}; /* vectors side by side; rows summed before their sum is added to the others' */

static void sum_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct mc_column_sum *s = ctx;
    vf sum[BLOCK] = {{0}};
    vm m[BLOCK];
    int64_t first = chunk * BLOCK * LANES;
    for (int k = 0; k < BLOCK; k++)
        m[k] = vm_first(s->n - first - k * LANES);
    for (int64_t from = 0; from < s->rows; from += PART) {
        vf part[BLOCK] = {{0}};
        for (int64_t r = from; r < from + PART && r < s->rows; r++)
            for (int k = 0; k < BLOCK; k++) {
                int64_t at = first + k * LANES;
                vf v = vf_load_mask((const float *)s->a + r * s->a_row + at, m[k]);
                if (s->b)
                    v *= vf_load_mask((const float *)s->b + r * s->b_row + at, m[k]);
                part[k] += v;
            }
        for (int k = 0; k < BLOCK; k++)
            sum[k] += part[k];
    }
    for (int k = 0; k < BLOCK; k++)
        vf_store_mask((float *)s->sum + first + k * LANES, sum[k], m[k]);
}

static void column_sum(const struct mc_column_sum *s, struct mc_pool *pool)
{
    struct mc_column_sum job = *s;
    mc_pool_run(pool, (s->n + BLOCK * LANES - 1) / (BLOCK * LANES), sum_chunk, &job);
}

static void spread_row(void *ctx, int64_t row, int worker)
{
    (void)worker;
    const struct mc_gate_spread *s = ctx;
    const float *z = (const float *)s->z + row * s->hidden;
    for (int64_t i = 0; i < s->gates; i++) {
        const float *scale = (const float *)s->scale + i * s->hidden;
        const float *bias = s->bias ? (const float *)s->bias + i * s->hidden : NULL;
        float *to = (float *)s->to + row * s->to_row + i * s->hidden;
        for (int64_t j = 0; j < s->hidden; j += LANES) {
            vm m = vm_first(s->hidden - j);
            vf sum = vf_load_mask(scale + j, m) * vf_load_mask(z + j, m);
            if (bias)
                sum += vf_load_mask(bias + j, m);
            if (s->add)
                sum += vf_load_mask(to + j, m);
            vf_store_mask(to + j, sum, m);
        }
    }
}

static void gate_spread(const struct mc_gate_spread *s, struct mc_pool *pool)
{
    struct mc_gate_spread job = *s;
    mc_pool_run(pool, s->rows, spread_row, &job);
}

void MC_CPU(mc_rnn_fill)(struct mc_rnn_kernels *k)
{
    k->lstm_grad = lstm_grad;
    k->gru_grad = gru_grad;
    k->gru_reset_grad = gru_reset_grad;
    k->rnn_grad = rnn_grad;
    k->column_sum = column_sum;
    k->gate_spread = gate_spread;
}
