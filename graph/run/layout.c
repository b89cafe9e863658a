#include <stdlib.h>

#include "base/mem.h"
#include "graph/run/plan.h"

struct order {
    const struct mc_slot *slot;
    int index;
};

static int larger_first(const void *pa, const void *pb)
{
    const struct order *a = pa, *b = pb;
    if (a->slot->bytes != b->slot->bytes)
        return a->slot->bytes < b->slot->bytes ? 1 : -1;
    return a->index - b->index;
}

static int by_offset(const void *pa, const void *pb)
{
    const struct order *a = pa, *b = pb;
    if (a->slot->offset != b->slot->offset)
        return a->slot->offset < b->slot->offset ? -1 : 1;
    return a->index - b->index;
}

/* Put a slot into the smallest gap that holds it between the slots alive at the same time, of which
 * live[0..n) are placed already; else behind them.
 * Source: Pisarchyk, Lee, Efficient Memory Management for Deep Neural Net Inference, 2020, sec. 5.2 (greedy
 * by size). */
static bool place(struct mc_slot *s, struct order *live, size_t n)
{
    qsort(live, n, sizeof *live, by_offset);
    size_t end = 0, best = SIZE_MAX, best_gap = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        const struct mc_slot *o = live[i].slot;
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

static int assign(const struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    size_t n = 0;
    struct order *order = mc_calloc(p->n_slots + 1, sizeof *order);
    struct order *live = mc_calloc(p->n_slots + 1, sizeof *live);
    int rc = 0;
    if (!order || !live)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < p->n_slots && !rc; i++) {
        if (!p->slots[i].external)
            order[n++] = (struct order){&p->slots[i], (int)i};
        size_t padded = 0;
        if (!mc_size_add(p->slots[i].bytes, MC_ALIGN - 1, &padded))
            rc = mc_fail(err, MC_ENOMEM, "out of memory: the model's values have too many bytes");
        p->slots[i].bytes = padded & ~(size_t)(MC_ALIGN - 1);
    }
    if (!rc)
        qsort(order, n, sizeof *order, larger_first);
    for (size_t i = 0; i < n && !rc; i++) {
        struct mc_slot *a = &p->slots[order[i].index];
        size_t n_live = 0;
        for (size_t j = 0; j < i; j++) {
            const struct mc_slot *b = order[j].slot;
            if ((s->flags & MC_SESSION_NO_REUSE) || (a->first <= b->last && b->first <= a->last))
                live[n_live++] = order[j];
        }
        if (!place(a, live, n_live))
            rc = mc_fail(err, MC_ENOMEM, "out of memory: the model's values have too many bytes");
        else if (a->offset + a->bytes > p->bytes)
            p->bytes = a->offset + a->bytes;
    }
    free(order);
    free(live);
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
