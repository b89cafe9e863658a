/* Dense layers in the place of calls. */
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own.h"
#include "graph/run/fold.h"

static int expand_node(struct mc_node *n, int depth, struct mc_err *err);

/* The weight, of the type that the call gives. */
static int weight(const struct mc_node *n, const struct mc_own *own, struct mc_value **ret,
                  struct mc_err *err)
{
    struct mc_tensor *t = NULL, *typed = NULL;
    enum mc_dtype dtype = MC_DTYPE_F32;
    for (int i = 0; i < own->n_in; i++)
        if (own->roles[i] != '.')
            dtype = mc_own_dtype(n, (size_t)i);
    int rc = own->dense(n, &t, err);
    if (!rc && dtype != MC_DTYPE_F32) {
        rc = mc_constant_make((const float *)(const void *)t->data, &t->shape, dtype,
                              n->graph->model->spill, &typed, err);
        mc_tensor_unref(t);
        t = rc ? NULL : typed;
    }
    if (!rc)
        rc = mc_constant_new(n->graph, n->pos, n->out[0]->name, t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

/* A weight that is no output keeps its name. */
static int settle(struct mc_node *n, struct mc_value *v, struct mc_err *err)
{
    struct mc_value *out = n->out[0];
    struct mc_tensor *t = !v->producer && v->tensor && !v->n_uses ? mc_tensor_ref(v->tensor) : NULL;
    bool takes = t && !out->is_output;
    int rc = takes ? 0 : mc_edit_replace_uses(out, v, err);
    if (!rc)
        mc_edit_remove_node(n);
    if (!rc && takes) {
        mc_edit_remove_value(v);
        rc = mc_edit_tensor(out, t, err);
    }
    mc_tensor_unref(t);
    return rc;
}

/* A node of constants gives way to what it computes. */
static int fold(struct mc_node *n, struct mc_err *err)
{
    enum { MOST = 4 };
    const struct mc_tensor *in[MOST] = {NULL};
    struct mc_value *v = n->out[0], *w = NULL;
    struct mc_tensor *t = NULL;
    struct mc_err why;
    if (n->n_in < 1 || n->n_in > MOST)
        return 0;
    for (size_t i = 0; i < n->n_in; i++)
        if (n->in[i] && !(in[i] = mc_constant(n->in[i])))
            return 0;
    int rc = mc_fold_eval(NULL, n, in, &t, &why);
    if (rc) /* it stays */
        return rc == MC_ENOMEM ? mc_fail(err, rc, "%s", why.msg) : 0;
    rc = mc_constant_new(n->graph, n->pos, v->name, t, &w, err);
    rc = rc ? rc : mc_edit_replace_uses(v, w, err);
    mc_tensor_unref(t);
    if (!rc)
        mc_edit_remove_node(n);
    return rc;
}

/* What a weight is made of, such as the matrix of gates of a codebook and scales: calls and nodes of constants. Recursion to
 * this depth. */
static int settle_part(const struct mc_value *v, int depth, struct mc_err *err)
{
    struct mc_node *n = v && !mc_constant(v) ? v->producer : NULL;
    if (!n || n->n_out != 1 || depth == 0)
        return 0;
    if (!strcmp(n->domain, MC_OWN_DOMAIN))
        return expand_node(n, depth - 1, err);
    int rc = 0;
    for (size_t i = 0; !rc && i < n->n_in; i++)
        rc = settle_part(n->in[i], depth - 1, err);
    return rc ? rc : fold(n, err);
}

static int expand_node(struct mc_node *n, int depth, struct mc_err *err)
{
    const struct mc_own *own = mc_own_find(n);
    struct mc_value *v = NULL;
    int rc = 0;
    if (!own)
        return mc_own_fail(err, MC_EUNSUP, n,
                           "is not a function that mcompress writes, and cannot be expanded");
    for (size_t i = 0; !rc && i < (size_t)own->n_in && i < n->n_in; i++)
        if (own->roles[i] != '.')
            rc = settle_part(n->in[i], depth, err);
    rc = rc ? rc : own->check(n, err);
    if (!rc)
        rc = own->expand ? own->expand(n, &v, err) : weight(n, own, &v, err);
    return rc ? rc : settle(n, v, err);
}

/* Recursion by nesting depth only. */
static int expand_graph(struct mc_graph *g, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = g->n_nodes; !rc && i > 0;) { /* what is put before a node is passed over */
        struct mc_node *n = g->nodes[--i];
        for (size_t k = 0; !rc && k < n->n_attr; k++)
            for (size_t b = 0; !rc && n->attr[k].graphs && b < n->attr[k].n; b++)
                rc = expand_graph(n->attr[k].graphs[b], err);
        if (!rc && !strcmp(n->domain, MC_OWN_DOMAIN))
            rc = expand_node(n, MC_OWN_PARTS, err);
        i = i < g->n_nodes ? i : g->n_nodes; /* what a weight was made of may be gone */
    }
    return rc;
}

int mc_own_expand(struct mc_model *m, struct mc_err *err)
{
    int rc = m->graph ? expand_graph(m->graph, err) : 0;
    for (size_t i = 0; !rc && i < m->n_functions; i++)
        if (strcmp(m->functions[i]->domain, MC_OWN_DOMAIN) != 0)
            rc = expand_graph(m->functions[i]->body, err);
    if (rc)
        return rc;
    mc_own_sweep(m);
    mc_edit_sweep(m->graph);
    return 0;
}
