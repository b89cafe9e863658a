#include <math.h>
#include <stdlib.h>

#include "graph/infer.h"
#include "passes/fit/one_sample.h"
#include "passes/layer/layer.h"

/* -1 where one is unknown, or for more than there are numbers for. */
static int64_t product(const int64_t *dim, int n)
{
    int64_t p = 1;
    for (int i = 0; i < n; i++)
        if (p < 0 || dim[i] < 0 || __builtin_mul_overflow(p, dim[i], &p))
            p = -1;
    return p;
}

/* Does the node take the last axis of its input, m long, apart into 2 or 3 equal parts? By Split, or by a Reshape to
 * [.., parts, .., ..]. */
static int parts_of(const struct mc_infer *inf, const struct mc_node *n, const struct mc_value *x,
                    int64_t m)
{
    const struct mc_vtype *from = mc_infer_of(inf, x);
    const struct mc_vtype *to = n->n_out && n->out[0] ? mc_infer_of(inf, n->out[0]) : NULL;
    if (!to || !to->ranked || !from->ranked || n->in[0] != x)
        return 0;
    const int64_t *dim = to->shape.dim;
    int rank = to->shape.rank;
    bool fits = false;
    int64_t parts = 0;
    if (mc_node_is(n, "Split")) {
        parts = (int64_t)n->n_out;
        fits = rank == from->shape.rank;
        for (size_t i = 0; fits && i < n->n_out; i++) {
            const struct mc_vtype *t = n->out[i] ? mc_infer_of(inf, n->out[i]) : to;
            fits = t->ranked && t->shape.rank == rank && m % parts == 0 &&
                   t->shape.dim[rank - 1] == m / parts;
        }
    } else if (mc_node_is(n, "Reshape")) {
        int64_t behind = 1;
        for (int i = rank - 1; i > 0 && !fits && dim[i] > 0 && dim[i] <= m / behind; i--) {
            behind *= dim[i];
            parts = dim[i];
            fits = behind == m && i + 1 < rank;
        }
    }
    return fits && (parts == 2 || parts == 3) ? (int)parts : 0;
}

static int find_parts(const struct mc_infer *inf, const struct mc_layer *l,
                      const struct mc_layer_site *s)
{
    const struct mc_value *y = s->add ? s->add->out[0] : s->node->out[0];
    int parts = 0;
    for (size_t u = 0; u < y->n_uses && !parts; u++)
        if (y->uses[u].slot == 0)
            parts = parts_of(inf, y->uses[u].node, y, l->m);
    return parts;
}

static void describe(const struct mc_infer *inf, struct mc_layer *l, struct mc_layer_site *s)
{
    if (l->kind == MC_LAYER_INPUT || l->kind == MC_LAYER_RECURRENT) { /* one for each step */
        const struct mc_vtype *steps = mc_infer_of(inf, s->node->in[0]);
        s->rows = steps->ranked && steps->shape.rank == 3 ? product(steps->shape.dim, 2) : -1;
        return;
    }
    const struct mc_vtype *x = mc_infer_of(inf, s->node->in[0]);
    const struct mc_vtype *y = mc_infer_of(inf, s->node->out[0]);
    if (!x->ranked || !y->ranked || y->shape.rank < 1)
        return;
    int n = s->y_rank = y->shape.rank;
    if (l->kind == MC_LAYER_LEFT) {
        s->rows = product(y->shape.dim, n);
        s->rows = s->rows < 0 ? -1 : s->rows / l->m;
        return;
    }
    if (l->kind != MC_LAYER_CONV) {
        s->rows = product(y->shape.dim, n - 1);
        s->y_parts = l->kind == MC_LAYER_MATMUL ? find_parts(inf, l, s) : 0;
        return;
    }
    for (int i = 2; i < n && i < x->shape.rank; i++) {
        s->in_dim[i - 2] = x->shape.dim[i];
        s->out_dim[i - 2] = y->shape.dim[i];
    }
    int64_t each[MC_RANK_MAX] = {y->shape.dim[0]}; /* all axes but the channels */
    for (int i = 2; i < n; i++)
        each[i - 1] = y->shape.dim[i];
    s->rows = n < 2 ? -1 : product(each, n - 1);
}

int mc_layers_extents(const struct mc_model *m, struct mc_layers *l, struct mc_err *err)
{
    struct mc_infer *inf;
    struct mc_err ignored;
    for (size_t i = 0; i < l->n; i++)
        for (size_t s = 0; s < l->item[i].n_sites; s++)
            for (int k = 0; k < MC_RANK_MAX; k++)
                l->item[i].sites[s].in_dim[k] = l->item[i].sites[s].out_dim[k] = -1;
    struct mc_infer_opts o = {0};
    int rc = mc_one_sample(m->graph, 1, &o, &ignored);
    if (!rc)
        rc = mc_infer_run(m->graph, &o, &inf, &ignored);
    free((void *)o.inputs);
    if (rc == MC_ENOMEM)
        return mc_fail(err, rc, "out of memory");
    for (size_t i = 0; !rc && i < l->n; i++)
        for (size_t s = 0; s < l->item[i].n_sites; s++)
            if (l->item[i].sites[s].node->graph == m->graph)
                describe(inf, &l->item[i], &l->item[i].sites[s]);
    if (!rc)
        mc_infer_free(inf);
    return 0;
}

static double rows(const struct mc_layer *l)
{
    double sum = 0;
    for (size_t s = 0; s < l->n_sites; s++)
        sum += l->sites[s].rows < 0 ? NAN : (double)l->sites[s].rows;
    return sum;
}

double mc_layer_dense_macs(const struct mc_layer *l)
{
    if (l->given_bytes)
        return rows(l) * l->given_macs;
    return l->kind == MC_LAYER_TABLE ? 0 : rows(l) * (double)l->m * (double)l->n;
}

double mc_layer_rank_macs(const struct mc_layer *l)
{
    return rows(l) * (double)(l->kind == MC_LAYER_TABLE ? l->m : l->m + l->n);
}
