#include "graph/ops/fused_step.h"

#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/run/fuse_group.h"

/* The function of a step, if it is one of float32 elements; operands are its first inputs. */
static bool function_of(const struct mc_step *st, struct mc_chain_op *ret)
{
    struct mc_unary u;
    enum mc_binary_fn fn;
    if (st->skip || st->boundary || st->lists || st->call.n_out != 1 || !st->out[0] ||
        st->call.epilogue || st->round != MC_DTYPE_NONE || st->call.out[0].dtype != MC_DTYPE_F32)
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

/* Take in one more step: it makes, in the shape of the result, what the group alone reads. */
static bool grow(struct mc_fuse_group *g, const struct mc_shape *shape)
{
    for (int k = g->n - 1; k >= 0; k--) {
        const struct mc_step *st = &g->p->steps[g->step[k]];
        for (int i = 0; i < st->call.n_in && i < 2; i++) {
            struct mc_chain_op op;
            struct mc_value *unused[MC_CHAIN_INPUTS];
            const struct mc_step *maker = mc_fuse_maker(g->p, st->in[i]);
            int at = maker ? g->p->values[st->in[i]->index].def : -1;
            if (!maker || !function_of(maker, &op) ||
                !mc_shape_equal(&maker->call.out[0].shape, shape) ||
                !mc_fuse_group_owns(g, st->in[i]))
                continue;
            struct mc_fuse_group larger = *g;
            if (mc_fuse_group_add(&larger, at) && outer_inputs(&larger, unused) >= 0) {
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

static void replace(const struct mc_fuse_group *g)
{
    struct mc_plan *p = g->p;
    struct mc_value *in[MC_CHAIN_INPUTS];
    struct mc_chain *c = mc_arena_array(&p->mem, 1, sizeof *c);
    if (!c)
        return;
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
}

void mc_fuse_chains(struct mc_plan *p)
{
    struct mc_chain_op unused;
    for (int i = p->n_steps - 1; i >= 0; i--) {
        struct mc_fuse_group g = {.p = p, .step = {i}, .n = 1};
        if (!function_of(&p->steps[i], &unused))
            continue;
        while (grow(&g, &p->steps[i].call.out[0].shape))
            continue;
        if (g.n > 1)
            replace(&g);
    }
}
