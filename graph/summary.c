#include "graph/summary.h"

#include <stdlib.h>
#include <string.h>

#include "graph/infer.h"
#include "graph/inline.h"
#include "graph/own/own.h"

enum { SMALL = 64 }; /* integer constants up to this size are shapes, axes, pads */

static void count(enum mc_dtype dtype, int64_t elements, uint64_t bytes, struct mc_summary *s)
{
    enum mc_dtype_kind kind = mc_dtype_info(dtype)->kind;
    bool integer = kind == MC_KIND_INT || kind == MC_KIND_UINT;
    s->constant_bytes += bytes;
    if (kind == MC_KIND_FLOAT || (integer && elements > SMALL))
        s->parameters += elements;
}

static void count_tensor(const struct mc_tensor *t, struct mc_summary *s)
{
    count(t->dtype, mc_tensor_count(t), t->bytes, s);
}

/* An initializer; what functions of graph/own take holds as many parameters as weights are packed in it, and a table
 * that says how holds none. */
static void count_init(const struct mc_value *v, struct mc_summary *s)
{
    for (size_t i = 0; i < v->n_uses; i++) {
        const struct mc_node *n = v->uses[i].node;
        int slot = v->uses[i].slot;
        const struct mc_own *own = slot >= 0 ? mc_own_find(n) : NULL;
        int64_t weights = 0;
        uint64_t bytes;
        if (!own || own->check(n, &(struct mc_err){0}) ||
            (slot < own->n_in && (own->roles[slot] != '.' || v->tensor->dtype != MC_DTYPE_U8)))
            continue;
        if (slot < own->n_in)
            own->size(n, &weights, &bytes);
        s->parameters += weights;
        s->constant_bytes += v->tensor->bytes;
        return;
    }
    count_tensor(v->tensor, s);
}

/* Recursion by nesting depth only. */
static void count_graph(const struct mc_graph *g, struct mc_summary *s)
{
    for (size_t i = 0; i < g->n_inits; i++)
        count_init(g->inits[i], s);
    s->nodes += (int64_t)g->n_nodes;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        for (size_t k = 0; k < n->n_attr; k++) {
            const struct mc_attr *a = &n->attr[k];
            for (size_t t = 0; a->tensors && t < a->n; t++)
                count_tensor(a->tensors[t], s);
            for (size_t b = 0; a->graphs && b < a->n; b++)
                count_graph(a->graphs[b], s);
            if (a->floats && mc_node_is(n, "Constant"))
                count(MC_DTYPE_F32, (int64_t)a->n, a->n * sizeof *a->floats, s);
            if (a->ints && mc_node_is(n, "Constant"))
                count(MC_DTYPE_I64, (int64_t)a->n, a->n * sizeof *a->ints, s);
        }
    }
}

/* Inputs with every free dimension 1; *ret_n of them, or NULL when out of memory. */
static struct mc_infer_input *one_sample(const struct mc_graph *g, size_t *ret_n)
{
    struct mc_infer_input *in = mc_calloc(g->n_inputs, sizeof *in);
    size_t n = 0;
    for (size_t i = 0; in && i < g->n_inputs; i++) {
        const struct mc_type *t = &g->inputs[i]->type;
        if (g->inputs[i]->tensor || t->kind != MC_TYPE_TENSOR || !t->ranked ||
            t->rank > MC_RANK_MAX)
            continue;
        in[n] = (struct mc_infer_input){.name = g->inputs[i]->name, .shape = {.rank = t->rank}};
        for (int k = 0; k < t->rank; k++)
            in[n].shape.dim[k] = t->dim[k].value < 0 ? 1 : t->dim[k].value;
        n++;
    }
    *ret_n = n;
    return in;
}

static int count_macs(const struct mc_graph *g, double *ret, struct mc_err *err)
{
    struct mc_infer_opts o = {0};
    struct mc_infer_input *in = one_sample(g, &o.n_inputs);
    if (!in)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    o.inputs = in;
    struct mc_infer *inf = NULL;
    int rc = mc_infer_run(g, &o, &inf, err);
    double total = 0;
    for (size_t i = 0; !rc && total >= 0 && i < g->n_nodes; i++) {
        double macs = mc_infer_macs(inf, g->nodes[i]);
        total = macs < 0 ? -1 : total + macs;
    }
    free(in);
    mc_infer_free(inf);
    /* A model that cannot run on one element per free dimension has no such number; that is no error. */
    *ret = rc ? -1 : total;
    return rc == MC_ENOMEM ? rc : 0;
}

/* Of the model as it runs: calls of functions cost what their nodes do. */
static int count_inlined(const struct mc_model *m, double *ret, struct mc_err *err)
{
    bool calls;
    struct mc_model *copy;
    int rc = mc_inline_needed(m, &calls, err);
    if (rc || !calls)
        return rc ? rc : count_macs(m->graph, ret, err);
    rc = mc_model_clone(m, &copy, err);
    if (rc)
        return rc;
    *ret = -1;
    rc = mc_inline(copy, err);
    if (!rc)
        rc = count_macs(copy->graph, ret, err);
    mc_model_free(copy);
    return rc == MC_ENOMEM ? rc : 0; /* calls that do not fit: who runs them will say so */
}

int mc_summary(const struct mc_model *m, struct mc_summary *ret, struct mc_err *err)
{
    struct mc_summary s = {0};
    if (m->graph)
        count_graph(m->graph, &s);
    for (size_t i = 0; i < m->n_functions; i++)
        count_graph(m->functions[i]->body, &s);
    int rc = m->graph ? count_inlined(m, &s.macs, err) : 0;
    if (!rc)
        *ret = s;
    return rc;
}
