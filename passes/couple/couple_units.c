#include "passes/couple/couple_state.h"

#include <stdlib.h>

static void no_memory(struct mc_couple *w)
{
    if (!w->rc)
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
}

int32_t mc_unit_root(struct mc_couple_state *s, int32_t unit)
{
    while (s->unit[unit].parent != unit) {
        s->unit[unit].parent = s->unit[s->unit[unit].parent].parent;
        unit = s->unit[unit].parent;
    }
    return unit;
}

int32_t mc_batch_root(struct mc_couple_state *s, int32_t batch)
{
    while (s->batch[batch].parent != batch) {
        s->batch[batch].parent = s->batch[s->batch[batch].parent].parent;
        batch = s->batch[batch].parent;
    }
    return batch;
}

int32_t mc_unit_batch(struct mc_couple *w, int64_t n, const struct mc_value *v)
{
    struct mc_couple_state *s = w->c->state;
    if (w->rc)
        return -1;
    if (n > INT32_MAX / 2 - (int64_t)s->n_units ||
        !MC_GROW(s->batch, s->n_batches, s->cap_batches)) {
        no_memory(w);
        return -1;
    }
    if (s->n_units + (size_t)n > s->cap_units) {
        size_t cap = s->n_units + (size_t)n + s->cap_units / 2 + 1024;
        struct mc_unit *more = mc_realloc(s->unit, cap, sizeof *more);
        if (!more) {
            no_memory(w);
            return -1;
        }
        s->unit = more;
        s->cap_units = cap;
    }
    int32_t batch = (int32_t)s->n_batches++, first = (int32_t)s->n_units;
    s->batch[batch] = (struct mc_batch){.parent = batch,
                                        .first = first,
                                        .n = (int32_t)n,
                                        .node = w->n,
                                        .v = v,
                                        .from = -1,
                                        .untouched = true};
    for (int32_t i = first; i < first + (int32_t)n; i++)
        s->unit[i] = (struct mc_unit){.parent = i, .batch = batch};
    s->n_units += (size_t)n;
    return batch;
}

int32_t mc_unit_reason(struct mc_couple *w, const char *why)
{
    struct mc_couple_state *s = w->c->state;
    if (w->rc)
        return 0;
    if (s->n_reasons && s->reason[s->n_reasons - 1].why == why &&
        s->reason[s->n_reasons - 1].n == w->n)
        return (int32_t)s->n_reasons - 1;
    if (!MC_GROW(s->reason, s->n_reasons, s->cap_reasons)) {
        no_memory(w);
        return 0;
    }
    s->reason[s->n_reasons] = (struct mc_couple_reason){why, w->n};
    return (int32_t)s->n_reasons++;
}

/* ---- sets ---- */

static void hold_root(struct mc_couple_state *s, int32_t root, int32_t reason)
{
    if (!s->unit[root].hold)
        s->unit[root].hold = reason;
}

void mc_unit_hold(struct mc_couple *w, int32_t unit, int32_t reason)
{
    struct mc_couple_state *s = w->c->state;
    int32_t root = mc_unit_root(s, unit), tuple = s->unit[root].tuple;
    if (!tuple) {
        hold_root(s, root, reason);
        return;
    }
    for (int i = 0; i < s->tuple[tuple].n; i++)
        mc_unit_hold(w, s->tuple[tuple].unit[i], reason);
}

static int collect(struct mc_couple *w, int32_t unit, int32_t *set, int n)
{
    struct mc_couple_state *s = w->c->state;
    int32_t root = mc_unit_root(s, unit), tuple = s->unit[root].tuple;
    if (tuple) {
        for (int i = 0; i < s->tuple[tuple].n; i++)
            n = collect(w, s->tuple[tuple].unit[i], set, n);
        return n;
    }
    if (s->unit[root].hold)
        return n;
    for (int i = 0; i < n; i++)
        if (set[i] == root)
            return n;
    if (n == MC_COUPLE_SET) {
        hold_root(s, root, mc_unit_reason(w, "too much meets in one position"));
        return n;
    }
    set[n] = root;
    return n + 1;
}

int mc_unit_set(struct mc_couple *w, const int32_t *unit, int per, int32_t ret[MC_COUPLE_SET])
{
    int n = 0;
    for (int i = 0; i < per; i++)
        if (unit[i] >= 0)
            n = collect(w, unit[i], ret, n);
    return n;
}

int mc_unit_roots(struct mc_couple_state *s, const int32_t *unit, int per,
                  int32_t ret[MC_COUPLE_SET], int n)
{
    for (int i = 0; i < per; i++) {
        int32_t root = unit[i] < 0 ? -1 : mc_unit_root(s, unit[i]);
        const struct mc_tuple *t = root < 0 ? NULL : &s->tuple[s->unit[root].tuple];
        if (t && s->unit[root].tuple)
            n = mc_unit_roots(s, t->unit, t->n, ret, n);
        else if (t && n < MC_COUPLE_SET)
            ret[n++] = root;
    }
    return n;
}

/* ---- joining; roots are plain and free ---- */

static void merge_batches(struct mc_couple_state *s, int32_t a, int32_t b)
{
    s->batch[a].untouched = s->batch[b].untouched = false;
    a = mc_batch_root(s, a);
    b = mc_batch_root(s, b);
    if (a != b)
        s->batch[a > b ? a : b].parent = a > b ? b : a;
}

static void unite(struct mc_couple_state *s, int32_t to, int32_t from, bool merge)
{
    to = mc_unit_root(s, to);
    from = mc_unit_root(s, from);
    if (to == from)
        return;
    if (merge) {
        merge_batches(s, s->unit[to].batch, s->unit[from].batch);
        if (from < to) {
            int32_t t = to;
            to = from;
            from = t;
        }
    }
    s->unit[from].parent = to;
    s->unit[to].flags |= s->unit[from].flags;
    hold_root(s, to, s->unit[from].hold);
}

static void alias(struct mc_couple *w, int32_t root, const int32_t *set, int n)
{
    struct mc_couple_state *s = w->c->state;
    if (!MC_GROW(s->tuple, s->n_tuples, s->cap_tuples)) {
        no_memory(w);
        return;
    }
    struct mc_tuple *t = &s->tuple[s->n_tuples];
    *t = (struct mc_tuple){.n = n};
    for (int i = 0; i < n; i++) {
        t->unit[i] = set[i];
        s->unit[set[i]].flags |= s->unit[root].flags;
    }
    s->unit[root].tuple = (int32_t)s->n_tuples++;
    s->batch[s->unit[root].batch].untouched = false;
}

/* Take what both have out of both. */
static void strip(int32_t *a, int *na, int32_t *b, int *nb)
{
    int kept = 0;
    for (int i = 0; i < *na; i++) {
        int k = 0;
        while (k < *nb && b[k] != a[i])
            k++;
        if (k == *nb) {
            a[kept++] = a[i];
            continue;
        }
        for (; k + 1 < *nb; k++)
            b[k] = b[k + 1];
        --*nb;
    }
    *na = kept;
}

/* Of two sets of one size: those of one group meet first, then the others in order. */
static void pair_up(struct mc_couple_state *s, const int32_t *a, const int32_t *b, int n,
                    bool merge)
{
    bool done_a[MC_COUPLE_SET] = {false}, done_b[MC_COUPLE_SET] = {false};
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n; i++)
            for (int k = 0; k < n && !done_a[i]; k++) {
                int32_t ga = mc_batch_root(s, s->unit[mc_unit_root(s, a[i])].batch);
                int32_t gb = mc_batch_root(s, s->unit[mc_unit_root(s, b[k])].batch);
                if (done_b[k] || (!pass && ga != gb))
                    continue;
                done_a[i] = done_b[k] = true;
                unite(s, a[i], b[k], merge);
            }
}

static void join_sets(struct mc_couple *w, int32_t *a, int na, int32_t *b, int nb, bool merge,
                      int32_t reason)
{
    struct mc_couple_state *s = w->c->state;
    strip(a, &na, b, &nb);
    if (!na || !nb) {
        for (int i = 0; i < na; i++)
            hold_root(s, a[i], reason);
        for (int i = 0; i < nb; i++)
            hold_root(s, b[i], reason);
    } else if (na == nb) {
        pair_up(s, a, b, na, merge);
    } else if (nb == 1 && na <= MC_UNITS_PER) {
        alias(w, b[0], a, na);
    } else if (na == 1 && nb <= MC_UNITS_PER) {
        alias(w, a[0], b, nb);
    } else {
        for (int i = 1; i < na; i++)
            unite(s, a[0], a[i], merge);
        for (int i = 0; i < nb; i++)
            unite(s, a[0], b[i], merge);
    }
}

void mc_unit_join(struct mc_couple *w, const int32_t *a, int per_a, const int32_t *b, int per_b,
                  bool merge, int32_t reason)
{
    int32_t set_a[MC_COUPLE_SET], set_b[MC_COUPLE_SET];
    if (w->rc)
        return;
    int na = mc_unit_set(w, a, per_a, set_a), nb = mc_unit_set(w, b, per_b, set_b);
    join_sets(w, set_a, na, set_b, nb, merge, reason);
}

void mc_unit_alias(struct mc_couple *w, int32_t unit, const int32_t *to, int n, int32_t reason)
{
    struct mc_couple_state *s = w->c->state;
    if (w->rc)
        return;
    int32_t root = mc_unit_root(s, unit);
    if (!s->unit[root].tuple && s->unit[root].hold)
        for (int i = 0; i < n; i++)
            mc_unit_hold(w, to[i], s->unit[root].hold);
    else if (s->unit[root].tuple)
        mc_unit_join(w, &unit, 1, to, n, false, reason);
    else
        mc_unit_join(w, to, n, &unit, 1, false, reason);
}
