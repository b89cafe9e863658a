/* Shapes written into a model, after a cut. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/couple/couple_rule.h"

/* A shape of `n` elements on its way: new constants where a cut changed a length, the rest from what was there. */
struct target {
    struct mc_cutting *k;
    struct mc_node *n;
    int64_t length[MC_RANK_MAX]; /* after the cut, or -1: as it was */
    int rank;
    struct mc_value **piece;
    size_t n_pieces, cap_pieces;
    const char *hint;
    struct mc_err *err;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static int add_piece(struct target *t, struct mc_value *v)
{
    if (!MC_GROW(t->piece, t->n_pieces, t->cap_pieces))
        return no_memory(t->err);
    t->piece[t->n_pieces++] = v;
    return 0;
}

static int ints(struct target *t, const int64_t *x, int64_t count, struct mc_value **ret)
{
    const struct mc_shape shape = {.rank = 1, .dim = {count}};
    struct mc_tensor *made = NULL;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_I64, &shape, NULL, &made, &data, t->err);
    if (rc)
        return rc;
    memcpy(data, x, (size_t)count * sizeof *x);
    rc = mc_constant_new(t->n->graph, t->n->pos, t->hint, made, ret, t->err);
    mc_tensor_unref(made);
    return rc;
}

/* Elements [from, to) of a vector that is computed. */
static int taken(struct target *t, struct mc_value *v, int from, int to)
{
    int64_t index[MC_RANK_MAX];
    struct mc_value *at, *out = mc_edit_fresh(t->n->graph, t->hint);
    struct mc_node *made;
    for (int i = from; i < to; i++)
        index[i - from] = i;
    int rc = out ? ints(t, index, to - from, &at) : no_memory(t->err);
    if (!rc)
        rc = mc_edit_node(t->n->graph, t->n->pos, "Gather", "", 0, "", (struct mc_value *[]){v, at},
                          2, &out, 1, &made, t->err);
    return rc ? rc : add_piece(t, out);
}

/* Elements first … first + n - 1 of the shape, which are v. */
static int pieces(struct target *t, struct mc_value *v, int first, int n)
{
    int rc = 0;
    for (int i = 0, run; i < n && !rc; i += run) {
        bool fixed = t->length[first + i] >= 0;
        run = 1;
        while (i + run < n && (t->length[first + i + run] >= 0) == fixed)
            run++;
        if (fixed) {
            struct mc_value *made;
            rc = ints(t, t->length + first + i, run, &made);
            rc = rc ? rc : add_piece(t, made);
        } else if (run == n) {
            rc = add_piece(t, v);
        } else {
            rc = taken(t, v, i, i + run);
        }
    }
    return rc;
}

/* How many elements a vector has; -1: not known. */
static int count_of(const struct target *t, const struct mc_value *v)
{
    const struct mc_shape *s = v ? mc_cutting_shape(t->k, v) : NULL;
    return !s || s->rank > 1 || (s->rank && (s->dim[0] < 0 || s->dim[0] > MC_RANK_MAX)) ? -1
           : s->rank ? (int)s->dim[0]
                     : 1;
}

static int computed(struct target *t, struct mc_value *v, size_t slot)
{
    const struct mc_node *c = v->producer;
    int at = 0, rc = 0;
    bool parts = c && mc_node_is(c, "Concat");
    for (size_t i = 0; parts && i < c->n_in; i++)
        at += count_of(t, c->in[i]) < 0 ? 2 * MC_RANK_MAX : count_of(t, c->in[i]);
    parts = parts && at == t->rank;
    at = 0;
    for (size_t i = 0; parts && i < c->n_in && !rc; i++) {
        rc = pieces(t, c->in[i], at, count_of(t, c->in[i]));
        at += count_of(t, c->in[i]);
    }
    if (!parts)
        rc = pieces(t, v, 0, t->rank);
    if (rc)
        return rc;
    struct mc_value *out = t->piece[0];
    struct mc_node *made;
    if (t->n_pieces > 1) {
        out = mc_edit_fresh(t->n->graph, t->hint);
        rc = out ? mc_edit_node(t->n->graph, t->n->pos, "Concat", "", 0, "", t->piece, t->n_pieces,
                                &out, 1, &made, t->err)
                 : no_memory(t->err);
        rc = rc ? rc : mc_edit_attr_int(made, "axis", 0, t->err);
    }
    return rc ? rc : mc_edit_set_input(t->n, slot, out, t->err);
}

int mc_cutting_target(struct mc_cutting *k, struct mc_node *n, size_t slot, struct mc_err *err)
{
    const struct mc_shape *y = mc_cutting_shape(k, n->out[0]);
    struct mc_value *v = slot < n->n_in ? n->in[slot] : NULL;
    struct target t = {.k = k, .n = n, .err = err};
    bool any = false;
    if (!y || !v)
        return 0;
    t.rank = y->rank;
    t.hint = v->name;
    for (int i = 0; i < y->rank; i++) {
        bool changed = mc_cutting_changed(k, n->out[0], i);
        t.length[i] = changed ? mc_cutting_length(k, n->out[0], i) : -1;
        any |= changed;
    }
    int64_t x[MC_RANK_MAX];
    int count = mc_constant_ints(v, x, MC_RANK_MAX), rc = 0;
    if (!any)
        return 0;
    if (count >= 0) {
        any = false;
        for (int i = 0; i < count && i < t.rank; i++) {
            int axis = t.rank - count + i; /* Expand: the last ones */
            if (t.length[axis] >= 0 && x[i] != -1 && x[i] != 1) {
                x[i] = t.length[axis];
                any = true;
            } else if (x[i] == 0 && mc_cutting_changed(k, n->in[0], i) && y->dim[axis] > 0) {
                x[i] = y->dim[axis]; /* copied from an axis that happened to be as long */
                any = true;
            }
        }
        return any ? mc_cutting_ints(k, n, slot, x, count, err) : 0;
    }
    for (int i = 0; i < t.rank; i++) /* as known, whatever it was computed from */
        t.length[i] = t.length[i] < 0 && y->dim[i] > 0 ? y->dim[i] : t.length[i];
    int shorter = t.rank - count_of(&t, v); /* Expand: the last ones */
    if (count_of(&t, v) < 1 || shorter < 0)
        return mc_fail(err, MC_EUNSUP, "%s '%s': the length of its shape is not known", n->op_type,
                       mc_node_label(n));
    t.rank -= shorter;
    memmove(t.length, t.length + shorter, (size_t)t.rank * sizeof *t.length);
    rc = computed(&t, v, slot);
    free(t.piece);
    return rc;
}
