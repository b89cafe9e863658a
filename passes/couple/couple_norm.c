/* Normalizations: scale and shift go with the axes of x; those that statistics are taken over are not exact. */
#include "graph/constant.h"
#include "graph/shape.h"
#include "passes/couple/couple_table.h"

static const char *const stays = "the scale of a norm stays";

static void vectors(struct mc_couple *w, size_t first, size_t last, int axis)
{
    const struct mc_node *n = w->n;
    for (size_t k = first; k <= last && k < n->n_in; k++)
        if (n->in[k]) {
            mc_couple_meet(w, n->in[k], 0, mc_couple_axis(w, n->in[0], axis), stays);
            mc_couple_role(w, n->in[k], 0, MC_ROLE_ALONG);
        }
}

static void inexact_from(struct mc_couple *w, int first)
{
    const struct mc_shape *s = mc_couple_shape(w, w->n->in[0]);
    for (int i = first; i < s->rank; i++)
        mc_couple_inexact(w, mc_couple_axis(w, w->n->in[0], i));
}

static bool has_rank(struct mc_couple *w, int least)
{
    const struct mc_shape *s = mc_couple_shape(w, w->n->in[0]);
    if (s && s->rank >= least)
        return true;
    mc_couple_hold_node(w, "a rank is not known");
    return false;
}

/* Running statistics: every channel by itself. */
static void batch_norm(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    if (!has_rank(w, 2))
        return;
    if (n->version < 9 && !n->domain[0] && !mc_node_int(n, "spatial", 1))
        for (int i = 2; i < mc_couple_shape(w, n->in[0])->rank; i++)
            mc_couple_hold(w, mc_couple_axis(w, n->in[0], i), stays);
    vectors(w, 1, 4, 1);
    mc_couple_like(w, n->in[0], n->out[0]);
    for (size_t k = 1; k < n->n_out; k++)
        if (n->out[k])
            mc_couple_put(w, n->out[k], 0, mc_couple_axis(w, n->in[0], 1));
}

static void instance_norm(struct mc_couple *w)
{
    if (!has_rank(w, 2))
        return;
    vectors(w, 1, 2, 1);
    inexact_from(w, 2);
    mc_couple_like(w, w->n->in[0], w->n->out[0]);
}

/* x over its last axes; scale and bias are broadcast to x. */
static void layer_norm(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    if (!has_rank(w, 1))
        return;
    const struct mc_shape *x = mc_couple_shape(w, n->in[0]);
    int axis = mc_shape_axis(mc_node_int(n, "axis", -1), x->rank);
    for (size_t k = 1; k < n->n_in; k++) {
        const struct mc_shape *s = mc_couple_shape(w, n->in[k]);
        if (n->in[k] && (!s || s->rank > x->rank)) {
            mc_couple_hold_node(w, "a rank is not known");
            return;
        }
        for (int i = 0; s && i < s->rank; i++)
            if (s->dim[i] != 1) {
                mc_couple_meet(w, n->in[k], i, mc_couple_axis(w, n->in[0], x->rank - s->rank + i),
                               stays);
                mc_couple_role(w, n->in[k], i, MC_ROLE_ALONG);
            }
    }
    inexact_from(w, axis < 0 ? 0 : axis);
    mc_couple_like(w, n->in[0], n->out[0]);
    for (size_t k = 1; k < n->n_out; k++) /* mean and deviation: the axes before */
        for (int i = 0; n->out[k] && i < axis; i++)
            mc_couple_put(w, n->out[k], i, mc_couple_axis(w, n->in[0], i));
}

/* Statistics of runs of channels, which have to stay of one length. Scale: one for each run (18) or channel (21). */
static void group_norm(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    if (!has_rank(w, 2))
        return;
    int64_t groups = mc_node_int(n, "num_groups", 1);
    const struct mc_units *u = mc_couple_axis(w, n->in[0], 1);
    if (n->version >= 21)
        vectors(w, 1, 2, 1);
    else
        for (size_t k = 1; k < n->n_in; k++)
            mc_couple_hold_value(w, n->in[k], stays);
    mc_couple_balance(w, u, groups);
    inexact_from(w, 1);
    mc_couple_like(w, n->in[0], n->out[0]);
}

static void lp_norm(struct mc_couple *w)
{
    if (!has_rank(w, 1))
        return;
    const struct mc_shape *x = mc_couple_shape(w, w->n->in[0]);
    int axis = mc_shape_axis(mc_node_int(w->n, "axis", -1), x->rank);
    mc_couple_inexact(w, mc_couple_axis(w, w->n->in[0], axis));
    mc_couple_like(w, w->n->in[0], w->n->out[0]);
}

static void mean_variance(struct mc_couple *w)
{
    static const int64_t usual[3] = {0, 2, 3};
    size_t count;
    const int64_t *axes = mc_node_ints(w->n, "axes", &count);
    if (!has_rank(w, 1))
        return;
    if (!axes) {
        axes = usual;
        count = 3;
    }
    for (size_t i = 0; i < count; i++)
        mc_couple_inexact(
            w, mc_couple_axis(w, w->n->in[0],
                              mc_shape_axis(axes[i], mc_couple_shape(w, w->n->in[0])->rank)));
    mc_couple_like(w, w->n->in[0], w->n->out[0]);
}

static void response_norm(struct mc_couple *w)
{
    if (!has_rank(w, 2))
        return;
    mc_couple_hold(w, mc_couple_axis(w, w->n->in[0], 1), "its neighbours count");
    mc_couple_like(w, w->n->in[0], w->n->out[0]);
}

/* ---- Softmax and others that weigh positions against each other ---- */

static void softmax(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    if (!has_rank(w, 1))
        return;
    int rank = mc_couple_shape(w, n->in[0])->rank;
    bool flat = n->version < 13;
    int axis = mc_shape_axis(mc_node_int(n, "axis", flat ? 1 : -1), rank);
    for (int i = axis < 0 ? 0 : axis; i < (flat ? rank : axis + 1); i++)
        mc_couple_hold(w, mc_couple_axis(w, n->in[0], i),
                       mc_node_is(n, "Hardmax") ? "a Hardmax goes over it"
                                                : "a Softmax goes over it");
    mc_couple_like(w, n->in[0], n->out[0]);
}

const struct mc_couple_rule mc_couple_norm[] = {
    {"", " BatchNormalization SpatialBN ", batch_norm, NULL},
    {"", " InstanceNormalization ", instance_norm, NULL},
    {"", " LayerNormalization RMSNormalization SimplifiedLayerNormalization ", layer_norm, NULL},
    {"com.microsoft", " LayerNormalization SimplifiedLayerNormalization ", layer_norm, NULL},
    {"", " GroupNormalization ", group_norm, NULL},
    {"", " LpNormalization ", lp_norm, NULL},
    {"", " MeanVarianceNormalization ", mean_variance, NULL},
    {"", " LRN ", response_norm, NULL},
    {"", " Softmax LogSoftmax Hardmax ", softmax, NULL},
    {0},
};
