#include <limits.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/run/plan.h"

static int new_slot(struct mc_plan *p, size_t bytes, int first, int last, int *ret,
                    struct mc_err *err)
{
    if (!MC_GROW(p->slots, p->n_slots, p->cap_slots))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    p->slots[p->n_slots] =
        (struct mc_slot){.bytes = bytes, .first = first, .last = last < first ? first : last};
    *ret = (int)p->n_slots++;
    return 0;
}

static size_t buf_bytes(const struct mc_buf *b)
{
    size_t bytes = 0; /* checked when the value was defined */
    mc_dtype_bytes(b->dtype, mc_shape_count(&b->shape), &bytes);
    return bytes;
}

static void join(struct mc_plan *p, struct mc_pvalue *v, int slot)
{
    v->slot = slot;
    if (p->slots[slot].last < v->last)
        p->slots[slot].last = v->last;
}

/* Output 0 may take the place of input i: nothing reads that memory afterwards, and no other input of the
 * step lies in it. */
static bool may_overwrite(const struct mc_plan *p, const struct mc_step *st, int step, int i)
{
    const struct mc_buf *a = &st->call.in[i], *b = &st->call.out[0];
    if (!st->in[i] || a->dtype != b->dtype || !mc_shape_equal(&a->shape, &b->shape))
        return false;
    int slot = p->values[st->in[i]->index].slot;
    if (slot == MC_SLOT_NONE || p->slots[slot].last != step)
        return false;
    for (int j = 0; j < st->call.n_in; j++)
        if (j != i && st->in[j] && p->values[st->in[j]->index].slot == slot)
            return false;
    return !st->residual || p->values[st->residual->index].slot != slot;
}

/* Slot of output 0 by reuse of an input; false if it needs its own. */
static bool reuse(const struct mc_session *s, struct mc_plan *p, struct mc_step *st, int step)
{
    unsigned flags = st->call.op->flags;
    if (!st->call.n_out || !st->out[0])
        return false;
    struct mc_pvalue *out = &p->values[st->out[0]->index];
    /* Where the result was only declared, it may be of another size: run() says so. */
    if ((flags & MC_OP_VIEW) && st->in[0] &&
        mc_shape_count(&st->call.in[0].shape) == mc_shape_count(&st->call.out[0].shape)) {
        struct mc_pvalue *in = &p->values[st->in[0]->index];
        st->skip = true;
        for (int i = 1; i < st->call.n_out; i++)
            st->skip &= !st->out[i];
        if (in->slot != MC_SLOT_NONE) {
            join(p, out, in->slot);
            return true;
        }
        st->call.out[0].data = out->buf.data = in->buf.data;
        return true;
    }
    if ((s->flags & MC_SESSION_NO_REUSE) || !(flags & (MC_OP_INPLACE | MC_OP_INPLACE_ANY)))
        return false;
    int last = flags & MC_OP_INPLACE_ANY ? st->call.n_in : 1;
    for (int i = 0; i < last && i < st->call.n_in; i++)
        if (may_overwrite(p, st, step, i)) {
            join(p, out, p->values[st->in[i]->index].slot);
            return true;
        }
    return false;
}

/* Slots of what is there before the first step: copies of the inputs in the first segment, and what earlier
 * segments made, which is never overwritten: views of it may live on. */
static int entry_slots(const struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    int rc = 0;
    for (int i = 0; i < s->n_inputs && !rc && !p->parent && !s->inner; i++) {
        struct mc_pvalue *v = &p->values[s->inputs[i].value->index];
        if (s->signature[i].rank >= 0)
            rc = new_slot(p, buf_bytes(&v->buf), -1, v->last, &v->slot, err);
    }
    for (size_t i = 0; i < p->n_pvalues && !rc; i++) {
        struct mc_pvalue *v = &p->values[i];
        if (!v->live)
            continue;
        rc = new_slot(p, buf_bytes(&v->buf), -1, INT_MAX, &v->slot, err);
        if (rc)
            return rc;
        p->slots[v->slot].external = p->external = true;
        p->slots[v->slot].source = s->g->values[i];
    }
    return rc;
}

int mc_plan_alias(const struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    int rc = entry_slots(s, p, err);
    for (int i = 0; i < p->n_steps && !rc; i++) {
        struct mc_step *st = &p->steps[i];
        if (st->boundary)
            continue;
        int own = reuse(s, p, st, i) ? 1 : 0;
        for (int j = own; j < st->call.n_out && !rc; j++) {
            if (!st->out[j])
                continue;
            struct mc_pvalue *v = &p->values[st->out[j]->index];
            rc = new_slot(p, buf_bytes(&v->buf), i, v->last, &v->slot, err);
        }
    }
    for (size_t i = 0; i < p->n_carry && !rc; i++) {
        int slot = p->values[p->carry[i]->index].slot;
        if (slot != MC_SLOT_NONE)
            p->slots[slot].external = p->external = true;
    }
    return rc;
}

/* ---- offsets ---- */

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
        int rc = new_slot(p, st->call.scratch_bytes, i, i, &st->scratch_slot, err);
        if (rc)
            return rc;
    }
    return assign(s, p, err);
}
