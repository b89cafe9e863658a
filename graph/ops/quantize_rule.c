/* Gradients through quantisation: straight through where a value lies within the range of the whole numbers, nothing
 * where it is cut off. The gradient of a quantised tensor is that of the number that it holds, so that scale and zero
 * point of the two ends need not be the same; for the two together it is that of Esser et al., Learned Step Size
 * Quantization, ICLR 2020, eqs. (3) and (5). */
#include "graph/dtype.h"
#include "graph/grad/rule.h"

enum { X, SCALE, ZERO };

static struct mc_value *input(const struct mc_node *n, size_t i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

/* Least and largest whole number of a type. */
static bool range_of(enum mc_dtype d, double *lo, double *hi)
{
    const struct mc_dtype_info *t = mc_dtype_info((int)d);
    if (t->kind != MC_KIND_INT && t->kind != MC_KIND_UINT)
        return false;
    double steps = (double)((int64_t)1 << t->bits);
    *lo = t->kind == MC_KIND_INT ? -steps / 2 : 0;
    *hi = *lo + steps - 1;
    return true;
}

/* A scale or zero point with dimensions of 1 behind it, so that it broadcasts along the axis. Refuses what does not. */
static struct mc_value *aligned(struct mc_grad *g, struct mc_node *n, struct mc_value *v)
{
    int rank = mc_grad_rank(g, n->in[X]), own = mc_grad_rank(g, v);
    int64_t axis = mc_node_int(n, "axis", 1), axes[MC_RANK_MAX];
    const struct mc_vtype *t = mc_grad_type(g, v);
    if (mc_node_int(n, "block_size", 0) != 0 || own > 1)
        mc_grad_refuse(g, n, "scales in blocks have no gradient");
    if (own == 0 || (own == 1 && t->shape.dim[0] == 1))
        return v;
    if (rank < 0 || own < 0) {
        mc_grad_refuse(g, n, "has no gradient where the rank is not known");
        return v;
    }
    int behind = rank - 1 - (int)(axis < 0 ? axis + rank : axis);
    for (int d = 0; d < behind; d++)
        axes[d] = d + 1;
    if (behind <= 0)
        return v;
    struct mc_value *list = mc_grad_ints(g, axes, (size_t)behind);
    return mc_emit(g, "Unsqueeze", v, list);
}

static struct mc_value *as_float(struct mc_grad *g, struct mc_node *n, struct mc_value *v)
{
    struct mc_value *y = mc_emit(g, "Cast", v);
    mc_emit_int(g, "to", (int64_t)mc_grad_type(g, n->in[SCALE])->dtype);
    return y;
}

/* v plus or minus the zero point. */
static struct mc_value *shifted(struct mc_grad *g, struct mc_node *n, const char *op,
                                struct mc_value *v)
{
    struct mc_value *zero = input(n, ZERO);
    return zero ? mc_emit(g, op, v, as_float(g, n, aligned(g, n, zero))) : v;
}

static void give_scale(struct mc_grad *g, struct mc_node *n, struct mc_value *scale,
                       struct mc_value *d)
{
    d = mc_grad_sum_to(g, d, n->in[X], scale);
    mc_grad_give(g, n, SCALE, scale == n->in[SCALE] ? d : mc_grad_reshape_as(g, d, n->in[SCALE]));
}

/* q = clip(round(x / s) + z): dx = dq / s and ds = -dq x / s² where q is not cut off. */
static void quantize_rule(struct mc_grad *g, struct mc_node *n)
{
    double lo, hi;
    enum mc_dtype type = mc_grad_type(g, n->in[X])->dtype;
    if (type != mc_grad_type(g, n->in[SCALE])->dtype) {
        mc_grad_refuse(g, n, "has no gradient where value and scale are of two types");
        return;
    }
    if (!range_of(mc_grad_type(g, n->out[0])->dtype, &lo, &hi)) {
        mc_grad_refuse(g, n, "has no gradient to small floats");
        return;
    }
    struct mc_value *s = aligned(g, n, n->in[SCALE]);
    struct mc_value *steps = mc_emit(g, "Div", n->in[X], s);
    struct mc_value *q = shifted(g, n, "Add", steps);
    struct mc_value *d = mc_emit(g, "Div", mc_grad_of(g, n, 0), s);
    struct mc_value *least = mc_grad_scalar(g, n->in[X], lo - 0.5);
    struct mc_value *most = mc_grad_scalar(g, n->in[X], hi + 0.5);
    d = mc_emit_own(g, "ClipGrad", d, q, least, most);
    if (mc_grad_wants(g, n, X))
        mc_grad_give(g, n, X, d);
    if (mc_grad_wants(g, n, SCALE))
        give_scale(g, n, s, mc_emit(g, "Neg", mc_emit(g, "Mul", d, steps)));
}

/* y = (q - z) s: dq = dy s, ds = dy (q - z). */
static void dequantize_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0);
    if (mc_grad_type(g, n->out[0])->dtype != mc_grad_type(g, n->in[SCALE])->dtype) {
        mc_grad_refuse(g, n, "has no gradient where result and scale are of two types");
        return;
    }
    struct mc_value *s = aligned(g, n, n->in[SCALE]);
    if (mc_grad_wants(g, n, X))
        mc_grad_give(g, n, X, mc_emit(g, "Mul", dy, s));
    if (mc_grad_wants(g, n, SCALE)) {
        struct mc_value *q = shifted(g, n, "Sub", as_float(g, n, n->in[X]));
        give_scale(g, n, s, mc_emit(g, "Mul", dy, q));
    }
}

void mc_rule_straight_through(struct mc_grad *g, struct mc_node *n)
{
    if (mc_node_is(n, "DynamicQuantizeLinear"))
        mc_grad_refuse(g, n, "a range that is measured in every run has no gradient");
    else
        quantize_rule(g, n);
}

/* Both at once, as they are trained (graph/ops/fake_quant.c). */
static void fake_rule(struct mc_grad *g, struct mc_node *n)
{
    static const char *const same[] = {"axis", "block_size", "lo", "hi", "batched"};
    struct mc_value *dy = mc_grad_of(g, n, 0);
    struct mc_value *dx =
        mc_emit_own(g, "FakeQuantizeGrad", dy, n->in[X], n->in[SCALE], input(n, ZERO));
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        mc_emit_copy(g, n, same[i]);
    bool learns = mc_grad_wants(g, n, SCALE) && !mc_node_attr(n, "tied");
    struct mc_value *ds = learns ? mc_emit_output(g, 1) : NULL;
    if (mc_grad_wants(g, n, X))
        mc_grad_give(g, n, X, dx);
    if (learns)
        mc_grad_give(g, n, SCALE, ds);
}

/* s = start exp(growth). A step on s of its gradient ds is one on growth of ds / start, while s is near start: the gradient
 * given is ds / start · s / start, so that the rate for weights suits scales of any size, as in the paper. Where it is
 * beyond 1 it is cut: scales of channels of tiny weights would jump. */
static void scale_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *start = n->in[0], *ds = mc_grad_of(g, n, 0);
    struct mc_value *relative = mc_emit(g, "Div", ds, start);
    struct mc_value *by = mc_emit(g, "Div", n->out[0], start);
    struct mc_value *d = mc_emit(g, "Mul", relative, by);
    struct mc_value *least = mc_grad_scalar(g, start, -1), *most = mc_grad_scalar(g, start, 1);
    mc_grad_give(g, n, 1, mc_emit(g, "Clip", d, least, most));
}

const struct mc_rule mc_rules_quantize[] = {
    {MC_GRAD_DOMAIN, "FakeQuantize", 1, fake_rule},
    {MC_GRAD_DOMAIN, "LearnedScale", 1, scale_rule},
    {"", "QuantizeLinear", 10, mc_rule_straight_through},
    {"", "DequantizeLinear", 10, dequantize_rule},
    {"com.microsoft", "QuantizeLinear", 1, mc_rule_straight_through},
    {"com.microsoft", "DequantizeLinear", 1, dequantize_rule},
    {"", "DynamicQuantizeLinear", 11, mc_rule_straight_through},
    {0},
};
