#include "kernels/ref/rnn_ref.h"

#include <stdbool.h>
#include <stddef.h>

static elem rnn_ref(const struct mc_rnn_fn *f, double clip, elem x)
{
    elem a = (elem)f->a, b = (elem)f->b, limit = (elem)clip;
    if (clip > 0)
        x = x > limit ? limit : x < -limit ? -limit : x;
    switch (f->act) {
    case MC_RNN_SIGMOID: return sigmoid_ref(x);
    case MC_RNN_TANH: return tanh(x);
    case MC_RNN_RELU: return x < 0 ? 0 : x;
    case MC_RNN_AFFINE: return a * x + b;
    case MC_RNN_LEAKY: return x < 0 ? a * x : x;
    case MC_RNN_THRESHOLDED: return x <= a ? 0 : x;
    case MC_RNN_SCALED_TANH: return a * tanh(b * x);
    case MC_RNN_HARD_SIGMOID: x = a * x + b; return x < 0 ? 0 : x > 1 ? 1 : x;
    case MC_RNN_ELU: return x < 0 ? a * expm1(x) : x;
    case MC_RNN_SOFTSIGN: return x / (1 + fabs(x));
    case MC_RNN_SOFTPLUS: return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
    case MC_RNN_COUNT: break;
    }
    return x;
}

static void lstm_row(const struct mc_lstm_cell *l, int64_t row)
{
    int64_t n = l->hidden;
    const elem *g = (const elem *)l->gates + row * 4 * n, *p = l->peephole;
    elem *c = (elem *)l->c + row * n, *h = (elem *)l->h + row * n;
    elem *y = l->y ? (elem *)l->y + row * l->y_row : NULL;
    bool skip = l->active && !l->active[row];
    for (int64_t j = 0; j < n; j++) {
        if (!skip) {
            elem old = c[j];
            elem i = rnn_ref(&l->f[0], l->clip, g[j] + (p ? p[j] * old : 0));
            elem f = l->input_forget
                         ? 1 - i
                         : rnn_ref(&l->f[0], l->clip, g[2 * n + j] + (p ? p[2 * n + j] * old : 0));
            c[j] = f * old + i * rnn_ref(&l->f[1], l->clip, g[3 * n + j]);
            elem o = rnn_ref(&l->f[0], l->clip, g[n + j] + (p ? p[n + j] * c[j] : 0));
            h[j] = o * rnn_ref(&l->f[2], 0, c[j]);
        }
        if (y)
            y[j] = skip ? 0 : h[j];
    }
}

void MC_REF(mc_lstm_cell)(const struct mc_lstm_cell *l, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t row = 0; row < l->batch; row++)
        lstm_row(l, row);
}

void MC_REF(mc_gru_reset)(const struct mc_gru_cell *g, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t i = 0; i < g->batch * g->hidden; i++) {
        int64_t row = i / g->hidden;
        elem r = ((const elem *)g->gates)[i + (2 * row + 1) * g->hidden];
        ((elem *)g->reset)[i] = rnn_ref(&g->f[0], g->clip, r) * ((const elem *)g->h)[i];
    }
}

void MC_REF(mc_gru_cell)(const struct mc_gru_cell *g, struct mc_pool *pool)
{
    (void)pool;
    int64_t n = g->hidden;
    elem *h = g->h;
    for (int64_t i = 0; i < g->batch * n; i++) {
        int64_t row = i / n, j = i % n;
        const elem *gate = (const elem *)g->gates + row * 3 * n + j;
        bool skip = g->active && !g->active[row];
        if (!skip) {
            elem sum = gate[2 * n], z = rnn_ref(&g->f[0], g->clip, gate[0]);
            if (g->product)
                sum += rnn_ref(&g->f[0], g->clip, gate[n]) * ((const elem *)g->product)[i];
            h[i] = z * h[i] + (1 - z) * rnn_ref(&g->f[1], g->clip, sum);
        }
        if (g->y)
            ((elem *)g->y)[row * g->y_row + j] = skip ? 0 : h[i];
    }
}

void MC_REF(mc_rnn_cell)(const struct mc_rnn_cell *r, struct mc_pool *pool)
{
    (void)pool;
    elem *h = r->h;
    for (int64_t i = 0; i < r->batch * r->hidden; i++) {
        int64_t row = i / r->hidden;
        bool skip = r->active && !r->active[row];
        if (!skip)
            h[i] = rnn_ref(&r->f, r->clip, ((const elem *)r->gates)[i]);
        if (r->y)
            ((elem *)r->y)[row * r->y_row + i % r->hidden] = skip ? 0 : h[i];
    }
}
