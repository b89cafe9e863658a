/* SumTo: the adjoint of broadcasting. Of MC_GRAD_DOMAIN. */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

/* SumTo(d, shape): y of that shape, which broadcasts to d's: the sum over the axes along which it repeats. */
static int sum_to_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 1, 1, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *d = c->in[0], *s = c->in[1];
    struct mc_contents to;
    mc_op_give(c, 0, d->dtype, NULL);
    bool known = mc_op_contents(c, 1, &to);
    int64_t rank = known ? to.n : s->ranked ? s->shape.dim[0] : -1;
    if (rank < 0)
        return 0;
    if (rank > MC_RANK_MAX || (d->ranked && rank > d->shape.rank))
        return mc_op_fail(err, MC_ESHAPE, c->node, "a shape of rank %lld is summed to",
                          (long long)rank);
    struct mc_shape y = {(int)rank, {0}};
    for (int i = 0; i < y.rank; i++) {
        y.dim[i] = !known ? MC_DIM_ANY : to.sym[i] ? to.sym[i] : to.value[i];
        int64_t from = d->ranked ? d->shape.dim[d->shape.rank - y.rank + i] : -1;
        if (y.dim[i] >= 0 && from >= 0 && y.dim[i] != 1 && y.dim[i] != from)
            return mc_op_fail(err, MC_ESHAPE, c->node, "%lld is no sum of %lld along dimension %d",
                              (long long)y.dim[i], (long long)from, i);
    }
    mc_op_give(c, 0, d->dtype, &y);
    return 0;
}

/* Runs of dimensions that one stride walks are one. */
static int merge(int rank, int64_t *dim, int64_t *stride)
{
    int64_t walk[1][MC_MOVE_RANK];
    memcpy(walk[0], stride, sizeof walk[0]);
    rank = mc_move_merge(rank, dim, 1, walk);
    memcpy(stride, walk[0], sizeof walk[0]);
    return rank;
}

static int sum_to_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *d = &c->in[0], *y = &c->out[0];
    int more = d->shape.rank - y->shape.rank;
    int64_t stride[MC_RANK_MAX], want[MC_RANK_MAX];
    struct mc_reduce r = {.fn = MC_REDUCE_SUM, .x = d->data, .y = y->data};
    bool same = mc_op_ints(&c->in[1], want, MC_RANK_MAX) == y->shape.rank;
    for (int i = 0; i < y->shape.rank && same; i++)
        same = want[i] == y->shape.dim[i];
    if (!same)
        return mc_op_fail(err, MC_EDATA, c->node, "the shape is another than planned");
    if (mc_op_count(d) == mc_op_count(y)) {
        mc_op_copy(c, d, &c->out[0]);
        return 0;
    }
    mc_op_strides(&d->shape, stride);
    for (int i = 0; i < d->shape.rank; i++)
        if (i < more || (y->shape.dim[i - more] == 1 && d->shape.dim[i] != 1)) {
            r.over[r.over_rank] = d->shape.dim[i];
            r.over_stride[r.over_rank++] = stride[i];
        } else {
            r.keep[r.keep_rank] = d->shape.dim[i];
            r.keep_stride[r.keep_rank++] = stride[i];
        }
    r.keep_rank = merge(r.keep_rank, r.keep, r.keep_stride);
    r.over_rank = merge(r.over_rank, r.over, r.over_stride);
    c->k->nn.reduce(&r, c->pool);
    return 0;
}

const struct mc_op mc_ops_sumto[] = {
    {MC_GRAD_DOMAIN, "SumTo", 1, MC_OP_INPLACE, sum_to_infer, NULL, sum_to_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->move.run && c->k->nn.reduce;
}

const struct mc_op_gpu mc_op_gpu_sumto[] = {
    {MC_GRAD_DOMAIN, "SumTo", .can = gpu_can, .host_in = 1 << 1},
    {0},
};
