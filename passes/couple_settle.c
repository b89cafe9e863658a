/* What shows only when all units are known: partitions, and axes that could lose all of their positions. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "passes/couple_state.h"

static void no_memory(struct mc_couple *w)
{
    if (!w->rc)
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
}

static int32_t group_of(struct mc_couple_state *s, int32_t root)
{
    return mc_batch_root(s, s->unit[root].batch);
}

static bool hold_axis(struct mc_couple *w, const struct mc_units *u, const struct mc_node *n,
                      const char *why)
{
    const struct mc_node *before = w->n;
    w->n = n;
    mc_couple_hold(w, u, why);
    w->n = before;
    return true;
}

/* ---- partitions ---- */

struct row {
    int32_t group, part, root, times;
};

static int by_group(const void *pa, const void *pb)
{
    const struct row *a = pa, *b = pb;
    if (a->group != b->group)
        return a->group < b->group ? -1 : 1;
    if (a->part != b->part)
        return a->part < b->part ? -1 : 1;
    return a->root < b->root ? -1 : a->root > b->root;
}

/* One row for every unit of an axis; how many, or -1 where a position has several or a unit lies in two parts. */
static int64_t rows_of(struct mc_couple_last *l, const struct mc_couple_even *e, struct row *row)
{
    struct mc_couple_state *s = l->w->c->state;
    int64_t n = 0, length = e->u->n / e->parts;
    l->stamped++;
    for (int64_t i = 0; i < e->u->n; i++) {
        int32_t set[MC_COUPLE_SET], part = (int32_t)(i / length);
        int count = mc_unit_set(l->w, e->u->unit + i * e->u->per, e->u->per, set);
        if (count > 1)
            return -1;
        if (!count)
            continue;
        if (l->stamp[set[0]] != l->stamped) {
            l->stamp[set[0]] = l->stamped;
            l->spare[set[0]] = (int32_t)n;
            row[n++] = (struct row){group_of(s, set[0]), part, set[0], 1};
        } else if (row[l->spare[set[0]]].part == part) {
            row[l->spare[set[0]]].times++;
        } else {
            return -1;
        }
    }
    qsort(row, (size_t)n, sizeof *row, by_group);
    return n;
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

static struct row *rows_new(struct mc_couple *w, const struct mc_couple_even *e)
{
    struct row *row = mc_calloc((size_t)e->u->n, sizeof *row);
    if (!row)
        no_memory(w);
    return row;
}

bool mc_couple_settle_even(struct mc_couple_last *l)
{
    bool any = false;
    for (struct mc_couple_even *e = l->w->c->state->even; e && !l->w->rc; e = e->next) {
        struct row *row = rows_new(l->w, e);
        int64_t n = row ? rows_of(l, e, row) : 0;
        if (row && n && (n < 0 || !is_even(l, row, n, e->parts)))
            any |= hold_axis(l->w, e->u, e->n, "its groups would not stay of one length");
        free(row);
    }
    return any;
}

/* Parts by order of their first unit, so that equal partitions are equal arrays. */
static void rename_parts(int32_t *part, int64_t n, int parts, int32_t *name)
{
    int32_t next = 0;
    for (int i = 0; i < parts; i++)
        name[i] = -1;
    for (int64_t i = 0; i < n; i++) {
        if (name[part[i]] < 0)
            name[part[i]] = next++;
        part[i] = name[part[i]];
    }
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
static bool add_partition(struct mc_coupling_group *g, const struct mc_partition *p, int32_t *in)
{
    for (int i = 0; i < g->n_partitions; i++) {
        if (refines(&g->partition[i], p, g->n, in))
            return true;
        if (refines(p, &g->partition[i], g->n, in)) {
            g->partition[i] = *p;
            return true;
        }
    }
    if (g->n_partitions == 2)
        return false;
    g->partition[g->n_partitions++] = *p;
    return true;
}

void mc_couple_partitions(struct mc_couple_last *l, struct mc_coupling_group *g,
                          const int32_t *number)
{
    struct mc_couple *w = l->w;
    for (struct mc_couple_even *e = w->c->state->even; e && !w->rc; e = e->next) {
        struct row *row = rows_new(w, e);
        int64_t n = row ? rows_of(l, e, row) : 0;
        int32_t *part = NULL, *name = NULL;
        for (int64_t i = 0; i < n; i++) {
            int32_t at = number[row[i].root] - g->first;
            if (number[row[i].root] < 0 || at < 0 || at >= g->n)
                continue;
            if (!part) {
                part = mc_arena_array(&w->c->mem, (size_t)g->n, sizeof *part);
                name = mc_calloc((size_t)e->parts + 1, sizeof *name);
                if (!part || !name) {
                    no_memory(w);
                    break;
                }
            }
            part[at] = row[i].part;
        }
        if (part && name) {
            rename_parts(part, g->n, (int)e->parts, name);
            const struct mc_partition p = {(int)e->parts, part};
            bool fits = add_partition(g, &p, name);
            assert(fits);
            (void)fits;
        }
        free(name);
        free(row);
    }
}

/* ---- axes that could be left empty ---- */

bool mc_couple_settle_cover(struct mc_couple_last *l)
{
    (void)l;
    return false;
}
