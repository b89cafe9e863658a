/* Element by element: what comes out has the positions of what goes in. */
#include "graph/shape.h"
#include "passes/couple/couple_table.h"

static const char *const unequal = "what it is combined with stays";

static void first_input(struct mc_couple *w)
{
    for (size_t k = 0; k < w->n->n_out; k++)
        mc_couple_like(w, w->n->in[0], w->n->out[k]);
}

/* Axis of an input that is broadcast to axis i of the result, which may be none of its own. Before version 7 a second operand
 * begins at `axis`, a slope at 1; otherwise last axes go together. */
static int own_axis(const struct mc_node *n, size_t slot, const struct mc_shape *s, int rank, int i)
{
    bool slope = mc_node_is(n, "PRelu"), old = slot == 1 && n->version < 7 && !n->domain[0];
    if (!old || (slope ? s->rank != 1 || s->dim[0] == 1 : !mc_node_attr(n, "axis")))
        return s->rank - rank + i;
    return i - mc_shape_axis(slope ? 1 : mc_node_int(n, "axis", 0), rank);
}

static void broadcast(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    const struct mc_shape *y = mc_couple_shape(w, n->out[0]);
    struct mc_couple_at at[16];
    bool known = y && n->n_in <= sizeof at / sizeof *at;
    for (size_t k = 0; k < n->n_in && known; k++)
        known = !n->in[k] || mc_couple_shape(w, n->in[k]);
    if (!known) {
        mc_couple_hold_node(w, "a rank is not known");
        return;
    }
    for (int i = 0; i < y->rank; i++) {
        int count = 0;
        for (size_t k = 0; k < n->n_in; k++) {
            const struct mc_shape *s = mc_couple_shape(w, n->in[k]);
            int axis = s ? own_axis(n, k, s, y->rank, i) : -1;
            if (axis >= 0 && axis < s->rank)
                at[count++] = (struct mc_couple_at){n->in[k], axis};
        }
        const struct mc_units *u = mc_couple_together(w, at, count, unequal);
        mc_couple_put(w, n->out[0], i, u);
        for (int k = 0; u && k < count; k++)
            mc_couple_role(w, at[k].v, at[k].axis, MC_ROLE_ALONG);
    }
}

/* Numbers that describe a shape, or hold nothing that has channels. */
static void nothing(struct mc_couple *w)
{
    (void)w;
}

const struct mc_couple_rule mc_couple_point[] = {
    {"",
     " Relu LeakyRelu Sigmoid Tanh Elu Selu Celu Gelu HardSigmoid HardSwish Softplus Softsign Mish "
     "Swish Erf Exp Log Sqrt Neg Abs Reciprocal Clip Cast CastLike Identity Dropout "
     "ThresholdedRelu "
     "Shrink Floor Ceil Round Sign Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Not "
     "BitwiseNot IsNaN IsInf ",
     first_input, NULL},
    {"",
     " Add Sub Mul Div Pow Min Max Sum Mean PRelu Where Mod BitShift And Or Xor BitwiseAnd "
     "BitwiseOr BitwiseXor Equal Greater GreaterOrEqual Less LessOrEqual ",
     broadcast, NULL},
    {"", " Constant ", nothing, NULL},
    {"com.microsoft", " Gelu QuickGelu ", first_input, NULL},
    {0},
};
