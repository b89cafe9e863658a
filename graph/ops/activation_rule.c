/* Gradients of activations and elementary functions: one node each (activation_grad.c). */
#include <stdio.h>
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/activation.h"

/* From the result where it suffices, so that the argument is not kept and what computes it stays fused. */
static void unary_rule(struct mc_grad *g, struct mc_node *n)
{
    static const char *const attrs[] = {"alpha", "beta", "gamma", "lambd", "bias", "approximate"};
    struct mc_unary f = mc_activation_function(n);
    char name[64];
    snprintf(name, sizeof name, "%sGrad", n->op_type);
    bool result = mc_unary_by_result(f.fn, f.a, f.b);
    struct mc_value *dy = mc_grad_of(g, n, 0);
    struct mc_value *dx = mc_emit_own(g, name, dy, result ? n->out[0] : n->in[0]);
    for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++)
        mc_emit_copy(g, n, attrs[i]);
    mc_grad_give(g, n, 0, dx);
}

static void neg_rule(struct mc_grad *g, struct mc_node *n)
{
    mc_grad_give(g, n, 0, mc_emit(g, "Neg", mc_grad_of(g, n, 0)));
}

/* ---- Clip: what is cut off at a bound belongs to the bound ---- */

/* ClipGrad takes away what lies at or beyond the bounds it is given. */
static struct mc_value *inside(struct mc_grad *g, struct mc_node *n, struct mc_value *lo,
                               struct mc_value *hi)
{
    return mc_emit_own(g, "ClipGrad", mc_grad_of(g, n, 0), n->out[0], lo, hi);
}

static struct mc_value *input(const struct mc_node *n, size_t i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

static void clip_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *lo = input(n, 1), *hi = input(n, 2);
    if (mc_grad_wants(g, n, 0)) {
        struct mc_value *dx = inside(g, n, lo, hi);
        if (n->version < 11) {
            mc_emit_copy(g, n, "min");
            mc_emit_copy(g, n, "max");
        }
        mc_grad_give(g, n, 0, dx);
    }
    for (int i = 1; i < 3; i++)
        if (mc_grad_wants(g, n, i)) {
            struct mc_value *rest = inside(g, n, i == 1 ? lo : NULL, i == 2 ? hi : NULL);
            rest = mc_emit(g, "Sub", mc_grad_of(g, n, 0), rest);
            mc_grad_give(g, n, i, mc_grad_sum_to(g, rest, n->out[0], n->in[i]));
        }
}

/* ---- with a second operand ---- */

/* dy is cut in two by the sign of x: v > 0 keeps it whole, elsewhere it goes through the slope. */
static void prelu_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0);
    struct mc_value *above = mc_emit_own(g, "ReluGrad", dy, n->in[0]);
    struct mc_value *below = mc_emit(g, "Sub", dy, above);
    if (mc_grad_wants(g, n, 0)) {
        struct mc_value *scaled = mc_emit(g, "Mul", below, n->in[1]);
        mc_grad_give(g, n, 0, mc_emit(g, "Add", above, scaled));
    }
    if (mc_grad_wants(g, n, 1)) {
        struct mc_value *d = mc_emit(g, "Mul", below, n->in[0]);
        mc_grad_give(g, n, 1, mc_grad_sum_to(g, d, n->out[0], n->in[1]));
    }
}

/* BiasGelu and FastGelu: the sum is computed again. */
static void bias_gelu_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *bias = input(n, 1);
    struct mc_value *x = bias ? mc_emit(g, "Add", n->in[0], bias) : n->in[0];
    struct mc_value *d = mc_emit_own(g, "GeluGrad", mc_grad_of(g, n, 0), x);
    if (!strcmp(n->op_type, "FastGelu"))
        mc_emit_string(g, "approximate", "tanh");
    if (mc_grad_wants(g, n, 0))
        mc_grad_give(g, n, 0, d);
    if (mc_grad_wants(g, n, 1))
        mc_grad_give(g, n, 1, mc_grad_sum_to(g, d, n->out[0], n->in[1]));
}

/* y = silu(x) w */
static void swiglu_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0);
    if (mc_grad_wants(g, n, 0)) {
        struct mc_value *through = mc_emit(g, "Mul", dy, n->in[1]);
        struct mc_value *dx = mc_emit_own(g, "SwishGrad", through, n->in[0]);
        mc_emit_copy(g, n, "alpha");
        mc_grad_give(g, n, 0, dx);
    }
    if (mc_grad_wants(g, n, 1)) {
        struct mc_value *gate = mc_emit(g, "Swish", n->in[0]);
        mc_emit_version(g, 24);
        mc_emit_copy(g, n, "alpha");
        mc_grad_give(g, n, 1, mc_emit(g, "Mul", dy, gate));
    }
}

const struct mc_rule mc_rules_activation[] = {
    {"", "Abs", 6, unary_rule},
    {"", "Reciprocal", 6, unary_rule},
    {"", "Sqrt", 6, unary_rule},
    {"", "Exp", 6, unary_rule},
    {"", "Log", 6, unary_rule},
    {"", "Erf", 9, unary_rule},
    {"", "Relu", 6, unary_rule},
    {"", "LeakyRelu", 6, unary_rule},
    {"", "Sigmoid", 6, unary_rule},
    {"", "Tanh", 6, unary_rule},
    {"", "Elu", 6, unary_rule},
    {"", "HardSigmoid", 6, unary_rule},
    {"", "HardSwish", 14, unary_rule},
    {"", "Softplus", 1, unary_rule},
    {"", "Swish", 24, unary_rule},
    {"", "Gelu", 20, unary_rule},
    {"", "Sin", 7, unary_rule},
    {"", "Cos", 7, unary_rule},
    {"", "Tan", 7, unary_rule},
    {"", "Asin", 7, unary_rule},
    {"", "Acos", 7, unary_rule},
    {"", "Atan", 7, unary_rule},
    {"", "Sinh", 9, unary_rule},
    {"", "Cosh", 9, unary_rule},
    {"", "Asinh", 9, unary_rule},
    {"", "Acosh", 9, unary_rule},
    {"", "Atanh", 9, unary_rule},
    {"", "Selu", 6, unary_rule},
    {"", "Celu", 12, unary_rule},
    {"", "Mish", 18, unary_rule},
    {"", "Softsign", 1, unary_rule},
    {"", "ThresholdedRelu", 10, unary_rule},
    {"", "Shrink", 9, unary_rule},
    {"com.microsoft", "Gelu", 1, unary_rule},
    {"com.microsoft", "QuickGelu", 1, unary_rule},
    {"", "Neg", 6, neg_rule},
    {"", "Sign", 9, mc_rule_zero},
    {"", "Floor", 6, mc_rule_zero},
    {"", "Ceil", 6, mc_rule_zero},
    {"", "Round", 11, mc_rule_zero},
    {"", "Clip", 6, clip_rule},
    {"", "PRelu", 7, prelu_rule},
    {"com.microsoft", "BiasGelu", 1, bias_gelu_rule},
    {"com.microsoft", "FastGelu", 1, bias_gelu_rule},
    {"", "SwiGLU", 28, swiglu_rule},
    {0},
};
