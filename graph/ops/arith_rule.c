/* Gradients of arithmetic with broadcasting.
 *
 * Min and Max: equal operands share dy evenly, as in PyTorch; against a single constant they are a clip, whose
 * bound passes nothing. */
#include "graph/dtype.h"
#include "graph/grad/rule.h"

static void give_sum(struct mc_grad *g, struct mc_node *n, int i, struct mc_value *d)
{
    mc_grad_give(g, n, i, mc_grad_sum_to(g, d, n->out[0], n->in[i]));
}

/* Add, Sum. */
static void add_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0);
    for (int i = 0; i < (int)n->n_in; i++)
        if (mc_grad_wants(g, n, i))
            give_sum(g, n, i, dy);
}

static void mean_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *share = mc_grad_scalar(g, n->in[0], 1 / (double)n->n_in);
    struct mc_value *dy = mc_emit(g, "Mul", mc_grad_of(g, n, 0), share);
    for (int i = 0; i < (int)n->n_in; i++)
        if (mc_grad_wants(g, n, i))
            give_sum(g, n, i, dy);
}

static void sub_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0);
    if (mc_grad_wants(g, n, 0))
        give_sum(g, n, 0, dy);
    if (mc_grad_wants(g, n, 1))
        mc_grad_give(g, n, 1, mc_emit(g, "Neg", mc_grad_sum_to(g, dy, n->out[0], n->in[1])));
}

static void mul_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0);
    for (int i = 0; i < 2; i++)
        if (mc_grad_wants(g, n, i))
            give_sum(g, n, i, mc_emit(g, "Mul", dy, n->in[1 - i]));
}

/* dx = dy / b,  db = -dx y */
static void div_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *d = mc_emit(g, "Div", mc_grad_of(g, n, 0), n->in[1]);
    if (mc_grad_wants(g, n, 0))
        give_sum(g, n, 0, d);
    if (mc_grad_wants(g, n, 1)) {
        struct mc_value *product = mc_emit(g, "Mul", d, n->out[0]);
        product = mc_grad_sum_to(g, product, n->out[0], n->in[1]);
        mc_grad_give(g, n, 1, mc_emit(g, "Neg", product));
    }
}

/* y = a - q b with q whole: da = dy,  db = -q dy,  q = (a - y) / b rounded */
static void mod_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0);
    if (mc_grad_wants(g, n, 0))
        give_sum(g, n, 0, dy);
    if (mc_grad_wants(g, n, 1)) {
        struct mc_value *q = mc_emit(g, "Sub", n->out[0], n->in[0]);
        q = mc_emit(g, "Round", mc_emit(g, "Div", q, n->in[1]));
        give_sum(g, n, 1, mc_emit(g, "Mul", q, dy));
    }
}

/* ---- Pow ---- */

/* A known exponent of one element. */
static bool known_exponent(struct mc_grad *g, const struct mc_value *v, double *ret)
{
    const struct mc_tensor *t = mc_grad_known(g, v);
    return t && mc_tensor_count(t) == 1 && !mc_dtype_to_f64((int)t->dtype, t->data, ret, 1, NULL);
}

static struct mc_value *equals(struct mc_grad *g, struct mc_value *v, double number)
{
    struct mc_value *c = mc_grad_scalar(g, v, number);
    return mc_emit(g, "Equal", v, c);
}

/* da = dy p a^(p-1); of a square without a power. */
static void give_base(struct mc_grad *g, struct mc_node *n, struct mc_value *p)
{
    struct mc_value *a = n->in[0], *power = a, *less, *factor = p;
    double known = 0;
    bool is_known = known_exponent(g, n->in[1], &known);
    if (is_known && known == 0)
        return;
    if (is_known)
        factor = mc_grad_scalar(g, a, known);
    if (is_known && known != 2) {
        less = mc_grad_scalar(g, a, known - 1);
        power = mc_emit(g, "Pow", a, less);
    } else if (!is_known) { /* a^0 does not move with a, not even at 0 */
        struct mc_value *none = mc_emit(g, "Equal", p, mc_grad_scalar(g, a, 0));
        less = mc_emit(g, "Sub", p, mc_grad_scalar(g, a, 1));
        power = mc_emit(g, "Pow", a, mc_emit(g, "Where", none, p, less));
    }
    struct mc_value *d = mc_emit(g, "Mul", mc_grad_of(g, n, 0), power);
    give_sum(g, n, 0, mc_emit(g, "Mul", d, factor));
}

static void pow_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *a = n->in[0], *p = n->in[1];
    enum mc_dtype to = mc_grad_type(g, a)->dtype, from = mc_grad_type(g, p)->dtype;
    double unused;
    if (from != to && !known_exponent(g, p, &unused)) {
        p = mc_emit(g, "Cast", p);
        mc_emit_int(g, "to", (int64_t)to);
    }
    if (mc_grad_wants(g, n, 0))
        give_base(g, n, p);
    if (mc_grad_wants(g, n, 1) && from != to) {
        mc_grad_refuse(g, n, "an exponent of another type has no gradient");
    } else if (mc_grad_wants(g, n, 1)) { /* dy y log a; 0^p does not move with p */
        struct mc_value *one = mc_grad_scalar(g, a, 1);
        struct mc_value *safe = mc_emit(g, "Where", equals(g, a, 0), one, a);
        struct mc_value *d = mc_emit(g, "Mul", mc_grad_of(g, n, 0), n->out[0]);
        struct mc_value *log = mc_emit(g, "Log", safe);
        give_sum(g, n, 1, mc_emit(g, "Mul", d, log));
    }
}

/* ---- Min, Max ---- */

/* 1 where operand i is the result. */
static struct mc_value *chosen(struct mc_grad *g, struct mc_node *n, int i)
{
    struct mc_value *m = mc_emit(g, "Cast", mc_emit(g, "Equal", n->in[i], n->out[0]));
    mc_emit_int(g, "to", (int64_t)mc_grad_type(g, n->in[i])->dtype);
    return m;
}

static bool is_single(struct mc_grad *g, const struct mc_value *v)
{
    const struct mc_tensor *t = mc_grad_known(g, v);
    return t && mc_tensor_count(t) == 1;
}

static void extreme_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0), *all = NULL;
    for (int i = 0; i < 2 && n->n_in == 2; i++)
        if (mc_grad_wants(g, n, i) && !mc_grad_wants(g, n, 1 - i) && is_single(g, n->in[1 - i]) &&
            mc_grad_same_shape(g, n->in[i], n->out[0])) {
            bool max = mc_node_is(n, "Max");
            struct mc_value *bound = n->in[1 - i];
            mc_grad_give(
                g, n, i,
                mc_emit_own(g, "ClipGrad", dy, n->out[0], max ? bound : NULL, max ? NULL : bound));
            return;
        }
    for (int i = 0; i < (int)n->n_in; i++) {
        struct mc_value *one = chosen(g, n, i);
        all = all ? mc_emit(g, "Add", all, one) : one;
    }
    struct mc_value *share = mc_emit(g, "Div", dy, all);
    for (int i = 0; i < (int)n->n_in; i++)
        if (mc_grad_wants(g, n, i))
            give_sum(g, n, i, mc_emit(g, "Mul", share, chosen(g, n, i)));
}

const struct mc_rule mc_rules_arith[] = {
    {"", "Add", 7, add_rule},
    {"", "Sub", 7, sub_rule},
    {"", "Mul", 7, mul_rule},
    {"", "Div", 7, div_rule},
    {"", "Pow", 7, pow_rule},
    {"", "Mod", 10, mod_rule},
    {"", "Min", 6, extreme_rule},
    {"", "Max", 6, extreme_rule},
    {"", "Sum", 6, add_rule},
    {"", "Mean", 6, mean_rule},
    {0},
};
