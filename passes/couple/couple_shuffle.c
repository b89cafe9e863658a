#include "passes/couple/couple_shuffle.h"

#include <stdlib.h>
#include <string.h>

#include "graph/edit.h"
#include "passes/couple/couple_pick.h"

struct shuffle { /* of the graph that coupling looked at */
    const struct mc_node *first, *last;
    const struct mc_shape *shape;          /* before and behind */
    int n_dims[MC_RANK_MAX];               /* of each axis: into how many it is cut, */
    int64_t dim[MC_RANK_MAX][MC_RANK_MAX]; /* and their lengths, outermost first */
    int order[MC_RANK_MAX][MC_RANK_MAX];   /* as they follow each other behind */
};

static const struct mc_shape *shape_of(const struct mc_infer *inf, const struct mc_value *v)
{
    const struct mc_vtype *t = mc_infer_of(inf, v);
    return t->ranked ? &t->shape : NULL;
}

static bool is_view(const struct mc_node *n)
{
    return mc_node_is(n, "Reshape") || mc_node_is(n, "Flatten") || mc_node_is(n, "Unsqueeze") ||
           mc_node_is(n, "Squeeze");
}

/* The one node that reads v, or NULL. */
static const struct mc_node *reader(const struct mc_value *v)
{
    return v && v->n_uses == 1 && v->uses[0].slot == 0 && !v->is_output ? v->uses[0].node : NULL;
}

/* Cut every axis of x into dimensions of m: to[i] is the axis that dimension i came from, -1 for those of length 1. */
static bool cut_up(const struct mc_shape *x, const struct mc_shape *m, struct shuffle *s, int *to,
                   int *place)
{
    int at = 0;
    for (int a = 0; a < x->rank; a++) {
        int64_t left = x->dim[a];
        s->n_dims[a] = 0;
        while (left != 1) {
            while (at < m->rank && m->dim[at] == 1)
                to[at++] = -1;
            if (at == m->rank)
                return false;
            int64_t d = m->dim[at];
            bool unknown = left < 0 || d < 0;
            if (unknown ? left != d || d == MC_DIM_ANY : d == 0 || left % d)
                return false;
            left = unknown ? 1 : left / d;
            s->dim[a][s->n_dims[a]] = d;
            place[at] = s->n_dims[a]++;
            to[at++] = a;
        }
    }
    for (; at < m->rank; at++) {
        if (m->dim[at] != 1)
            return false;
        to[at] = -1;
    }
    return true;
}

/* The three nodes that end in `last`; false: they are not such. */
static bool found(const struct mc_infer *inf, const struct mc_node *last, struct shuffle *ret)
{
    const struct mc_node *turn = is_view(last) && last->in[0] ? last->in[0]->producer : NULL;
    const struct mc_node *first = turn && mc_node_is(turn, "Transpose") && reader(turn->out[0])
                                      ? turn->in[0]->producer
                                      : NULL;
    if (!first || !is_view(first) || reader(first->out[0]) != turn)
        return false;
    const struct mc_shape *x = shape_of(inf, first->in[0]), *m = shape_of(inf, first->out[0]);
    const struct mc_shape *y = shape_of(inf, last->out[0]);
    size_t count;
    const int64_t *perm = mc_node_ints(turn, "perm", &count);
    int to[MC_RANK_MAX], place[MC_RANK_MAX], used[MC_RANK_MAX] = {0}, axis = 0;
    if (!x || !m || !y || !perm || count != (size_t)m->rank || !mc_shape_equal(x, y) ||
        !cut_up(x, m, ret, to, place))
        return false;
    bool moved = false;
    for (int i = 0; i < m->rank;
         i++) { /* parts of one axis follow each other, axes keep their order */
        int from = to[perm[i]];
        if (from < 0)
            continue;
        while (axis < x->rank && used[axis] == ret->n_dims[axis])
            axis++;
        if (from != axis)
            return false;
        moved |= place[perm[i]] != used[axis];
        ret->order[axis][used[axis]++] = place[perm[i]];
    }
    ret->first = first;
    ret->last = last;
    ret->shape = x;
    return moved;
}

static bool moves(const struct shuffle *s, int axis)
{
    for (int i = 0; i < s->n_dims[axis]; i++)
        if (s->order[axis][i] != i)
            return true;
    return false;
}

/* index[i]: where position i of an axis comes from; freed by the caller, NULL: out of memory. */
static int64_t *permutation(const struct shuffle *s, int axis)
{
    const int64_t *dim = s->dim[axis];
    int n = s->n_dims[axis];
    int64_t length = s->shape->dim[axis], stride[MC_RANK_MAX];
    int64_t *index = mc_calloc((size_t)length, sizeof *index);
    for (int64_t i = n - 1, inner = 1; i >= 0; inner *= dim[i--])
        stride[i] = inner;
    for (int64_t i = 0; index && i < length; i++) {
        int64_t rest = i;
        for (int k = n - 1; k >= 0; k--) {
            int d = s->order[axis][k];
            index[i] += rest % dim[d] * stride[d];
            rest /= dim[d];
        }
    }
    return index;
}

/* The nodes of which n is the first or the last. */
static bool of_node(const struct mc_infer *inf, const struct mc_node *n, struct shuffle *ret)
{
    const struct mc_node *turn = reader(n->out[0]);
    const struct mc_node *last = turn ? reader(turn->out[0]) : NULL;
    return found(inf, n, ret) || (last && found(inf, last, ret) && ret->first == n);
}

bool mc_shuffle_walk(struct mc_couple *w)
{
    struct shuffle s;
    if (!of_node(w->c->inf, w->n, &s))
        return false;
    if (s.last != w->n)
        return true;
    for (int i = 0; i < s.shape->rank && !w->rc; i++) {
        const struct mc_units *u = mc_couple_axis(w, s.first->in[0], i);
        int64_t *index = u && moves(&s, i) ? permutation(&s, i) : NULL;
        if (u && moves(&s, i) && !index)
            w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
        else
            mc_couple_put(w, w->n->out[0], i,
                          index ? mc_couple_take(w, u, index, s.shape->dim[i]) : u);
        free(index);
    }
    return true;
}

/* Gathers in place of the last node; the other two are swept. */
int mc_shuffle_cut(struct mc_cutting *k, struct mc_node *n, bool *ret_done, struct mc_err *err)
{
    const struct mc_value *was = mc_pick_original(k, n->out[0]);
    struct shuffle s;
    *ret_done = was && was->producer && of_node(k->c->inf, was->producer, &s);
    if (!*ret_done || s.last != was->producer)
        return 0;
    struct mc_value *y = n->out[0], *x = n->in[0]->producer->in[0]->producer->in[0];
    int left = 0, rc = 0;
    for (int i = 0; i < s.shape->rank; i++)
        left += moves(&s, i);
    size_t pos = n->pos;
    mc_edit_remove_node(n);
    for (int i = 0; i < s.shape->rank && !rc; i++) {
        int64_t *index, *kept = NULL;
        if (!moves(&s, i))
            continue;
        struct mc_value *to = --left ? mc_edit_fresh(y->graph, y->name) : y;
        index = permutation(&s, i);
        int64_t count =
            index ? mc_pick_kept(k, s.first->in[0], i, s.last->out[0], i, index, &kept) : -1;
        if (count < 0 || !to)
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
        else
            rc = mc_pick_gather(y->graph, pos, n->name, x, i, kept, count, to, err);
        pos += 1;
        x = to;
        free(index);
        free(kept);
    }
    return rc;
}
