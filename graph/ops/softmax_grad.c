/* SoftmaxGrad(dy, y) and LogSoftmaxGrad(dy, y): of MC_GRAD_DOMAIN. y is the result; over dimension `axis` alone, or
 * with `flatten`, as Softmax before version 13, over it and all behind it. */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static int grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err), rank = mc_op_rank(c, 1), axis;
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    bool flatten = mc_node_int(c->node, "flatten", 0) != 0;
    int64_t given = mc_node_int(c->node, "axis", -1);
    if (!rc && rank >= 0 && !(flatten && given == rank))
        rc = mc_op_need_axis(c->node, "axis", given, rank, &axis, err);
    if (rc)
        return rc;
    const struct mc_vtype *dy = c->in[0], *y = c->in[1];
    if (dy->ranked && y->ranked && mc_shape_known(&dy->shape) && mc_shape_known(&y->shape) &&
        !mc_shape_equal(&dy->shape, &y->shape))
        return mc_op_fail(err, MC_ESHAPE, c->node, "gradient and result differ in shape");
    mc_op_give(c, 0, y->dtype, y->ranked ? &y->shape : NULL);
    return 0;
}

static int grad_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *y = &c->in[1];
    int rank = y->shape.rank;
    bool flatten = mc_node_int(c->node, "flatten", 0) != 0;
    int64_t given = mc_node_int(c->node, "axis", -1);
    int axis = (int)(given < 0 ? given + rank : given);
    struct mc_softmax_grad s = {.log = !strcmp(c->node->op_type, "LogSoftmaxGrad"),
                                .outer = mc_op_span(y, 0, axis),
                                .n = mc_op_span(y, axis, flatten ? rank : axis + 1),
                                .inner = flatten ? 1 : mc_op_span(y, axis + 1, rank),
                                .dy = c->in[0].data,
                                .y = y->data,
                                .dx = c->out[0].data};
    c->k->loss.softmax_grad(&s, c->pool);
    return 0;
}

#define ROW(name)                                                                                  \
    {                                                                                              \
        MC_GRAD_DOMAIN, name, 1, MC_OP_INPLACE_ANY, grad_infer, NULL, grad_run, NULL, NULL, NULL   \
    }
const struct mc_op mc_ops_softmax_grad[] = {
    ROW("SoftmaxGrad"),
    ROW("LogSoftmaxGrad"),
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->loss.softmax_grad;
}

const struct mc_op_gpu mc_op_gpu_softmax_grad[] = {
    {MC_GRAD_DOMAIN, "SoftmaxGrad", .can = gpu_can},
    {MC_GRAD_DOMAIN, "LogSoftmaxGrad", .can = gpu_can},
    {0},
};
