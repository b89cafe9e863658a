/* Operators of com.microsoft that are several in one: a product with transposed operands, a sum in front of a norm. */
#include <string.h>

#include "passes/couple/couple_table.h"

static const char sum[] = "what it is added to stays";
static const char unequal[] = "what it is multiplied with stays";

/* ---- FusedMatMul ---- */

static void product(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    const struct mc_value *a = n->in[0], *b = n->in[1], *y = n->out[0];
    const struct mc_shape *sa = mc_couple_shape(w, a), *sb = mc_couple_shape(w, b);
    if (!sa || !sb || sa->rank < 2 || sb->rank < 2 || mc_node_int(n, "transBatchA", 0) ||
        mc_node_int(n, "transBatchB", 0)) {
        mc_couple_hold_node(w, "a rank is not known, or its batches are transposed");
        return;
    }
    int ta = mc_node_int(n, "transA", 0) != 0, tb = mc_node_int(n, "transB", 0) != 0;
    int ra = sa->rank, rb = sb->rank, ry = ra > rb ? ra : rb;
    const struct mc_couple_at inner[] = {{a, ra - 1 - ta}, {b, rb - 2 + tb}};
    mc_couple_together(w, inner, 2, unequal);
    mc_couple_role(w, a, ra - 1 - ta, MC_ROLE_READS);
    mc_couple_role(w, b, rb - 2 + tb, MC_ROLE_READS);
    for (int i = 0; i < ry - 2; i++) {
        struct mc_couple_at at[2];
        int count = 0;
        if (ra - ry + i >= 0)
            at[count++] = (struct mc_couple_at){a, ra - ry + i};
        if (rb - ry + i >= 0)
            at[count++] = (struct mc_couple_at){b, rb - ry + i};
        mc_couple_put(w, y, i, mc_couple_together(w, at, count, unequal));
    }
    mc_couple_role(w, a, ra - 2 + ta, MC_ROLE_MAKES);
    mc_couple_role(w, b, rb - 1 - tb, MC_ROLE_MAKES);
    mc_couple_put(w, y, ry - 2, mc_couple_axis(w, a, ra - 2 + ta));
    mc_couple_put(w, y, ry - 1, mc_couple_axis(w, b, rb - 1 - tb));
}

/* ---- norms ---- */

/* Input i, of axes that are the last ones of y or 1. */
static void meet_last(struct mc_couple *w, size_t i, const struct mc_shape *y, const char *why)
{
    const struct mc_value *v = i < w->n->n_in ? w->n->in[i] : NULL;
    const struct mc_shape *s = mc_couple_shape(w, v);
    if (v && !s)
        mc_couple_hold_node(w, "a rank is not known");
    for (int d = 0; s && d < s->rank; d++)
        if (s->dim[d] != 1) {
            mc_couple_meet(w, v, d, mc_couple_axis(w, w->n->out[0], y->rank - s->rank + d), why);
            mc_couple_role(w, v, d, MC_ROLE_ALONG);
        }
}

/* x + skip, normalised over the last axis. Outputs: y, mean, deviation, the sum. */
static void skip_norm(struct mc_couple *w)
{
    enum { SUM = 3 };
    const struct mc_node *n = w->n;
    const struct mc_shape *x = mc_couple_shape(w, n->in[0]);
    if (!x || !x->rank || !n->out[0]) {
        mc_couple_hold_node(w, "a rank is not known");
        return;
    }
    mc_couple_inexact(w, mc_couple_axis(w, n->in[0], x->rank - 1));
    mc_couple_like(w, n->in[0], n->out[0]);
    for (size_t i = 1; i < n->n_in; i++)
        meet_last(w, i, x, sum);
    for (size_t k = 1; k < n->n_out && k < SUM; k++)
        for (int d = 0; n->out[k] && d < x->rank - 1; d++)
            mc_couple_put(w, n->out[k], d, mc_couple_axis(w, n->in[0], d));
    if (n->n_out > SUM)
        mc_couple_like(w, n->out[0], n->out[SUM]);
}

/* Tables of words, positions and segments are as wide as their sum, which is normalised. */
static void embed_norm(struct mc_couple *w)
{
    enum { WORDS = 2, BETA = 6, Y = 0, SUM = 2 };
    const struct mc_node *n = w->n;
    const struct mc_shape *s = n->n_in > WORDS ? mc_couple_shape(w, n->in[WORDS]) : NULL;
    if (!s || s->rank != 2 || !n->out[Y]) {
        mc_couple_hold_node(w, "a rank is not known");
        return;
    }
    const struct mc_units *u = mc_couple_axis(w, n->in[WORDS], 1);
    mc_couple_role(w, n->in[WORDS], 1, MC_ROLE_MAKES);
    mc_couple_inexact(w, u);
    for (size_t i = WORDS + 1; i <= BETA && i < n->n_in; i++) {
        const struct mc_shape *t = mc_couple_shape(w, n->in[i]);
        if (n->in[i] && (!t || !t->rank))
            mc_couple_hold(w, u, sum);
        if (!n->in[i] || !t || !t->rank)
            continue;
        mc_couple_meet(w, n->in[i], t->rank - 1, u, sum);
        mc_couple_role(w, n->in[i], t->rank - 1, MC_ROLE_ALONG);
    }
    mc_couple_put(w, n->out[Y], 2, u);
    if (n->n_out > SUM && n->out[SUM])
        mc_couple_put(w, n->out[SUM], 2, u);
}

/* x + bias, then over the last axes. */
static void bias_softmax(struct mc_couple *w)
{
    mc_couple_hold_node(w, "a Softmax goes over it");
}

const struct mc_couple_rule mc_couple_fused[] = {
    {"com.microsoft", " FusedMatMul ", product, NULL},
    {"com.microsoft", " SkipLayerNormalization SkipSimplifiedLayerNormalization ", skip_norm, NULL},
    {"com.microsoft", " EmbedLayerNormalization ", embed_norm, NULL},
    {"com.microsoft", " BiasSoftmax ", bias_softmax, NULL},
    {0},
};
