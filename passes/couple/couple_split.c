/* An axis cut into several: which units go with which of them. */
#include <string.h>

#include "graph/shape.h"
#include "passes/couple/couple_state.h"

struct splitting {
    struct mc_couple *w;
    const struct mc_units *u;
    const int64_t *dim;
    int n_dims;
    int64_t inner[MC_RANK_MAX];             /* positions from one row of a dimension to the next */
    int32_t *column[MC_UNITS_PER];          /* roots of one column of u, -1 where it stays */
    int32_t *to[MC_RANK_MAX][MC_UNITS_PER]; /* columns of the results */
    int per[MC_RANK_MAX];
};

static int64_t at(const struct splitting *s, int d, int64_t i)
{
    return i / s->inner[d] % s->dim[d];
}

/* Does the unit of a position depend on its place in dimension d? */
static bool depends(const struct splitting *s, const int32_t *root, int d)
{
    if (s->dim[d] == 1)
        return false;
    for (int64_t i = 0; i < s->u->n; i++)
        if (root[i] != root[i - at(s, d, i) * s->inner[d]])
            return true;
    return false;
}

static int32_t *add_column(struct splitting *s, int d)
{
    if (s->per[d] == MC_UNITS_PER)
        return NULL;
    int32_t *c = mc_arena_array(&s->w->c->mem, (size_t)s->dim[d], sizeof *c);
    if (!c)
        s->w->rc = s->w->rc ? s->w->rc : mc_fail(s->w->err, MC_ENOMEM, "out of memory");
    else
        s->to[d][s->per[d]++] = c;
    return c;
}

static void hold_column(struct splitting *s, const int32_t *root)
{
    int32_t reason = mc_unit_reason(s->w, "an axis is cut in too many ways");
    for (int64_t i = 0; i < s->u->n; i++)
        if (root[i] >= 0)
            mc_unit_hold(s->w, root[i], reason);
}

/* New units for every dimension it depends on; each old one goes with its row, its column, … */
static void take_apart(struct splitting *s, const int32_t *root, const int *dims, int n)
{
    static const char *const guess[2] = {"heads", "head width"};
    int32_t *made[MC_UNITS_PER], reason = mc_unit_reason(s->w, "only a part of it can go");
    struct mc_couple_state *state = s->w->c->state;
    int32_t from = -1;
    for (int64_t i = 0; i < s->u->n && from < 0; i++)
        from = root[i] < 0 ? -1 : state->unit[mc_unit_root(state, root[i])].batch;
    for (int k = 0; k < n; k++) {
        int32_t batch = mc_unit_batch(s->w, s->dim[dims[k]], NULL);
        made[k] = batch < 0 ? NULL : add_column(s, dims[k]);
        if (!made[k]) {
            hold_column(s, root);
            return;
        }
        state->batch[batch].from = from;
        state->batch[batch].guess = k + 2 >= n ? guess[k + 2 - n] : NULL;
        for (int64_t i = 0; i < s->dim[dims[k]]; i++)
            made[k][i] = state->batch[batch].first + (int32_t)i;
    }
    for (int64_t i = 0; i < s->u->n && !s->w->rc; i++) {
        int32_t tuple[MC_UNITS_PER];
        for (int k = 0; k < n; k++)
            tuple[k] = made[k][at(s, dims[k], i)];
        if (root[i] >= 0)
            mc_unit_alias(s->w, root[i], tuple, n, reason);
        for (int k = 0; root[i] < 0 && k < n; k++)
            mc_unit_hold(s->w, tuple[k], reason);
    }
}

static void split_column(struct splitting *s, const int32_t *root)
{
    int dims[MC_RANK_MAX], n = 0;
    bool any = false;
    for (int64_t i = 0; i < s->u->n && !any; i++)
        any = root[i] >= 0;
    if (!any)
        return;
    for (int d = 0; d < s->n_dims; d++)
        if (depends(s, root, d))
            dims[n++] = d;
    if (n == 0 || n > MC_UNITS_PER) {
        hold_column(s, root);
    } else if (n == 1) {
        int32_t *c = add_column(s, dims[0]);
        if (!c)
            hold_column(s, root);
        for (int64_t i = 0; c && i < s->dim[dims[0]]; i++)
            c[i] = root[i * s->inner[dims[0]]];
    } else {
        take_apart(s, root, dims, n);
    }
}

/* One column of u for each unit a position can have, by root; those that stay are -1. */
static bool columns(struct splitting *s)
{
    struct mc_couple_state *state = s->w->c->state;
    for (int k = 0; k < s->u->per; k++) {
        int32_t *c = s->column[k] = mc_arena_array(&s->w->c->mem, (size_t)s->u->n, sizeof *c);
        if (!c) {
            s->w->rc = mc_fail(s->w->err, MC_ENOMEM, "out of memory");
            return false;
        }
        for (int64_t i = 0; i < s->u->n; i++) {
            int32_t unit = s->u->unit[i * s->u->per + k];
            c[i] = unit < 0 ? -1 : mc_unit_root(state, unit);
            if (c[i] >= 0 && !state->unit[c[i]].tuple && state->unit[c[i]].hold)
                c[i] = -1;
        }
    }
    return true;
}

void mc_couple_split(struct mc_couple *w, const struct mc_units *u, const int64_t *dim, int n_dims,
                     const struct mc_units **ret)
{
    struct splitting s = {.w = w, .u = u, .dim = dim, .n_dims = n_dims};
    struct mc_shape shape = mc_shape_of(n_dims, dim);
    for (int d = 0; d < n_dims; d++) {
        ret[d] = NULL;
        s.inner[d] = mc_shape_span(&shape, d + 1, n_dims);
    }
    if (!u || w->rc)
        return;
    if (mc_shape_count(&shape) != u->n) {
        mc_couple_hold(w, u, "it is cut into lengths that are not known");
        return;
    }
    if (!columns(&s))
        return;
    for (int k = 0; k < u->per && !w->rc; k++)
        split_column(&s, s.column[k]);
    for (int d = 0; d < n_dims && !w->rc; d++) {
        int32_t *unit;
        struct mc_couple_axis_units *a = s.per[d] ? mc_axis_new(w, dim[d], s.per[d], &unit) : NULL;
        for (int64_t i = 0; a && i < dim[d]; i++)
            for (int k = 0; k < s.per[d]; k++)
                unit[i * s.per[d] + k] = s.to[d][k][i];
        ret[d] = a ? &a->u : NULL;
    }
}
