#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "graph/constant.h"
#include "kernels/linalg.h"
#include "passes/fit/covariance.h"
#include "passes/prune/prune_repair_parts.h"

/* What the gates of a cell sum up is no value that could be observed, so states that stay make up for those that went as far as
 * they say what those were: with h of the model before, of which k stays and g went, R_k + R_g C_gk (C_kk + ridge)⁻¹ takes
 * the place of R_k, and the bias the mean that is left. */

struct cell {
    struct mc_repair *r;
    struct mc_node *n, *was;
    struct mc_value *weight, *bias; /* R; B or NULL */
    int64_t parts, gates, states;   /* directions; gates and states of the model before */
    int64_t kept, gone, *index;     /* [states] those that stay, then those that went */
    float *full, *left, *b;         /* R before, R and B now */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static bool find(struct mc_repair *r, struct mc_node *n, struct cell *c)
{
    bool lstm = mc_node_is(n, "LSTM"), gru = mc_node_is(n, "GRU");
    *c = (struct cell){.r = r, .n = n, .gates = lstm ? 4 : gru ? 3 : 1};
    if ((!lstm && !gru && !mc_node_is(n, "RNN")) || n->n_in < 3 || !n->in[2] || !n->out[0])
        return false;
    const struct mc_value *y = mc_repair_was(r, n->out[0]);
    c->weight = n->in[2];
    c->bias = n->n_in > 3 ? n->in[3] : NULL;
    c->was = y ? y->producer : NULL;
    if (!c->was || !mc_node_is(c->was, n->op_type) || !mc_constant(c->weight) ||
        c->weight->n_uses != 1 || !mc_repair_lost(r, c->weight, 2))
        return false;
    if (c->bias && (!mc_constant(c->bias) || c->bias->n_uses != 1))
        c->bias = NULL;
    const struct mc_shape *s = &mc_constant(c->was->in[2])->shape;
    c->parts = s->dim[0];
    c->states = s->dim[2];
    return s->dim[1] == c->gates * c->states;
}

static int places(struct cell *c, struct mc_err *err)
{
    const struct mc_units *u = mc_coupling_axis(c->r->c, c->was->in[2], 2);
    int64_t *stay = NULL;
    c->kept = mc_cut_kept(u, c->states, c->r->gone, &stay);
    c->index = mc_calloc((size_t)c->states, sizeof *c->index);
    if (c->kept < 0 || !c->index || !stay) {
        free(stay);
        return no_memory(err);
    }
    memcpy(c->index, stay, (size_t)c->kept * sizeof *stay);
    int64_t next = 0;
    for (int64_t i = 0; i < c->states; i++)
        if (next < c->kept && stay[next] == i)
            next++;
        else
            c->index[c->kept + c->gone++] = i;
    free(stay);
    return 0;
}

static float covariance(const struct mc_cov *v, int64_t i, int64_t j)
{
    const float *s = mc_storage_data(v->second->storage);
    return i > j ? s[i * v->n + j] : s[j * v->n + i];
}

/* *ret [gone,kept] = C_gk (C_kk + ridge)⁻¹ */
static int predict(const struct cell *c, const struct mc_cov *v, float *ret, struct mc_err *err)
{
    int64_t k = c->kept;
    float *a = mc_calloc((size_t)k, (size_t)k * sizeof *a);
    double trace = 0;
    if (!a)
        return no_memory(err);
    for (int64_t i = 0; i < k; i++) {
        for (int64_t j = 0; j <= i; j++)
            a[i * k + j] = covariance(v, c->index[i], c->index[j]);
        trace += a[i * k + i];
    }
    for (int64_t i = 0; i < k; i++)
        a[i * k + i] += (float)(0.1 * mc_refit_ridge(k, v->rows) * trace / (double)k);
    for (int64_t i = 0; i < c->gone; i++)
        for (int64_t j = 0; j < k; j++)
            ret[i * k + j] = covariance(v, c->index[k + i], c->index[j]);
    int rc = mc_linalg_cholesky(c->r->la, k, a, k, err);
    if (!rc)
        rc = mc_linalg_trsm(c->r->la, 'r', 't', c->gone, k, a, k, ret, k, err);
    if (!rc)
        rc = mc_linalg_trsm(c->r->la, 'r', 'n', c->gone, k, a, k, ret, k, err);
    free(a);
    return rc;
}

static int make_up(struct cell *c, int64_t part, const struct mc_cov *v, struct mc_err *err)
{
    int64_t k = c->kept, g = c->gone, rows = c->gates * k;
    float *p = mc_calloc((size_t)g + 1, (size_t)k * sizeof *p);
    int rc = p ? predict(c, v, p, err) : no_memory(err);
    for (int64_t row = 0; !rc && row < rows; row++) {
        int64_t from = row / k * c->states + c->index[row % k];
        const float *full = c->full + (part * c->gates * c->states + from) * c->states;
        float *left = c->left + (part * rows + row) * k;
        double mean = 0;
        for (int64_t i = 0; i < g; i++) {
            float w = full[c->index[k + i]];
            mean += w * v->mean[c->index[k + i]];
            for (int64_t j = 0; j < k; j++) {
                left[j] += w * p[i * k + j];
                mean -= (double)w * p[i * k + j] * v->mean[c->index[j]];
            }
        }
        if (c->b) /* of [W's, R's] */
            c->b[part * 2 * rows + rows + row] += (float)mean;
    }
    free(p);
    return rc;
}

static int gather(struct cell *c, struct mc_err *err)
{
    struct mc_cov *v = mc_calloc((size_t)c->parts, sizeof *v);
    struct mc_cov_opts o = {.pool = c->r->ctx->pool, .samples = c->r->samples};
    if (!v)
        return no_memory(err);
    for (int64_t i = 0; i < c->parts; i++)
        v[i] = (struct mc_cov){.node = c->was,
                               .x = c->was->out[0],
                               .n = c->states,
                               .part = (int)i,
                               .parts = (int)c->parts};
    int rc = mc_cov_gather(c->r->before->graph, c->r->data, c->r->la, v, (size_t)c->parts, &o, err);
    for (int64_t i = 0; !rc && i < c->parts; i++)
        rc = make_up(c, i, &v[i], err);
    for (int64_t i = 0; i < c->parts; i++)
        mc_cov_release(&v[i]);
    free(v);
    return rc;
}

int mc_repair_cell(struct mc_repair *r, struct mc_node *n, enum mc_repair_result *ret,
                   struct mc_err *err)
{
    struct cell c;
    int64_t count;
    if (!find(r, n, &c))
        return 0;
    *ret = MC_REPAIR_SKIPPED;
    int rc = mc_interrupt_check(err);
    rc = rc ? rc : places(&c, err);
    rc = rc ? rc : mc_constant_f32(c.was->in[2], &c.full, &count, err);
    rc = rc ? rc : mc_constant_f32(c.weight, &c.left, &count, err);
    rc = rc || !c.bias ? rc : mc_constant_f32(c.bias, &c.b, &count, err);
    rc = rc ? rc : mc_repair_keep(r, c.weight, err);
    rc = rc ? rc : mc_repair_keep(r, c.bias, err);
    rc = rc ? rc : gather(&c, err);
    rc = rc ? rc : mc_repair_put(r, c.weight, c.left, err);
    rc = rc || !c.bias ? rc : mc_repair_put(r, c.bias, c.b, err);
    if (!rc)
        *ret = MC_REPAIR_FITTED;
    free(c.index);
    free(c.full);
    free(c.left);
    free(c.b);
    return rc;
}
