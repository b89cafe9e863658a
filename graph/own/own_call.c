/* Writing calls. */
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own_body.h"

static int need_function(struct mc_model *m, const struct mc_own *own, struct mc_err *err)
{
    const struct mc_function *f = mc_model_function(m, MC_OWN_DOMAIN, own->name, "");
    int rc = 0;
    if (f && !mc_own_body_is(own, f))
        return mc_fail(err, MC_EUNSUP,
                       "the model has a function %s of domain %s with a body that is not ours",
                       own->name, MC_OWN_DOMAIN);
    if (!f)
        rc = mc_own_body_build(own, m, err);
    if (!rc && !mc_model_opset(m, MC_OWN_DOMAIN))
        rc = mc_edit_opset(m, MC_OWN_DOMAIN, MC_OWN_VERSION, err);
    if (!rc && m->ir_version < MC_OWN_IR) {
        if (m->ir_version < 4)
            mc_edit_free_inputs(m->graph);
        m->ir_version = MC_OWN_IR;
    }
    return rc;
}

static bool equal(const struct mc_tensor *a, const struct mc_tensor *b)
{
    return a->dtype == b->dtype && a->bytes == b->bytes && a->data &&
           mc_shape_equal(&a->shape, &b->shape) && !memcmp(a->data, b->data, a->bytes);
}

/* The initializer of the main graph that holds t, made where there is none, as g sees it; in a function, which has no
 * initializers, a constant of its own. */
static int place(struct mc_graph *g, size_t pos, const char *hint, struct mc_tensor *t,
                 struct mc_value **ret, struct mc_err *err)
{
    struct mc_graph *top = g->model->graph;
    struct mc_value *v = NULL;
    if (g->function)
        return mc_constant_new(g, pos, hint, t, ret, err);
    for (size_t i = 0; !v && i < top->n_inits; i++)
        if (!top->inits[i]->is_input && !top->inits[i]->is_output &&
            equal(top->inits[i]->tensor, t))
            v = top->inits[i];
    if (!v)
        v = mc_edit_constant(top, hint, t);
    if (v && g != top)
        v = mc_edit_resolve(g, v->name);
    *ret = v;
    return v ? 0 : mc_fail(err, MC_ENOMEM, "out of memory for a table");
}

static int add_tables(struct mc_node *n, const struct mc_own *own, struct mc_err *err)
{
    int rc = 0;
    for (int i = 0; !rc && i < own->n_tables; i++) {
        const char *name = own->inputs[own->n_in + i];
        struct mc_own_table table = {0};
        struct mc_tensor *t = NULL;
        struct mc_value *v;
        own->table(n, i, &table);
        rc = mc_constant_make(table.at, &table.shape, table.dtype, NULL, &t, err);
        if (!rc)
            rc = place(n->graph, n->pos, name, t, &v, err);
        if (!rc)
            rc = mc_edit_set_input(n, (size_t)(own->n_in + i), v, err);
        mc_tensor_unref(t);
    }
    return rc;
}

int mc_own_call(struct mc_graph *g, size_t pos, const char *function, const char *name,
                struct mc_value *const *in, size_t n_in, struct mc_value *const *out, size_t n_out,
                int (*set)(void *ctx, struct mc_node *n, struct mc_err *err), void *ctx,
                struct mc_node **ret, struct mc_err *err)
{
    const struct mc_own *own = mc_own_lookup(function);
    struct mc_node *n = NULL;
    if (!own || n_in > (size_t)own->n_in)
        return mc_fail(err, MC_EFAIL, "%s of %zu inputs is no function of %s", function, n_in,
                       MC_OWN_DOMAIN);
    int rc = need_function(g->model, own, err);
    if (!rc)
        rc = mc_edit_node(g, pos, own->name, MC_OWN_DOMAIN, MC_OWN_VERSION, name, in, n_in, out,
                          n_out, &n, err);
    /* Inputs left out at the end have their slots: tables come behind. */
    if (!rc && own->n_in > 0 && n_in < (size_t)own->n_in)
        rc = mc_edit_set_input(n, (size_t)own->n_in - 1, NULL, err);
    if (!rc && set)
        rc = set(ctx, n, err);
    if (!rc)
        rc = own->check(n, err);
    if (!rc)
        rc = mc_own_need_finite(n, err);
    if (!rc)
        rc = add_tables(n, own, err);
    if (!rc && ret)
        *ret = n;
    return rc;
}
