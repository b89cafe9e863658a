#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "graph/run/plan.h"

/* Orders in which slots are placed; the one that takes least memory counts. */
enum order_kind { BY_SIZE, BY_TIME, BY_AREA, ORDERS };

struct order {
    struct mc_slot *slot;
    double key;
    int index;
};

struct range { /* of memory, from one step to another */
    size_t offset, bytes;
    int first, last;
};

struct placing {
    bool apart; /* nothing shares memory */
    struct order *order;
    size_t n;
    struct range *taken; /* [n_taken] by what is placed already, by offset */
    size_t n_taken;
    size_t *best;  /* [n] offsets */
    size_t *alive; /* [n_steps + 2] */
};

static int larger_first(const void *pa, const void *pb)
{
    const struct order *a = pa, *b = pb;
    if (a->key != b->key)
        return a->key < b->key ? 1 : -1;
    return a->index - b->index;
}

/* Slot s keeps its place. Offsets count from the end of the memory while slots are placed: the gradients of the last
 * layers are made first and come last in their block, so the free part of the block is next to the other slots, which
 * can reach into it. */
static void take(struct placing *g, const struct mc_slot *s)
{
    for (size_t i = 0; i < (s->regions ? s->n_regions : 1); i++) {
        struct range r = {s->offset, s->bytes, s->first, s->last};
        if (s->regions) {
            const struct mc_region *part = &s->regions[i];
            r = (struct range){s->offset + s->bytes - part->at - part->bytes, part->bytes,
                               part->first, s->last};
        }
        size_t low = 0, high = g->n_taken;
        while (low < high) {
            size_t mid = (low + high) / 2;
            if (g->taken[mid].offset <= r.offset)
                low = mid + 1;
            else
                high = mid;
        }
        memmove(g->taken + low + 1, g->taken + low, (g->n_taken - low) * sizeof r);
        g->taken[low] = r;
        g->n_taken++;
    }
}

/* Put a slot into the smallest gap that holds it between ranges taken while it is alive; else behind them.
 * Source: Pisarchyk, Lee, Efficient Memory Management for Deep Neural Net Inference, 2020, sec. 5.2 (greedy
 * by size). */
static bool place(struct placing *g, struct mc_slot *s)
{
    size_t end = 0, best = SIZE_MAX, best_gap = SIZE_MAX;
    for (size_t i = 0; i < g->n_taken; i++) {
        const struct range *o = &g->taken[i];
        if (!g->apart && (s->first > o->last || o->first > s->last))
            continue;
        if (o->offset > end && o->offset - end >= s->bytes && o->offset - end < best_gap) {
            best_gap = o->offset - end;
            best = end;
        }
        if (o->offset + o->bytes > end)
            end = o->offset + o->bytes;
    }
    s->offset = best != SIZE_MAX ? best : end;
    return mc_size_add(s->offset, s->bytes, &end);
}

/* All slots, in their order. False: too many bytes. */
static bool place_all(struct placing *g, size_t *ret_bytes)
{
    *ret_bytes = g->n_taken = 0;
    for (size_t i = 0; i < g->n; i++) {
        struct mc_slot *s = g->order[i].slot;
        if (!place(g, s))
            return false;
        take(g, s);
        if (s->offset + s->bytes > *ret_bytes)
            *ret_bytes = s->offset + s->bytes;
    }
    return true;
}

/* Blocks of several parts come first: others fit around the parts. */
static void sort(struct placing *g, enum order_kind kind)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct mc_slot *s = g->order[i].slot;
        double size = (double)s->bytes, time = (double)s->last - s->first + 1;
        g->order[i].key = s->regions        ? INFINITY
                          : kind == BY_TIME ? time
                          : kind == BY_AREA ? size * time
                                            : size;
    }
    qsort(g->order, g->n, sizeof *g->order, larger_first);
}

/* The most bytes that are alive at once: no order needs less. All slots are placed. */
static size_t least(const struct placing *g, int n_steps)
{
    size_t most = 0, now = 0;
    memset(g->alive, 0, ((size_t)n_steps + 2) * sizeof *g->alive);
    for (size_t i = 0; i < g->n_taken; i++) { /* step t is at t + 1; sums may wrap on the way */
        const struct range *r = &g->taken[i];
        g->alive[r->first + 1] += r->bytes;
        g->alive[(r->last < n_steps ? r->last + 1 : n_steps) + 1] -= r->bytes;
    }
    for (int t = 0; t <= n_steps; t++) {
        now += g->alive[t];
        most = now > most ? now : most;
    }
    return most;
}

static void keep(struct placing *g, const struct mc_plan *p)
{
    for (size_t i = 0; i < p->n_slots; i++)
        g->best[i] = p->slots[i].offset;
}

/* Two slots change places in the order, and stay so if that needs no more; some hundred times, where memory could
 * be saved that is worth it. On the training steps of the reference networks that saves up to 3 %. */
static bool improve(struct placing *g, struct mc_plan *p, size_t low)
{
    enum { TRIES = 300, WORK = 1 << 21 /* pairs of slots looked at */, WORTH = 1 << 16 };
    size_t first = 0, bytes;
    uint64_t draw = 0;
    while (first < g->n && g->order[first].slot->regions)
        first++;
    size_t span = g->n - first, pairs = g->n * g->n + 1;
    for (int t = 0; t < TRIES && (size_t)t < WORK / pairs && span > 1; t++) {
        if (p->bytes <= low + low / 200 + WORTH)
            break;
        struct order *a = &g->order[first + mc_rng_below(1, 0, draw++, (uint32_t)span)];
        struct order *b = &g->order[first + mc_rng_below(1, 0, draw++, (uint32_t)span)];
        struct order was = *a;
        *a = *b;
        *b = was;
        if (!place_all(g, &bytes))
            return false;
        if (bytes <= p->bytes) {
            p->bytes = bytes;
            keep(g, p);
        } else {
            *b = *a;
            *a = was;
        }
    }
    return true;
}

static bool place_best(struct placing *g, struct mc_plan *p)
{
    size_t bytes = 0, low = 0;
    int best = 0;
    for (int t = 0; t <= ORDERS; t++) { /* the best once more, to go on from */
        sort(g, (enum order_kind)(t < ORDERS ? t : best));
        if (!place_all(g, &bytes))
            return false;
        if (t && bytes >= p->bytes)
            continue;
        best = t;
        p->bytes = bytes;
        keep(g, p);
        low = t ? low : least(g, p->n_steps);
        if (bytes <= low)
            break;
    }
    if (!g->apart && p->bytes > low && !improve(g, p, low))
        return false;
    for (size_t i = 0; i < p->n_slots; i++)
        p->slots[i].offset = p->bytes - g->best[i] - p->slots[i].bytes;
    return true;
}

static int assign(const struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    struct placing g = {.apart = s->flags & MC_SESSION_NO_REUSE};
    size_t ranges = p->n_slots + 1;
    int rc = 0;
    for (size_t i = 0; i < p->n_slots && !rc; i++) {
        size_t padded = 0;
        ranges += p->slots[i].n_regions;
        if (!mc_size_add(p->slots[i].bytes, MC_ALIGN - 1, &padded))
            rc = mc_fail(err, MC_ENOMEM, "out of memory: the model's values have too many bytes");
        p->slots[i].bytes = padded & ~(size_t)(MC_ALIGN - 1);
    }
    g.order = mc_calloc(p->n_slots + 1, sizeof *g.order);
    g.best = mc_calloc(p->n_slots + 1, sizeof *g.best);
    g.taken = mc_calloc(ranges, sizeof *g.taken);
    g.alive = mc_calloc((size_t)p->n_steps + 2, sizeof *g.alive);
    if (!rc && (!g.order || !g.best || !g.taken || !g.alive))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < p->n_slots && !rc; i++)
        if (!p->slots[i].external)
            g.order[g.n++] = (struct order){.slot = &p->slots[i], .index = (int)i};
    if (!rc && !place_best(&g, p))
        rc = mc_fail(err, MC_ENOMEM, "out of memory: the model's values have too many bytes");
    free(g.order);
    free(g.best);
    free(g.taken);
    free(g.alive);
    return rc;
}

int mc_plan_layout(const struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    for (int i = 0; i < p->n_steps; i++) {
        struct mc_step *st = &p->steps[i];
        if (st->skip || !st->call.scratch_bytes)
            continue;
        int rc = mc_plan_slot(p, st->call.scratch_bytes, i, i, &st->scratch_slot, err);
        if (rc)
            return rc;
    }
    return assign(s, p, err);
}

int mc_plan_values(const struct mc_plan *p, size_t *ret, struct mc_err *err)
{
    size_t now = 0, most = 0;
    size_t *change = mc_calloc((size_t)p->n_steps + 2, sizeof *change);
    if (!change)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < p->n_slots; i++) { /* sums may wrap on the way */
        const struct mc_slot *slot = &p->slots[i];
        if (slot->external)
            continue;
        change[slot->first + 1] += slot->bytes;
        change[(slot->last < p->n_steps ? slot->last + 1 : p->n_steps) + 1] -= slot->bytes;
    }
    for (int t = 0; t <= p->n_steps; t++) { /* step t - 1 */
        const struct mc_step *st = t ? &p->steps[t - 1] : NULL;
        bool scratch = st && st->scratch_slot != MC_SLOT_NONE;
        now += change[t];
        size_t values = now - (scratch ? p->slots[st->scratch_slot].bytes : 0);
        most = values > most ? values : most;
    }
    free(change);
    *ret = most;
    return 0;
}
