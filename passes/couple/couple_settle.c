/* What shows only when all units are known: partitions, and axes that could lose all of their positions. */
#include <stdlib.h>
#include <string.h>

#include "passes/couple/couple_state.h"

static void no_memory(struct mc_couple *w)
{
    if (!w->rc)
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
}

static int32_t group_of(struct mc_couple_state *s, int32_t root)
{
    return mc_batch_root(s, s->unit[root].batch);
}

/* ---- partitions ---- */

struct row {
    int32_t group, root, part, times;
};

static int by_unit(const void *pa, const void *pb)
{
    const struct row *a = pa, *b = pb;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    if (a->root != b->root)
        return a->root < b->root ? -1 : 1;
    return a->part < b->part ? -1 : a->part > b->part;
}

static int by_part(const void *pa, const void *pb)
{
    const struct row *a = pa, *b = pb;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    if (a->part != b->part)
        return a->part < b->part ? -1 : 1;
    return a->root < b->root ? -1 : a->root > b->root;
}

/* Where one unit lies, rows [0, n): in one part, or as often in each, which needs no balance. *ret: rows that count. */
static bool one_part(const struct row *row, int64_t n, int64_t parts, int64_t *ret)
{
    *ret = n == 1;
    if (n == 1)
        return true;
    for (int64_t i = 1; i < n; i++)
        if (row[i].times != row[0].times)
            return false;
    return n == parts;
}

/* One row for every unit of an axis that needs balance, by group and part; how many, or -1 where a position has several
 * units or a unit lies in some of the parts. */
static int64_t rows_of(struct mc_couple_last *l, const struct mc_couple_even *e, struct row *row)
{
    struct mc_couple_state *s = l->w->c->state;
    int64_t n = 0, to = 0, length = e->u->n / e->parts;
    for (int64_t i = 0; i < e->u->n; i++) {
        int32_t set[MC_COUPLE_SET];
        int count = mc_unit_set(l->w, e->u->unit + i * e->u->per, e->u->per, set);
        if (count > 1)
            return -1;
        if (count)
            row[n++] = (struct row){group_of(s, set[0]), set[0], (int32_t)(i / length), 1};
    }
    qsort(row, (size_t)n, sizeof *row, by_unit);
    for (int64_t i = 0; i < n; i++) { /* equal rows are one */
        if (to && !by_unit(&row[to - 1], &row[i]))
            row[to - 1].times++;
        else
            row[to++] = row[i];
    }
    n = to;
    to = 0;
    for (int64_t i = 0, run, kept; i < n; i += run) {
        run = 1;
        while (i + run < n && row[i + run].root == row[i].root)
            run++;
        if (!one_part(row + i, run, e->parts, &kept))
            return -1;
        if (kept)
            row[to++] = row[i];
    }
    qsort(row, (size_t)to, sizeof *row, by_part);
    return to;
}

/* As many in every part, in every group, and no others in the group. */
static bool is_even(struct mc_couple_last *l, const struct row *row, int64_t n, int64_t parts)
{
    for (int64_t i = 0; i < n;) {
        int64_t all = l->free[row[i].group], each = all / parts;
        if (all % parts || i + all > n || each < 2)
            return false;
        for (int64_t k = 0; k < all; k++)
            if (row[i + k].group != row[i].group || row[i + k].part != k / each ||
                row[i + k].times != row[i].times)
                return false;
        i += all;
    }
    return true;
}

/* Does every part of `fine` lie in one of `coarse`? */
static bool refines(const struct mc_partition *fine, const struct mc_partition *coarse, int64_t n,
                    int32_t *in)
{
    for (int i = 0; i < fine->parts; i++)
        in[i] = -1;
    for (int64_t i = 0; i < n; i++) {
        if (in[fine->part[i]] >= 0 && in[fine->part[i]] != coarse->part[i])
            return false;
        in[fine->part[i]] = coarse->part[i];
    }
    return true;
}

/* False: there are too many. */
static bool add_partition(struct mc_couple_parts *g, const struct mc_partition *p, int64_t n,
                          int32_t *in)
{
    for (int i = 0; i < g->n; i++) {
        if (refines(&g->partition[i], p, n, in))
            return true;
        if (refines(p, &g->partition[i], n, in)) {
            g->partition[i] = *p;
            return true;
        }
    }
    if (g->n == 2)
        return false;
    g->partition[g->n++] = *p;
    return true;
}

/* Partitions of all groups on an axis that is even. */
static bool take_partitions(struct mc_couple_last *l, const struct row *row, int64_t n,
                            int64_t parts)
{
    int32_t *in = mc_calloc((size_t)n, sizeof *in); /* more than parts of any */
    bool fits = in != NULL;
    if (!in)
        no_memory(l->w);
    for (int64_t i = 0, all; i < n && fits; i += all) {
        all = l->free[row[i].group];
        int32_t *part = mc_arena_array(&l->w->c->mem, (size_t)all, sizeof *part);
        if (!part) {
            no_memory(l->w);
            break;
        }
        for (int64_t k = 0; k < all; k++)
            part[l->index[row[i + k].root]] = row[i + k].part;
        const struct mc_partition p = {(int)parts, part};
        fits = add_partition(&l->parts[row[i].group], &p, all, in);
    }
    free(in);
    return fits || l->w->rc;
}

bool mc_couple_settle_even(struct mc_couple_last *l)
{
    struct mc_couple *w = l->w;
    bool any = false;
    memset(l->parts, 0, w->c->state->n_batches * sizeof *l->parts);
    for (struct mc_couple_even *e = w->c->state->even; e && !w->rc; e = e->next) {
        struct row *row = mc_calloc((size_t)e->u->n, sizeof *row);
        if (!row) {
            no_memory(w);
            break;
        }
        int64_t n = rows_of(l, e, row);
        if (n &&
            (n < 0 || !is_even(l, row, n, e->parts) || !take_partitions(l, row, n, e->parts))) {
            w->n = e->n;
            mc_couple_hold(w, e->u, "its groups would not stay of one length");
            w->n = NULL;
            any = true;
        }
        free(row);
        if (any) /* what is free has changed */
            break;
    }
    return any;
}

/* ---- axes that could be left empty ---- */

/* Some unit of one group stays for sure among those with this stamp: they are all of it, or all of a part. */
static bool has_all(const struct mc_couple_last *l, int32_t group, const int32_t *root, int64_t n)
{
    if (n == l->free[group])
        return true;
    for (int k = 0; k < l->parts[group].n; k++) {
        const struct mc_partition *p = &l->parts[group].partition[k];
        int64_t each = l->free[group] / p->parts;
        for (int part = 0; part < p->parts && each <= n; part++) {
            int64_t found = 0;
            for (int64_t i = 0; i < n; i++)
                found += p->part[l->index[root[i]]] == part;
            if (found == each)
                return true;
        }
    }
    return false;
}

struct spot { /* units of a position, one of every group, by group */
    int n;
    int32_t group[MC_UNITS_PER], root[MC_UNITS_PER];
};

static int by_spot(const void *pa, const void *pb)
{
    const struct spot *a = pa, *b = pb;
    if (a->n != b->n)
        return a->n - b->n;
    int d = memcmp(a->group, b->group, sizeof a->group);
    return d ? d : memcmp(a->root, b->root, sizeof a->root);
}

/* False: two units are of one group, so that no count says whether both can stay. */
static bool spot_of(struct mc_couple_state *s, const int32_t *set, int n, struct spot *ret)
{
    *ret = (struct spot){.n = n};
    for (int i = 0; i < n; i++) {
        int32_t group = group_of(s, set[i]);
        int at = i;
        for (; at && ret->group[at - 1] > group; at--) {
            ret->group[at] = ret->group[at - 1];
            ret->root[at] = ret->root[at - 1];
        }
        if (at && ret->group[at - 1] == group)
            return false;
        ret->group[at] = group;
        ret->root[at] = set[i];
    }
    return true;
}

/* Sorted spots of the same groups: do they stand for every choice of one unit each? */
static bool is_product(const struct mc_couple_last *l, const struct spot *spot, int64_t n)
{
    int64_t distinct = 1, product = 1;
    for (int64_t i = 1; i < n; i++)
        distinct += by_spot(&spot[i - 1], &spot[i]) != 0;
    for (int k = 0; k < spot[0].n; k++)
        product *= l->free[spot[0].group[k]];
    return distinct == product;
}

/* Does some position of the axis stay whatever goes (at least one of every group, of every part stays)? */
static bool is_covered(struct mc_couple_last *l, const struct mc_units *u, struct spot *spot,
                       int32_t *root)
{
    struct mc_couple_state *s = l->w->c->state;
    int64_t n = 0;
    for (int64_t i = 0; i < u->n; i++) {
        int32_t set[MC_COUPLE_SET];
        int count = mc_unit_set(l->w, u->unit + i * u->per, u->per, set);
        n += spot_of(s, set, count, &spot[n]);
    }
    qsort(spot, (size_t)n, sizeof *spot, by_spot);
    for (int64_t i = 0, run; i < n; i += run) {
        int64_t distinct = 0;
        run = 0;
        while (i + run < n && spot[i + run].n == spot[i].n &&
               !memcmp(spot[i + run].group, spot[i].group, sizeof spot->group)) {
            if (!run || spot[i + run].root[0] != spot[i + run - 1].root[0])
                root[distinct++] = spot[i + run].root[0];
            run++;
        }
        if (spot[i].n == 1 ? has_all(l, spot[i].group[0], root, distinct)
                           : is_product(l, spot + i, run))
            return true;
    }
    return false;
}

/* The same, where it is plain to see: a position that stays by itself, or all units of a group, one a position. */
static bool is_plainly_covered(struct mc_couple_last *l, const struct mc_units *u)
{
    struct mc_couple_state *s = l->w->c->state;
    int32_t set[MC_COUPLE_SET];
    l->stamped++;
    for (int64_t i = 0; i < u->n; i++) {
        int n = mc_unit_set(l->w, u->unit + i * u->per, u->per, set);
        if (!n)
            return true;
        if (n == 1)
            l->count[group_of(s, set[0])] = 0;
    }
    for (int64_t i = 0; i < u->n; i++) {
        int n = mc_unit_set(l->w, u->unit + i * u->per, u->per, set);
        if (n > 1 || l->stamp[set[0]] == l->stamped)
            continue;
        int32_t group = group_of(s, set[0]);
        l->stamp[set[0]] = l->stamped;
        if (++l->count[group] == l->free[group])
            return true;
    }
    return false;
}

static bool cover(struct mc_couple_last *l, const struct mc_units *u)
{
    if (is_plainly_covered(l, u))
        return true;
    struct spot *spot = mc_calloc((size_t)u->n, sizeof *spot);
    int32_t *root = mc_calloc((size_t)u->n, sizeof *root);
    bool covered = true;
    if (!spot || !root)
        no_memory(l->w);
    else
        covered = is_covered(l, u, spot, root);
    free(spot);
    free(root);
    return covered;
}

bool mc_couple_settle_cover(struct mc_couple_last *l)
{
    struct mc_couple *w = l->w;
    bool any = false;
    for (struct mc_couple_axis_units *a = w->c->state->all; a && !w->rc; a = a->next) {
        if (!a->refs || cover(l, &a->u))
            continue;
        int32_t reason = mc_unit_reason(w, "an axis needs one that stays");
        for (int k = 0; k < a->u.per; k++)
            if (a->u.unit[k] >= 0)
                mc_unit_hold(w, a->u.unit[k], reason);
        any = true;
    }
    return any;
}
