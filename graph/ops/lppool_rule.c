/* Gradients of LpPool, GlobalLpPool and MaxUnpool. */
#include "graph/grad/rule.h"

static void lp_rule(struct mc_grad *g, struct mc_node *n)
{
    static const char *const names[] = {"auto_pad", "ceil_mode", "dilations", "kernel_shape",
                                        "p",        "pads",      "strides"};
    struct mc_value *dy = mc_grad_of(g, n, 0), *y = mc_grad_output(g, n, 0);
    struct mc_value *dx = mc_node_is(n, "LpPool")
                              ? mc_emit_own(g, "LpPoolGrad", dy, n->in[0], y)
                              : mc_emit_own(g, "GlobalLpPoolGrad", dy, n->in[0], y);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        mc_emit_copy(g, n, names[i]);
    mc_grad_give(g, n, 0, dx);
}

/* Each x has gone to one place. */
static void unpool_rule(struct mc_grad *g, struct mc_node *n)
{
    const int64_t flat = -1;
    struct mc_value *dy = mc_emit(g, "Reshape", mc_grad_of(g, n, 0), mc_grad_ints(g, &flat, 1));
    mc_grad_give(g, n, 0, mc_emit(g, "Gather", dy, n->in[1]));
}

const struct mc_rule mc_rules_lppool[] = {
    {"", "LpPool", 2, lp_rule},
    {"", "GlobalLpPool", 1, lp_rule},
    {"", "MaxUnpool", 9, unpool_rule},
    {0},
};
