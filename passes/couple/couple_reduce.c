/* Fewer positions than before: pools and reductions. */
#include "graph/constant.h"
#include "graph/shape.h"
#include "passes/couple/couple_table.h"

static bool known(struct mc_couple *w)
{
    if (mc_couple_shape(w, w->n->in[0]) && mc_couple_shape(w, w->n->out[0]))
        return true;
    mc_couple_hold_node(w, "a rank is not known");
    return false;
}

static void pool(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    if (!known(w))
        return;
    for (int i = 2; i < mc_couple_shape(w, n->in[0])->rank; i++)
        mc_couple_hold(w, mc_couple_axis(w, n->in[0], i), "a window goes over it");
    if (n->n_out > 1 && n->out[1])
        for (int i = 0; i < 2; i++)
            mc_couple_hold(w, mc_couple_axis(w, n->in[0], i), "a MaxPool counts positions over it");
    for (int i = 0; i < 2; i++)
        mc_couple_put(w, n->out[0], i, mc_couple_axis(w, n->in[0], i));
}

static void global_pool(struct mc_couple *w)
{
    if (!known(w))
        return;
    for (int i = 2; i < mc_couple_shape(w, w->n->in[0])->rank; i++)
        mc_couple_inexact(w, mc_couple_axis(w, w->n->in[0], i));
    for (int i = 0; i < 2; i++)
        mc_couple_put(w, w->n->out[0], i, mc_couple_axis(w, w->n->in[0], i));
}

/* Which axes go; false: not known. */
static bool reduced(const struct mc_node *n, int rank, bool gone[MC_RANK_MAX])
{
    int64_t axes[MC_RANK_MAX];
    size_t count;
    const int64_t *given = mc_node_ints(n, "axes", &count);
    int n_axes = given ? (int)count : 0;
    if (given && count > MC_RANK_MAX)
        return false;
    for (int i = 0; i < n_axes; i++)
        axes[i] = given[i];
    if (!given && n->n_in > 1 && n->in[1]) {
        n_axes = mc_constant_ints(n->in[1], axes, MC_RANK_MAX);
        if (n_axes < 0)
            return false;
    }
    for (int i = 0; i < rank; i++)
        gone[i] = !n_axes && !mc_node_int(n, "noop_with_empty_axes", 0);
    for (int i = 0; i < n_axes; i++) {
        int at = mc_shape_axis(axes[i], rank);
        if (at < 0)
            return false;
        gone[at] = true;
    }
    return true;
}

static void reduction(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    bool gone[MC_RANK_MAX], keep = mc_node_int(n, "keepdims", 1);
    if (!known(w))
        return;
    int rank = mc_couple_shape(w, n->in[0])->rank, to = 0;
    if (!reduced(n, rank, gone)) {
        mc_couple_hold_node(w, "axes of a reduction are not known");
        return;
    }
    for (int i = 0; i < rank; i++) {
        const struct mc_units *u = mc_couple_axis(w, n->in[0], i);
        if (gone[i])
            mc_couple_inexact(w, u);
        else
            mc_couple_put(w, n->out[0], to, u);
        to += !gone[i] || keep;
    }
}

/* One axis whose positions have numbers or an order; the others are handed on. */
static void along(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    if (!known(w))
        return;
    int rank = mc_couple_shape(w, n->in[0])->rank, to = 0;
    bool top = mc_node_is(n, "TopK"), sum = mc_node_is(n, "CumSum") || mc_node_is(n, "CumProd");
    int64_t axis = mc_node_int(n, "axis", top ? -1 : 0);
    if (sum && mc_constant_ints(n->n_in > 1 ? n->in[1] : NULL, &axis, 1) != 1) {
        mc_couple_hold_node(w, "an axis is not known");
        return;
    }
    bool keep = top || sum || mc_node_int(n, "keepdims", 1);
    int at = mc_shape_axis(axis, rank);
    for (int i = 0; i < rank; i++) {
        const struct mc_units *u = mc_couple_axis(w, n->in[0], i);
        if (i == at)
            mc_couple_hold(w, u, "its positions have an order");
        for (size_t k = 0; i != at && k < n->n_out; k++)
            if (n->out[k])
                mc_couple_put(w, n->out[k], to, u);
        to += i != at || keep;
    }
}

const struct mc_couple_rule mc_couple_reduce[] = {
    {"", " MaxPool AveragePool LpPool ", pool, NULL},
    {"", " GlobalAveragePool GlobalMaxPool GlobalLpPool ", global_pool, NULL},
    {"",
     " ReduceMean ReduceSum ReduceSumSquare ReduceL1 ReduceL2 ReduceMax ReduceMin ReduceProd "
     "ReduceLogSum ReduceLogSumExp ",
     reduction, NULL},
    {"", " ArgMax ArgMin TopK CumSum CumProd ", along, NULL},
    {0},
};
