/* Gradients of selection, of conversions and of Dropout; comparisons have none. */
#include "graph/constant.h"
#include "graph/dtype.h"
#include "graph/grad/rule.h"

static void where_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0), *zero = mc_grad_scalar(g, n->out[0], 0);
    for (int i = 1; i < 3; i++)
        if (mc_grad_wants(g, n, i)) {
            struct mc_value *d =
                mc_emit(g, "Where", n->in[0], i == 1 ? dy : zero, i == 1 ? zero : dy);
            mc_grad_give(g, n, i, mc_grad_sum_to(g, d, n->out[0], n->in[i]));
        }
}

/* Between floats; gradients do not go through whole numbers. */
static void cast_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dx = mc_emit(g, "Cast", mc_grad_of(g, n, 0));
    mc_emit_int(g, "to", (int64_t)mc_grad_type(g, n->in[0])->dtype);
    mc_grad_give(g, n, 0, dx);
}

/* ---- Dropout ---- */

static struct mc_value *input(const struct mc_node *n, size_t i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

/* dy times 1 / (1 - ratio) where the mask keeps. A ratio of 1 keeps nothing: there 0/0 does not come in. */
static struct mc_value *kept(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *x = n->in[0], *ratio = input(n, 1), *zero = mc_grad_scalar(g, x, 0);
    struct mc_value *rest = mc_grad_scalar(g, x, 0.5);
    if (ratio) {
        if (mc_grad_type(g, ratio)->dtype != mc_grad_type(g, x)->dtype) {
            ratio = mc_emit(g, "Cast", ratio);
            mc_emit_int(g, "to", (int64_t)mc_grad_type(g, x)->dtype);
        }
        rest = mc_emit(g, "Sub", mc_grad_scalar(g, x, 1), ratio);
    }
    struct mc_value *d = mc_emit(g, "Div", mc_grad_of(g, n, 0), rest);
    return mc_emit(g, "Where", mc_grad_output(g, n, 1), d, zero);
}

static void dropout_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *mode = input(n, 2);
    const struct mc_tensor *known = mc_grad_known(g, mode);
    if (mode && !known)
        mc_grad_refuse(g, n, "training_mode is no constant");
    else if (mode && mc_tensor_count(known) == 1 && *(const uint8_t *)known->data)
        mc_grad_give(g, n, 0, kept(g, n));
    else
        mc_grad_give(g, n, 0, mc_grad_of(g, n, 0));
}

#define NONE(name, since)                                                                          \
    {                                                                                              \
        "", name, since, mc_rule_zero                                                              \
    }
const struct mc_rule mc_rules_compare[] = {
    {"", "Where", 9, where_rule},
    {"", "Cast", 1, cast_rule},
    {"", "CastLike", 15, cast_rule},
    {"", "Dropout", 6, dropout_rule},
    NONE("And", 1),
    NONE("Or", 1),
    NONE("Xor", 1),
    NONE("Not", 1),
    NONE("Equal", 1),
    NONE("Less", 1),
    NONE("LessOrEqual", 12),
    NONE("Greater", 1),
    NONE("GreaterOrEqual", 12),
    NONE("IsNaN", 9),
    NONE("IsInf", 10),
    {0},
};
