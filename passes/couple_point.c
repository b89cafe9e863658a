/* Element by element: what comes out has the positions of what goes in. */
#include "passes/couple_table.h"

static const char *const unequal = "what it is combined with stays";

static void first_input(struct mc_couple *w)
{
    for (size_t k = 0; k < w->n->n_out; k++)
        mc_couple_like(w, w->n->in[0], w->n->out[k]);
}

/* Shapes are broadcast, last axes together. */
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
            if (s && s->rank - y->rank + i >= 0)
                at[count++] = (struct mc_couple_at){n->in[k], s->rank - y->rank + i};
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
