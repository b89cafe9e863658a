#include "graph/infer.h"

#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/infer_table.h"
#include "graph/ops/op.h"

static const struct mc_vtype unknown;

enum { EVAL_LIMIT = 65536 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while inferring shapes");
}

static struct mc_vtype of_tensor(const struct mc_tensor *t)
{
    return (struct mc_vtype){.dtype = t->dtype, .ranked = true, .shape = t->shape, .known = t};
}

/* ---- what is known before the first node ---- */

static const struct mc_infer_input *override_of(const struct mc_infer_opts *o,
                                                const struct mc_value *v)
{
    for (size_t i = 0; i < o->n_inputs; i++)
        if (strcmp(o->inputs[i].name, v->name) == 0)
            return &o->inputs[i];
    return NULL;
}

/* Names of dimensions get the values of the inputs that carry them, before any of them is looked up. */
static int bind_inputs(struct mc_infer *inf, const struct mc_infer_opts *o, struct mc_err *err)
{
    for (size_t i = 0; i < o->n_inputs; i++) {
        const struct mc_infer_input *in = &o->inputs[i];
        const struct mc_value *v = mc_graph_value(inf->g, in->name);
        if (!v || !v->is_input)
            return mc_fail(err, MC_ESHAPE, "graph '%s' has no input '%s'", inf->g->name, in->name);
        const struct mc_type *d = &v->type;
        if (d->kind != MC_TYPE_TENSOR)
            continue;
        if (in->dtype != MC_DTYPE_NONE && in->dtype != d->dtype)
            inf->loose = true;
        if (d->ranked && d->rank != in->shape.rank)
            inf->loose = true;
        for (int k = 0; d->ranked && k < d->rank && k < in->shape.rank; k++) {
            int64_t dim = in->shape.dim[k];
            if (dim >= 0 && d->dim[k].value >= 0 && d->dim[k].value != dim)
                inf->loose = true;
            if (dim >= 0 && d->dim[k].param && d->dim[k].param[0] &&
                !mc_infer_bind(inf, d->dim[k].param, dim))
                return no_memory(err);
        }
    }
    return 0;
}

static int seed_input(struct mc_infer *inf, const struct mc_value *v,
                      const struct mc_infer_input *in, struct mc_err *err)
{
    struct mc_vtype *row = &inf->rows[v->index];
    if (!mc_infer_declared(inf, &v->type, row))
        return no_memory(err);
    if (v->type.kind == MC_TYPE_NONE && v->tensor) {
        *row = of_tensor(v->tensor);
        row->known = NULL;
    }
    if (!in)
        return 0;
    struct mc_vtype declared = *row;
    if (in->dtype != MC_DTYPE_NONE)
        row->dtype = in->dtype;
    row->ranked = true;
    row->shape = in->shape;
    for (int k = 0; k < in->shape.rank; k++) {
        int64_t *dim = &row->shape.dim[k];
        if (*dim >= 0)
            continue;
        if (declared.ranked && declared.shape.rank == in->shape.rank)
            *dim = declared.shape.dim[k];
        else if (!mc_infer_fresh(inf, dim))
            return no_memory(err);
    }
    return 0;
}

static int seed(struct mc_infer *inf, const struct mc_infer_opts *o, struct mc_err *err)
{
    for (size_t i = 0; i < inf->g->n_values; i++) {
        const struct mc_value *v = inf->g->values[i];
        if (v && o->given && o->given[i].dtype != MC_DTYPE_NONE) {
            inf->rows[i] = o->given[i];
            continue;
        }
        if (!v || v->producer)
            continue;
        const struct mc_infer_input *in = v->is_input ? override_of(o, v) : NULL;
        const struct mc_tensor *t = in ? NULL : mc_constant(v);
        int rc = 0;
        if (t)
            inf->rows[i] = of_tensor(t);
        else if (v->is_input)
            rc = seed_input(inf, v, in, err);
        else if (v->tensor && v->tensor->dtype != MC_DTYPE_NONE)
            inf->rows[i] = (struct mc_vtype){
                .dtype = v->tensor->dtype, .ranked = true, .shape = v->tensor->shape};
        else if (!mc_infer_declared(inf, v->outer ? &v->outer->type : &v->type, &inf->rows[i]))
            rc = no_memory(err);
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- a node ---- */

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
        *row = of_tensor(row->known);
    int rc = o->undeclared ? 0 : meet_declared(inf, n, v, row, err);
    for (int i = 0; !rc && row->ranked && i < row->shape.rank; i++)
        if (row->shape.dim[i] == MC_DIM_ANY && !mc_infer_fresh(inf, &row->shape.dim[i]))
            rc = no_memory(err);
    if (!rc)
        rc = complete(inf, row, err);
    inf->rows[v->index] = *row;
    return rc;
}

/* Is a node worth evaluating: all inputs known, something unknown behind it, and not too large? */
static bool foldable(const struct mc_infer *inf, const struct mc_infer_opts *o,
                     const struct mc_node *n, const struct mc_op *op, struct scratch *s)
{
    int64_t limit = o->eval_limit > 0 ? o->eval_limit : EVAL_LIMIT, read = 0;
    if (!o->eval || !op || (op->flags & MC_OP_RANDOM))
        return false;
    for (size_t i = 0; i < n->n_in; i++) {
        s->known[i] = n->in[i] ? inf->rows[n->in[i]->index].known : NULL;
        if (n->in[i] && !s->known[i])
            return false;
        if (n->in[i] && __builtin_add_overflow(read, mc_tensor_count(s->known[i]), &read))
            return false;
    }
    bool wanted = false;
    for (size_t i = 0; i < n->n_out; i++) {
        if (!n->out[i])
            continue;
        const struct mc_vtype *row = &inf->rows[n->out[i]->index];
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
            inf->rows[n->out[i]->index] = of_tensor(t);
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
                      struct scratch *s, struct mc_err *err)
{
    memset(s->fill, 0, n->n_out * sizeof *s->fill);
    for (size_t i = 0; i < n->n_in; i++)
        s->in[i] = n->in[i] ? &inf->rows[n->in[i]->index] : NULL;
    for (size_t i = 0; i < n->n_out; i++)
        s->out[i] = n->out[i] ? &s->fill[i] : NULL;

    const struct mc_tensor *content = NULL;
    if (mc_node_is(n, "Constant") && n->n_out == 1 && n->out[0])
        content = mc_constant(n->out[0]);
    const struct mc_op *op = mc_op_find(n);
    bool opaque = mc_infer_opaque(n);
    int rc = 0;
    if (content) {
        s->fill[0] = of_tensor(content);
    } else if (op && op->infer && !opaque) {
        struct mc_infer_ctx c = {n, (int)n->n_in, (int)n->n_out, s->in, s->out, inf};
        rc = op->infer(&c, err);
        if (rc == MC_EUNSUP && !o->strict) {
            memset(s->fill, 0, n->n_out * sizeof *s->fill);
            op = NULL; /* nothing below may run it */
            rc = 0;
        }
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

int mc_infer_run(const struct mc_graph *g, const struct mc_infer_opts *opts, struct mc_infer **ret,
                 struct mc_err *err)
{
    static const struct mc_infer_opts none;
    const struct mc_infer_opts *o = opts ? opts : &none;
    struct scratch s = {0};
    struct mc_infer *inf = calloc(1, sizeof *inf);
    if (!inf)
        return no_memory(err);
    inf->g = g;
    inf->n_rows = g->n_values;
    inf->rows = mc_calloc(g->n_values, sizeof *inf->rows);
    int rc = inf->rows && scratch_make(&s, g) ? 0 : no_memory(err);
    if (!rc)
        rc = bind_inputs(inf, o, err);
    if (!rc)
        rc = seed(inf, o, err);
    for (size_t i = 0; !rc && i < g->n_nodes; i++)
        if (!o->skip || !o->skip[g->nodes[i]->id])
            rc = infer_node(inf, o, g->nodes[i], &s, err);
    scratch_free(&s);
    if (rc)
        mc_infer_free(inf);
    else
        *ret = inf;
    return rc;
}

void mc_infer_free(struct mc_infer *inf)
{
    if (!inf)
        return;
    for (size_t i = 0; i < inf->n_tensors; i++)
        mc_tensor_unref(inf->tensors[i]);
    free(inf->tensors);
    free(inf->symbols);
    free(inf->slots);
    free(inf->rows);
    mc_arena_free(&inf->arena);
    free(inf);
}

const struct mc_vtype *mc_infer_of(const struct mc_infer *inf, const struct mc_value *v)
{
    return v->graph == inf->g && v->index < inf->n_rows ? &inf->rows[v->index] : &unknown;
}

size_t mc_infer_n_conflicts(const struct mc_infer *inf)
{
    return inf->n_conflicts;
}

const char *mc_infer_conflict(const struct mc_infer *inf, size_t i)
{
    return i < inf->n_conflicts && i < MC_INFER_CONFLICTS ? inf->conflict[i] : NULL;
}
