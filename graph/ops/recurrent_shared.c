#include "graph/ops/recurrent_shared.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/pack.h"
#include "graph/ops/recurrent_step.h"

/* A product of two floats is off by half an epsilon, and so is what it is compared with; twice that to be sure of the
 * scale, which is of such products as well. */
static const double ROUNDINGS = 2;

struct gates {     /* of one direction */
    const void *w; /* [gates, n, k] */
    int64_t gates, n, k;
    bool wide; /* f64 */
};

static double at(const struct gates *g, int64_t gate, int64_t unit, int64_t j)
{
    int64_t i = (gate * g->n + unit) * g->k + j;
    return g->wide ? ((const double *)g->w)[i] : (double)((const float *)g->w)[i];
}

/* The gate whose row of the unit is largest. */
static int64_t largest(const struct gates *g, int64_t unit, double *ret_square)
{
    int64_t best = 0;
    *ret_square = -1;
    for (int64_t i = 0; i < g->gates; i++) {
        double sum = 0;
        for (int64_t j = 0; j < g->k; j++)
            sum += at(g, i, unit, j) * at(g, i, unit, j);
        if (sum > *ret_square) {
            *ret_square = sum;
            best = i;
        }
    }
    return best;
}

/* Scales of a unit's rows against the largest; false where one is no multiple of it. */
static bool measure(const struct gates *g, int64_t unit, int64_t *ret_first, double *scale)
{
    double square, eps = ROUNDINGS * (g->wide ? DBL_EPSILON : (double)FLT_EPSILON);
    int64_t first = largest(g, unit, &square);
    *ret_first = first;
    if (!isfinite(square))
        return false;
    for (int64_t i = 0; i < g->gates; i++) {
        double sum = 0;
        for (int64_t j = 0; j < g->k; j++)
            sum += at(g, i, unit, j) * at(g, first, unit, j);
        scale[i] = square > 0 ? sum / square : 0;
        for (int64_t j = 0; j < g->k; j++) {
            double w = at(g, i, unit, j);
            if (!(fabs(w - scale[i] * at(g, first, unit, j)) <= eps * fabs(w)))
                return false;
        }
    }
    return true;
}

static bool is_shared(const struct gates *g)
{
    enum { MOST = 4 };
    double scale[MOST];
    int64_t first;
    bool all = g->gates > 1 && g->gates <= MOST;
    for (int64_t u = 0; all && u < g->n; u++)
        all = measure(g, u, &first, scale);
    return all;
}

static void put(void *to, int64_t i, double v, bool wide)
{
    if (wide)
        ((double *)to)[i] = v;
    else
        ((float *)to)[i] = (float)v;
}

static size_t scale_bytes(const struct gates *g)
{
    size_t bytes = (size_t)(g->gates * g->n) * (g->wide ? sizeof(double) : sizeof(float));
    return (bytes + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

/* Scales, then the packed matrix [n,k]ᵀ; rows [n,k] is where it lies before. */
static void fill(const struct mc_call *c, const struct gates *g, void *rows, void *block)
{
    double scale[4];
    int64_t first;
    for (int64_t u = 0; u < g->n; u++) {
        measure(g, u, &first, scale);
        for (int64_t i = 0; i < g->gates; i++)
            put(block, i * g->n + u, scale[i], g->wide);
        for (int64_t j = 0; j < g->k; j++)
            put(rows, u * g->k + j, at(g, first, u, j), g->wide);
    }
    c->k->gemm.pack_b(g->k, g->n, rows, 1, g->k, (char *)block + scale_bytes(g), c->pool);
}

int mc_rnn_shared_find(struct mc_call *c, const struct mc_rnn_node *l, bool recurrent, int dir,
                       const void **ret_block, const void **ret_scale, struct mc_err *err)
{
    const struct mc_buf *b = &c->in[recurrent ? MC_RNN_IN_R : MC_RNN_IN_W];
    struct gates g = {.gates = recurrent ? mc_rnn_part_gates(l, 0) : l->gates,
                      .n = l->hidden,
                      .k = recurrent ? l->hidden : l->input,
                      .wide = c->k->elem_bytes == sizeof(double)};
    *ret_block = *ret_scale = NULL;
    if (!b->constant)
        return 0;
    g.w = (const char *)b->data + dir * l->gates * g.n * g.k * c->k->elem_bytes;
    if (!is_shared(&g))
        return 0;
    const int64_t layout[] = {MC_PACK_GATES, recurrent, dir, g.gates, g.n, g.k};
    size_t bytes = scale_bytes(&g) + c->k->gemm.pack_b_bytes(g.k, g.n);
    void *block;
    bool fresh;
    /* Before there is a block that others would find without content. */
    void *rows = mc_calloc((size_t)(g.n * g.k), (size_t)c->k->elem_bytes);
    if (!rows)
        return mc_fail(err, MC_ENOMEM, "out of memory for gates");
    int rc = mc_pack_get(c->packs, b->data, layout, 6, bytes, &block, &fresh, err);
    if (!rc && fresh)
        fill(c, &g, rows, block);
    free(rows);
    if (rc)
        return rc;
    *ret_scale = block;
    *ret_block = (char *)block + scale_bytes(&g);
    return 0;
}
