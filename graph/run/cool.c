#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "graph/constant.h"
#include "graph/run/plan.h"

/* A weight that was packed, or that only went into other constants, is in memory twice or three times. Its
 * copy keeps its address, which names it in the cache of packs, but its pages go; whoever needs the content
 * again copies it from the model's tensor once more. The weights of products get their copy only while they are
 * packed, one after the other. */

enum { COOL_FROM = 1 << 16 }; /* bytes; below that a page or two are not worth the calls */

static bool is_weight(const struct mc_session *s, const struct mc_value *v, enum mc_dtype dtype,
                      int64_t count)
{
    size_t bytes;
    if (s->pinned[v->index] || !mc_dtype_bytes(mc_run_dtype(s->precision, dtype), count, &bytes) ||
        bytes < COOL_FROM)
        return false;
    for (size_t i = 0; i < v->n_uses; i++) {
        const struct mc_node *n = v->uses[i].node;
        if (v->uses[i].slot != 1 ||
            !(mc_node_is(n, "MatMul") || mc_node_is(n, "Gemm") || mc_node_is(n, "Conv")))
            return false;
    }
    return true;
}

bool mc_const_is_weight(const struct mc_session *s, const struct mc_value *v)
{
    const struct mc_tensor *t = mc_constant(v);
    return t && is_weight(s, v, t->dtype, mc_tensor_count(t));
}

bool mc_const_is_late(const struct mc_session *s, const struct mc_value *v,
                      const struct mc_infer *inf)
{
    const struct mc_vtype *t = mc_infer_of(inf, v);
    return t->ranked && is_weight(s, v, t->dtype, mc_shape_count(&t->shape));
}

int mc_plan_warm_step(struct mc_session *s, const struct mc_step *st, struct mc_err *err)
{
    int rc = 0;
    for (int i = 0; i < st->call.n_in && !rc; i++)
        if (st->in[i] && s->consts[st->in[i]->index].lazy)
            rc = mc_const_fill(s, st->in[i], err);
    return rc;
}

/* Does the session know what the node gives, so that it never runs? */
static bool folded(const struct mc_session *s, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i] && !mc_session_const(s, n->out[i]))
            return false;
    return true;
}

/* The step of this plan that runs node n as its first or only node; NULL if there is none. */
static const struct mc_step *step_of(const struct mc_plan *p, const struct mc_node *n)
{
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].call.node == n)
            return p->steps[i].ready ? &p->steps[i] : NULL;
    return NULL;
}

static bool unread(const struct mc_session *s, const struct mc_plan *p, const struct mc_value *v)
{
    if (s->pinned[v->index])
        return false;
    for (size_t i = 0; i < v->n_uses; i++) {
        const struct mc_use *u = &v->uses[i];
        if (!s->ops[u->node->id])
            continue;
        if (u->slot < 0)
            return false;
        if (folded(s, u->node))
            continue;
        const struct mc_step *st = step_of(p, u->node);
        if (!st || u->slot >= 64 || !(st->call.packed >> u->slot & 1))
            return false;
    }
    return true;
}

static void cool(struct mc_session *s, const struct mc_plan *p, const struct mc_value *v)
{
    struct mc_const *c = &s->consts[v->index];
    const struct mc_tensor *t = mc_constant(v);
    size_t bytes = 0;
    if (!c->buf.data || c->cool || c->raw || !(t || c->lazy) ||
        !mc_dtype_bytes(c->buf.dtype, mc_shape_count(&c->buf.shape), &bytes) || bytes < COOL_FROM ||
        !unread(s, p, v))
        return;
    if (!c->owned) {
        mc_tensor_cool(t);
        return;
    }
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)c->owned;
    uintptr_t from = (at + page - 1) / page * page, to = (at + bytes) / page * page;
    c->cool = from < to && madvise((void *)from, to - from, MADV_DONTNEED) == 0;
}

void mc_plan_cool_step(struct mc_session *s, const struct mc_plan *p, const struct mc_step *st)
{
    for (int i = 0; i < st->call.n_in && i < 64; i++)
        if (st->in[i] && st->call.packed >> i & 1)
            cool(s, p, st->in[i]);
}

void mc_plan_cool(struct mc_session *s, const struct mc_plan *p)
{
    for (int i = 0; i < p->n_steps; i++) {
        const struct mc_step *st = &p->steps[i];
        for (int j = 0; j < st->call.n_in; j++)
            if (st->in[j] && (j >= 64 || !(st->call.packed >> j & 1)))
                s->consts[st->in[j]->index].raw = true;
    }
    for (size_t i = 0; i < s->g->n_values; i++)
        if (s->g->values[i] && s->consts[i].owned)
            cool(s, p, s->g->values[i]);
}
