/* Steps that a GPU could do, and that are left to the CPU since what they read is there, and so is who reads what they
 * make: the copies would take longer than they do. */
#include <stdlib.h>

#include "base/mem.h"
#include "graph/run/plan.h"

/* Bytes of integers that are arguments of other nodes: shapes, axes, indices made of those. */
enum { SMALL_BYTES = 1024 };

enum kind { LIGHT, HEAVY, CPU }; /* of a step: on the GPU in either way, or not */
enum touch { TOUCHES_GPU = 1, TOUCHES_CPU = 2 };

struct islands {
    const struct mc_session *s;
    struct mc_plan *p;
    int *parent;    /* [n_steps] steps that go together, as a forest */
    uint8_t *touch; /* [n_steps] of its root */
};

/* The step that makes the content of v, through views; -1: nobody in this plan. *ret_root: the value it makes. */
static int maker(const struct mc_plan *p, const struct mc_value *v,
                 const struct mc_value **ret_root)
{
    for (;;) {
        const struct mc_pvalue *pv = &p->values[v->index];
        const struct mc_step *st = pv->def >= 0 ? &p->steps[pv->def] : NULL;
        *ret_root = v;
        if (!st || !st->skip)
            return pv->def;
        v = st->in[0];
    }
}

static bool is_placed(const struct mc_plan *p, const struct mc_value *v)
{
    return v && p->values[v->index].buf.dtype != MC_DTYPE_NONE &&
           p->values[v->index].slot != MC_SLOT_NONE;
}

/* ---- small integers ---- */

static bool is_small(const struct mc_buf *b)
{
    size_t bytes;
    return mc_dtype_info(b->dtype)->kind != MC_KIND_FLOAT &&
           mc_dtype_bytes(b->dtype, mc_shape_count(&b->shape), &bytes) && bytes <= SMALL_BYTES;
}

static bool is_on_host(const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_value *root;
    int def = maker(p, v, &root);
    return def < 0 ? p->values[root->index].live : !p->steps[def].gpu;
}

/* Made of small integers, some of which are on the host. */
static bool is_argument(const struct mc_plan *p, const struct mc_step *st)
{
    bool some = false;
    for (int j = 0; j < st->call.n_out; j++)
        if (st->out[j] && !is_small(&st->call.out[j]))
            return false;
    for (int j = 0; j < st->call.n_in; j++) {
        if (!is_placed(p, st->in[j]))
            continue;
        if (!is_small(&st->call.in[j]))
            return false;
        some |= is_on_host(p, st->in[j]);
    }
    return some;
}

/* ---- islands ---- */

static enum kind kind_of(const struct mc_step *st)
{
    return !st->gpu ? CPU : st->call.op->macs ? HEAVY : LIGHT;
}

static int root_of(struct islands *g, int i)
{
    while (g->parent[i] != i)
        i = g->parent[i] = g->parent[g->parent[i]];
    return i;
}

static void touch(struct islands *g, int i, enum touch what)
{
    g->touch[root_of(g, i)] |= (uint8_t)what;
}

/* What step a makes is read by step b, on the host or where b runs. */
static void see_edge(struct islands *g, int a, int b, bool host)
{
    enum kind from = kind_of(&g->p->steps[a]), to = host ? CPU : kind_of(&g->p->steps[b]);
    if (from == LIGHT && to == LIGHT) {
        int x = root_of(g, a), y = root_of(g, b);
        g->touch[x] |= g->touch[y];
        g->parent[y] = x;
        return;
    }
    if (from == LIGHT)
        touch(g, a, to == HEAVY ? TOUCHES_GPU : TOUCHES_CPU);
    if (to == LIGHT)
        touch(g, b, from == HEAVY ? TOUCHES_GPU : TOUCHES_CPU);
}

static void see_read(struct islands *g, int i, const struct mc_value *v, bool host)
{
    const struct mc_plan *p = g->p;
    const struct mc_value *root;
    if (!is_placed(p, v))
        return;
    int def = maker(p, v, &root);
    const struct mc_pvalue *pv = &p->values[root->index];
    if (def >= 0)
        see_edge(g, def, i, host);
    else if (kind_of(&p->steps[i]) == LIGHT && pv->live)
        touch(g, i, TOUCHES_CPU);
    else if (kind_of(&p->steps[i]) == LIGHT && p->slots[pv->slot].state)
        touch(g, i, TOUCHES_GPU);
}

static void see_step(struct islands *g, int i)
{
    const struct mc_step *st = &g->p->steps[i];
    if (st->skip)
        return;
    for (int j = 0; j < st->call.n_in; j++)
        see_read(g, i, st->in[j], mc_place_host_in(st, j));
    see_read(g, i, st->residual, !st->gpu);
    see_read(g, i, st->bias, !st->gpu);
    for (int j = 0; j < st->call.n_out && kind_of(st) == LIGHT; j++)
        if (is_placed(g->p, st->out[j]) && g->p->values[st->out[j]->index].state)
            touch(g, i, TOUCHES_GPU);
}

static int see(struct islands *g, struct mc_err *err)
{
    struct mc_plan *p = g->p;
    g->parent = mc_calloc((size_t)p->n_steps + 1, sizeof *g->parent);
    g->touch = mc_calloc((size_t)p->n_steps + 1, sizeof *g->touch);
    if (!g->parent || !g->touch)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int i = 0; i < p->n_steps; i++)
        g->parent[i] = i;
    for (int i = 0; i < p->n_steps; i++)
        see_step(g, i);
    for (size_t i = 0; i < p->n_carry; i++) {
        const struct mc_value *root;
        int def = is_placed(p, p->carry[i]) ? maker(p, p->carry[i], &root) : -1;
        if (def >= 0 && kind_of(&p->steps[def]) == LIGHT)
            touch(g, def, TOUCHES_CPU);
    }
    return 0;
}

int mc_islands_drop(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    struct islands g = {.s = s, .p = p};
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].gpu && !p->steps[i].skip && is_argument(p, &p->steps[i]))
            mc_place_leave(s, &p->steps[i], "makes integers of integers that are on the host");
    int rc = see(&g, err);
    for (int i = 0; i < p->n_steps && !rc; i++)
        if (!p->steps[i].skip && kind_of(&p->steps[i]) == LIGHT &&
            g.touch[root_of(&g, i)] == TOUCHES_CPU)
            mc_place_leave(s, &p->steps[i], "is between steps of the CPU");
    free(g.parent);
    free(g.touch);
    return rc;
}
