/* The gradient of LRN:  y = x u^-b,  u = k + a/size Σ x² over the channels of a window. Hardmax has none. */
#include "graph/grad/rule.h"

/* Mean over a window of channels, padding counted; for an even size the longer half is behind, or, turned, before. */
static struct mc_value *window_mean(struct mc_grad *g, struct mc_node *n, struct mc_value *v,
                                    bool turned)
{
    int rank = mc_grad_rank(g, n->in[0]) - 1; /* spatial dimensions of [N, 1, C, …] */
    int64_t size = mc_node_int(n, "size", 1), one = 1, kernel[MC_RANK_MAX], pads[2 * MC_RANK_MAX];
    for (int d = 0; d < rank; d++) {
        kernel[d] = d == 0 ? size : 1;
        pads[d] = d > 0 ? 0 : turned ? size / 2 : (size - 1) / 2;
        pads[rank + d] = d > 0 ? 0 : turned ? (size - 1) / 2 : size / 2;
    }
    struct mc_value *axis = mc_grad_ints(g, &one, 1);
    struct mc_value *planes = mc_emit(g, "Unsqueeze", v, axis);
    struct mc_value *mean = mc_emit(g, "AveragePool", planes);
    mc_emit_ints(g, "kernel_shape", kernel, (size_t)rank);
    mc_emit_ints(g, "pads", pads, (size_t)(2 * rank));
    mc_emit_int(g, "count_include_pad", 1);
    return mc_emit(g, "Squeeze", mean, axis);
}

/* dx = dy u^-b - 2 a b x / size Σ dy y / u over the windows that x is in */
static void lrn_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0), *x = n->in[0];
    int rank = mc_grad_rank(g, x);
    if (rank < 3 || rank > 4) {
        mc_grad_refuse(g, n, "rank %d has no gradient, 3 or 4 have", rank);
        return;
    }
    double a = (double)mc_node_float(n, "alpha", 0.0001F),
           b = (double)mc_node_float(n, "beta", 0.75F);
    struct mc_value *alpha = mc_grad_scalar(g, x, a), *factor = mc_grad_scalar(g, x, -2 * a * b);
    struct mc_value *power = mc_grad_scalar(g, x, -b);
    struct mc_value *bias = mc_grad_scalar(g, x, (double)mc_node_float(n, "bias", 1));
    struct mc_value *u = window_mean(g, n, mc_emit(g, "Mul", x, x), false);
    u = mc_emit(g, "Add", mc_emit(g, "Mul", u, alpha), bias);
    struct mc_value *share = mc_emit(g, "Div", mc_emit(g, "Mul", dy, n->out[0]), u);
    share = mc_emit(g, "Mul", window_mean(g, n, share, true), x);
    share = mc_emit(g, "Mul", share, factor);
    struct mc_value *direct = mc_emit(g, "Mul", dy, mc_emit(g, "Pow", u, power));
    mc_grad_give(g, n, 0, mc_emit(g, "Add", direct, share));
}

const struct mc_rule mc_rules_lrn[] = {
    {"", "LRN", 1, lrn_rule},
    {"", "Hardmax", 1, mc_rule_zero},
    {0},
};
