/* If, Loop, Scan: arguments only. Their bodies are run by graph/run, which knows sessions. */
#include "graph/ops/helper.h"

static int need_body(const struct mc_node *n, const char *name, const struct mc_graph **ret,
                     struct mc_err *err)
{
    const struct mc_attr *a = mc_node_attr(n, name);
    if (!a || a->type != MC_ATTR_GRAPH || a->n != 1 || !a->graphs || !a->graphs[0])
        return mc_op_fail(err, MC_EUNSUP, n, "attribute '%s' must be a graph", name);
    *ret = a->graphs[0];
    return 0;
}

static int need_dtype(const struct mc_infer_ctx *c, int i, enum mc_dtype want, struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    if (!x || x->dtype == MC_DTYPE_NONE || x->dtype == want)
        return 0;
    return mc_op_fail(err, MC_EDTYPE, c->node, "input %d is %s, must be %s", i,
                      mc_dtype_name(x->dtype), mc_dtype_name(want));
}

static int if_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    static const char *const names[] = {"then_branch", "else_branch"};
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : need_dtype(c, 0, MC_DTYPE_BOOL, err);
    rc = rc ? rc : mc_op_need_single(c, 0, err);
    for (int i = 0; i < 2 && !rc; i++) {
        const struct mc_graph *g = NULL;
        rc = need_body(c->node, names[i], &g, err);
        if (!rc && (g->n_inputs || g->n_outputs < c->node->n_out))
            rc = mc_op_fail(err, MC_ESHAPE, c->node,
                            "%s has %zu inputs and %zu outputs, must have none and %d", names[i],
                            g->n_inputs, g->n_outputs, c->n_out);
    }
    return rc;
}

static int loop_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct mc_graph *g = NULL;
    int rc = need_body(c->node, "body", &g, err);
    rc = rc ? rc : need_dtype(c, 0, MC_DTYPE_I64, err);
    rc = rc ? rc : mc_op_need_single(c, 0, err);
    rc = rc ? rc : need_dtype(c, 1, MC_DTYPE_BOOL, err);
    rc = rc ? rc : mc_op_need_single(c, 1, err);
    if (rc)
        return rc;
    size_t carried = c->n_in > 2 ? (size_t)c->n_in - 2 : 0;
    for (int i = 2; i < c->n_in; i++)
        if (!c->node->in[i])
            return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is missing", i);
    if (g->n_inputs != carried + 2 || g->n_outputs < carried + 1 ||
        (size_t)c->n_out > g->n_outputs - 1)
        return mc_op_fail(err, MC_ESHAPE, c->node,
                          "the body has %zu inputs and %zu outputs for %zu carried values and %d "
                          "outputs",
                          g->n_inputs, g->n_outputs, carried, c->n_out);
    return 0;
}

static int need_directions(const struct mc_node *n, const char *name, size_t count,
                           struct mc_err *err)
{
    const int64_t *v;
    int rc = mc_op_need_ints(n, name, (int)count, &v, err);
    for (size_t i = 0; v && i < count && !rc; i++)
        if (v[i] != 0 && v[i] != 1)
            rc =
                mc_op_fail(err, MC_ESHAPE, n, "%s has %lld, must be 0 or 1", name, (long long)v[i]);
    return rc;
}

static int scan_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct mc_node *n = c->node;
    const struct mc_graph *g = NULL;
    bool batched = n->version < 9;
    size_t first = batched ? 1 : 0, given = (size_t)c->n_in;
    int64_t scanned = mc_node_int(n, "num_scan_inputs", 0);
    const int64_t *axes;
    int rc = need_body(n, "body", &g, err);
    if (rc)
        return rc;
    if (scanned < 1 || given < first || (uint64_t)scanned > given - first)
        return mc_op_fail(err, MC_ESHAPE, n, "num_scan_inputs is %lld of %d inputs",
                          (long long)scanned, c->n_in);
    for (size_t i = first; i < given; i++)
        if (!n->in[i])
            return mc_op_fail(err, MC_ESHAPE, n, "input %zu is missing", i);
    size_t states = given - first - (size_t)scanned;
    if (g->n_inputs != given - first || g->n_outputs < states || (size_t)c->n_out > g->n_outputs)
        return mc_op_fail(err, MC_ESHAPE, n,
                          "the body has %zu inputs and %zu outputs for %zu states, %lld scanned "
                          "inputs and %d outputs",
                          g->n_inputs, g->n_outputs, states, (long long)scanned, c->n_out);
    if (batched)
        return need_directions(n, "directions", (size_t)scanned, err);
    rc = need_directions(n, "scan_input_directions", (size_t)scanned, err);
    rc = rc ? rc : need_directions(n, "scan_output_directions", g->n_outputs - states, err);
    rc = rc ? rc : mc_op_need_ints(n, "scan_input_axes", (int)scanned, &axes, err);
    return rc ? rc
              : mc_op_need_ints(n, "scan_output_axes", (int)(g->n_outputs - states), &axes, err);
}

const struct mc_op mc_ops_control[] = {
    {"", "If", 1, MC_OP_BODY, .infer = if_infer},
    {"", "Loop", 1, MC_OP_BODY, .infer = loop_infer},
    {"", "Scan", 8, MC_OP_BODY, .infer = scan_infer},
    {0},
};
