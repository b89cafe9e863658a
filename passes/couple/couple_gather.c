/* What picks positions by number: Gather, GatherElements, GatherND, ScatterElements, ScatterND. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/shape.h"
#include "passes/couple/couple_pick.h"
#include "passes/couple/couple_table.h"

static const char *const looked_up = "it is looked up by number";

/* What numbers known ahead pick from u; they have shape s, which begins at `axis` of the output. */
static void pick(struct mc_couple *w, const struct mc_units *u, int axis, const struct mc_shape *s)
{
    const struct mc_value *y = w->n->out[0];
    const struct mc_units *part[MC_RANK_MAX];
    int64_t n, *index = mc_pick_list(w, w->n->in[1], &n);
    if (!index) {
        mc_couple_hold(w, u, looked_up);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        index[i] += index[i] < 0 ? u->n : 0;
        if (index[i] < 0 || index[i] >= u->n)
            n = 0;
    }
    const struct mc_units *taken = mc_couple_take(w, u, index, n);
    free(index);
    if (!n)
        mc_couple_hold(w, u, looked_up);
    if (s->rank == 1) {
        mc_couple_put(w, y, axis, taken);
    } else if (s->rank == 0) {
        mc_couple_kind(w, taken, "parts");
        mc_couple_hold(w, taken, "it is taken by its number");
    } else if (taken) {
        mc_couple_split(w, taken, s->dim, s->rank, part);
        for (int i = 0; i < s->rank; i++)
            mc_couple_put(w, y, axis + i, part[i]);
    }
}

static void gather(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *index = w->n->in[1], *y = w->n->out[0];
    const struct mc_shape *sx = mc_couple_shape(w, x), *si = mc_couple_shape(w, index);
    bool fixed = mc_constant(index);
    mc_couple_hold_value(w, index, "they are numbers of positions");
    if (mc_pick_is_index(w, x) || !mc_pick_ranked(w, x, y))
        return;
    int axis = mc_shape_axis(mc_node_int(w->n, "axis", 0), sx->rank);
    if (!si || axis < 0) {
        mc_couple_hold_node(w, "a rank is not known");
        return;
    }
    for (int i = 0; i < sx->rank && !w->rc; i++) {
        const struct mc_units *u = mc_couple_axis(w, x, i);
        int to = i < axis ? i : i - 1 + si->rank;
        if (i == axis) {
            if (u && fixed)
                pick(w, u, axis, si);
            else
                mc_couple_hold(w, u, looked_up);
        } else if (u) {
            mc_couple_put(w, y, to, u);
            mc_couple_role(w, x, i, MC_ROLE_MAKES);
        }
    }
}

/* ---- correcting ---- */

struct renumbering {
    const int64_t *index; /* as it was, within [0, length of the axis) */
    struct mc_shape was, now;
    int64_t *stays[MC_RANK_MAX]; /* of each axis of the index; NULL: all */
    const int64_t *place;        /* of a position of the data, after the cut */
};

static void fill(const struct renumbering *r, int64_t *to)
{
    int64_t digit[MC_RANK_MAX] = {0}, n = mc_shape_count(&r->now);
    for (int64_t i = 0; i < n; i++) {
        int64_t old = 0;
        for (int d = 0; d < r->was.rank; d++)
            old = old * r->was.dim[d] + (r->stays[d] ? r->stays[d][digit[d]] : digit[d]);
        to[i] = r->place[r->index[old]];
        for (int d = r->was.rank - 1; d >= 0 && ++digit[d] == r->now.dim[d]; d--)
            digit[d] = 0;
    }
}

static int renumber(struct mc_cutting *k, struct mc_node *n, int axis, const int64_t *index,
                    const int64_t *place, struct mc_err *err)
{
    const struct mc_tensor *was = mc_constant(n->in[1]);
    struct renumbering r = {index, was->shape, was->shape, {NULL}, place};
    struct mc_tensor *t = NULL;
    struct mc_value *v = NULL;
    void *data = NULL;
    int rc = 0;
    int own = r.was.rank - mc_node_is(n, "GatherND"); /* its last axis holds one number */
    for (int i = 0; i < own && !rc; i++) {
        r.now.dim[i] = mc_cut_kept(mc_coupling_axis(k->c, n->out[0], axis + i), r.was.dim[i],
                                   k->gone, &r.stays[i]);
        rc = r.now.dim[i] < 0 ? mc_fail(err, MC_ENOMEM, "out of memory") : 0;
    }
    rc = rc ? rc : mc_tensor_new(MC_DTYPE_I64, &r.now, NULL, &t, &data, err);
    if (!rc)
        fill(&r, data);
    rc = rc ? rc : mc_constant_new(n->graph, n->pos, n->in[1]->name, t, &v, err);
    rc = rc ? rc : mc_edit_set_input(n, 1, v, err);
    mc_tensor_unref(t);
    for (int i = 0; i < MC_RANK_MAX; i++)
        free(r.stays[i]);
    return rc;
}

static int gather_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    const struct mc_shape *x = mc_cutting_shape(k, n->in[0]);
    struct mc_couple w = {.err = err};
    bool tuples = mc_node_is(n, "GatherND");
    int axis = x ? mc_shape_axis(tuples ? 0 : mc_node_int(n, "axis", 0), x->rank) : -1;
    if (axis < 0 || !mc_cutting_changed(k, n->in[0], axis))
        return 0;
    int64_t length = x->dim[axis], count = 0, *from = NULL;
    int64_t *index = mc_pick_list(&w, n->in[1], &count);
    int64_t *place = mc_calloc((size_t)length + 1, sizeof *place);
    int64_t kept = mc_cut_kept(mc_coupling_axis(k->c, n->in[0], axis), length, k->gone, &from);
    int rc = w.rc ? w.rc : !place || kept < 0 ? mc_fail(err, MC_ENOMEM, "out of memory") : 0;
    for (int64_t i = 0; i < kept && !rc; i++)
        place[from ? from[i] : i] = i;
    for (int64_t i = 0; i < count && !rc; i++)
        index[i] += index[i] < 0 ? length : 0;
    rc = rc || !index ? rc : renumber(k, n, axis, index, place, err);
    free(index);
    free(place);
    free(from);
    return rc;
}

/* ---- the others: axes that no number goes over ---- */

/* Element by element along one axis: the others are handed on where they are as long as the index. */
static void elements(struct mc_couple *w)
{
    mc_couple_hold_node(w, looked_up);
}

/* Axes of x from `first` on, of `rank` altogether, are the last ones of y, and of `more`, where that is given. */
static void trailing(struct mc_couple *w, const struct mc_value *x, int first,
                     const struct mc_value *more, const struct mc_value *y)
{
    const struct mc_shape *sx = mc_couple_shape(w, x), *sy = mc_couple_shape(w, y);
    const struct mc_shape *sm = more ? mc_couple_shape(w, more) : sx;
    struct mc_shape rows = *mc_couple_shape(w, w->n->in[1]);
    rows.rank--;
    for (int i = 0; i < sx->rank; i++) {
        const struct mc_units *u = mc_couple_axis(w, x, i);
        if (i < first) {
            if (!u || more || first != 1 || mc_node_int(w->n, "batch_dims", 0))
                mc_couple_hold(w, u, looked_up);
            else /* tuples of one number: a Gather */
                pick(w, u, 0, &rows);
            continue;
        }
        if (more) {
            struct mc_couple_at at[2] = {{x, i}, {more, sm->rank - sx->rank + i}};
            u = mc_couple_together(w, at, 2, "what is put into it stays");
        }
        mc_couple_put(w, y, sy->rank - sx->rank + i, u);
    }
}

static void tuples(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    bool scatter = mc_node_is(n, "ScatterND");
    const struct mc_value *x = n->in[0], *index = n->in[1], *y = n->out[0];
    const struct mc_value *more = scatter ? n->in[2] : NULL;
    const struct mc_shape *sx = mc_couple_shape(w, x), *si = mc_couple_shape(w, index);
    mc_couple_hold_value(w, index, "they are numbers of positions");
    int64_t length = si && si->rank ? si->dim[si->rank - 1] : -1;
    int64_t first = length + mc_node_int(n, "batch_dims", 0);
    if (mc_pick_is_index(w, x) || !mc_pick_ranked(w, x, y))
        return;
    if (length < 0 || first < 0 || first > sx->rank || (more && !mc_couple_shape(w, more)) ||
        (more && mc_couple_shape(w, more)->rank < sx->rank - first) ||
        (!more && mc_couple_shape(w, y)->rank < sx->rank - first)) {
        mc_couple_hold_node(w, looked_up);
        return;
    }
    if (more)
        for (int i = 0; i < mc_couple_shape(w, more)->rank - sx->rank + first; i++)
            mc_couple_hold(w, mc_couple_axis(w, more, i), looked_up);
    trailing(w, x, (int)first, more, y);
}

const struct mc_couple_rule mc_couple_gather[] = {
    {"", " Gather ", gather, gather_cut},
    {"", " GatherElements ScatterElements Scatter ", elements, NULL},
    {"", " GatherND ", tuples, gather_cut},
    {"", " ScatterND ", tuples, NULL},
    {0},
};
