/* Between the memory of the host and that of a GPU: where each value of a plan is valid as its steps run, and the
 * copies that this takes. */
#include <stdlib.h>

#include "base/mem.h"
#include "graph/run/plan.h"

enum { ALIGN = 256 }; /* of memory of a GPU */

struct transfer {
    struct mc_session *s;
    struct mc_plan *p;
    size_t cap;
    /* [n_values] The value whose bytes it has, as a view of all of them: copies of one serve both. */
    size_t *root;
    bool *loads; /* [n_values] an input of the run, which is loaded to the sides that read it */
};

void *mc_transfer_at(const struct mc_session *s, const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_pvalue *pv = &p->values[v->index];
    const struct mc_slot *slot = &p->slots[pv->slot];
    if (slot->state) {
        const struct mc_bound *b = &s->states[slot->state - 1];
        return (char *)b->device + ((const char *)slot->data - (const char *)b->buf.data) + pv->at;
    }
    return (char *)s->gpu.block + (slot->external ? slot->device : slot->offset) + pv->at;
}

static int add(struct transfer *t, enum mc_action_kind kind, size_t index, struct mc_err *err)
{
    struct mc_device_plan *d = t->p->device;
    if (!MC_GROW(d->actions, (size_t)d->n_actions, t->cap))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    d->actions[d->n_actions++] = (struct mc_action){kind, (int)index};
    return 0;
}

static bool is_placed(const struct mc_plan *p, const struct mc_value *v)
{
    return v && p->values[v->index].buf.dtype != MC_DTYPE_NONE &&
           p->values[v->index].slot != MC_SLOT_NONE;
}

/* Value v, which is there, is valid on this side from here on. */
static int need(struct transfer *t, const struct mc_value *v, enum mc_side side, struct mc_err *err)
{
    if (!is_placed(t->p, v))
        return 0;
    size_t root = t->root[v->index];
    uint8_t *sides = &t->p->values[root].sides;
    if (*sides & side)
        return 0;
    *sides |= (uint8_t)side;
    if (t->loads[root])
        return 0;
    return add(t, side == MC_SIDE_HOST ? MC_ACTION_DOWN : MC_ACTION_UP, v->index, err);
}

static size_t bytes_of(const struct mc_pvalue *pv)
{
    size_t n = 0;
    mc_dtype_bytes(pv->buf.dtype, mc_shape_count(&pv->buf.shape), &n);
    return n;
}

/* The outputs of a step that is not run are where their input is. */
static int see_views(struct transfer *t, const struct mc_step *st, struct mc_err *err)
{
    struct mc_plan *p = t->p;
    const struct mc_value *in = st->in[0];
    int rc = 0;
    if (!is_placed(p, in))
        return 0;
    for (int j = 0; j < st->call.n_out && !rc; j++) {
        if (!is_placed(p, st->out[j]))
            continue;
        size_t v = st->out[j]->index;
        if (bytes_of(&p->values[v]) == bytes_of(&p->values[in->index])) {
            t->root[v] = t->root[in->index];
            continue;
        }
        if (t->loads[t->root[in->index]]) { /* of a part, nobody would say where it is read */
            rc = need(t, in, MC_SIDE_HOST, err);
            rc = rc ? rc : need(t, in, MC_SIDE_DEVICE, err);
        }
        p->values[v].sides = p->values[t->root[in->index]].sides;
    }
    return rc;
}

static int watch(struct transfer *t, int i, struct mc_err *err)
{
    const struct mc_step *st = &t->p->steps[i];
    bool some = false;
    int rc = 0;
    for (int j = 0; t->s->watched && j < st->call.n_out && !rc; j++) {
        if (!st->out[j] || !t->s->watched[st->out[j]->index])
            continue;
        some = true;
        if (!st->boundary)
            rc = need(t, st->out[j], MC_SIDE_HOST, err);
    }
    return rc || !some ? rc : add(t, MC_ACTION_WATCH, (size_t)i, err);
}

static int see_step(struct transfer *t, int i, struct mc_err *err)
{
    struct mc_step *st = &t->p->steps[i];
    enum mc_side side = st->gpu ? MC_SIDE_DEVICE : MC_SIDE_HOST;
    int rc = 0;
    if (st->skip) {
        rc = see_views(t, st, err);
        return rc ? rc : watch(t, i, err);
    }
    for (int j = 0; j < st->call.n_in && !rc && !(st->call.op->flags & MC_OP_HOST); j++)
        rc = need(t, st->in[j], mc_place_host_in(st, j) ? MC_SIDE_HOST : MC_SIDE_DEVICE, err);
    rc = rc ? rc : need(t, st->residual, side, err);
    rc = rc ? rc : need(t, st->bias, side, err);
    rc = rc ? rc : add(t, MC_ACTION_STEP, (size_t)i, err);
    for (int j = 0; j < st->call.n_out && !st->boundary; j++)
        if (st->out[j])
            t->p->values[st->out[j]->index].sides = (uint8_t)side;
    return rc ? rc : watch(t, i, err);
}

/* What is there before the first step. */
static void start(struct transfer *t)
{
    struct mc_plan *p = t->p;
    for (size_t i = 0; i < p->n_pvalues; i++) {
        struct mc_pvalue *pv = &p->values[i];
        t->root[i] = i;
        pv->sides = pv->live ? MC_SIDE_HOST : 0;
    }
    for (int i = 0; i < t->s->n_inputs && !p->parent; i++) {
        const struct mc_session_input *in = &t->s->inputs[i];
        size_t v = in->value->index;
        if (!is_placed(p, in->value) || p->values[v].live)
            continue;
        t->loads[v] = !in->state;
        p->values[v].sides = in->state ? MC_SIDE_DEVICE : 0;
        if (!in->state && t->s->watched && t->s->watched[v])
            p->values[v].sides = MC_SIDE_HOST;
    }
}

/* Is v the whole memory of the state? */
static bool in_its_state(const struct mc_plan *p, const struct mc_value *v, size_t state)
{
    const struct mc_pvalue *pv = &p->values[v->index];
    return is_placed(p, v) && p->slots[pv->slot].state == (int)state + 1 && pv->at == 0;
}

/* What later segments, the next run and the caller need. */
static int finish(struct transfer *t, struct mc_err *err)
{
    struct mc_session *s = t->s;
    struct mc_plan *p = t->p;
    int rc = 0;
    for (size_t i = 0; i < p->n_carry && !rc; i++)
        rc = need(t, p->carry[i], MC_SIDE_HOST, err);
    for (size_t i = 0; p->final && i < s->n_states && !rc; i++) {
        const struct mc_value *v = s->states[i].out;
        if (is_placed(p, v) && (in_its_state(p, v, i) || t->loads[t->root[v->index]]))
            rc = need(t, v, MC_SIDE_DEVICE, err);
        if (!rc && !in_its_state(p, v, i))
            rc = add(t, MC_ACTION_KEEP, i, err);
    }
    for (size_t i = 0; p->final && i < p->n_pvalues && !rc; i++)
        if (s->pinned[i] && is_placed(p, s->g->values[i]) && t->loads[t->root[i]])
            rc = need(t, s->g->values[i], MC_SIDE_HOST, err);
    for (size_t i = 0; i < p->n_pvalues; i++)
        p->values[i].sides = p->values[t->root[i]].sides;
    return rc;
}

/* Values that come from or go to other segments have a place behind the block. */
static int extend(struct mc_plan *p, struct mc_err *err)
{
    struct mc_device_plan *d = p->device;
    d->bytes = (p->bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    for (size_t i = 0; i < p->n_slots; i++) {
        struct mc_slot *slot = &p->slots[i];
        if (!slot->external || slot->state)
            continue;
        slot->device = d->bytes;
        if (!mc_size_add(d->bytes, (slot->bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1), &d->bytes))
            return mc_fail(err, MC_ENOMEM, "out of memory: the model's values have too many bytes");
    }
    return 0;
}

/* ---- what can be recorded ---- */

static bool is_same_work(const struct mc_plan *p, const struct mc_session *s, struct mc_action a)
{
    if (a.kind == MC_ACTION_KEEP) {
        const struct mc_value *v = s->states[a.index].out;
        return is_placed(p, v) && p->values[v->index].sides & MC_SIDE_DEVICE;
    }
    const struct mc_step *st = &p->steps[a.index];
    if (a.kind != MC_ACTION_STEP || !st->gpu || st->gpu->unrecorded)
        return false;
    for (int j = 0; j < st->call.n_in; j++)
        if (mc_place_host_in(st, j) && is_placed(p, st->in[j]))
            return false;
    return true;
}

/* Longest runs of two actions and more: one launch is no dearer than the replay of one. */
static int choose_recorded(struct transfer *t, struct mc_err *err)
{
    struct mc_device_plan *d = t->p->device;
    d->recorded = mc_arena_array(&t->p->mem, (size_t)d->n_actions / 2 + 1, sizeof *d->recorded);
    if (!d->recorded)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int i = 0, end; i<d->n_actions; i = end> i ? end : i + 1) {
        end = i;
        while (end < d->n_actions && is_same_work(t->p, t->s, d->actions[end]))
            end++;
        if (end - i > 1)
            d->recorded[d->n_recorded++] = (struct mc_recorded){.first = i, .n = end - i};
    }
    return 0;
}

int mc_transfer_make(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    if (!p->device)
        return 0;
    struct transfer t = {.s = s,
                         .p = p,
                         .root = mc_calloc(p->n_pvalues + 1, sizeof *t.root),
                         .loads = mc_calloc(p->n_pvalues + 1, sizeof *t.loads)};
    p->device->fetched = mc_arena_array(&p->mem, p->n_pvalues + 1, sizeof *p->device->fetched);
    int rc = t.root && t.loads && p->device->fetched ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        start(&t);
    for (int i = 0; i < p->n_steps && !rc; i++)
        rc = see_step(&t, i, err);
    rc = rc ? rc : finish(&t, err);
    rc = rc ? rc : extend(p, err);
    rc = rc ? rc : choose_recorded(&t, err);
    free(t.root);
    free(t.loads);
    return rc;
}
