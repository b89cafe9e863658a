/* Axes that are made by repeating what has none, and shapes that are read: Expand, Tile, ConstantOfShape, Shape, Size. */
#include "graph/constant.h"
#include "graph/shape.h"
#include "passes/couple/couple_pick.h"
#include "passes/couple/couple_table.h"

/* An axis of copies can lose as many as what it meets. */
static void copies(struct mc_couple *w, const struct mc_value *y, int axis)
{
    const struct mc_vtype *t = mc_infer_of(w->c->inf, y);
    if (mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT && t->shape.dim[axis] > 1)
        mc_couple_put(w, y, axis, mc_couple_fresh(w, t->shape.dim[axis], NULL));
}

static void expand(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    mc_couple_hold_value(w, w->n->in[1], "it is a shape");
    if (mc_pick_is_index(w, x) || !mc_pick_ranked(w, x, y))
        return;
    const struct mc_shape *from = mc_couple_shape(w, x), *to = mc_couple_shape(w, y);
    for (int i = 0; i < to->rank; i++) {
        int at = i - (to->rank - from->rank);
        if (at < 0 || from->dim[at] == 1)
            copies(w, y, i);
        else
            mc_couple_put(w, y, i, mc_couple_axis(w, x, at));
    }
}

static void tile(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    int64_t times[MC_RANK_MAX], written[MC_RANK_MAX];
    bool known[MC_RANK_MAX];
    if (mc_pick_is_index(w, x) || !mc_pick_ranked(w, x, y))
        return;
    const struct mc_shape *s = mc_couple_shape(w, x);
    if (w->n->n_in != 2 || !w->n->in[1] ||
        mc_pick_ints(w->c->inf, w->n->in[1], times, known, MC_RANK_MAX) != s->rank) {
        mc_couple_hold_node(w, "how often it is repeated is not known");
        return;
    }
    bool can_write = mc_constant_ints(w->n->in[1], written, MC_RANK_MAX) >= 0;
    for (int i = 0; i < s->rank; i++) {
        const struct mc_units *u = mc_couple_axis(w, x, i);
        struct mc_couple_part part[2] = {{NULL, times[i]}, {u, s->dim[i]}};
        if (known[i] && s->dim[i] == 1 && can_write)
            copies(w, y, i);
        else if (u && (!known[i] || times[i] < 1))
            mc_couple_hold(w, u, "how often it is repeated is not known");
        else if (u)
            mc_couple_put(w, y, i, times[i] == 1 ? u : mc_couple_merge(w, part, 2));
    }
}

static int tile_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    const struct mc_shape *x = mc_cutting_shape(k, n->in[0]);
    int64_t times[MC_RANK_MAX];
    int count = mc_constant_ints(n->in[1], times, MC_RANK_MAX);
    bool any = false;
    for (int i = 0; i < count; i++)
        if (x->dim[i] == 1 && mc_cutting_changed(k, n->out[0], i)) {
            times[i] = mc_cutting_length(k, n->out[0], i);
            any = true;
        }
    return any ? mc_cutting_ints(k, n, 1, times, count, err) : 0;
}

static void filled(struct mc_couple *w)
{
    const struct mc_shape *s = mc_couple_shape(w, w->n->out[0]);
    mc_couple_hold_value(w, w->n->in[0], "it is a shape");
    for (int i = 0; s && i < s->rank; i++)
        copies(w, w->n->out[0], i);
}

static int expand_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    return mc_cutting_target(k, n, 1, err);
}

static int filled_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    return mc_cutting_target(k, n, 0, err);
}

/* ---- shapes that are read ---- */

/* Elements of a vector of n that node u takes of it; false: not known, or all of them. */
static bool picked(const struct mc_node *u, int64_t n, bool *ret)
{
    int64_t index[MC_RANK_MAX], range[3] = {0, 0, 1};
    size_t count;
    if (mc_node_is(u, "Gather")) {
        int many = mc_constant_ints(u->in[1], index, MC_RANK_MAX);
        for (int i = 0; i < many; i++) {
            if (index[i] < -n || index[i] >= n)
                return false;
            ret[index[i] < 0 ? index[i] + n : index[i]] = true;
        }
        return many >= 0;
    }
    if (!mc_node_is(u, "Slice"))
        return false;
    const int64_t *starts = mc_node_ints(u, "starts", &count), *ends = NULL;
    bool known = starts && count == 1 && (ends = mc_node_ints(u, "ends", &count)) && count == 1;
    if (known) {
        range[0] = starts[0];
        range[1] = ends[0];
    } else if (u->n_in < 3 || mc_constant_ints(u->in[1], &range[0], 1) != 1 ||
               mc_constant_ints(u->in[2], &range[1], 1) != 1 ||
               (u->n_in > 4 && u->in[4] && mc_constant_ints(u->in[4], &range[2], 1) != 1) ||
               range[2] < 1) {
        return false;
    }
    range[0] += range[0] < 0 ? n : 0;
    range[1] += range[1] < 0 ? n : 0;
    for (int64_t i = range[0] < 0 ? 0 : range[0]; i < n && i < range[1]; i += range[2])
        ret[i] = true;
    return true;
}

/* Lengths that a cut changes are constants once the model is prepared (mc_coupling_prepare); who reads one that is
 * not keeps it. */
static void shape(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    const struct mc_shape *s = mc_couple_shape(w, x);
    bool read[MC_RANK_MAX] = {false}, all = y->is_output || mc_node_is(w->n, "Size");
    if (!s)
        return;
    int64_t start = mc_node_int(w->n, "start", 0), end = mc_node_int(w->n, "end", s->rank);
    start += start < 0 ? s->rank : 0;
    end += end < 0 ? s->rank : 0;
    start = start < 0 ? 0 : start;
    end = end > s->rank ? s->rank : end;
    for (size_t i = 0; i < y->n_uses && !all && start < end; i++)
        all = y->uses[i].slot != 0 || !picked(y->uses[i].node, end - start, read + start);
    for (int i = 0; i < s->rank; i++)
        if (all ? i >= start && i < end : read[i])
            mc_couple_hold(w, mc_couple_axis(w, x, i), "its length is computed with");
}

const struct mc_couple_rule mc_couple_grow[] = {
    {"", " Expand ", expand, expand_cut},
    {"", " Tile ", tile, tile_cut},
    {"", " ConstantOfShape ", filled, filled_cut},
    {"", " Shape Size ", shape, NULL},
    {0},
};
