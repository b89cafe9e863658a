#include "graph/run/fuse_group.h"

#include <limits.h>
#include <string.h>

#include "base/mem.h"

bool mc_fuse_group_has(const struct mc_fuse_group *g, int i)
{
    for (int k = 0; k < g->n; k++)
        if (g->step[k] == i)
            return true;
    return false;
}

bool mc_fuse_group_add(struct mc_fuse_group *g, int i)
{
    if (g->n == MC_GROUP_STEPS || mc_fuse_group_has(g, i))
        return false;
    int at = g->n++;
    for (; at > 0 && g->step[at - 1] > i; at--)
        g->step[at] = g->step[at - 1];
    g->step[at] = i;
    return true;
}

bool mc_fuse_group_owns(const struct mc_fuse_group *g, const struct mc_value *v)
{
    const struct mc_pvalue *pv = &g->p->values[v->index];
    int reads = 0;
    for (int k = 0; k < g->n; k++) {
        const struct mc_step *st = &g->p->steps[g->step[k]];
        for (int j = 0; j < st->call.n_in; j++)
            reads += st->in[j] == v;
    }
    return pv->last != INT_MAX && !pv->apart && pv->uses == reads;
}

const struct mc_step *mc_fuse_maker(const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_pvalue *pv = v ? &p->values[v->index] : NULL;
    if (!pv || pv->buf.dtype == MC_DTYPE_NONE || pv->buf.constant || pv->live || pv->def < 0)
        return NULL;
    const struct mc_step *st = &p->steps[pv->def];
    bool plain = !st->skip && !st->boundary && st->call.n_out == 1 && st->out[0] == v &&
                 st->round == MC_DTYPE_NONE && !st->call.epilogue;
    return plain ? st : NULL;
}

struct mc_step *mc_fuse_group_replace(const struct mc_fuse_group *g, const struct mc_op *op,
                                      struct mc_value *const *in, int n_in)
{
    struct mc_plan *p = g->p;
    struct mc_step *st = &p->steps[g->step[g->n - 1]];
    struct mc_buf *buf = mc_arena_array(&p->mem, (size_t)n_in + 1, sizeof *buf);
    struct mc_value **val = mc_arena_array(&p->mem, (size_t)n_in + 1, sizeof(void *));
    enum mc_dtype *type = mc_arena_array(&p->mem, (size_t)n_in + 1, sizeof *type);
    size_t more = 0;
    for (int k = 0; k < g->n; k++)
        more += (size_t)p->steps[g->step[k]].n_joined + 1;
    const struct mc_node **joined = mc_arena_array(&p->mem, more, sizeof(void *));
    if (!buf || !val || !type || !joined)
        return NULL;
    for (int i = 0; i < n_in; i++) {
        if (!(val[i] = in[i]))
            continue;
        buf[i] = p->values[in[i]->index].buf;
        type[i] = p->values[in[i]->index].type;
    }
    int n_joined = 0;
    for (int k = 0; k < g->n; k++) {
        const struct mc_step *from = &p->steps[g->step[k]];
        if (k)
            joined[n_joined++] = from->call.node;
        for (int i = 0; i < from->n_joined; i++)
            joined[n_joined++] = from->joined[i];
    }
    st->call.node = p->steps[g->step[0]].call.node;
    for (int k = 0; k < g->n - 1 && !g->copies; k++) {
        struct mc_step *gone = &p->steps[g->step[k]];
        gone->skip = true;
        p->values[gone->out[0]->index].buf.dtype = MC_DTYPE_NONE;
    }
    st->call.op = op;
    st->call.in = buf;
    st->call.n_in = n_in;
    st->in = val;
    st->in_type = type;
    st->joined = joined;
    st->n_joined = n_joined;
    return st;
}
