/* Pad: positions of constants before and behind those that are there, or fewer of these. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/shape.h"
#include "passes/couple/couple_pick.h"
#include "passes/couple/couple_table.h"

enum { PADS = 2 * MC_RANK_MAX };

struct pads { /* per axis of the input */
    int64_t before[MC_RANK_MAX], after[MC_RANK_MAX];
    bool known[MC_RANK_MAX];
};

/* n is of the graph that was inferred; false: not even the axes are known. */
static bool pads_of(const struct mc_infer *inf, const struct mc_node *n, int rank, struct pads *ret)
{
    int64_t given[PADS], axis[MC_RANK_MAX];
    bool known[PADS], known_axis[MC_RANK_MAX];
    size_t count;
    const int64_t *attr = mc_node_ints(n, "pads", &count);
    bool has_axes = n->n_in > 3 && n->in[3];
    int n_axes = rank;
    memset(ret, 0, sizeof *ret);
    for (int i = 0; i < rank; i++)
        ret->known[i] = true;
    if (has_axes && (n_axes = mc_pick_ints(inf, n->in[3], axis, known_axis, MC_RANK_MAX)) < 0)
        return false;
    if (n->version < 11) {
        if (!attr || count != (size_t)(2 * rank))
            return false;
        memcpy(given, attr, count * sizeof *given);
        memset(known, true, sizeof known);
    } else if (n->n_in < 2 || mc_pick_ints(inf, n->in[1], given, known, PADS) != 2 * n_axes) {
        return false;
    }
    for (int i = 0; i < n_axes; i++) {
        int d = has_axes ? mc_shape_axis(axis[i], rank) : i;
        if (d < 0 || (has_axes && !known_axis[i]))
            return false;
        ret->before[d] = given[i];
        ret->after[d] = given[i + n_axes];
        ret->known[d] = known[i] && known[i + n_axes];
    }
    return true;
}

/* Constants beside what is there go by themselves, or with what they are added to. */
static const struct mc_units *padded(struct mc_couple *w, const struct mc_units *u, int64_t before,
                                     int64_t after)
{
    int64_t cut = (before < 0 ? -before : 0) + (after < 0 ? -after : 0);
    if (cut >= u->n) {
        mc_couple_hold(w, u, "a Pad leaves nothing of it");
        return NULL;
    }
    if (cut) {
        int64_t *index = mc_calloc((size_t)(u->n - cut), sizeof *index);
        for (int64_t i = 0; index && i < u->n - cut; i++)
            index[i] = i - (before < 0 ? before : 0);
        if (!index)
            w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
        u = index ? mc_couple_take(w, u, index, u->n - cut) : NULL;
        free(index);
    }
    struct mc_couple_part part[3];
    int n = 0;
    if (before > 0)
        part[n++] = (struct mc_couple_part){mc_couple_fresh(w, before, NULL), before};
    part[n++] = (struct mc_couple_part){u, u ? u->n : 0};
    if (after > 0)
        part[n++] = (struct mc_couple_part){mc_couple_fresh(w, after, NULL), after};
    return u && n > 1 ? mc_couple_concat(w, part, n) : u;
}

static void pad(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    struct pads p;
    int64_t written[PADS];
    if (mc_pick_is_index(w, x) || !mc_pick_ranked(w, x, y))
        return;
    int rank = mc_couple_shape(w, x)->rank;
    if (!pads_of(w->c->inf, w->n, rank, &p)) {
        mc_couple_hold_node(w, "what a Pad adds is not known");
        return;
    }
    bool constant = !strcmp(mc_node_string(w->n, "mode", "constant"), "constant");
    bool can_write = w->n->version < 11 || mc_constant_ints(w->n->in[1], written, PADS) >= 0;
    for (int d = 0; d < rank && !w->rc; d++) {
        const struct mc_units *u = mc_couple_axis(w, x, d);
        if (!u)
            continue;
        if (p.known[d] && !p.before[d] && !p.after[d])
            mc_couple_put(w, y, d, u);
        else if (!constant)
            mc_couple_hold(w, u, "a Pad repeats some of it");
        else if (!p.known[d] || !can_write)
            mc_couple_hold(w, u, "what a Pad adds is not known");
        else
            mc_couple_put(w, y, d, padded(w, u, p.before[d], p.after[d]));
    }
}

static int64_t within(const bool *stays, int64_t from, int64_t to)
{
    int64_t n = 0;
    for (int64_t i = from; i < to; i++)
        n += stays[i];
    return n;
}

/* Which of n positions stay; freed by the caller, NULL: out of memory. */
static bool *mask(const struct mc_cutting *k, const struct mc_value *v, int axis, int64_t n)
{
    int64_t *kept = NULL, count = mc_cut_kept(mc_coupling_axis(k->c, v, axis), n, k->gone, &kept);
    bool *ret = count < 0 ? NULL : mc_calloc((size_t)n + 1, sizeof *ret);
    for (int64_t i = 0; ret && i < count; i++)
        ret[kept ? kept[i] : i] = true;
    free(kept);
    return ret;
}

static int correct(const struct mc_cutting *k, const struct mc_node *n, int d, struct pads *p,
                   struct mc_err *err)
{
    int64_t nx = mc_cutting_shape(k, n->in[0])->dim[d], ny = mc_cutting_shape(k, n->out[0])->dim[d];
    bool *x = mask(k, n->in[0], d, nx), *y = mask(k, n->out[0], d, ny);
    int64_t before = p->before[d], after = p->after[d];
    if (x && y) {
        p->before[d] = before > 0 ? within(y, 0, before) : -within(x, 0, -before);
        p->after[d] = after > 0 ? within(y, ny - after, ny) : -within(x, nx + after, nx);
    }
    int rc = x && y ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    free(x);
    free(y);
    return rc;
}

static int pad_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    const struct mc_value *was = mc_pick_original(k, n->out[0]);
    const struct mc_shape *x = mc_cutting_shape(k, n->in[0]);
    int64_t pads[PADS], axis[MC_RANK_MAX];
    struct pads p;
    bool any = false;
    int rc = 0;
    if (!x || !was || !was->producer || !pads_of(k->c->inf, was->producer, x->rank, &p))
        return 0;
    for (int d = 0; d < x->rank && !rc; d++)
        if (p.known[d] && (p.before[d] || p.after[d]) &&
            (mc_cutting_changed(k, n->in[0], d) || mc_cutting_changed(k, n->out[0], d))) {
            rc = correct(k, n, d, &p, err);
            any = true;
        }
    int n_axes = n->n_in > 3 && n->in[3] ? mc_constant_ints(n->in[3], axis, MC_RANK_MAX) : -1;
    int count = n_axes < 0 ? x->rank : n_axes;
    for (int i = 0; i < count; i++) {
        int d = n_axes < 0 ? i : mc_shape_axis(axis[i], x->rank);
        pads[i] = p.before[d];
        pads[i + count] = p.after[d];
    }
    if (rc || !any)
        return rc;
    return n->version < 11 ? mc_edit_attr_ints(n, "pads", pads, (size_t)(2 * count), err)
                           : mc_cutting_ints(k, n, 1, pads, 2 * count, err);
}

const struct mc_couple_rule mc_couple_pad[] = {
    {"", " Pad ", pad, pad_cut},
    {0},
};
