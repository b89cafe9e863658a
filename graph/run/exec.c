#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "graph/run/plan.h"
#include "graph/run/profile.h"
#include "kernels/gpu.h"
#include "kernels/kernels.h"

void *mc_plan_data(const struct mc_session *s, const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_pvalue *pv = &p->values[v->index];
    if (pv->slot == MC_SLOT_NONE || pv->buf.dtype == MC_DTYPE_NONE) /* a list is in no slot */
        return pv->buf.data;
    const struct mc_slot *slot = &p->slots[pv->slot];
    return (slot->external ? (char *)slot->data : (char *)s->block + slot->offset) + pv->at;
}

/* Memory of slots outside of the block: that of live values, or new. */
static int bind_external(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    for (size_t i = 0; p->external && i < p->n_slots; i++) {
        struct mc_slot *slot = &p->slots[i];
        if (!slot->external || slot->state)
            continue;
        if (slot->source) {
            const struct mc_live *l = &s->live[slot->source->index];
            slot->block = mc_block_ref(l->block);
            slot->data = l->buf.data;
            continue;
        }
        int rc = mc_block_get(s->blocks, slot->bytes, &slot->block, err);
        if (rc)
            return rc;
        slot->data = slot->block->data;
    }
    return 0;
}

static void unbind_external(struct mc_session *s, struct mc_plan *p)
{
    for (size_t i = 0; p->external && i < p->n_slots; i++) {
        mc_block_drop(s->blocks, p->slots[i].block);
        p->slots[i].block = NULL;
    }
}

/* Where a step finds a value: on its side. Constants of the GPU are bound for good (place.c). */
static void bind_value(const struct mc_session *s, const struct mc_plan *p,
                       const struct mc_value *v, bool host, void **data)
{
    if (host)
        *data = mc_plan_data(s, p, v);
    else if (p->values[v->index].slot != MC_SLOT_NONE)
        *data = mc_transfer_at(s, p, v);
}

static void bind_step(struct mc_session *s, struct mc_plan *p, struct mc_step *st)
{
    bool host = !st->gpu;
    void *added;
    for (int j = 0; j < st->call.n_in; j++)
        if (st->in[j])
            bind_value(s, p, st->in[j], host || mc_place_host_in(st, j), &st->call.in[j].data);
    for (int j = 0; j < st->call.n_out; j++)
        if (st->out[j] && !st->boundary)
            bind_value(s, p, st->out[j], host, &st->call.out[j].data);
    if (st->bias) {
        added = (void *)(uintptr_t)st->epilogue.bias;
        bind_value(s, p, st->bias, host, &added);
        st->epilogue.bias = added;
    }
    if (st->residual) {
        added = (void *)(uintptr_t)st->epilogue.residual;
        bind_value(s, p, st->residual, host, &added);
        st->epilogue.residual = added;
    }
    if (st->scratch_slot != MC_SLOT_NONE)
        st->call.scratch =
            (char *)(host ? s->block : s->gpu.block) + p->slots[st->scratch_slot].offset;
}

/* On a GPU the old block goes first: there may not be room for both. */
static int grow_device(struct mc_session *s, const struct mc_plan *p, struct mc_err *err)
{
    if (!p->device || (s->gpu.block && p->device->bytes <= s->gpu.block_bytes))
        return 0;
    mc_gpu_free(s->gpu.gpu, s->gpu.block);
    s->gpu.block = NULL;
    s->gpu.block_bytes = 0;
    s->generation++;
    int rc = mc_gpu_alloc(s->gpu.gpu, p->device->bytes, &s->gpu.block, err);
    if (!rc)
        s->gpu.block_bytes = p->device->bytes;
    return rc;
}

/* Make the block large enough and point every buffer of the plan into it. */
static int bind(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    if (!s->block || p->bytes > s->block_bytes) {
        void *block = mc_alloc_aligned(p->bytes);
        if (!block)
            return mc_fail(err, MC_ENOMEM,
                           "out of memory: %zu bytes for the values of a run; use smaller batches",
                           p->bytes);
        free(s->block);
        s->block = block;
        s->block_bytes = p->bytes;
        s->generation++;
    }
    int rc = grow_device(s, p, err);
    if (rc || (p->generation == s->generation && !p->external))
        return rc;
    rc = bind_external(s, p, err);
    if (rc)
        return rc;
    p->generation = s->generation;
    for (int i = 0; i < p->n_steps; i++)
        bind_step(s, p, &p->steps[i]);
    for (size_t i = 0; p->arrays && i < p->n_pvalues; i++)
        if (s->pinned[i])
            p->arrays[i].data = mc_plan_data(s, p, s->g->values[i]);
    for (size_t i = 0; p->arrays && i < s->n_states; i++)
        p->arrays[s->states[i].out->index].data = s->states[i].buf.data;
    return 0;
}

/* Bring input i, which is read on these sides, to where it is read. */
static int load_device(const struct mc_session *s, const struct mc_plan *p, int i,
                       const struct mc_buf *to, struct mc_err *err)
{
    const struct mc_session_input *in = &s->inputs[i];
    const struct mc_pvalue *pv = &p->values[in->value->index];
    const void *from = to->data;
    size_t bytes = 0;
    mc_dtype_bytes(to->dtype, mc_shape_count(&to->shape), &bytes);
    bool as_it_is =
        in->given && in->given->dtype == to->dtype && in->value->type.dtype == to->dtype;
    if (as_it_is && !(pv->sides & MC_SIDE_HOST))
        from = in->given->data;
    int rc = from == to->data ? mc_input_load(s, i, &pv->buf, to->data, err) : 0;
    if (rc || !(pv->sides & MC_SIDE_DEVICE))
        return rc;
    return mc_gpu_put(s->gpu.gpu, mc_transfer_at(s, p, in->value), from, bytes, err);
}

static int load_inputs(const struct mc_session *s, const struct mc_plan *p, struct mc_err *err)
{
    for (int i = 0; i < s->n_inputs && !p->parent && !s->inner; i++) {
        const struct mc_value *v = s->inputs[i].value;
        const struct mc_pvalue *pv = &p->values[v->index];
        if (s->signature[i].rank < 0 || pv->last < 0 || s->inputs[i].state)
            continue;
        struct mc_buf b = pv->buf;
        b.data = mc_plan_data(s, p, v);
        int rc =
            p->device ? load_device(s, p, i, &b, err) : mc_input_load(s, i, &pv->buf, b.data, err);
        rc = rc ? rc : mc_watch_tell(s, v, &b, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* mc_call.size of a boundary step: its outputs are live values. */
static int size_output(struct mc_call *c, int i, const struct mc_shape *shape, struct mc_err *err)
{
    struct mc_session *s = c->size_ctx;
    const struct mc_step *st = s->sizes;
    assert(st && &st->call == c && st->out[i]);
    return mc_live_new(s, st->out[i], shape, c->out[i].dtype, st->out_type[i], &c->out[i], err);
}

static int run_boundary(struct mc_session *s, struct mc_step *st, struct mc_err *err)
{
    if (st->lists || st->call.op->flags & MC_OP_LIST)
        return mc_list_run(s, st, err);
    if (st->call.op->flags & MC_OP_BODY)
        return mc_body_run(s, st, err);
    for (int i = 0; i < st->call.n_out; i++)
        st->call.out[i].data = NULL;
    st->call.size = size_output;
    st->call.size_ctx = s;
    s->sizes = st;
    return st->call.op->run(&st->call, err);
}

/* For times of steps: what the GPU was given is done. */
static int settle(struct mc_session *s, struct mc_err *err)
{
    return s->profile && s->gpu.gpu ? mc_gpu_wait(s->gpu.gpu, err) : 0;
}

/* The result of a step, to its half type and back. */
static int round_result(const struct mc_session *s, const struct mc_step *st, struct mc_err *err)
{
    const struct mc_buf *out = &st->call.out[0];
    int64_t n = mc_shape_count(&out->shape);
    if (!st->gpu)
        return mc_input_round(st->round, out->data, n, err);
    s->gpu.kernels->values.round(st->round == MC_DTYPE_F16 ? MC_HALF_F16 : MC_HALF_BF16, n,
                                 out->data);
    return 0;
}

int mc_plan_step(struct mc_session *s, struct mc_step *st, struct mc_err *err)
{
    int rc = settle(s, err);
    double start = s->profile ? mc_now() : 0;
    if (!rc)
        rc = st->boundary ? run_boundary(s, st, err) : st->call.op->run(&st->call, err);
    rc = rc ? rc : settle(s, err);
    if (!rc && s->profile)
        rc = mc_profile_add(s->profile, st, mc_now() - start, err);
    return rc || st->round == MC_DTYPE_NONE ? rc : round_result(s, st, err);
}

static int run_steps(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    int rc = 0;
    for (int i = 0; i < p->n_steps && !rc; i++) {
        struct mc_step *st = &p->steps[i];
        rc = st->skip ? 0 : mc_plan_step(s, st, err);
        rc = rc ? rc : mc_watch_step(s, p, st, err);
    }
    return rc;
}

static void hand_on(struct mc_session *s, struct mc_plan *p)
{
    for (size_t i = 0; i < p->n_carry; i++) {
        const struct mc_value *v = p->carry[i];
        const struct mc_pvalue *pv = &p->values[v->index];
        struct mc_buf b = pv->buf;
        b.data = mc_plan_data(s, p, v);
        struct mc_block *k = pv->slot == MC_SLOT_NONE ? NULL : p->slots[pv->slot].block;
        mc_live_set(s, v, &(struct mc_live){.buf = b, .type = pv->type, .block = mc_block_ref(k)});
    }
}

/* New states that were not made in their memory. None of them is in that of another. */
static void keep_states(struct mc_session *s, const struct mc_plan *p)
{
    for (size_t i = 0; i < s->n_states; i++) {
        const struct mc_bound *b = &s->states[i];
        const void *made = mc_plan_data(s, p, b->out);
        if (made != b->buf.data && b->bytes)
            memcpy(b->buf.data, made, b->bytes);
    }
}

/* Outputs of half types, which were computed in float32. */
static int round_outputs(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    int rc = 0;
    for (int i = 0; i < s->n_outputs && !rc; i++) {
        const struct mc_pvalue *pv = &p->values[s->outputs[i]->index];
        const struct mc_array *a = &p->arrays[s->outputs[i]->index];
        if ((pv->type == MC_DTYPE_F16 || pv->type == MC_DTYPE_BF16) && a->dtype == MC_DTYPE_F32 &&
            pv->slot != MC_SLOT_NONE)
            rc = mc_input_round(pv->type, a->data, mc_shape_count(&a->shape), err);
    }
    return rc;
}

/* The same with a GPU, where states are kept already: what is there comes to the host to be rounded. */
static int round_device(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    bool some = false;
    int rc = 0;
    for (int i = 0; i < s->n_outputs && !rc; i++) {
        const struct mc_pvalue *pv = &p->values[s->outputs[i]->index];
        if (pv->type != MC_DTYPE_F16 && pv->type != MC_DTYPE_BF16)
            continue;
        some = true;
        rc = mc_replay_fetch(s, p, s->outputs[i], err);
    }
    if (rc || !some)
        return rc;
    rc = round_outputs(s, p, err);
    for (size_t i = 0; i < s->n_states && !rc; i++) {
        const struct mc_bound *b = &s->states[i];
        enum mc_dtype type = p->values[b->out->index].type;
        if ((type == MC_DTYPE_F16 || type == MC_DTYPE_BF16) && p->device->fetched[b->out->index])
            rc = mc_gpu_put(s->gpu.gpu, b->device, b->buf.data, b->bytes, err);
    }
    return rc;
}

int mc_plan_exec(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    int rc = bind(s, p, err);
    if (!rc)
        rc = load_inputs(s, p, err);
    if (!rc)
        rc = p->device ? mc_replay_run(s, p, err) : run_steps(s, p, err);
    if (!rc && p->arrays && p->device) {
        rc = round_device(s, p, err);
    } else if (!rc && p->arrays) {
        keep_states(s, p);
        rc = round_outputs(s, p, err);
    }
    if (!rc)
        hand_on(s, p);
    unbind_external(s, p);
    for (size_t i = 0; i < p->n_learn && !rc; i++)
        rc = mc_live_learn(s, p->learn[i], err);
    return rc;
}
