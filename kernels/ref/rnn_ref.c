#include "kernels/ref/rnn_ref.h"

#include <stdbool.h>
#include <stddef.h>

static void lstm_row(const struct mc_lstm_cell *l, int64_t row)
{
    int64_t n = l->hidden;
    const elem *g = (const elem *)l->gates + row * 4 * n, *p = l->peephole;
    elem *c = (elem *)l->c + row * n, *h = (elem *)l->h + row * n;
    elem *y = l->y ? (elem *)l->y + row * l->y_row : NULL;
    elem *acts = l->acts ? (elem *)l->acts + row * 4 * n : NULL;
    const elem *c_before = l->c_before ? (const elem *)l->c_before + row * n : c;
    const elem *h_before = l->h_before ? (const elem *)l->h_before + row * n : h;
    bool skip = l->active && !l->active[row];
    for (int64_t j = 0; j < n; j++) {
        if (!skip) {
            elem old = c_before[j];
            elem i = mc_rnn_of(&l->f[0], l->clip, g[j] + (p ? p[j] * old : 0));
            elem f = l->input_forget ? 1 - i
                                     : mc_rnn_of(&l->f[0], l->clip,
                                                 g[2 * n + j] + (p ? p[2 * n + j] * old : 0));
            elem z = mc_rnn_of(&l->f[1], l->clip, g[3 * n + j]);
            c[j] = f * old + i * z;
            elem o = mc_rnn_of(&l->f[0], l->clip, g[n + j] + (p ? p[n + j] * c[j] : 0));
            h[j] = o * mc_rnn_of(&l->f[2], 0, c[j]);
            if (acts) {
                acts[j] = i;
                acts[n + j] = o;
                acts[2 * n + j] = f;
                acts[3 * n + j] = z;
            }
        } else {
            c[j] = c_before[j];
            h[j] = h_before[j];
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
        const elem *h = g->h_before ? g->h_before : g->h;
        ((elem *)g->reset)[i] = mc_rnn_of(&g->f[0], g->clip, r) * h[i];
    }
}

void MC_REF(mc_gru_cell)(const struct mc_gru_cell *g, struct mc_pool *pool)
{
    (void)pool;
    int64_t n = g->hidden;
    const elem *before = g->h_before ? g->h_before : g->h;
    elem *h = g->h;
    for (int64_t i = 0; i < g->batch * n; i++) {
        int64_t row = i / n, j = i % n;
        const elem *gate = (const elem *)g->gates + row * 3 * n + j;
        bool skip = g->active && !g->active[row];
        if (!skip) {
            elem sum = gate[2 * n], z = mc_rnn_of(&g->f[0], g->clip, gate[0]);
            elem r = mc_rnn_of(&g->f[0], g->clip, gate[n]);
            if (g->product)
                sum += r * ((const elem *)g->product)[i];
            sum = mc_rnn_of(&g->f[1], g->clip, sum);
            h[i] = z * before[i] + (1 - z) * sum;
            if (g->acts) {
                elem *acts = (elem *)g->acts + row * 3 * n + j;
                acts[0] = z;
                acts[n] = r;
                acts[2 * n] = sum;
            }
        } else {
            h[i] = before[i];
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
            h[i] = mc_rnn_of(&r->f, r->clip, ((const elem *)r->gates)[i]);
        else if (r->h_before)
            h[i] = ((const elem *)r->h_before)[i];
        if (r->y)
            ((elem *)r->y)[row * r->y_row + i % r->hidden] = skip ? 0 : h[i];
    }
}
