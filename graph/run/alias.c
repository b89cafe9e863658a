/* Which memory each value of a plan is in: its own, that of a value it is a view of, a part of a block, or that
 * of an input which is read for the last time. */
#include <limits.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/run/plan.h"

int mc_plan_slot(struct mc_plan *p, size_t bytes, int first, int last, int *ret, struct mc_err *err)
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

static void join(struct mc_plan *p, struct mc_pvalue *v, int slot, size_t at)
{
    v->slot = slot;
    v->at = at;
    if (p->slots[slot].last < v->last)
        p->slots[slot].last = v->last;
}

/* The memory of a state is written by what becomes that state alone, and nothing else that is handed out is in
 * it: it would change. */
static bool keeps_state(const struct mc_session *s, const struct mc_plan *p,
                        const struct mc_value *out, int slot, bool writes)
{
    int state = p->slots[slot].state;
    return !state || p->values[out->index].state == state || (!writes && !s->pinned[out->index]);
}

/* Output j may take the place of input i: nothing reads that memory afterwards, and no other input of the
 * step lies in it. */
static bool may_overwrite(const struct mc_session *s, const struct mc_plan *p,
                          const struct mc_step *st, int step, int i, int j)
{
    const struct mc_buf *a = &st->call.in[i], *b = &st->call.out[j];
    if (!st->in[i] || a->dtype != b->dtype || !mc_shape_equal(&a->shape, &b->shape))
        return false;
    int slot = p->values[st->in[i]->index].slot;
    if (slot == MC_SLOT_NONE || p->slots[slot].last != step ||
        !keeps_state(s, p, st->out[j], slot, true))
        return false;
    for (int k = 0; k < st->call.n_in; k++)
        if (k != i && st->in[k] && p->values[st->in[k]->index].slot == slot)
            return false;
    return (!st->residual || p->values[st->residual->index].slot != slot) &&
           (!st->bias || p->values[st->bias->index].slot != slot);
}

/* A product or convolution may be made where what is added to it lies. */
static bool over_residual(const struct mc_session *s, const struct mc_plan *p,
                          const struct mc_step *st, int step)
{
    int slot = p->values[st->residual->index].slot;
    if (slot == MC_SLOT_NONE || p->slots[slot].last != step ||
        !keeps_state(s, p, st->out[0], slot, true))
        return false;
    for (int k = 0; k < st->call.n_in; k++)
        if (st->in[k] && p->values[st->in[k]->index].slot == slot)
            return false;
    return !st->bias || p->values[st->bias->index].slot != slot;
}

static bool is_view(const struct mc_step *st)
{
    /* Where the result was only declared, it may be of another size: run() says so. */
    return !st->boundary && st->call.op->flags & MC_OP_VIEW && st->in[0] && st->call.n_out &&
           st->out[0] &&
           mc_shape_count(&st->call.in[0].shape) == mc_shape_count(&st->call.out[0].shape);
}

/* Output j is the bytes of input 0 from byte `from` on; false if it needs memory of its own. */
static bool view(const struct mc_session *s, struct mc_plan *p, struct mc_step *st, int j,
                 size_t from)
{
    struct mc_pvalue *out = &p->values[st->out[j]->index];
    const struct mc_pvalue *in = &p->values[st->in[0]->index];
    if (from % MC_ALIGN)
        return false;
    if (in->slot == MC_SLOT_NONE) {
        st->call.out[j].data = out->buf.data = (char *)in->buf.data + from;
        return true;
    }
    if (!keeps_state(s, p, st->out[j], in->slot, false))
        return false;
    join(p, out, in->slot, in->at + from);
    return true;
}

/* The slot of output j by reuse of an input; false if it needs its own. */
static bool reuse(const struct mc_session *s, struct mc_plan *p, struct mc_step *st, int step,
                  int j)
{
    unsigned flags = st->call.op->flags;
    bool pairs = flags & MC_OP_INPLACE_PAIRS;
    struct mc_pvalue *out = &p->values[st->out[j]->index];
    if (s->flags & MC_SESSION_NO_REUSE)
        return false;
    int first = pairs ? j : 0;
    int end = pairs                       ? j + 1
              : flags & MC_OP_INPLACE_ANY ? st->call.n_in
              : flags & MC_OP_INPLACE     ? 1
                                          : 0;
    for (int i = first; i < end && i < st->call.n_in && (pairs || j == 0); i++)
        if (may_overwrite(s, p, st, step, i, j)) {
            const struct mc_pvalue *in = &p->values[st->in[i]->index];
            join(p, out, in->slot, in->at);
            return true;
        }
    if (j == 0 && st->residual && over_residual(s, p, st, step)) {
        const struct mc_pvalue *in = &p->values[st->residual->index];
        join(p, out, in->slot, in->at);
        return true;
    }
    if (!out->state)
        return false;
    /* What was there is not read any more. */
    int slot = p->values[s->states[out->state - 1].in->index].slot;
    if (slot == MC_SLOT_NONE || p->slots[slot].state != out->state || p->slots[slot].last >= step)
        return false;
    join(p, out, slot, 0);
    return true;
}

/* 1 + the state in whose memory `data` is, or 0. */
static int state_at(const struct mc_session *s, const void *data)
{
    uintptr_t at = (uintptr_t)data;
    for (size_t i = 0; i < s->n_states; i++) {
        uintptr_t from = (uintptr_t)s->states[i].buf.data;
        if (at >= from && at < from + s->states[i].bytes)
            return (int)i + 1;
    }
    return 0;
}

/* Slots of what is there before the first step: copies of the inputs in the first segment, and what earlier
 * segments made, which is never overwritten: views of it may live on. */
static int entry_slots(const struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    int rc = 0;
    for (int i = 0; i < s->n_inputs && !rc && !p->parent && !s->inner; i++) {
        struct mc_pvalue *v = &p->values[s->inputs[i].value->index];
        int state = s->inputs[i].state;
        if (s->signature[i].rank < 0)
            continue;
        rc = mc_plan_slot(p, buf_bytes(&v->buf), -1, v->last, &v->slot, err);
        if (rc || !state)
            continue;
        struct mc_slot *slot = &p->slots[v->slot];
        slot->external = true;
        slot->state = state;
        slot->data = s->states[state - 1].buf.data;
    }
    for (size_t i = 0; i < p->n_pvalues && !rc; i++) {
        struct mc_pvalue *v = &p->values[i];
        if (!v->live)
            continue;
        rc = mc_plan_slot(p, buf_bytes(&v->buf), -1, INT_MAX, &v->slot, err);
        if (rc)
            return rc;
        struct mc_slot *slot = &p->slots[v->slot];
        slot->external = true;
        slot->state = state_at(s, s->live[i].buf.data);
        if (slot->state) {
            slot->data = s->live[i].buf.data;
            continue;
        }
        p->external = true;
        slot->source = s->g->values[i];
    }
    return rc;
}

/* What a value is a view of, as long as steps of this plan make it. */
static const struct mc_value *viewed(const struct mc_plan *p, const struct mc_value *v)
{
    for (;;) {
        const struct mc_pvalue *pv = &p->values[v->index];
        if (pv->def < 0 || !is_view(&p->steps[pv->def]) || p->steps[pv->def].out[0] != v)
            return v;
        v = p->steps[pv->def].in[0];
    }
}

/* What output v of its step is a view of, or may replace; NULL if it is neither. */
static struct mc_value *replaced(const struct mc_plan *p, const struct mc_value *v)
{
    int def = p->values[v->index].def;
    const struct mc_step *st = def >= 0 ? &p->steps[def] : NULL;
    if (!st || st->boundary)
        return NULL;
    if (is_view(st))
        return st->in[0];
    for (int j = 0; st->call.op->flags & MC_OP_INPLACE_PAIRS && j < st->call.n_out; j++)
        if (st->out[j] == v && j < st->call.n_in)
            return st->in[j];
    return NULL;
}

/* All that may be made on the way to a state in its memory. */
static void mark_states(const struct mc_session *s, struct mc_plan *p)
{
    for (size_t i = 0; i < s->n_states; i++)
        for (struct mc_value *v = s->states[i].out; v; v = replaced(p, v)) {
            struct mc_pvalue *pv = &p->values[v->index];
            if (pv->state || pv->buf.dtype == MC_DTYPE_NONE ||
                (s->pinned[v->index] && v != s->states[i].out))
                break;
            pv->state = (int)i + 1;
        }
}

/* ---- blocks of parts ---- */

/* Where the parts of a step are in its block, in elements: as its node says, or, with a GPU, where every copy is a
 * launch, along the axis of a Split (`cuts`) or Concat with nothing outside of it. NULL: they are in no block. */
static const int64_t *parts_at(const struct mc_session *s, struct mc_plan *p,
                               const struct mc_step *st, bool cuts)
{
    size_t n;
    if (st->call.op->flags & (cuts ? MC_OP_PARTS : MC_OP_PACKS))
        return mc_node_ints(st->call.node, "offsets", &n);
    if (!s->gpu.gpu || !p->final || p->parent || s->inner ||
        !mc_node_is(st->call.node, cuts ? "Split" : "Concat") ||
        (cuts && st->call.n_in > 1 && st->in[1] && !st->call.in[1].constant))
        return NULL;
    const struct mc_buf *block = cuts ? &st->call.in[0] : &st->call.out[0];
    const struct mc_buf *part = cuts ? st->call.out : st->call.in;
    struct mc_value *const *value = cuts ? st->out : st->in;
    int n_parts = cuts ? st->call.n_out : st->call.n_in;
    int axis = mc_shape_axis(mc_node_int(st->call.node, "axis", cuts ? 0 : 1), block->shape.rank);
    int64_t *at = mc_arena_array(&p->mem, (size_t)n_parts + 1, sizeof *at);
    for (int d = 0; d < axis; d++)
        if (block->shape.dim[d] != 1)
            return NULL;
    for (int k = 0; k < n_parts; k++) {
        if (!at || !value[k] || part[k].dtype != block->dtype || mc_shape_count(&part[k].shape) < 1)
            return NULL;
        at[k + 1] = at[k] + mc_shape_count(&part[k].shape);
    }
    return at && at[n_parts] == mc_shape_count(&block->shape) ? at : NULL;
}

/* Can this part of a block be made where it goes? */
static bool may_place(const struct mc_plan *p, const struct mc_value *root,
                      const struct mc_buf *part, const struct mc_buf *block, int64_t offset,
                      size_t *ret_at)
{
    const struct mc_pvalue *pv = &p->values[root->index];
    size_t elem = 0;
    mc_dtype_bytes(block->dtype, 1, &elem);
    *ret_at = (size_t)offset * elem;
    if (pv->def < 0 || pv->live || pv->buf.constant || pv->slot != MC_SLOT_NONE || pv->state ||
        part->dtype != block->dtype || pv->buf.dtype != block->dtype || *ret_at % MC_ALIGN)
        return false;
    const struct mc_step *st = &p->steps[pv->def];
    return !st->boundary && !(st->call.op->flags & (MC_OP_PARTS | MC_OP_PACKS | MC_OP_VIEW));
}

/* Step i puts parts together: give its result a slot, and what can be made in it a place there. Before a part is
 * made, or for what is copied, before step i, its place is free for others. */
static int make_block(struct mc_plan *p, int i, const int64_t *offset, struct mc_err *err)
{
    struct mc_step *st = &p->steps[i];
    struct mc_pvalue *out = &p->values[st->out[0]->index];
    const struct mc_buf *block = &st->call.out[0];
    size_t at, n_regions = (size_t)st->call.n_in;
    struct mc_region *region = mc_arena_array(&p->mem, n_regions, sizeof *region);
    int rc = region ? mc_plan_slot(p, buf_bytes(block), i, out->last, &out->slot, err)
                    : mc_fail(err, MC_ENOMEM, "out of memory");
    if (rc)
        return rc;
    struct mc_slot *slot = &p->slots[out->slot];
    size_t end = slot->bytes;
    for (size_t k = n_regions; k-- > 0;) {
        const struct mc_value *root = viewed(p, st->in[k]);
        bool placed = may_place(p, root, &st->call.in[k], block, offset[k], &at);
        region[k] = (struct mc_region){k ? at : 0, end - (k ? at : 0), i};
        end = region[k].at;
        if (!placed)
            continue;
        struct mc_pvalue *pv = &p->values[root->index];
        join(p, pv, out->slot, at);
        region[k].first = pv->def;
        slot->first = pv->def < slot->first ? pv->def : slot->first;
    }
    slot->regions = region;
    slot->n_regions = n_regions;
    return 0;
}

static int make_blocks(const struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    int rc = 0;
    for (int i = 0; i < p->n_steps && !rc; i++) {
        const struct mc_step *st = &p->steps[i];
        if (s->flags & MC_SESSION_NO_REUSE || st->boundary || st->call.n_out < 1 || !st->out[0] ||
            p->values[st->out[0]->index].state || p->values[st->out[0]->index].slot != MC_SLOT_NONE)
            continue;
        const int64_t *offset = parts_at(s, p, st, false);
        if (offset)
            rc = make_block(p, i, offset, err);
    }
    return rc;
}

/* Can each part be one? */
static bool all_views(const struct mc_session *s, const struct mc_plan *p, const struct mc_step *st,
                      const int64_t *offset, size_t elem)
{
    int slot = p->values[st->in[0]->index].slot;
    bool all = slot != MC_SLOT_NONE;
    for (int j = 0; j < st->call.n_out && all; j++)
        all = (size_t)offset[j] * elem % MC_ALIGN == 0 && !st->call.out[j].data &&
              p->values[st->out[j]->index].slot == MC_SLOT_NONE &&
              keeps_state(s, p, st->out[j], slot, false);
    return all;
}

/* The outputs of step i that are views of its input. */
static void make_views(const struct mc_session *s, struct mc_plan *p, int i)
{
    struct mc_step *st = &p->steps[i];
    bool whole = is_view(st);
    const int64_t *offset = whole ? NULL : parts_at(s, p, st, true);
    bool parts = offset != NULL;
    size_t elem = 0;
    if (!parts && !whole)
        return;
    mc_dtype_bytes(st->call.in[0].dtype, 1, &elem);
    if (parts && !(st->call.op->flags & MC_OP_PARTS) && !all_views(s, p, st, offset, elem))
        return;
    st->skip = true;
    for (int j = 0; j < st->call.n_out; j++)
        if (st->out[j])
            st->skip &=
                (parts || j == 0) && view(s, p, st, j, parts ? (size_t)offset[j] * elem : 0);
}

int mc_plan_alias(const struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    int rc = p->final && !s->inner ? mc_states_check(s, p, err) : 0;
    rc = rc ? rc : entry_slots(s, p, err);
    if (!rc) {
        mark_states(s, p);
        rc = make_blocks(s, p, err);
    }
    for (int i = 0; i < p->n_steps && !rc; i++) {
        struct mc_step *st = &p->steps[i];
        if (st->boundary)
            continue;
        make_views(s, p, i);
        for (int j = 0; j < st->call.n_out && !rc; j++) {
            struct mc_pvalue *v = st->out[j] ? &p->values[st->out[j]->index] : NULL;
            if (!v || v->slot != MC_SLOT_NONE || st->call.out[j].data || reuse(s, p, st, i, j))
                continue;
            rc = mc_plan_slot(p, buf_bytes(&v->buf), i, v->last, &v->slot, err);
        }
    }
    for (size_t i = 0; i < p->n_carry && !rc; i++) {
        int slot = p->values[p->carry[i]->index].slot;
        if (slot != MC_SLOT_NONE && !p->slots[slot].state)
            p->slots[slot].external = p->external = true;
    }
    return rc;
}
