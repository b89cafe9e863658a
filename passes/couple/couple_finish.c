/* From what rules said to groups of units: what cannot go is held, the rest is numbered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "passes/couple/couple_state.h"

static int no_memory(struct mc_couple *w)
{
    if (!w->rc)
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
    return w->rc;
}

/* ---- what is known of units ---- */

static void look_at_maker(struct mc_couple_last *l, const struct mc_couple_axis *row)
{
    struct mc_couple_state *s = l->w->c->state;
    int32_t set[MC_COUPLE_SET], at = row->maker;
    for (int64_t k = 0; k < row->u->n; k++) {
        int n = mc_unit_roots(s, row->u->unit + k * row->u->per, row->u->per, set, 0);
        for (int j = 0; j < n; j++) {
            s->unit[set[j]].flags |= MC_UNIT_MADE;
            if (!l->maker[set[j]] || at < l->maker[set[j]])
                l->maker[set[j]] = at;
        }
    }
}

/* Which objects are axes of values, and what weights make. */
static void look_at_values(struct mc_couple_last *l, const struct mc_couple_values *t)
{
    struct mc_couple *w = l->w;
    for (size_t i = 0; i < t->n && !w->rc; i++) {
        const struct mc_shape *shape = t->axes[i] ? mc_couple_shape(w, t->g->values[i]) : NULL;
        bool constant = shape && mc_axis_is_constant(t->g->values[i]);
        for (int d = 0; shape && d < shape->rank; d++) {
            struct mc_couple_axis *row = &t->axes[i][d];
            struct mc_couple_axis_units *a = (struct mc_couple_axis_units *)row->u;
            if (!a)
                continue;
            a->refs++;
            a->constant |= constant;
            if (row->maker)
                look_at_maker(l, row);
        }
    }
}

static void count_places(struct mc_couple_last *l)
{
    struct mc_couple_state *s = l->w->c->state;
    for (struct mc_couple_axis_units *a = s->all; a; a = a->next) {
        int32_t set[MC_COUPLE_SET];
        l->stamped++;
        for (int64_t i = 0; a->refs && i < a->u.n; i++) {
            int n = mc_unit_roots(s, a->u.unit + i * a->u.per, a->u.per, set, 0);
            for (int k = 0; k < n; k++)
                if (l->stamp[set[k]] != l->stamped) {
                    l->stamp[set[k]] = l->stamped;
                    l->places[set[k]] += a->refs;
                }
        }
    }
}

static bool is_plain(const struct mc_couple_state *s, int32_t unit)
{
    return s->unit[unit].parent == unit && !s->unit[unit].tuple;
}

/* Units that no weight makes are no nodes; what is in one place alone has no effect elsewhere. */
static void hold_odd(struct mc_couple_last *l)
{
    struct mc_couple_state *s = l->w->c->state;
    int32_t unmade = mc_unit_reason(l->w, "no weight makes it");
    int32_t alone = mc_unit_reason(l->w, "nothing else has it");
    for (size_t i = 0; i < s->n_units && !l->w->rc; i++) {
        struct mc_unit *u = &s->unit[i];
        if (!is_plain(s, (int32_t)i) || u->hold)
            continue;
        if (l->places[i] < 2)
            u->hold = alone;
        else if (!(u->flags & MC_UNIT_MADE))
            u->hold = unmade;
    }
}

static bool hold_wide(struct mc_couple_last *l)
{
    struct mc_couple_state *s = l->w->c->state;
    int32_t reason = mc_unit_reason(l->w, "too much meets in one position"), set[MC_COUPLE_SET];
    bool any = false;
    for (struct mc_couple_axis_units *a = s->all; a; a = a->next)
        for (int64_t i = 0; a->refs && i < a->u.n && !l->w->rc; i++) {
            int n = mc_unit_set(l->w, a->u.unit + i * a->u.per, a->u.per, set);
            for (int k = 0; n > MC_UNITS_PER && k < n; k++)
                mc_unit_hold(l->w, set[k], reason);
            any |= n > MC_UNITS_PER;
        }
    return any;
}

/* Units are numbered by roots: the older batch, the lower position first. */
static void count_free(struct mc_couple_last *l)
{
    struct mc_couple_state *s = l->w->c->state;
    memset(l->free, 0, s->n_batches * sizeof *l->free);
    for (size_t i = 0; i < s->n_units; i++)
        if (is_plain(s, (int32_t)i) && !s->unit[i].hold)
            l->index[i] = l->free[mc_batch_root(s, s->unit[i].batch)]++;
}

static void settle(struct mc_couple_last *l)
{
    struct mc_couple *w = l->w;
    for (size_t i = 0; i < w->c->state->n_graphs; i++)
        look_at_values(l, &w->c->state->values[i]);
    count_places(l);
    if (!w->rc)
        hold_odd(l);
    for (bool again = true; again && !w->rc;) {
        again = hold_wide(l);
        count_free(l);
        again |= mc_couple_settle_even(l);
        again = again || mc_couple_settle_cover(l);
    }
}

/* ---- names ---- */

/* What is found out about a group before it is one, by root of its batch. */
struct draft {
    int32_t head, held, reason; /* batch of the first unit; units that stay, and why */
    int32_t maker;              /* the first of its units */
    const char *kind;
    bool shared, inexact;
};

static const char *kind_of(const struct mc_couple_state *s, const struct draft *d,
                           const struct mc_node *maker)
{
    const char *op = maker ? maker->op_type : "";
    if (d->kind)
        return d->kind;
    if (s->batch[d->head].guess)
        return s->batch[d->head].guess;
    if (strstr(op, "Conv"))
        return "channels";
    if (strstr(op, "Gemm") || strstr(op, "MatMul") || !strcmp(op, "Einsum"))
        return "hidden nodes";
    return "width";
}

static bool is_taken(const struct mc_coupling *c, const char *name)
{
    for (size_t i = 0; i < c->n_groups; i++)
        if (!strcmp(c->group[i].name, name))
            return true;
    return false;
}

/* Of the node whose weight makes the units; what came of splitting an axis says what it is, too. */
static const char *name_of(struct mc_couple *w, const struct draft *d, const struct mc_node *maker,
                           const char *kind)
{
    bool split = w->c->state->batch[d->head].from >= 0;
    const char *label = maker ? mc_node_label(maker) : "";
    char text[512];
    snprintf(text, sizeof text, split ? "%s %s" : "%s", label, kind);
    for (int i = 2; is_taken(w->c, text); i++) {
        if (i == 2 && !split)
            snprintf(text, sizeof text, "%s %s", label, kind);
        else
            snprintf(text, sizeof text, "%s %s %d", label, kind, i - !split);
    }
    const char *name = mc_arena_strdup(&w->c->mem, text);
    if (!name)
        no_memory(w);
    return name ? name : "";
}

static const char *why_of(struct mc_couple *w, int32_t reason)
{
    const struct mc_couple_reason *r = &w->c->state->reason[reason];
    if (!reason)
        return "only one can go";
    if (!r->n || strchr(r->why, '\''))
        return r->why;
    char text[512];
    snprintf(text, sizeof text, "%s (%s '%s')", r->why, r->n->op_type, mc_node_label(r->n));
    const char *why = mc_arena_strdup(&w->c->mem, text);
    return why ? why : r->why;
}

/* ---- numbers ---- */

/* Positions one unit has on the narrowest axis of a constant, for every unit of final number. */
static void count_nodes(struct mc_couple_last *l, const int32_t *number)
{
    struct mc_coupling *c = l->w->c;
    struct mc_couple_state *s = c->state;
    int32_t set[MC_COUPLE_SET], *count = l->count;
    for (struct mc_couple_axis_units *a = s->all; a; a = a->next) {
        if (!a->refs || !a->constant)
            continue;
        for (int pass = 0; pass < 3; pass++)
            for (int64_t i = 0; i < a->u.n; i++) {
                int n = mc_unit_set(l->w, a->u.unit + i * a->u.per, a->u.per, set);
                for (int k = 0; k < n; k++) {
                    if (number[set[k]] < 0)
                        continue;
                    struct mc_coupling_group *g = &c->group[s->group_of[number[set[k]]]];
                    if (pass == 0)
                        count[set[k]] = 0;
                    else if (pass == 1)
                        count[set[k]]++;
                    else if (!g->nodes || count[set[k]] < g->nodes)
                        g->nodes = count[set[k]];
                }
            }
    }
    for (size_t i = 0; i < c->n_groups; i++)
        if (!c->group[i].nodes)
            c->group[i].nodes = 1;
}

static void draft_groups(struct mc_couple_last *l, struct draft *d)
{
    struct mc_couple_state *s = l->w->c->state;
    for (size_t i = 0; i < s->n_batches; i++)
        d[i] = (struct draft){.head = -1};
    for (size_t i = 0; i < s->n_units; i++) {
        int32_t root = mc_unit_root(s, (int32_t)i);
        const struct mc_unit *u = &s->unit[root];
        if (u->tuple)
            continue;
        struct draft *g = &d[mc_batch_root(s, u->batch)];
        if (!g->kind)
            g->kind = s->batch[s->unit[i].batch].kind;
        if ((size_t)root != i)
            continue;
        g->head = g->head < 0 ? u->batch : g->head;
        if (!g->maker || (l->maker[i] && l->maker[i] < g->maker))
            g->maker = l->maker[i];
        g->shared |= l->places[i] > 1 && (u->flags & MC_UNIT_MADE);
        g->inexact |= !u->hold && (u->flags & MC_UNIT_INEXACT);
        g->held += u->hold != 0;
        g->reason = g->reason ? g->reason : u->hold;
    }
}

/* A group of its free units, or of none with the reason. */
static void make_group(struct mc_couple_last *l, int32_t batch, const struct draft *d)
{
    struct mc_couple *w = l->w;
    struct mc_coupling *c = w->c;
    int64_t n = l->free[batch];
    bool can = n > 1;
    if (d->head < 0 || (!can && (!d->shared || n + d->held < 2)))
        return;
    const struct mc_batch *head = &c->state->batch[d->head];
    if (!can && head->from >= 0 && !head->guess && !d->kind)
        return; /* what is neither heads nor their width: queries, keys, values */
    struct mc_coupling_group g = {
        .first = can ? c->n_units : -1, .n = can ? n : n + d->held, .exact = !d->inexact};
    const struct mc_node *maker = d->maker ? c->state->walked[d->maker - 1] : NULL;
    g.kind = kind_of(c->state, d, maker);
    g.name = name_of(w, d, maker, g.kind);
    g.why = can ? NULL : why_of(w, d->reason);
    if (can) {
        g.n_partitions = l->parts[batch].n;
        memcpy(g.partition, l->parts[batch].partition, sizeof g.partition);
        for (int64_t i = 0; i < n; i++)
            c->state->group_of[c->n_units + i] = (int32_t)c->n_groups;
        c->n_units += (int32_t)n;
    }
    c->group[c->n_groups++] = g;
}

static void last_axes(struct mc_couple *w, const int32_t *number)
{
    int32_t set[MC_COUPLE_SET];
    for (struct mc_couple_axis_units *a = w->c->state->all; a && !w->rc; a = a->next) {
        int per = 0;
        for (int64_t i = 0; a->refs && i < a->u.n; i++) {
            int n = mc_unit_set(w, a->u.unit + i * a->u.per, a->u.per, set), kept = 0;
            for (int k = 0; k < n; k++)
                kept += number[set[k]] >= 0;
            per = kept > per ? kept : per;
        }
        if (!per)
            continue;
        struct mc_units *u = mc_arena_alloc(&w->c->mem, sizeof *u);
        int32_t *unit = mc_arena_array(&w->c->mem, (size_t)a->u.n, (size_t)per * sizeof *unit);
        if (!u || !unit) {
            no_memory(w);
            return;
        }
        *u = (struct mc_units){a->u.n, per, unit};
        a->last = u;
        for (int64_t i = 0; i < a->u.n; i++, unit += per) {
            int n = mc_unit_set(w, a->u.unit + i * a->u.per, a->u.per, set), to = 0;
            for (int k = 0; k < n; k++)
                if (number[set[k]] >= 0)
                    unit[to++] = number[set[k]];
            while (to < per)
                unit[to++] = -1;
        }
    }
}

static void number_all(struct mc_couple_last *l, int32_t *number, int32_t *first, struct draft *d)
{
    struct mc_couple *w = l->w;
    struct mc_coupling *c = w->c;
    struct mc_couple_state *s = c->state;
    c->group = mc_arena_array(&c->mem, s->n_batches + 1, sizeof *c->group);
    s->group_of = mc_arena_array(&c->mem, s->n_units + 1, sizeof *s->group_of);
    if (!c->group || !s->group_of) {
        no_memory(w);
        return;
    }
    draft_groups(l, d);
    for (size_t i = 0; i < s->n_batches && !w->rc; i++) {
        first[i] = c->n_units;
        make_group(l, (int32_t)i, &d[i]);
    }
    for (size_t i = 0; i < s->n_units; i++) {
        int32_t batch = mc_batch_root(s, s->unit[i].batch);
        bool can = is_plain(s, (int32_t)i) && !s->unit[i].hold && l->free[batch] > 1;
        number[i] = can ? first[batch] + l->index[i] : -1;
    }
    count_nodes(l, number);
    if (!w->rc)
        last_axes(w, number);
}

int mc_couple_finish(struct mc_couple *w)
{
    struct mc_couple_state *s = w->c->state;
    w->n = NULL;
    struct mc_couple_last l = {.w = w};
    int32_t *ints = mc_calloc(s->n_units, 6 * sizeof *ints);
    int32_t *first = mc_calloc(s->n_batches, 2 * sizeof *first);
    struct draft *draft = mc_calloc(s->n_batches, sizeof *draft);
    l.parts = mc_calloc(s->n_batches, sizeof *l.parts);
    if (!ints || !first || !draft || !l.parts) {
        no_memory(w);
    } else {
        l.stamp = ints;
        l.maker = l.stamp + s->n_units;
        l.count = l.maker + s->n_units;
        l.places = l.count + s->n_units;
        l.index = l.places + s->n_units;
        l.free = first + s->n_batches;
        settle(&l);
        if (!w->rc)
            number_all(&l, l.index + s->n_units, first, draft);
    }
    free(ints);
    free(first);
    free(draft);
    free(l.parts);
    return w->rc;
}
