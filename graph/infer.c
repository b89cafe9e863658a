#include "graph/infer.h"

#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/infer_table.h"
#include "graph/inline.h"

static const struct mc_vtype unknown;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while inferring shapes");
}

struct mc_vtype mc_infer_tensor(const struct mc_tensor *t)
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
    struct mc_vtype *row = mc_infer_row(inf, v);
    if (!mc_infer_declared(inf, &v->type, row))
        return no_memory(err);
    if (v->type.kind == MC_TYPE_NONE && v->tensor) {
        *row = mc_infer_tensor(v->tensor);
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

/* The value of an enclosing graph that v is, as it is known there. */
static int seed_outer(struct mc_infer *inf, const struct mc_value *v, struct mc_err *err)
{
    const struct mc_vtype *outer = mc_infer_of(inf, v->outer);
    struct mc_vtype *row = mc_infer_row(inf, v);
    *row = *outer;
    if (outer == &unknown && !mc_infer_declared(inf, &v->outer->type, row))
        return no_memory(err);
    return 0;
}

/* All values of g that no node gives. */
static int seed(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_graph *g,
                struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        if (v && g == inf->g && o->given && o->given[i].dtype != MC_DTYPE_NONE) {
            *mc_infer_row(inf, v) = o->given[i];
            continue;
        }
        if (!v || v->producer)
            continue;
        struct mc_vtype *row = mc_infer_row(inf, v);
        const struct mc_infer_input *in = v->is_input && g == inf->g ? override_of(o, v) : NULL;
        const struct mc_tensor *t = in ? NULL : mc_constant(v);
        if (t)
            *row = mc_infer_tensor(t);
        else if (v->is_input)
            rc = seed_input(inf, v, in, err);
        else if (v->tensor && v->tensor->dtype != MC_DTYPE_NONE)
            *row = (struct mc_vtype){
                .dtype = v->tensor->dtype, .ranked = true, .shape = v->tensor->shape};
        else if (v->outer)
            rc = seed_outer(inf, v, err);
        else if (!mc_infer_declared(inf, &v->type, row))
            rc = no_memory(err);
    }
    return rc;
}

/* ---- graphs ---- */

static int open_table(struct mc_infer *inf, const struct mc_graph *g, struct mc_err *err)
{
    struct mc_infer_rows *t = &inf->tables[g->index];
    if (t->rows) {
        memset(t->rows, 0, t->n * sizeof *t->rows);
        return 0;
    }
    *t = (struct mc_infer_rows){g, mc_calloc(g->n_values, sizeof *t->rows), g->n_values};
    return t->rows ? 0 : no_memory(err);
}

/* What the caller of a body knows of an input, and where that leaves something open what the body declares. */
static int seed_given(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_value *v,
                      const struct mc_vtype *given, struct mc_err *err)
{
    struct mc_vtype *row = mc_infer_row(inf, v), d = *row;
    *row = *given;
    if (row->dtype == MC_DTYPE_NONE)
        row->dtype = d.dtype;
    if (!o->undeclared && !row->ranked && d.ranked) {
        row->ranked = true;
        row->shape = d.shape;
    }
    bool same = !o->undeclared && d.ranked && d.shape.rank == row->shape.rank;
    for (int i = 0; row->ranked && i < row->shape.rank; i++) {
        int64_t *dim = &row->shape.dim[i];
        if (same && *dim < 0 && !mc_infer_symbol(inf, *dim))
            *dim = d.shape.dim[i];
        if (*dim == MC_DIM_ANY && !mc_infer_fresh(inf, dim))
            return no_memory(err);
    }
    return 0;
}

int mc_infer_body(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_graph *body,
                  int depth, const struct mc_vtype *given, struct mc_err *err)
{
    int rc = open_table(inf, body, err);
    if (!rc)
        rc = seed(inf, o, body, err);
    for (size_t i = 0; given && !rc && i < body->n_inputs; i++)
        rc = seed_given(inf, o, body->inputs[i], &given[i], err);
    return rc ? rc : mc_infer_nodes(inf, o, body, depth, err);
}

static int infer_graph(const struct mc_graph *g, const struct mc_infer_opts *o,
                       struct mc_infer **ret, struct mc_err *err)
{
    struct mc_infer *inf = calloc(1, sizeof *inf);
    if (!inf)
        return no_memory(err);
    inf->g = g;
    inf->n_tables = g->model->n_graphs;
    inf->tables = mc_calloc(inf->n_tables, sizeof *inf->tables);
    int rc = inf->tables ? open_table(inf, g, err) : no_memory(err);
    if (!rc)
        rc = bind_inputs(inf, o, err);
    if (!rc)
        rc = seed(inf, o, g, err);
    if (!rc)
        rc = mc_infer_nodes(inf, o, g, 0, err);
    if (rc)
        mc_infer_free(inf);
    else
        *ret = inf;
    return rc;
}

/* ---- functions ---- */

/* The rows of g's copy are those of g: a clone keeps the numbers of values, and what inlining adds comes
 * behind. Recursion by nesting depth only. */
static void take_rows(struct mc_infer *inf, struct mc_infer_rows *to, const struct mc_graph *g,
                      const struct mc_graph *copy)
{
    struct mc_infer_rows *from = &inf->tables[copy->index];
    to[g->index] = *from;
    to[g->index].g = g;
    from->rows = NULL;
}

struct pair {
    const struct mc_graph *g, *copy;
};

struct pairs {
    struct pair *item;
    size_t n, cap;
};

/* All graphs below g and what they are in the copy, before anything is inlined there. */
static bool pair_up(struct pairs *p, const struct mc_graph *g, const struct mc_graph *copy)
{
    if (!MC_GROW(p->item, p->n, p->cap))
        return false;
    p->item[p->n++] = (struct pair){g, copy};
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->nodes[i]->n_attr; k++) {
            const struct mc_attr *a = &g->nodes[i]->attr[k], *b = &copy->nodes[i]->attr[k];
            for (size_t j = 0; a->graphs && j < a->n; j++)
                if (!pair_up(p, a->graphs[j], b->graphs[j]))
                    return false;
        }
    return true;
}

/* Look through calls: infer a copy of the model in which they are inlined. */
static int infer_inlined(const struct mc_graph *g, const struct mc_infer_opts *o,
                         struct mc_infer **ret, struct mc_err *err)
{
    struct pairs p = {0};
    struct mc_model *m;
    struct mc_infer *inf = NULL;
    int rc = mc_model_clone(g->model, &m, err);
    if (rc)
        return rc;
    struct mc_infer_rows *tables = mc_calloc(g->model->n_graphs, sizeof *tables);
    rc = tables && pair_up(&p, g, m->graph) ? mc_inline(m, err) : no_memory(err);
    bool misfit = rc && rc != MC_ENOMEM; /* a call that does not fit: who runs it will say so */
    if (!rc)
        rc = infer_graph(m->graph, o, &inf, err);
    if (rc) {
        free(tables);
        mc_model_free(m);
        rc = misfit ? infer_graph(g, o, ret, err) : rc;
    } else {
        for (size_t i = 0; i < p.n; i++)
            take_rows(inf, tables, p.item[i].g, p.item[i].copy);
        for (size_t i = 0; i < inf->n_tables; i++)
            free(inf->tables[i].rows);
        free(inf->tables);
        inf->tables = tables;
        inf->n_tables = g->model->n_graphs;
        inf->g = g;
        inf->own = m;
        *ret = inf;
    }
    free(p.item);
    return rc;
}

int mc_infer_run(const struct mc_graph *g, const struct mc_infer_opts *opts, struct mc_infer **ret,
                 struct mc_err *err)
{
    static const struct mc_infer_opts none;
    const struct mc_infer_opts *o = opts ? opts : &none;
    bool calls = false;
    int rc = g == g->model->graph && !o->flat ? mc_inline_needed(g->model, &calls, err) : 0;
    if (rc)
        return rc;
    return calls ? infer_inlined(g, o, ret, err) : infer_graph(g, o, ret, err);
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
    for (size_t i = 0; inf->tables && i < inf->n_tables; i++)
        free(inf->tables[i].rows);
    free(inf->tables);
    mc_arena_free(&inf->arena);
    mc_model_free(inf->own);
    free(inf);
}

const struct mc_vtype *mc_infer_of(const struct mc_infer *inf, const struct mc_value *v)
{
    const struct mc_infer_rows *t =
        v->graph->index < inf->n_tables ? &inf->tables[v->graph->index] : NULL;
    return t && t->g == v->graph && v->index < t->n ? &t->rows[v->index] : &unknown;
}

size_t mc_infer_n_conflicts(const struct mc_infer *inf)
{
    return inf->n_conflicts;
}

const char *mc_infer_conflict(const struct mc_infer *inf, size_t i)
{
    return i < inf->n_conflicts && i < MC_INFER_CONFLICTS ? inf->conflict[i] : NULL;
}
