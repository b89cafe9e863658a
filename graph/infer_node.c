/* Inference of the nodes of one graph, in order. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/infer_table.h"
#include "graph/ops/op.h"

enum { EVAL_LIMIT = 65536 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while inferring shapes");
}

struct scratch { /* reused for every node */
    const struct mc_vtype **in;
    struct mc_vtype *fill, **out;
    const struct mc_tensor **known;
    struct mc_tensor **folded;
};

static void scratch_free(struct scratch *s)
{
    free(s->in);
    free(s->fill);
    free(s->out);
    free(s->known);
    free(s->folded);
}

static bool scratch_make(struct scratch *s, const struct mc_graph *g)
{
    size_t in = 1, out = 1;
    for (size_t i = 0; i < g->n_nodes; i++) {
        in = g->nodes[i]->n_in > in ? g->nodes[i]->n_in : in;
        out = g->nodes[i]->n_out > out ? g->nodes[i]->n_out : out;
    }
    s->in = mc_calloc(in, sizeof *s->in);
    s->known = mc_calloc(in, sizeof *s->known);
    s->fill = mc_calloc(out, sizeof *s->fill);
    s->out = mc_calloc(out, sizeof *s->out);
    s->folded = mc_calloc(out, sizeof *s->folded);
    return s->in && s->known && s->fill && s->out && s->folded;
}

/* Remember that a declaration was dropped; the first few in words. */
static int conflict(struct mc_infer *inf, const struct mc_node *n, const struct mc_value *v,
                    const struct mc_vtype *inferred, const struct mc_vtype *declared,
                    struct mc_err *err)
{
    char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
    struct mc_err text;
    if (inf->n_conflicts++ >= MC_INFER_CONFLICTS)
        return 0;
    mc_op_fail(&text, MC_ESHAPE, n, "output '%s' is %s %s, but the model declares %s %s", v->name,
               mc_dtype_name(inferred->dtype),
               inferred->ranked ? mc_shape_text(&inferred->shape, a) : "of unknown rank",
               mc_dtype_name(declared->dtype),
               declared->ranked ? mc_shape_text(&declared->shape, b) : "of any rank");
    const char *copy = mc_arena_strdup(&inf->arena, text.msg);
    inf->conflict[inf->n_conflicts - 1] = copy;
    return copy ? 0 : no_memory(err);
}

static bool fits(const struct mc_vtype *row, const struct mc_vtype *d)
{
    if (row->dtype != MC_DTYPE_NONE && d->dtype != MC_DTYPE_NONE && row->dtype != d->dtype)
        return false;
    if (!row->ranked || !d->ranked)
        return true;
    bool same = row->shape.rank == d->shape.rank;
    for (int i = 0; same && i < d->shape.rank; i++)
        same = row->shape.dim[i] < 0 || d->shape.dim[i] < 0 || row->shape.dim[i] == d->shape.dim[i];
    return same;
}

/* Fill what inference left open in `row` from the declared type of v, if that agrees with the rest. */
static int meet_declared(struct mc_infer *inf, const struct mc_node *n, const struct mc_value *v,
                         struct mc_vtype *row, struct mc_err *err)
{
    struct mc_vtype d;
    if (v->type.kind != MC_TYPE_TENSOR)
        return 0;
    if (!mc_infer_declared(inf, &v->type, &d))
        return no_memory(err);
    if (inf->loose)
        d.ranked = false;
    else if (!fits(row, &d))
        return conflict(inf, n, v, row, &d, err);
    if (row->dtype == MC_DTYPE_NONE)
        row->dtype = d.dtype;
    if (!d.ranked)
        return 0;
    if (!row->ranked) {
        row->ranked = true;
        row->shape = d.shape;
        return 0;
    }
    for (int i = 0; i < d.shape.rank; i++) {
        int64_t *dim = &row->shape.dim[i];
        /* A dimension named by an input is better than a number that an exporter saw once. */
        if (*dim < 0 && !mc_infer_symbol(inf, *dim))
            *dim = d.shape.dim[i];
    }
    return 0;
}

static int own(struct mc_infer *inf, struct mc_tensor *t, struct mc_err *err)
{
    if (!MC_GROW(inf->tensors, inf->n_tensors, inf->cap_tensors)) {
        mc_tensor_unref(t);
        return no_memory(err);
    }
    inf->tensors[inf->n_tensors++] = t;
    return 0;
}

/* A partial content without symbols is a content. */
static int complete(struct mc_infer *inf, struct mc_vtype *row, struct mc_err *err)
{
    const struct mc_partial *p = row->partial;
    if (!p || !row->ranked || mc_shape_count(&row->shape) != p->n)
        return 0;
    for (int i = 0; i < p->n; i++)
        if (p->sym[i])
            return 0;
    if (row->dtype != MC_DTYPE_I64 && row->dtype != MC_DTYPE_I32)
        return 0;
    struct mc_tensor *t;
    void *data;
    int rc = mc_tensor_new(row->dtype, &row->shape, NULL, &t, &data, err);
    if (rc)
        return rc;
    for (int i = 0; i < p->n; i++) {
        if (row->dtype == MC_DTYPE_I64)
            ((int64_t *)data)[i] = p->value[i];
        else
            ((int32_t *)data)[i] = (int32_t)p->value[i];
    }
    row->known = t;
    row->partial = NULL;
    return own(inf, t, err);
}

/* Put one output into the table. */
static int settle(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_node *n,
                  const struct mc_value *v, struct mc_vtype *row, struct mc_err *err)
{
    if (row->known)
        *row = mc_infer_tensor(row->known);
    int rc = o->undeclared ? 0 : meet_declared(inf, n, v, row, err);
    for (int i = 0; !rc && row->ranked && i < row->shape.rank; i++)
        if (row->shape.dim[i] == MC_DIM_ANY && !mc_infer_fresh(inf, &row->shape.dim[i]))
            rc = no_memory(err);
    if (!rc)
        rc = complete(inf, row, err);
    *mc_infer_row(inf, v) = *row;
    return rc;
}

/* Is a node worth evaluating: all inputs known, something unknown behind it, and not too large? */
static bool foldable(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_node *n,
                     const struct mc_op *op, struct scratch *s)
{
    int64_t limit = o->eval_limit > 0 ? o->eval_limit : EVAL_LIMIT, read = 0;
    if (!o->eval || !op || (op->flags & MC_OP_RANDOM))
        return false;
    for (size_t i = 0; i < n->n_in; i++) {
        s->known[i] = n->in[i] ? mc_infer_row(inf, n->in[i])->known : NULL;
        if (n->in[i] && !s->known[i])
            return false;
        if (n->in[i] && __builtin_add_overflow(read, mc_tensor_count(s->known[i]), &read))
            return false;
    }
    bool wanted = false;
    for (size_t i = 0; i < n->n_out; i++) {
        if (!n->out[i])
            continue;
        const struct mc_vtype *row = mc_infer_row(inf, n->out[i]);
        int64_t count = row->ranked ? mc_shape_count(&row->shape) : -1;
        /* A size that depends on data (NonZero, Unique) is judged by what goes in. */
        if ((count < 0 ? read : count) > limit)
            return false;
        wanted |= !row->known;
    }
    return wanted;
}

static int fold(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_node *n,
                struct scratch *s, struct mc_err *err)
{
    memset(s->folded, 0, n->n_out * sizeof(void *));
    int rc = o->eval(o->eval_ctx, n, s->known, s->folded, err);
    if (rc)
        return rc == MC_EUNSUP ? 0 : rc;
    for (size_t i = 0; i < n->n_out; i++) {
        struct mc_tensor *t = s->folded[i];
        if (!t)
            continue;
        if (n->out[i] && !rc) {
            *mc_infer_row(inf, n->out[i]) = mc_infer_tensor(t);
            rc = own(inf, t, err);
        } else {
            mc_tensor_unref(t);
        }
    }
    return rc;
}

static int no_operator(const struct mc_node *n, struct mc_err *err)
{
    return mc_fail(err, MC_EUNSUP,
                   "operator %s of domain '%s', version %d, is not known (node '%s')", n->op_type,
                   n->domain[0] ? n->domain : "ai.onnx", n->version, mc_node_label(n));
}

static int infer_node(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_node *n,
                      int depth, struct scratch *s, struct mc_err *err)
{
    memset(s->fill, 0, n->n_out * sizeof *s->fill);
    for (size_t i = 0; i < n->n_in; i++)
        s->in[i] = n->in[i] ? mc_infer_row(inf, n->in[i]) : NULL;
    for (size_t i = 0; i < n->n_out; i++)
        s->out[i] = n->out[i] ? &s->fill[i] : NULL;

    const struct mc_tensor *content = NULL;
    if (mc_node_is(n, "Constant") && n->n_out == 1 && n->out[0])
        content = mc_constant(n->out[0]);
    const struct mc_op *op = mc_op_find(n);
    bool opaque = mc_infer_opaque(n);
    int rc = 0;
    if (content) {
        s->fill[0] = mc_infer_tensor(content);
    } else if (op && op->infer && !opaque) {
        struct mc_infer_ctx c = {n, (int)n->n_in, (int)n->n_out, s->in, s->out, inf};
        rc = op->infer(&c, err);
        if (rc == MC_EUNSUP && !o->strict) {
            memset(s->fill, 0, n->n_out * sizeof *s->fill);
            op = NULL; /* nothing below may run it */
            rc = 0;
        }
    } else if (mc_infer_has_body(n)) {
        if (!o->flat)
            rc = mc_infer_bodies(inf, o, n, depth, s->in, s->fill, err);
    } else if (!op && o->strict &&
               !mc_model_function(inf->g->model, n->domain, n->op_type, n->overload)) {
        rc = no_operator(n, err);
    }
    for (size_t i = 0; !rc && i < n->n_out; i++)
        if (n->out[i])
            rc = settle(inf, o, n, n->out[i], &s->fill[i], err);
    if (!rc && !opaque && foldable(inf, o, n, op, s))
        rc = fold(inf, o, n, s, err);
    return rc;
}

int mc_infer_nodes(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_graph *g,
                   int depth, struct mc_err *err)
{
    struct scratch s = {0};
    int rc = scratch_make(&s, g) ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < g->n_nodes; i++)
        if (!o->skip || g != inf->g || !o->skip[g->nodes[i]->id])
            rc = infer_node(inf, o, g->nodes[i], depth, &s, err);
    scratch_free(&s);
    return rc;
}
