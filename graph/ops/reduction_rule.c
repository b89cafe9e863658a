/* Gradients of reductions. Equal extremes share dy evenly, as in PyTorch; a norm of 0 passes nothing. */
#include <string.h>

#include "graph/grad/rule.h"

/* The axes of a node as a value: NULL for all. */
static struct mc_value *axes_of(struct mc_grad *g, struct mc_node *n)
{
    size_t count;
    const int64_t *axes = mc_node_ints(n, "axes", &count);
    if (n->n_in > 1)
        return n->in[1];
    return axes ? mc_grad_ints(g, axes, count) : NULL;
}

/* fn over the same axes, which stay as 1. */
static struct mc_value *reduce(struct mc_grad *g, struct mc_node *n, const char *fn,
                               struct mc_value *v)
{
    struct mc_value *y = mc_emit(g, fn, v, axes_of(g, n));
    mc_emit_copy(g, n, "noop_with_empty_axes");
    return y;
}

/* v, of the result's shape, so that it broadcasts to the argument. */
static struct mc_value *kept(struct mc_grad *g, struct mc_node *n, struct mc_value *v)
{
    struct mc_value *axes = axes_of(g, n);
    int64_t known[MC_RANK_MAX];
    if (mc_node_int(n, "keepdims", 1) || !axes)
        return v;
    int count = mc_grad_known_ints(g, axes, known, MC_RANK_MAX);
    if (count < 0)
        mc_grad_refuse(g, n, "axes that are no constant have no gradient");
    return count > 0 ? mc_emit(g, "Unsqueeze", v, axes) : v;
}

static struct mc_value *as_float(struct mc_grad *g, struct mc_node *n, struct mc_value *v)
{
    struct mc_value *y = mc_emit(g, "Cast", v);
    mc_emit_int(g, "to", (int64_t)mc_grad_type(g, n->in[0])->dtype);
    return y;
}

static struct mc_value *is_zero(struct mc_grad *g, struct mc_node *n, struct mc_value *v)
{
    struct mc_value *zero = mc_grad_scalar(g, n->in[0], 0);
    return mc_emit(g, "Equal", v, zero);
}

static void give_expanded(struct mc_grad *g, struct mc_node *n, struct mc_value *d)
{
    struct mc_value *shape = mc_grad_shape(g, n->in[0]);
    mc_grad_give(g, n, 0, mc_emit(g, "Expand", d, shape));
}

static void sum_rule(struct mc_grad *g, struct mc_node *n)
{
    give_expanded(g, n, kept(g, n, mc_grad_of(g, n, 0)));
}

static void mean_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *all = mc_emit(g, "Size", n->in[0]), *out = mc_emit(g, "Size", n->out[0]);
    struct mc_value *count = as_float(g, n, mc_emit(g, "Div", all, out));
    give_expanded(g, n, kept(g, n, mc_emit(g, "Div", mc_grad_of(g, n, 0), count)));
}

static void extreme_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *y = kept(g, n, n->out[0]), *dy = kept(g, n, mc_grad_of(g, n, 0));
    struct mc_value *chosen = as_float(g, n, mc_emit(g, "Equal", n->in[0], y));
    struct mc_value *share = mc_emit(g, "Div", dy, reduce(g, n, "ReduceSum", chosen));
    mc_grad_give(g, n, 0, mc_emit(g, "Mul", chosen, share));
}

/* The product of all others: of those that are not 0, if this is the only 0, or there is none. */
static void prod_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = kept(g, n, mc_grad_of(g, n, 0)), *one = mc_grad_scalar(g, n->in[0], 1);
    struct mc_value *at_zero = is_zero(g, n, n->in[0]), *zeros = as_float(g, n, at_zero);
    struct mc_value *safe = mc_emit(g, "Where", at_zero, one, n->in[0]);
    struct mc_value *others = mc_emit(g, "Div", reduce(g, n, "ReduceProd", safe), safe);
    struct mc_value *count = reduce(g, n, "ReduceSum", zeros);
    struct mc_value *alone = as_float(g, n, mc_emit(g, "Equal", zeros, count));
    struct mc_value *d = mc_emit(g, "Mul", dy, others);
    mc_grad_give(g, n, 0, mc_emit(g, "Mul", d, alone));
}

static void l1_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = kept(g, n, mc_grad_of(g, n, 0)), *sign = mc_emit(g, "Sign", n->in[0]);
    mc_grad_give(g, n, 0, mc_emit(g, "Mul", sign, dy));
}

static void l2_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *by = mc_emit(g, "Div", mc_grad_of(g, n, 0), n->out[0]);
    struct mc_value *nothing = is_zero(g, n, n->out[0]), *zero = mc_grad_scalar(g, n->in[0], 0);
    by = kept(g, n, mc_emit(g, "Where", nothing, zero, by));
    mc_grad_give(g, n, 0, mc_emit(g, "Mul", n->in[0], by));
}

static void square_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *two = mc_grad_scalar(g, n->in[0], 2);
    struct mc_value *by = kept(g, n, mc_emit(g, "Mul", mc_grad_of(g, n, 0), two));
    mc_grad_give(g, n, 0, mc_emit(g, "Mul", n->in[0], by));
}

static void log_sum_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *sum = mc_emit(g, "Exp", n->out[0]);
    give_expanded(g, n, kept(g, n, mc_emit(g, "Div", mc_grad_of(g, n, 0), sum)));
}

static void log_sum_exp_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *y = kept(g, n, n->out[0]), *dy = kept(g, n, mc_grad_of(g, n, 0));
    struct mc_value *part = mc_emit(g, "Exp", mc_emit(g, "Sub", n->in[0], y));
    mc_grad_give(g, n, 0, mc_emit(g, "Mul", part, dy));
}

const struct mc_rule mc_rules_reduction[] = {
    {"", "ReduceSum", 1, sum_rule},
    {"", "ReduceMean", 1, mean_rule},
    {"", "ReduceMax", 1, extreme_rule},
    {"", "ReduceMin", 1, extreme_rule},
    {"", "ReduceProd", 1, prod_rule},
    {"", "ReduceL1", 1, l1_rule},
    {"", "ReduceL2", 1, l2_rule},
    {"", "ReduceSumSquare", 1, square_rule},
    {"", "ReduceLogSum", 1, log_sum_rule},
    {"", "ReduceLogSumExp", 1, log_sum_exp_rule},
    {0},
};
