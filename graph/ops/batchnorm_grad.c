/* BatchNormGrad of ai.mcompress.grad: (dy, x, scale, mean, variance) to (dx, dscale, dbias); with training_mode 0
 * mean and variance do not depend on x. */
#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

enum { DY, X, SCALE, MEAN, VAR, INPUTS };

static int grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, INPUTS, INPUTS, err);
    for (int i = 0; i < INPUTS && !rc; i++) {
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_same(c, DY, i, err);
        rc = rc ? rc : mc_op_need_rank(c, i, i < SCALE ? 2 : 1, i < SCALE ? MC_RANK_MAX : 1, err);
    }
    const struct mc_vtype *x = rc ? NULL : c->in[X]->ranked ? c->in[X] : c->in[DY];
    int64_t channels = MC_DIM_ANY;
    for (int i = 0; i < INPUTS && !rc; i++)
        if (c->in[i]->ranked)
            rc = mc_op_need_dim(c->node, "channels", c->in[i]->shape.dim[i < SCALE], channels,
                                &channels, err);
    if (rc)
        return rc;
    struct mc_shape params = {1, {channels}};
    mc_op_give(c, 0, x->dtype, x->ranked ? &x->shape : NULL);
    mc_op_give(c, 1, x->dtype, &params);
    mc_op_give(c, 2, x->dtype, &params);
    return 0;
}

static int grad_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[X], *dscale = mc_op_res(c, 1), *dbias = mc_op_res(c, 2);
    const struct mc_buf *dx = mc_op_res(c, 0);
    struct mc_batch_grad b = {.frozen = !mc_node_int(c->node, "training_mode", 1),
                              .outer = x->shape.dim[0],
                              .channels = x->shape.dim[1],
                              .inner = mc_op_span(x, 2, x->shape.rank),
                              .eps = (double)mc_node_float(c->node, "epsilon", 1e-5f),
                              .dy = c->in[DY].data,
                              .x = x->data,
                              .scale = c->in[SCALE].data,
                              .mean = c->in[MEAN].data,
                              .var = c->in[VAR].data,
                              .dx = dx ? dx->data : NULL,
                              .dscale = dscale ? dscale->data : NULL,
                              .dbias = dbias ? dbias->data : NULL};
    c->k->norm.batch_grad(&b, c->pool);
    return 0;
}

const struct mc_op mc_ops_batchnorm_grad[] = {
    {MC_GRAD_DOMAIN, "BatchNormGrad", 1, MC_OP_INPLACE_ANY, grad_infer, NULL, grad_run, NULL, NULL,
     NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->norm.batch_grad;
}

const struct mc_op_gpu mc_op_gpu_batchnorm_grad[] = {
    {MC_GRAD_DOMAIN, "BatchNormGrad", .can = gpu_can},
    {0},
};
