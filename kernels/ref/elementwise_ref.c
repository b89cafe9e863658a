#include "kernels/body_elementwise.h"
#include "kernels/fill.h"
#include "kernels/ref/unary_grad_ref.h"

static void unary(const struct mc_unary *u, struct mc_pool *pool)
{
    (void)pool;
    const elem *x = u->x;
    elem *y = u->y, a = (elem)u->a, b = (elem)u->b;
    for (int64_t i = 0; i < u->n; i++)
        y[i] = mc_unary_of(u->fn, a, b, x[i]);
}

static void binary(const struct mc_binary *b, struct mc_pool *pool)
{
    (void)pool;
    int64_t index[MC_MOVE_RANK] = {0}, n = 1;
    for (int d = 0; d < b->rank; d++)
        n *= b->dim[d];
    elem *z = b->z;
    for (int64_t i = 0; i < n; i++) {
        int64_t at[2] = {0, 0};
        for (int d = 0; d < b->rank; d++) {
            at[0] += index[d] * b->stride[0][d];
            at[1] += index[d] * b->stride[1][d];
        }
        z[i] = mc_binary_of(b->fn, ((const elem *)b->x)[at[0]], ((const elem *)b->y)[at[1]]);
        for (int d = b->rank - 1; d >= 0 && ++index[d] == b->dim[d]; d--)
            index[d] = 0;
    }
}

static elem chain_of(const struct mc_chain *c, const int64_t *index)
{
    elem v[MC_CHAIN_INPUTS + MC_CHAIN_OPS];
    for (int i = 0; i < c->n_in; i++) {
        int64_t at = 0;
        for (int d = 0; d < c->rank; d++)
            at += index[d] * c->stride[i][d];
        v[i] = ((const elem *)c->in[i])[at];
    }
    for (int i = 0; i < c->n_ops; i++) {
        const struct mc_chain_op *op = &c->op[i];
        v[MC_CHAIN_INPUTS + i] =
            op->binary ? mc_binary_of((enum mc_binary_fn)op->fn, v[op->x], v[op->y])
                       : mc_unary_of((enum mc_unary_fn)op->fn, (elem)op->a, (elem)op->b, v[op->x]);
    }
    return v[MC_CHAIN_INPUTS + c->n_ops - 1];
}

static void chain(const struct mc_chain *c, struct mc_pool *pool)
{
    (void)pool;
    int64_t index[MC_MOVE_RANK] = {0}, n = 1;
    for (int d = 0; d < c->rank; d++)
        n *= c->dim[d];
    elem *z = c->z;
    for (int64_t i = 0; i < n; i++) {
        z[i] = chain_of(c, index);
        for (int d = c->rank - 1; d >= 0 && ++index[d] == c->dim[d]; d--)
            index[d] = 0;
    }
}

void MC_REF(mc_elementwise_fill)(struct mc_elementwise_kernels *k)
{
    *k = (struct mc_elementwise_kernels){unary, MC_REF(mc_unary_grad), binary, chain};
}
