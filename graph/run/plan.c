#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/ops/pack.h"
#include "graph/run/plan.h"

/* After fusing, so that a step knows its epilogue; constants have data, nothing else has. */
static int setup(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    for (int i = 0; i < p->n_steps; i++) {
        struct mc_step *st = &p->steps[i];
        int rc = st->skip ? 0 : mc_plan_warm_step(s, st, err);
        if (!rc && st->gpu)
            rc = mc_place_constants(s, p, st, err);
        if (rc)
            return rc;
        if (st->skip || !(st->call.op->setup || st->gpu))
            continue;
        st->ready = true;
        rc = st->call.op->setup ? st->call.op->setup(&st->call, err) : 0;
        if (rc)
            return rc;
        for (int j = 0; j < st->call.n_in && j < 64; j++)
            if (!mc_place_host_in(st, j)) /* the copy of the GPU is read */
                st->call.packed |= UINT64_C(1) << j;
        mc_plan_cool_step(s, p, st);
    }
    mc_plan_cool(s, p);
    return 0;
}

/* What is handed out: outputs and kept values. */
static int make_arrays(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    if (!p->final || s->inner)
        return 0;
    p->arrays = mc_arena_array(&p->mem, s->g->n_values, sizeof *p->arrays);
    if (!p->arrays)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < s->g->n_values; i++) {
        if (!s->pinned[i])
            continue;
        const struct mc_buf *b = &p->values[i].buf;
        struct mc_array *a = &p->arrays[i];
        *a = (struct mc_array){s->g->values[i]->name, b->dtype, b->shape, b->data, 0};
        mc_dtype_bytes(b->dtype, mc_shape_count(&b->shape), &a->bytes);
    }
    return 0;
}

static bool allocate(struct mc_plan *p, const struct mc_graph *g)
{
    size_t n = g->n_values + 1, k = g->n_nodes + 1;
    p->n_pvalues = g->n_values;
    p->consts = mc_arena_array(&p->mem, n, sizeof *p->consts);
    p->known = mc_arena_array(&p->mem, n, sizeof(void *));
    p->values = mc_arena_array(&p->mem, n, sizeof *p->values);
    p->steps = mc_arena_array(&p->mem, k, sizeof *p->steps);
    p->took = mc_arena_array(&p->mem, k, sizeof(void *));
    p->carry = mc_arena_array(&p->mem, n, sizeof(void *));
    p->drop = mc_arena_array(&p->mem, n, sizeof(void *));
    p->learn = mc_arena_array(&p->mem, n, sizeof(void *));
    return p->consts && p->known && p->values && p->steps && p->took && p->carry && p->drop &&
           p->learn;
}

int mc_plan_new(struct mc_session *s, struct mc_plan *parent, struct mc_plan **ret,
                struct mc_err *err)
{
    struct mc_plan *p = mc_calloc(1, sizeof *p);
    if (!p)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    s->n_plans++;
    p->parent = parent;
    int rc =
        allocate(p, s->g) ? mc_segment_make(s, p, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc && !(s->flags & MC_SESSION_NO_FUSE))
        mc_plan_fuse(s, p);
    rc = rc ? rc : mc_plan_alias(s, p, err);
    rc = rc ? rc : mc_place_steps(s, p, err);
    rc = rc ? rc : setup(s, p, err);
    rc = rc ? rc : mc_plan_layout(s, p, err);
    rc = rc ? rc : mc_transfer_make(s, p, err);
    rc = rc ? rc : make_arrays(s, p, err);
    if (rc)
        mc_plan_free(s, p);
    else
        *ret = p;
    return rc;
}

void mc_plan_free(struct mc_session *s, struct mc_plan *p)
{
    if (!p)
        return;
    while (p->children) {
        struct mc_plan *child = p->children;
        p->children = child->next;
        mc_plan_free(s, child);
    }
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].ready && p->steps[i].call.op->teardown)
            p->steps[i].call.op->teardown(&p->steps[i].call);
    mc_replay_free(s, p);
    for (size_t i = 0; i < p->n_pvalues; i++) {
        if (p->consts && p->consts[i].buf.data) {
            mc_pack_forget(s->packs, p->consts[i].buf.data);
            mc_const_clear(&p->consts[i]);
        }
        if (p->known)
            mc_tensor_unref(p->known[i]);
    }
    s->n_plans--;
    free(p->slots);
    free(p->key);
    mc_arena_free(&p->mem);
    free(p);
}
