/* Gradients of pools. */
#include "graph/grad/rule.h"

static void copy_attributes(struct mc_grad *g, const struct mc_node *n)
{
    static const char *const names[] = {"auto_pad",  "ceil_mode",    "count_include_pad",
                                        "dilations", "kernel_shape", "pads",
                                        "strides"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        mc_emit_copy(g, n, names[i]);
}

static void max_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dx =
        mc_emit_own(g, "MaxPoolGrad", mc_grad_of(g, n, 0), n->in[0], mc_grad_output(g, n, 0));
    copy_attributes(g, n);
    mc_grad_give(g, n, 0, dx);
}

static void global_max_rule(struct mc_grad *g, struct mc_node *n)
{
    mc_grad_give(g, n, 0,
                 mc_emit_own(g, "GlobalMaxPoolGrad", mc_grad_of(g, n, 0), n->in[0],
                             mc_grad_output(g, n, 0)));
}

static void average_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *shape = mc_grad_shape(g, n->in[0]);
    struct mc_value *dx = mc_emit_own(g, "AveragePoolGrad", mc_grad_of(g, n, 0), shape);
    copy_attributes(g, n);
    mc_grad_give(g, n, 0, dx);
}

static void global_average_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *shape = mc_grad_shape(g, n->in[0]);
    mc_grad_give(g, n, 0, mc_emit_own(g, "GlobalAveragePoolGrad", mc_grad_of(g, n, 0), shape));
}

const struct mc_rule mc_rules_pooling[] = {
    {"", "MaxPool", 1, max_rule},
    {"", "GlobalMaxPool", 1, global_max_rule},
    {"", "AveragePool", 1, average_rule},
    {"", "GlobalAveragePool", 1, global_average_rule},
    {0},
};
