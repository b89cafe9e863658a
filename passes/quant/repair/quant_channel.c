#include "passes/quant/repair/quant_channel.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the constants of a layer");
}

/* ---- constants ---- */

bool mc_quant_alone(const struct mc_value *v)
{
    if (!v || !mc_constant(v))
        return false;
    while (v->n_uses == 1 && !v->is_output && !v->is_input) {
        if (v->outer)
            v = v->outer;
        else if (v->producer && mc_node_is(v->producer, "Identity"))
            v = v->producer->in[0];
        else
            return true;
    }
    return false;
}

bool mc_quant_per_channel(const struct mc_value *c, int y_rank, int behind, int64_t channels)
{
    const struct mc_tensor *t = c ? mc_constant(c) : NULL;
    if (!t || mc_dtype_info(t->dtype)->kind != MC_KIND_FLOAT)
        return false;
    const struct mc_shape *s = &t->shape;
    int64_t count = mc_shape_count(s);
    int axis = s->rank - 1 - behind;
    if (y_rank >= 0 ? s->rank > y_rank : s->rank > 1)
        return false;
    return count == 1 || (axis >= 0 && count == channels && s->dim[axis] == channels);
}

int mc_quant_doubles(const struct mc_value *v, double **ret, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    size_t n = (size_t)mc_tensor_count(t);
    double *x = mc_calloc(n + 1, sizeof *x);
    if (!x)
        return no_memory(err);
    int rc = mc_dtype_to_f64(t->dtype, t->data, x, n, err);
    if (rc)
        free(x);
    else
        *ret = x;
    return rc;
}

int mc_quant_channels(const struct mc_value *c, int64_t channels, double **ret, struct mc_err *err)
{
    double *x;
    int64_t n = mc_tensor_count(mc_constant(c));
    int rc = mc_quant_doubles(c, &x, err);
    if (rc || n == channels) {
        if (!rc)
            *ret = x;
        return rc;
    }
    double *all = mc_calloc((size_t)channels + 1, sizeof *all);
    for (int64_t i = 0; all && i < channels; i++)
        all[i] = x[0];
    free(x);
    *ret = all;
    return all ? 0 : no_memory(err);
}

bool mc_quant_holds(enum mc_dtype t, const double *x, int64_t n)
{
    double most = t == MC_DTYPE_F16 ? 65504 : t == MC_DTYPE_F64 ? DBL_MAX : (double)FLT_MAX;
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(x[i]) <= most))
            return false;
    return true;
}

int mc_quant_put(struct mc_node *n, size_t slot, const double *x, const struct mc_shape *shape,
                 enum mc_dtype t, const char *hint, struct mc_err *err)
{
    struct mc_tensor *made;
    struct mc_value *v = slot < n->n_in ? n->in[slot] : NULL;
    void *data;
    int rc = mc_tensor_new(t, shape, n->graph->model->spill, &made, &data, err);
    if (rc)
        return rc;
    rc = mc_dtype_from_f64(t, x, data, (size_t)mc_tensor_count(made), err);
    if (!rc && mc_quant_alone(v)) {
        rc = mc_constant_replace(v, made, err);
    } else if (!rc) {
        rc = mc_constant_new(n->graph, n->pos, v ? v->name : hint, made, &v, err);
        rc = rc ? rc : mc_edit_set_input(n, slot, v, err);
    }
    mc_tensor_unref(made);
    return rc;
}

/* ---- layers ---- */

bool mc_quant_layer(struct mc_node *n, struct mc_refit *ret)
{
    return mc_refit_of(n, ret) && mc_quant_alone(ret->weight) &&
           !(mc_node_is(n, "Gemm") && n->version < 7);
}

int mc_quant_layer_behind(const struct mc_refit *f)
{
    bool window = mc_node_is(f->node, "Conv") || mc_node_is(f->node, "ConvTranspose");
    return window ? mc_constant(f->weight)->shape.rank - 2 : f->columns;
}

int mc_quant_layer_rank(const struct mc_refit *f, const struct mc_infer *inf)
{
    if (!mc_node_is(f->node, "MatMul"))
        return mc_constant(f->weight)->shape.rank;
    const struct mc_vtype *t = inf ? mc_infer_of(inf, f->node->out[0]) : NULL;
    return t && t->ranked ? t->shape.rank : -1;
}

void mc_quant_scale_weight(const struct mc_refit *f, double *w, const double *out, const double *in)
{
    int64_t per = f->n / f->taps;
    for (int64_t g = 0; g < f->groups; g++)
        for (int64_t i = 0; i < f->m; i++) {
            double *row = w + g * f->at_group + i * f->at_m, s = out ? out[g * f->m + i] : 1;
            for (int64_t j = 0; j < f->n; j++)
                row[j / f->taps * f->at_n + j % f->taps] *= in ? s * in[g * per + j / f->taps] : s;
        }
}

/* ---- graphs ---- */

static int each_in(struct mc_graph *g, mc_quant_graph_fn *fn, void *ctx, struct mc_err *err)
{
    int rc = fn(ctx, g, err);
    for (size_t i = 0; !rc && i < g->n_nodes; i++)
        for (size_t a = 0; !rc && a < g->nodes[i]->n_attr; a++) {
            const struct mc_attr *at = &g->nodes[i]->attr[a];
            for (size_t b = 0; !rc && at->graphs && b < at->n; b++)
                rc = each_in(at->graphs[b], fn, ctx, err);
        }
    return rc;
}

int mc_quant_each_graph(struct mc_model *m, mc_quant_graph_fn *fn, void *ctx, struct mc_err *err)
{
    int rc = each_in(m->graph, fn, ctx, err);
    for (size_t i = 0; !rc && i < m->n_functions; i++)
        rc = each_in(m->functions[i]->body, fn, ctx, err);
    return rc;
}
