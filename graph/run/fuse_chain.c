#include "graph/ops/fused_step.h"

#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/run/fuse_group.h"

/* The function of a step, if it is one of float32 elements; operands are its first inputs. */
static bool function_of(const struct mc_step *st, struct mc_chain_op *ret)
{
    struct mc_unary u;
    enum mc_binary_fn fn;
    if (st->call.op == &mc_op_chain || st->skip || st->boundary || st->lists ||
        st->call.n_out != 1 || !st->out[0] || st->call.epilogue || st->round != MC_DTYPE_NONE ||
        st->call.out[0].dtype != MC_DTYPE_F32)
        return false;
    if (mc_activation_as_unary(&st->call, &u))
        *ret = (struct mc_chain_op){.fn = (int)u.fn, .a = u.a, .b = u.b};
    else if (mc_arith_as_binary(&st->call, &fn))
        *ret = (struct mc_chain_op){.binary = true, .fn = (int)fn};
    else
        return false;
    for (int i = 0; i <= ret->binary; i++)
        if (st->call.in[i].dtype != MC_DTYPE_F32)
            return false;
    return true;
}

/* Operands from outside, each once; -1 if they are too many. */
static int outer_inputs(const struct mc_fuse_group *g, struct mc_value **in)
{
    int n = 0;
    for (int k = 0; k < g->n; k++) {
        const struct mc_step *st = &g->p->steps[g->step[k]];
        struct mc_chain_op op;
        function_of(st, &op);
        for (int i = 0; i <= op.binary; i++) {
            int at = 0;
            const struct mc_pvalue *pv = &g->p->values[st->in[i]->index];
            bool inner =
                pv->def >= 0 && !pv->buf.constant && !pv->live && mc_fuse_group_has(g, pv->def);
            while (at < n && in[at] != st->in[i])
                at++;
            if (inner || at < n)
                continue;
            if (n == MC_CHAIN_INPUTS)
                return -1;
            in[n++] = st->in[i];
        }
    }
    return n;
}

/* Inputs that are no numbers: what a chain has to read. */
static int large_inputs(const struct mc_fuse_group *g)
{
    struct mc_value *in[MC_CHAIN_INPUTS];
    int large = 0, n = outer_inputs(g, in);
    for (int i = 0; i < n; i++)
        large += mc_shape_count(&g->p->values[in[i]->index].buf.shape) > 1;
    return n < 0 ? MC_CHAIN_INPUTS + 1 : large;
}

/* Do elementwise functions alone read v? Then each may compute it for itself, and it is nowhere. */
static bool chains_read(const struct mc_plan *p, const struct mc_value *v)
{
    const struct mc_pvalue *pv = &p->values[v->index];
    struct mc_chain_op unused;
    int reads = 0;
    for (int i = pv->def + 1; i < p->n_steps; i++)
        for (int j = 0; j < p->steps[i].call.n_in; j++)
            reads += p->steps[i].in[j] == v && function_of(&p->steps[i], &unused);
    return pv->last != INT_MAX && !pv->apart && reads == pv->uses;
}

/* Take in one more step: it makes, in the shape of the result, what the group alone reads; or, with `again`, what
 * others read too, where the group has less to read then, or as much and nobody has to make it any more. */
static bool grow(struct mc_fuse_group *g, const struct mc_shape *shape, bool again)
{
    for (int k = g->n - 1; k >= 0; k--) {
        const struct mc_step *st = &g->p->steps[g->step[k]];
        for (int i = 0; i < st->call.n_in && i < 2; i++) {
            struct mc_chain_op op;
            const struct mc_step *maker = mc_fuse_maker(g->p, st->in[i]);
            int at = maker ? g->p->values[st->in[i]->index].def : -1;
            if (!maker || !function_of(maker, &op) ||
                !mc_shape_equal(&maker->call.out[0].shape, shape))
                continue;
            bool owned = mc_fuse_group_owns(g, st->in[i]);
            struct mc_fuse_group larger = *g;
            if ((!owned && !again) || !mc_fuse_group_add(&larger, at))
                continue;
            larger.copies = larger.copies || !owned;
            int had = large_inputs(g), has = large_inputs(&larger);
            if (owned ? has <= MC_CHAIN_INPUTS
                      : has < had || (has == had && chains_read(g->p, st->in[i]))) {
                *g = larger;
                return true;
            }
        }
    }
    return false;
}

static int operand(const struct mc_fuse_group *g, const struct mc_value *v,
                   struct mc_value *const *in, int n_in)
{
    for (int i = 0; i < n_in; i++)
        if (in[i] == v)
            return i;
    for (int k = 0; k < g->n; k++)
        if (g->p->steps[g->step[k]].out[0] == v)
            return MC_CHAIN_INPUTS + k;
    return -1;
}

/* The dense strides of each operand, spread over the shape of the result. */
static void set_shape(struct mc_chain *c, const struct mc_plan *p, const struct mc_shape *shape,
                      struct mc_value *const *in)
{
    c->rank = shape->rank;
    memcpy(c->dim, shape->dim, sizeof *c->dim * (size_t)c->rank);
    for (int i = 0; i < c->n_in; i++)
        mc_op_broadcast_strides(&p->values[in[i]->index].buf.shape, shape, c->stride[i]);
    c->rank = mc_move_merge(c->rank, c->dim, c->n_in, c->stride);
}

/* False without memory: nothing has changed. */
static bool replace(const struct mc_fuse_group *g)
{
    struct mc_plan *p = g->p;
    struct mc_value *in[MC_CHAIN_INPUTS];
    struct mc_chain *c = mc_arena_array(&p->mem, 1, sizeof *c);
    if (!c)
        return false;
    c->n_in = outer_inputs(g, in);
    c->n_ops = g->n;
    for (int k = 0; k < g->n; k++) {
        const struct mc_step *st = &p->steps[g->step[k]];
        function_of(st, &c->op[k]);
        c->op[k].x = operand(g, st->in[0], in, c->n_in);
        c->op[k].y = c->op[k].binary ? operand(g, st->in[1], in, c->n_in) : c->op[k].x;
    }
    set_shape(c, p, &p->steps[g->step[g->n - 1]].call.out[0].shape, in);
    struct mc_step *st = mc_fuse_group_replace(g, &mc_op_chain, in, c->n_in);
    if (st)
        st->call.chain = c;
    return st != NULL;
}

/* What nobody reads any more, since it is computed where it is read. */
static void drop_unread(struct mc_plan *p)
{
    struct mc_chain_op unused;
    for (bool any = true; any;) {
        any = false;
        mc_plan_compact(p);
        for (int i = 0; i < p->n_steps; i++) {
            struct mc_step *st = &p->steps[i];
            struct mc_pvalue *v = st->out[0] ? &p->values[st->out[0]->index] : NULL;
            if (st->call.n_out != 1 || !v || v->uses > 0 || v->last == INT_MAX || v->apart ||
                (st->call.op != &mc_op_chain && !function_of(st, &unused)))
                continue;
            st->skip = any = true;
            v->buf.dtype = MC_DTYPE_NONE;
        }
    }
}

void mc_fuse_chains(struct mc_plan *p, bool again)
{
    struct mc_chain_op unused;
    for (int i = p->n_steps - 1; i >= 0; i--) {
        struct mc_fuse_group g = {.p = p, .step = {i}, .n = 1};
        if (!function_of(&p->steps[i], &unused))
            continue;
        while (grow(&g, &p->steps[i].call.out[0].shape, again))
            continue;
        if (g.n < 2 || !replace(&g) || !g.copies)
            continue;
        drop_unread(p); /* who reads what has changed */
        i = p->n_steps;
    }
    drop_unread(p);
}
