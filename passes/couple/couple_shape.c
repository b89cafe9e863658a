/* The same elements under another shape, and axes in another order. */
#include "graph/edit.h"
#include "passes/couple/couple_blocks.h"
#include "passes/couple/couple_pick.h"
#include "passes/couple/couple_shuffle.h"
#include "passes/couple/couple_table.h"

/* Axes of the input as one axis; NULL: none of them has units. */
static const struct mc_units *joined(struct mc_couple *w, const struct mc_value *x,
                                     const struct mc_block *b)
{
    struct mc_couple_part part[MC_RANK_MAX + 1];
    const struct mc_shape *s = mc_couple_shape(w, x);
    int n = 0;
    bool any = false;
    if (b->over_out > 1 && !b->inside)
        part[n++] = (struct mc_couple_part){NULL, b->over_out};
    for (int i = 0; i < b->n_in; i++) {
        part[n] = (struct mc_couple_part){mc_couple_axis(w, x, b->in[i]), s->dim[b->in[i]]};
        any = any || part[n].u;
        n++;
    }
    if (b->over_out > 1 && b->inside)
        part[n++] = (struct mc_couple_part){NULL, b->over_out};
    return !any ? NULL : n == 1 ? part[0].u : mc_couple_merge(w, part, n);
}

static void hand_on(struct mc_couple *w, const struct mc_value *x, const struct mc_value *y,
                    const struct mc_block *b)
{
    const struct mc_units *u = joined(w, x, b), *part[MC_RANK_MAX + 1];
    const struct mc_shape *s = mc_couple_shape(w, y);
    int64_t dim[MC_RANK_MAX + 1];
    int n = 0, first = b->over_in > 1 && !b->inside;
    if (!u)
        return;
    if (first)
        dim[n++] = b->over_in;
    for (int i = 0; i < b->n_out; i++)
        dim[n++] = s->dim[b->out[i]];
    if (b->over_in > 1 && b->inside)
        dim[n++] = b->over_in;
    if (n == 1)
        part[0] = u;
    else
        mc_couple_split(w, u, dim, n, part);
    if (n == 3 && part[0] && part[1] && part[2]) { /* queries, keys and values in one */
        mc_couple_kind(w, part[0], "parts");
        mc_couple_kind(w, part[1], "heads");
        mc_couple_kind(w, part[2], "head width");
    }
    for (int i = 0; i < b->n_out; i++)
        mc_couple_put(w, y, b->out[i], part[first + i]);
    if (b->over_in > 1)
        mc_couple_hold(w, part[first ? 0 : n - 1],
                       "a Reshape joins it with an axis whose length is not known");
}

static void reshape(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    struct mc_block block[MC_BLOCKS_MAX];
    if (w->n->n_in > 1)
        mc_couple_hold_value(w, w->n->in[1], "it is a shape");
    if (mc_pick_is_index(w, x) || !mc_pick_ranked(w, x, y) || mc_shuffle_walk(w))
        return;
    int n = mc_blocks_of(mc_couple_shape(w, x), mc_couple_shape(w, y), block);
    for (int i = 0; i < n; i++) {
        if (!block[i].open)
            hand_on(w, x, y, &block[i]);
        for (int k = 0; block[i].open && k < block[i].n_in; k++)
            mc_couple_hold(w, mc_couple_axis(w, x, block[i].in[k]),
                           "a Reshape joins it with an axis whose length is not known");
    }
}

static int reshape_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    bool done;
    int rc = mc_shuffle_cut(k, n, &done, err);
    return rc || done || !mc_node_is(n, "Reshape") ? rc : mc_cutting_target(k, n, 1, err);
}

/* Without axes it drops what is 1, and after a cut more may be. */
static int squeeze_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    const struct mc_shape *x = mc_cutting_shape(k, n->in[0]);
    int64_t axes[MC_RANK_MAX];
    size_t count;
    int n_axes = 0;
    bool done;
    int rc = mc_shuffle_cut(k, n, &done, err);
    if (rc || done || !x || mc_node_ints(n, "axes", &count) || (n->n_in > 1 && n->in[1]))
        return rc;
    for (int i = 0; i < x->rank; i++)
        if (x->dim[i] == 1)
            axes[n_axes++] = i;
    return n->version < 13 ? mc_edit_attr_ints(n, "axes", axes, (size_t)n_axes, err)
                           : mc_cutting_ints(k, n, 1, axes, n_axes, err);
}

static void transpose(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    size_t count;
    const int64_t *perm = mc_node_ints(w->n, "perm", &count);
    if (!mc_pick_ranked(w, x, y))
        return;
    int rank = mc_couple_shape(w, x)->rank;
    if (perm && count != (size_t)rank) {
        mc_couple_hold_node(w, "its axes do not fit");
        return;
    }
    for (int i = 0; i < rank; i++)
        mc_couple_put(w, y, i, mc_couple_axis(w, x, perm ? (int)perm[i] : rank - 1 - i));
}

const struct mc_couple_rule mc_couple_reshape[] = {
    {"", " Reshape Flatten Unsqueeze ", reshape, reshape_cut},
    {"", " Squeeze ", reshape, squeeze_cut},
    {"", " Transpose ", transpose, NULL},
    {0},
};
