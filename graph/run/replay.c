/* The actions of a plan on a GPU, one by one or as recordings of it. */
#include <stdlib.h>

#include "base/mem.h"
#include "graph/run/plan.h"
#include "kernels/gpu.h"

static size_t bytes_of(const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_buf *b = &p->values[v->index].buf;
    size_t n = 0;
    mc_dtype_bytes(b->dtype, mc_shape_count(&b->shape), &n);
    return n;
}

/* A new state that was not made in its memory. */
static int keep(struct mc_session *s, struct mc_plan *p, int state, struct mc_err *err)
{
    const struct mc_bound *b = &s->states[state];
    const struct mc_pvalue *pv = &p->values[b->out->index];
    if (pv->slot != MC_SLOT_NONE && pv->sides & MC_SIDE_DEVICE)
        return mc_gpu_copy(s->gpu.gpu, b->device, mc_transfer_at(s, p, b->out), b->bytes, err);
    return mc_gpu_put(s->gpu.gpu, b->device, mc_plan_data(s, p, b->out), b->bytes, err);
}

static int act(struct mc_session *s, struct mc_plan *p, struct mc_action a, struct mc_err *err)
{
    const struct mc_value *v = s->g->values[a.index < (int)p->n_pvalues ? a.index : 0];
    switch (a.kind) {
    case MC_ACTION_STEP: return mc_plan_step(s, &p->steps[a.index], err);
    case MC_ACTION_UP:
        return mc_gpu_put(s->gpu.gpu, mc_transfer_at(s, p, v), mc_plan_data(s, p, v),
                          bytes_of(p, v), err);
    case MC_ACTION_DOWN:
        return mc_gpu_get(s->gpu.gpu, mc_plan_data(s, p, v), mc_transfer_at(s, p, v),
                          bytes_of(p, v), err);
    case MC_ACTION_KEEP: return keep(s, p, a.index, err);
    case MC_ACTION_WATCH: return mc_watch_step(s, p, &p->steps[a.index], err);
    }
    return 0;
}

static int act_all(struct mc_session *s, struct mc_plan *p, const struct mc_recorded *r,
                   struct mc_err *err)
{
    int rc = 0;
    for (int i = r->first; i < r->first + r->n && !rc; i++)
        rc = act(s, p, p->device->actions[i], err);
    return rc;
}

/* Errors: MC_EUNSUP if it cannot be. */
static int record(struct mc_session *s, struct mc_plan *p, struct mc_recorded *r,
                  struct mc_err *err)
{
    int rc = mc_gpu_record_begin(s->gpu.gpu, err);
    if (rc)
        return rc;
    struct mc_err at_end;
    int failed = act_all(s, p, r, err);
    rc = mc_gpu_record_end(s->gpu.gpu, &r->recording, failed ? &at_end : err);
    if (!failed || rc)
        return failed ? MC_EUNSUP : rc;
    mc_gpu_recording_free(s->gpu.gpu, r->recording);
    r->recording = NULL;
    return MC_EUNSUP; /* what failed says so again when it runs by itself */
}

static int replay(struct mc_session *s, struct mc_plan *p, struct mc_recorded *r,
                  struct mc_err *err)
{
    if (!r->recording && !r->never) {
        int rc = record(s, p, r, err);
        r->never = rc == MC_EUNSUP;
        if (rc && !r->never)
            return rc;
    }
    return r->never ? act_all(s, p, r, err) : mc_gpu_replay(s->gpu.gpu, r->recording, err);
}

static void forget(struct mc_session *s, struct mc_device_plan *d)
{
    for (int i = 0; i < d->n_recorded; i++) {
        mc_gpu_recording_free(s->gpu.gpu, d->recorded[i].recording);
        d->recorded[i].recording = NULL;
    }
    d->runs = 0;
}

int mc_replay_run(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    struct mc_device_plan *d = p->device;
    struct mc_recorded *r = d->recorded, *end = d->recorded + d->n_recorded;
    int rc = 0;
    if (d->generation != s->generation)
        forget(s, d);
    d->generation = s->generation;
    for (size_t i = 0; i < p->n_pvalues; i++)
        d->fetched[i] = false;
    /* The first run is none of recordings: what kernels need besides is allocated in it. */
    bool recorded = d->runs > 0 && !s->profile;
    for (int i = 0; i < d->n_actions && !rc;) {
        if (r < end && r->first == i) {
            rc = recorded ? replay(s, p, r, err) : act_all(s, p, r, err);
            i += r++->n;
        } else {
            rc = act(s, p, d->actions[i++], err);
        }
    }
    d->runs += !rc;
    return rc;
}

void mc_replay_free(struct mc_session *s, struct mc_plan *p)
{
    if (!p->device)
        return;
    if (p->device->recorded)
        forget(s, p->device);
    mc_uploads_free(s, &p->device->uploads);
    free(p->device->actions);
}

int mc_replay_fetch(const struct mc_session *s, struct mc_plan *p, const struct mc_value *v,
                    struct mc_err *err)
{
    const struct mc_pvalue *pv = &p->values[v->index];
    const struct mc_array *a = &p->arrays[v->index];
    if (!p->device || p->device->fetched[v->index])
        return 0;
    const void *from = NULL;
    for (size_t i = 0; i < s->n_states; i++)
        if (s->states[i].out == v)
            from = s->states[i].device;
    if (!from && pv->slot != MC_SLOT_NONE && !(pv->sides & MC_SIDE_HOST) &&
        pv->buf.dtype != MC_DTYPE_NONE)
        from = mc_transfer_at(s, p, v);
    int rc = from ? mc_gpu_get(s->gpu.gpu, a->data, from, a->bytes, err) : 0;
    p->device->fetched[v->index] = !rc;
    return rc;
}
