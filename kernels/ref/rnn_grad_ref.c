#include <stdbool.h>
#include <stddef.h>

#include "kernels/fill.h"
#include "kernels/ref/rnn_ref.h"
#include "kernels/rnn.h"

static bool is_active(const uint8_t *active, int64_t row)
{
    return !active || active[row];
}

static void lstm_cell(const struct mc_lstm_grad *g, int64_t row, int64_t j)
{
    int64_t n = g->hidden, at = row * n + j;
    const elem *a = (const elem *)g->acts + row * 4 * n + j, *p = g->peephole;
    elem *d = (elem *)g->dgates + row * 4 * n + j, *dh = (elem *)g->dh + at;
    elem *dc = (elem *)g->dc + at, before = ((const elem *)g->c_before)[at];
    if (!is_active(g->active, row)) {
        d[0] = d[n] = d[2 * n] = d[3 * n] = 0;
        return;
    }
    elem i = a[0], o = a[n], f = a[2 * n], z = a[3 * n];
    elem y = mc_rnn_of(&g->f[2], 0, ((const elem *)g->c)[at]);
    elem h = *dh + (g->dy ? ((const elem *)g->dy)[row * g->dy_row + j] : 0);
    d[n] = h * y * mc_rnn_slope_of(&g->f[0], o);
    elem c = *dc + h * o * mc_rnn_slope_of(&g->f[2], y) + (p ? d[n] * p[n + j] : 0);
    d[0] = (c * z - (g->input_forget ? c * before : 0)) * mc_rnn_slope_of(&g->f[0], i);
    d[2 * n] = g->input_forget ? 0 : c * before * mc_rnn_slope_of(&g->f[0], f);
    d[3 * n] = c * i * mc_rnn_slope_of(&g->f[1], z);
    *dc = c * f + (p ? d[0] * p[j] + d[2 * n] * p[2 * n + j] : 0);
    *dh = 0;
}

static void lstm_grad(const struct mc_lstm_grad *g, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t i = 0; i < g->batch * g->hidden; i++)
        lstm_cell(g, i / g->hidden, i % g->hidden);
}

static void gru_grad(const struct mc_gru_grad *g, struct mc_pool *pool)
{
    (void)pool;
    int64_t n = g->hidden;
    for (int64_t i = 0; i < g->batch * n; i++) {
        int64_t row = i / n, j = i % n;
        const elem *a = (const elem *)g->acts + row * 3 * n + j;
        elem *d = (elem *)g->dgates + row * 3 * n + j, *dh = (elem *)g->dh + i;
        elem *dq = g->dproduct ? (elem *)g->dproduct + i : NULL;
        if (!is_active(g->active, row)) {
            d[0] = d[n] = d[2 * n] = 0;
            if (dq)
                *dq = 0;
            continue;
        }
        elem h = *dh + (g->dy ? ((const elem *)g->dy)[row * g->dy_row + j] : 0);
        elem z = a[0], r = a[n], now = a[2 * n];
        d[0] = h * (((const elem *)g->h_before)[i] - now) * mc_rnn_slope_of(&g->f[0], z);
        d[2 * n] = h * (1 - z) * mc_rnn_slope_of(&g->f[1], now);
        *dh = h * z;
        if (!g->product)
            continue;
        d[n] = d[2 * n] * ((const elem *)g->product)[i] * mc_rnn_slope_of(&g->f[0], r);
        *dq = d[2 * n] * r;
    }
}

static void gru_reset_grad(const struct mc_gru_grad *g, struct mc_pool *pool)
{
    (void)pool;
    int64_t n = g->hidden;
    for (int64_t i = 0; i < g->batch * n; i++) {
        int64_t row = i / n, j = i % n;
        bool active = is_active(g->active, row);
        elem r = ((const elem *)g->acts)[row * 3 * n + n + j], h = ((const elem *)g->h_before)[i];
        elem d = active ? ((const elem *)g->dreset)[i] : 0;
        ((elem *)g->dgates)[row * 3 * n + n + j] =
            active ? d * h * mc_rnn_slope_of(&g->f[0], r) : 0;
        ((elem *)g->reset)[i] = active ? r * h : 0;
        if (active)
            ((elem *)g->dh)[i] += d * r;
    }
}

static void rnn_grad(const struct mc_rnn_grad *g, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t i = 0; i < g->batch * g->hidden; i++) {
        int64_t row = i / g->hidden, j = i % g->hidden;
        elem *d = (elem *)g->dgates + i, *dh = (elem *)g->dh + i;
        if (!is_active(g->active, row)) {
            *d = 0;
            continue;
        }
        *d = (*dh + (g->dy ? ((const elem *)g->dy)[row * g->dy_row + j] : 0)) *
             mc_rnn_slope_of(&g->f, ((const elem *)g->h)[i]);
        *dh = 0;
    }
}

static void column_sum(const struct mc_column_sum *s, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t j = 0; j < s->n; j++) {
        elem sum = 0;
        for (int64_t r = 0; r < s->rows; r++)
            sum += ((const elem *)s->a)[r * s->a_row + j] *
                   (s->b ? ((const elem *)s->b)[r * s->b_row + j] : 1);
        ((elem *)s->sum)[j] = sum;
    }
}

static void gate_spread(const struct mc_gate_spread *s, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t i = 0; i < s->gates * s->hidden; i++) {
            elem *to = (elem *)s->to + r * s->to_row + i;
            elem z = ((const elem *)s->z)[r * s->hidden + i % s->hidden];
            elem sum = s->add ? *to : 0;
            if (s->bias)
                sum += ((const elem *)s->bias)[i];
            *to = sum + ((const elem *)s->scale)[i] * z;
        }
}

void MC_REF(mc_rnn_fill)(struct mc_rnn_kernels *k)
{
    *k = (struct mc_rnn_kernels){.lstm_grad = lstm_grad,
                                 .gru_grad = gru_grad,
                                 .gru_reset_grad = gru_reset_grad,
                                 .rnn_grad = rnn_grad,
                                 .column_sum = column_sum,
                                 .gate_spread = gate_spread};
}
