#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "passes/prune/prune_repair_parts.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

const struct mc_value *mc_repair_was(const struct mc_repair *r, const struct mc_value *v)
{
    return mc_graph_value(r->before->graph, v->name);
}

static int rank_of(const struct mc_repair *r, const struct mc_value *was)
{
    const struct mc_tensor *t = mc_constant(was);
    const struct mc_vtype *type = mc_infer_of(r->c->inf, was);
    return t ? t->shape.rank : type->ranked ? type->shape.rank : 0;
}

static bool axis_lost(const struct mc_repair *r, const struct mc_value *was, int axis)
{
    const struct mc_units *u = mc_coupling_axis(r->c, was, axis);
    for (int64_t i = 0; u && i < u->n * u->per; i++)
        if (u->unit[i] >= 0 && r->gone[u->unit[i]])
            return true;
    return false;
}

bool mc_repair_lost(const struct mc_repair *r, const struct mc_value *v, int axis)
{
    const struct mc_value *was = mc_repair_was(r, v);
    if (!was)
        return false;
    if (axis >= 0)
        return axis_lost(r, was, axis);
    for (int i = 0; i < rank_of(r, was); i++)
        if (axis_lost(r, was, i))
            return true;
    return false;
}

/* ---- elements that stay ---- */

int mc_repair_view(const struct mc_repair *r, const struct mc_value *was,
                   struct mc_repair_view *ret, struct mc_err *err)
{
    *ret = (struct mc_repair_view){0};
    int rank = rank_of(r, was);
    for (int i = 0; i < rank; i++) {
        const struct mc_units *u = mc_coupling_axis(r->c, was, i);
        if (!u || !axis_lost(r, was, i))
            continue;
        ret->rank = rank;
        ret->was[i] = u->n;
        ret->n[i] = mc_cut_kept(u, u->n, r->gone, &ret->index[i]);
        if (ret->n[i] < 0) {
            mc_repair_view_free(ret);
            return no_memory(err);
        }
    }
    return 0;
}

static float *narrow(const struct mc_repair_view *v, const struct mc_shape *s, int axis,
                     const float *x, float *to)
{
    int64_t inner = 1, n = v->index[axis] ? v->n[axis] : s->dim[axis];
    bool same = true;
    for (int i = axis + 1; i < s->rank; i++) {
        inner *= s->dim[i];
        same = same && !v->index[i];
    }
    if (same && !v->index[axis]) {
        memcpy(to, x, (size_t)(inner * n) * sizeof *to);
        return to + inner * n;
    }
    for (int64_t i = 0; i < n; i++) {
        const float *from = x + (v->index[axis] ? v->index[axis][i] : i) * inner;
        if (same) {
            memcpy(to, from, (size_t)inner * sizeof *to);
            to += inner;
        } else {
            to = narrow(v, s, axis + 1, from, to);
        }
    }
    return to;
}

int mc_repair_narrow(struct mc_repair_view *v, const struct mc_array *a, struct mc_array *ret,
                     struct mc_err *err)
{
    *ret = *a;
    if (!v->rank)
        return 0;
    if (a->shape.rank != v->rank)
        return mc_fail(err, MC_ESHAPE, "'%s' has another rank than it was planned with", a->name);
    int64_t count = mc_shape_count(&a->shape);
    for (int i = 0; i < v->rank; i++) {
        if (v->index[i] && a->shape.dim[i] != v->was[i])
            return mc_fail(err, MC_ESHAPE, "'%s' has another shape than it was planned with",
                           a->name);
        if (v->index[i])
            ret->shape.dim[i] = v->n[i];
    }
    bool other = a->dtype != MC_DTYPE_F32;
    int64_t room = mc_shape_count(&ret->shape) + (other ? count : 0) + 1;
    if (room > v->room) {
        free(v->x);
        v->x = mc_calloc((size_t)room, sizeof *v->x);
        v->room = v->x ? room : 0;
        if (!v->x)
            return no_memory(err);
    }
    const float *from = a->data;
    if (other) {
        float *wide = v->x + mc_shape_count(&ret->shape);
        int rc = mc_dtype_to_f32(a->dtype, a->data, wide, (size_t)count, err);
        if (rc)
            return rc;
        from = wide;
    }
    if (count)
        narrow(v, &a->shape, 0, from, v->x);
    ret->dtype = MC_DTYPE_F32;
    ret->data = v->x;
    ret->bytes = (size_t)mc_shape_count(&ret->shape) * sizeof *v->x;
    return 0;
}

void mc_repair_view_free(struct mc_repair_view *v)
{
    for (int i = 0; i < MC_RANK_MAX; i++)
        free(v->index[i]);
    free(v->x);
    *v = (struct mc_repair_view){0};
}

/* ---- what differs ---- */

/* Operators whose results change when what they read gets shorter, beside those that sum with weights. */
static bool mixes(const struct mc_node *n)
{
    static const char *const ops =
        " MatMul Gemm Einsum LayerNormalization GroupNormalization RMSNormalization"
        " SimplifiedLayerNormalization SkipLayerNormalization SkipSimplifiedLayerNormalization LRN"
        " LpNormalization MeanVarianceNormalization Softmax LogSoftmax Attention MultiHeadAttention"
        " GroupQueryAttention LSTM GRU RNN ";
    size_t k = strlen(n->op_type);
    for (const char *p = strstr(ops, n->op_type); p; p = strstr(p + 1, n->op_type))
        if (p[-1] == ' ' && p[k] == ' ')
            return true;
    return !strncmp(n->op_type, "Reduce", 6) || *n->domain;
}

/* A weight that sums over less. Columns of a grouped convolution go where their group's channels do, and are no units. */
static bool reads_less(const struct mc_repair *r, const struct mc_value *v,
                       const struct mc_tensor *t)
{
    const struct mc_value *was = mc_repair_was(r, v);
    const struct mc_tensor *full = was ? mc_constant(was) : NULL;
    for (int i = 0; full && i < t->shape.rank && i < full->shape.rank; i++)
        if (mc_repair_lost(r, v, i) ? mc_coupling_role(r->c, was, i) == MC_ROLE_READS
                                    : t->shape.dim[i] != full->shape.dim[i])
            return true;
    return false;
}

static bool differs(const struct mc_repair *r, const struct mc_node *n)
{
    bool lost = false;
    for (size_t i = 0; i < n->n_in; i++) {
        const struct mc_value *v = n->in[i];
        const struct mc_tensor *t = v ? mc_constant(v) : NULL;
        if (!v)
            continue;
        if (r->touched[v->index])
            return true;
        if (t && reads_less(r, v, t))
            return true;
        lost = lost || (!t && mc_repair_lost(r, v, -1));
    }
    return lost && mixes(n);
}

int mc_repair_touch(struct mc_repair *r, struct mc_err *err)
{
    const struct mc_graph *g = r->m->graph;
    r->touched = mc_calloc(g->n_values + 1, sizeof *r->touched);
    if (!r->touched)
        return no_memory(err);
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        bool yes = differs(r, n);
        for (size_t k = 0; k < n->n_out; k++)
            if (n->out[k])
                r->touched[n->out[k]->index] = yes;
    }
    return 0;
}
