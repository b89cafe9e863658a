/* An activation and one more operand: SwiGLU, and of com.microsoft BiasGelu, FastGelu and BiasSoftmax. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static bool is_op(const struct mc_node *n, const char *name)
{
    return !strcmp(n->op_type, name);
}

static int gated_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool optional = is_op(c->node, "FastGelu"), same = is_op(c->node, "SwiGLU");
    int rc = mc_op_arity(c, optional ? 1 : 2, 2, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *b = mc_op_in(c, 1);
    struct mc_shape sum;
    char left[MC_SHAPE_TEXT], right[MC_SHAPE_TEXT];
    if (b && x->ranked && b->ranked && mc_shape_known(&x->shape) && mc_shape_known(&b->shape)) {
        bool fits =
            mc_shape_broadcast(&x->shape, &b->shape, &sum) && mc_shape_equal(&sum, &x->shape);
        if (!fits || (same && !mc_shape_equal(&x->shape, &b->shape)))
            return mc_op_fail(err, MC_ESHAPE, c->node, "input 1 %s does not fit %s",
                              mc_shape_text(&b->shape, right), mc_shape_text(&x->shape, left));
    }
    mc_op_give(c, 0, x->dtype, x->ranked ? &x->shape : NULL);
    return 0;
}

/* y = fn(x, input 1), broadcast. */
static void combine(const struct mc_call *c, enum mc_binary_fn fn, const void *x)
{
    const struct mc_shape *s = &c->out[0].shape;
    struct mc_binary b = {
        .fn = fn, .rank = s->rank, .x = x, .y = c->in[1].data, .z = c->out[0].data};
    memcpy(b.dim, s->dim, sizeof *b.dim * (size_t)b.rank);
    mc_op_strides(s, b.stride[0]);
    mc_op_broadcast_strides(&c->in[1].shape, s, b.stride[1]);
    b.rank = mc_move_merge(b.rank, b.dim, 2, b.stride);
    c->k->elementwise.binary(&b, c->pool);
}

static void activate(const struct mc_call *c, enum mc_unary_fn fn, double a, const void *x)
{
    struct mc_unary u = {
        .fn = fn, .a = a, .n = mc_op_count(&c->out[0]), .x = x, .y = c->out[0].data};
    c->k->elementwise.unary(&u, c->pool);
}

static int swiglu_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    activate(c, MC_UNARY_SILU, (double)mc_node_float(c->node, "alpha", 1), c->in[0].data);
    combine(c, MC_BINARY_MUL, c->out[0].data);
    return 0;
}

static int gelu_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const void *x = c->in[0].data;
    if (mc_op_arg(c, 1)) {
        combine(c, MC_BINARY_ADD, x);
        x = c->out[0].data;
    }
    activate(c, is_op(c->node, "FastGelu") ? MC_UNARY_GELU_TANH : MC_UNARY_GELU, 0, x);
    return 0;
}

/* ---- BiasSoftmax: softmax over the dimensions from `axis` on ---- */

static int softmax_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rank = mc_op_rank(c, 0), axis, rc = gated_infer(c, err);
    if (!rc && rank >= 0)
        rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 1), rank, &axis, err);
    return rc;
}

static int softmax_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *y = &c->out[0];
    int rank = y->shape.rank, axis = mc_shape_axis(mc_node_int(c->node, "axis", 1), rank);
    combine(c, MC_BINARY_ADD, c->in[0].data);
    struct mc_softmax s = {.outer = mc_op_span(y, 0, axis),
                           .n = mc_op_span(y, axis, rank),
                           .inner = 1,
                           .x = y->data,
                           .y = y->data};
    c->k->nn.softmax(&s, c->pool);
    return 0;
}

#define ROW(domain, name, since, infer, run)                                                       \
    {                                                                                              \
        domain, name, since, 0, infer, NULL, run, NULL, NULL, NULL                                 \
    }
const struct mc_op mc_ops_gated[] = {
    ROW("", "SwiGLU", 28, gated_infer, swiglu_run),
    ROW("com.microsoft", "BiasGelu", 1, gated_infer, gelu_run),
    ROW("com.microsoft", "FastGelu", 1, gated_infer, gelu_run),
    ROW("com.microsoft", "BiasSoftmax", 1, softmax_infer, softmax_run),
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return c->k->elementwise.unary && c->k->elementwise.binary && mc_op_gpu_floats(c);
}

static bool gpu_softmax_can(const struct mc_call *c)
{
    return c->k->nn.softmax && c->k->elementwise.binary && mc_op_gpu_floats(c);
}

const struct mc_op_gpu mc_op_gpu_gated[] = {
    {"", "SwiGLU", .can = gpu_can},
    {"com.microsoft", "BiasGelu", .can = gpu_can},
    {"com.microsoft", "FastGelu", .can = gpu_can},
    {"com.microsoft", "BiasSoftmax", .can = gpu_softmax_can},
    {0},
};
