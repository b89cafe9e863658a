/* Gradients of LpNormalization, MeanVarianceNormalization and LRN; Hardmax has none. */
#include <string.h>

#include "graph/grad/rule.h"

/* fn over axes that stay as 1. */
static struct mc_value *over(struct mc_grad *g, const char *fn, struct mc_value *v,
                             const int64_t *axes, size_t n)
{
    struct mc_value *list = mc_grad_ints(g, axes, n);
    return mc_emit(g, fn, v, list);
}

/* y = x / N(x). p 2: dx = (dy - y Σ dy y) / N;  p 1: dx = (dy - sign(x) Σ dy y) / N. Where N is 0, so is dx. */
static void lp_rule(struct mc_grad *g, struct mc_node *n)
{
    int64_t axis = mc_node_int(n, "axis", -1);
    bool square = mc_node_int(n, "p", 2) == 2;
    struct mc_value *dy = mc_grad_of(g, n, 0), *x = n->in[0], *y = n->out[0];
    struct mc_value *norm = over(g, square ? "ReduceL2" : "ReduceL1", x, &axis, 1);
    struct mc_value *zero = mc_grad_scalar(g, x, 0), *one = mc_grad_scalar(g, x, 1);
    struct mc_value *none = mc_emit(g, "Equal", norm, zero);
    struct mc_value *by = mc_emit(g, "Div", one, norm);
    by = mc_emit(g, "Where", none, zero, by);
    struct mc_value *dot = over(g, "ReduceSum", mc_emit(g, "Mul", dy, y), &axis, 1);
    struct mc_value *along = mc_emit(g, "Mul", square ? y : mc_emit(g, "Sign", x), dot);
    struct mc_value *d = mc_emit(g, "Sub", dy, along);
    mc_grad_give(g, n, 0, mc_emit(g, "Mul", d, by));
}

/* y = (x - m) / (s + 1e-9): dx = (dy - mean dy - y mean(dy y)) / s, to the share of 1e-9 in s. */
static void mvn_rule(struct mc_grad *g, struct mc_node *n)
{
    static const int64_t usual[] = {0, 2, 3};
    size_t count;
    const int64_t *axes = mc_node_ints(n, "axes", &count);
    if (!axes) {
        axes = usual;
        count = 3;
    }
    struct mc_value *dy = mc_grad_of(g, n, 0), *y = n->out[0];
    struct mc_value *mean = over(g, "ReduceMean", n->in[0], axes, count);
    struct mc_value *centred = mc_emit(g, "Sub", n->in[0], mean);
    struct mc_value *square = mc_emit(g, "Mul", centred, centred);
    struct mc_value *s = mc_emit(g, "Sqrt", over(g, "ReduceMean", square, axes, count));
    struct mc_value *level = over(g, "ReduceMean", dy, axes, count);
    struct mc_value *tilt = over(g, "ReduceMean", mc_emit(g, "Mul", dy, y), axes, count);
    struct mc_value *d = mc_emit(g, "Sub", dy, level);
    d = mc_emit(g, "Sub", d, mc_emit(g, "Mul", y, tilt));
    mc_grad_give(g, n, 0, mc_emit(g, "Div", d, s));
}

/* ---- LRN:  y = x u^-b,  u = k + a/size Σ x² over the channels of a window ---- */

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

const struct mc_rule mc_rules_lpnorm[] = {
    {"", "LpNormalization", 1, lp_rule},
    {"", "MeanVarianceNormalization", 9, mvn_rule},
    {"", "LRN", 1, lrn_rule},
    {"", "Hardmax", 1, mc_rule_zero},
    {0},
};
