/* Axes put behind each other and taken apart again: Concat, Split. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/shape.h"
#include "passes/couple/couple_pick.h"
#include "passes/couple/couple_table.h"

static void concat_axis(struct mc_couple *w, int axis)
{
    const struct mc_node *n = w->n;
    struct mc_couple_part *part = mc_calloc(n->n_in + 1, sizeof *part);
    bool any = false;
    if (!part) {
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
        return;
    }
    for (size_t i = 0; i < n->n_in; i++) {
        part[i].u = mc_couple_axis(w, n->in[i], axis);
        part[i].n = mc_couple_shape(w, n->in[i])->dim[axis];
        any = any || part[i].u;
    }
    if (any)
        mc_couple_put(w, n->out[0], axis, mc_couple_concat(w, part, (int)n->n_in));
    free(part);
}

static void concat(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    const struct mc_shape *y = mc_couple_shape(w, n->out[0]);
    struct mc_couple_at *at = mc_calloc(n->n_in + 1, sizeof *at);
    int axis = y ? mc_shape_axis(mc_node_int(n, "axis", n->version < 4 ? 1 : 0), y->rank) : -1;
    if (!at && !w->rc)
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n->n_in && axis >= 0; i++)
        if (!mc_couple_shape(w, n->in[i]) || mc_couple_shape(w, n->in[i])->rank != y->rank)
            axis = -1;
    if (axis < 0)
        mc_couple_hold_node(w, "a rank is not known");
    if (axis < 0 || w->rc || mc_pick_is_index(w, n->out[0])) {
        free(at);
        return;
    }
    for (int i = 0; i < y->rank; i++) {
        if (i == axis) {
            concat_axis(w, axis);
            continue;
        }
        for (size_t k = 0; k < n->n_in; k++)
            at[k] = (struct mc_couple_at){n->in[k], i};
        const struct mc_units *u =
            mc_couple_together(w, at, (int)n->n_in, "what it is joined with stays");
        mc_couple_put(w, n->out[0], i, u);
        for (size_t k = 0; u && k < n->n_in; k++)
            mc_couple_role(w, n->in[k], i, MC_ROLE_ALONG);
    }
    free(at);
}

/* ---- Split ---- */

/* Positions [from, from + n) of u, of an axis of n_all. */
static const struct mc_units *run(struct mc_couple *w, const struct mc_units *u, int64_t from,
                                  int64_t n)
{
    int64_t *index = u && n > 0 ? mc_calloc((size_t)n, sizeof *index) : NULL;
    if (!index)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        index[i] = from + i;
    const struct mc_units *part = mc_couple_take(w, u, index, n);
    free(index);
    return part;
}

static void split_axis(struct mc_couple *w, int axis, const struct mc_units *u)
{
    const struct mc_node *n = w->n;
    int64_t from = 0;
    for (size_t i = 0; u && i < n->n_out; i++) {
        const struct mc_shape *s = n->out[i] ? mc_couple_shape(w, n->out[i]) : NULL;
        int64_t length = s ? s->dim[axis] : -1;
        if (length < 0 || from + length > u->n) {
            mc_couple_hold(w, u, "the sizes of a Split are not known");
            return;
        }
        const struct mc_units *part = run(w, u, from, length);
        if (length == 1)
            mc_couple_kind(w, part, "parts");
        mc_couple_put(w, n->out[i], axis, part);
        from += length;
    }
}

static void split(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    const struct mc_shape *x = mc_couple_shape(w, n->in[0]);
    int axis = x ? mc_shape_axis(mc_node_int(n, "axis", 0), x->rank) : -1;
    for (size_t i = 0; i < n->n_out && axis >= 0; i++) {
        const struct mc_shape *y = n->out[i] ? mc_couple_shape(w, n->out[i]) : x;
        if (!y || y->rank != x->rank)
            axis = -1;
    }
    if (axis < 0) {
        mc_couple_hold_node(w, "a rank is not known");
        return;
    }
    if (mc_pick_is_index(w, n->in[0]))
        return;
    for (int i = 0; i < x->rank; i++) {
        const struct mc_units *u = mc_couple_axis(w, n->in[0], i);
        if (i == axis)
            split_axis(w, i, u);
        for (size_t k = 0; k < n->n_out && i != axis; k++)
            if (n->out[k])
                mc_couple_put(w, n->out[k], i, u);
    }
}

static bool is_even(const int64_t *size, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (size[i] != size[0])
            return false;
    return true;
}

static int split_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    const struct mc_shape *x = mc_cutting_shape(k, n->in[0]);
    int axis = mc_shape_axis(mc_node_int(n, "axis", 0), x->rank), rc;
    size_t count;
    if (!mc_cutting_changed(k, n->in[0], axis))
        return 0;
    bool given = mc_node_ints(n, "split", &count) || (n->n_in > 1 && n->in[1]);
    int64_t *size = mc_calloc(n->n_out + 1, sizeof *size);
    if (!size)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n->n_out; i++)
        size[i] = mc_cutting_length(k, n->out[i], axis);
    if (!given && is_even(size, n->n_out)) {
        rc = 0;
    } else if (n->version < 13) {
        rc = mc_edit_attr_ints(n, "split", size, n->n_out, err);
    } else {
        mc_edit_attr_remove(n, "num_outputs");
        rc = mc_cutting_ints(k, n, 1, size, (int)n->n_out, err);
    }
    free(size);
    return rc;
}

const struct mc_couple_rule mc_couple_join[] = {
    {"", " Concat ", concat, NULL},
    {"", " Split ", split, split_cut},
    {0},
};
