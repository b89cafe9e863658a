/* Weights that a Loop carries from run to run unchanged, as converters from TensorFlow write recurrent cells: its body reads them from
 * outside instead, where layers see that they are constant. */
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_site.h"

/* Of a Loop: trip count and condition come before what is carried; of its body: number and condition, and one output. */
enum { FIRST = 2, SMALL = 16 };

static bool has_only_nodes(const struct mc_value *v)
{
    for (size_t i = 0; i < v->n_uses; i++)
        if (v->uses[i].slot < 0)
            return false;
    return true;
}

/* Input k of the Loop is a constant that its body hands on as it got it, and nobody wants it in the end. */
static bool is_carried(const struct mc_node *n, const struct mc_graph *body, size_t k)
{
    const struct mc_value *x = n->in[k], *y = k - FIRST < n->n_out ? n->out[k - FIRST] : NULL;
    const struct mc_tensor *t = x ? mc_constant(x) : NULL;
    if (!t || mc_tensor_count(t) <= SMALL || k >= body->n_inputs || k - 1 >= body->n_outputs)
        return false;
    const struct mc_value *in = body->inputs[k];
    return body->outputs[k - 1] == in && has_only_nodes(in) &&
           (!y || (!y->n_uses && !y->is_output));
}

static int read_outside(struct mc_node *n, struct mc_graph *body, size_t k,
                        struct mc_value *nothing, struct mc_err *err)
{
    struct mc_value *in = body->inputs[k], *y = k - FIRST < n->n_out ? n->out[k - FIRST] : NULL;
    struct mc_value *outside = mc_edit_resolve(body, n->in[k]->name);
    int rc = 0;
    if (!outside || outside->outer != n->in[k]) /* the body has one of that name itself */
        return 0;
    enum mc_dtype dtype = mc_constant(n->in[k])->dtype;
    while (!rc && in->n_uses > 0)
        rc = mc_edit_set_input(in->uses[0].node, (size_t)in->uses[0].slot, outside, err);
    if (!rc)
        rc = mc_edit_set_input(n, k, nothing, err);
    if (!rc && (!mc_edit_type(in, dtype, -1, NULL) || (y && !mc_edit_type(y, dtype, -1, NULL))))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    return rc;
}

/* One number of the type, to be carried instead. */
static int put_nothing(struct mc_node *n, enum mc_dtype dtype, struct mc_value **ret,
                       struct mc_err *err)
{
    struct mc_shape scalar = mc_shape_of(0, NULL);
    struct mc_tensor *t;
    void *data;
    int rc = mc_tensor_new(dtype, &scalar, NULL, &t, &data, err);
    if (rc)
        return rc;
    rc = mc_constant_new(n->graph, n->pos, "carried", t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

static int free_loop(struct mc_node *n, struct mc_err *err)
{
    const struct mc_attr *a = mc_node_attr(n, "body");
    struct mc_graph *body = a && a->graphs ? a->graphs[0] : NULL;
    int rc = 0;
    for (size_t k = FIRST; !rc && body && k < n->n_in; k++) {
        struct mc_value *nothing;
        if (!is_carried(n, body, k))
            continue;
        rc = put_nothing(n, mc_constant(n->in[k])->dtype, &nothing, err);
        if (!rc)
            rc = read_outside(n, body, k, nothing, err);
    }
    return rc;
}

int mc_quant_carry(struct mc_graph *g, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < g->n_nodes; i++) {
        struct mc_node *n = g->nodes[i];
        if (mc_node_is(n, "Loop"))
            rc = free_loop(n, err);
        for (size_t a = 0; !rc && a < n->n_attr; a++)
            for (size_t k = 0; !rc && n->attr[a].graphs && k < n->attr[a].n; k++)
                rc = mc_quant_carry(n->attr[a].graphs[k], err);
    }
    return rc;
}
