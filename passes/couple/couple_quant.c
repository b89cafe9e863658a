/* Quantisation: scales and zero points of an axis go with it. Products of 8-bit numbers are in couple_alike.c. */
#include "graph/constant.h"
#include "graph/shape.h"
#include "passes/couple/couple_table.h"

static const char stays[] = "a scale of quantisation stays";

enum { X, SCALE, ZERO };

/* The node that a constant's form is for. */
static const struct mc_node *reader_of(const struct mc_node *n)
{
    for (int hop = 0; hop < 8 && n->n_out && n->out[0] && n->out[0]->n_uses; hop++) {
        if (hop && !mc_node_is(n, "DequantizeLinear") && !mc_node_is(n, "Transpose"))
            break;
        n = n->out[0]->uses[0].node;
    }
    return n;
}

/* Scales and zero points (input i): one, one for each position of `axis`, or one for each block of positions. */
static void parameters(struct mc_couple *w, size_t i, int axis, bool blocks)
{
    const struct mc_node *n = w->n;
    const struct mc_value *y = n->out[0], *p = i < n->n_in ? n->in[i] : NULL;
    const struct mc_shape *s = mc_couple_shape(w, p);
    if (p && !s)
        mc_couple_hold(w, mc_couple_axis(w, y, axis), stays);
    if (!p || !s || mc_shape_count(s) == 1)
        return;
    for (int d = 0; d < s->rank; d++) {
        int of = blocks ? d : axis;
        if (blocks && of == axis)
            mc_couple_meet(w, p, d, NULL, stays);
        else if (s->dim[d] != 1)
            mc_couple_meet(w, p, d, mc_couple_axis(w, y, of), stays);
        mc_couple_role(w, p, d, MC_ROLE_ALONG);
    }
}

/* What comes out is a number for each that goes in. Units of a constant are asked for in the name of the node that reads
 * it, since that is what a group of them is called after. */
static void linear(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    const struct mc_shape *x = mc_couple_shape(w, n->in[X]), *s = mc_couple_shape(w, n->in[SCALE]);
    int axis = x ? mc_shape_axis(mc_node_int(n, "axis", 1), x->rank) : 0;
    bool blocks = mc_node_int(n, "block_size", 0) > 0;
    if (!x || !s || (mc_shape_count(s) != 1 && (axis < 0 || (blocks && s->rank != x->rank)))) {
        mc_couple_hold_node(w, "the axis of its scales is not known");
        return;
    }
    w->n = mc_constant(n->in[X]) ? reader_of(n) : n;
    mc_couple_like(w, n->in[X], n->out[0]);
    w->n = n;
    if (blocks)
        mc_couple_hold(w, mc_couple_axis(w, n->out[0], axis), "its scales are for blocks of it");
    parameters(w, SCALE, axis, blocks);
    parameters(w, ZERO, axis, blocks);
}

/* One scale for all, from the least and the largest that there is. */
static void dynamic(struct mc_couple *w)
{
    const struct mc_shape *x = mc_couple_shape(w, w->n->in[X]);
    for (int d = 0; x && d < x->rank; d++)
        mc_couple_inexact(w, mc_couple_axis(w, w->n->in[X], d));
    mc_couple_like(w, w->n->in[X], w->n->out[0]);
}

static void packed(struct mc_couple *w)
{
    mc_couple_hold_node(w,
                        "its weights are packed, several to a byte, with a scale for each block");
}

const struct mc_couple_rule mc_couple_quant[] = {
    {"", " QuantizeLinear DequantizeLinear ", linear, NULL},
    {"com.microsoft", " QuantizeLinear DequantizeLinear ", linear, NULL},
    {"", " DynamicQuantizeLinear ", dynamic, NULL},
    {"com.microsoft", " MatMulNBits ", packed, NULL},
    {0},
};
