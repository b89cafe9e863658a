/* dx = dy f'(x): of MC_GRAD_DOMAIN, XGrad(dy, v) with the attributes of X. v is the result of X where the
 * derivative follows from it, else the argument (kernels/elementwise.h). */
#include <math.h>
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/activation.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static int grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct mc_vtype *dy, *v;
    bool clip = !strcmp(c->node->op_type, "ClipGrad");
    int rc = mc_op_arity(c, 2, clip ? 4 : 2, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    for (int i = 1; i < c->n_in && !rc; i++)
        rc = mc_op_need_same(c, 0, i, err);
    for (int i = 2; i < 4 && !rc; i++)
        rc = mc_op_need_single(c, i, err);
    if (rc)
        return rc;
    dy = c->in[0];
    v = c->in[1];
    if (dy->ranked && v->ranked && mc_shape_known(&dy->shape) && mc_shape_known(&v->shape) &&
        !mc_shape_equal(&dy->shape, &v->shape)) {
        char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
        return mc_op_fail(err, MC_ESHAPE, c->node, "%s and %s differ", mc_shape_text(&dy->shape, a),
                          mc_shape_text(&v->shape, b));
    }
    mc_op_give(c, 0, dy->dtype, dy->ranked ? &dy->shape : v->ranked ? &v->shape : NULL);
    return 0;
}

static void run_kernel(struct mc_call *c, const struct mc_unary *f)
{
    struct mc_unary_grad u = {.fn = f->fn,
                              .a = f->a,
                              .b = f->b,
                              .n = mc_op_count(&c->out[0]),
                              .dy = c->in[0].data,
                              .v = c->in[1].data,
                              .dx = c->out[0].data};
    c->k->elementwise.unary_grad(&u, c->pool);
}

static int grad_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_unary f = mc_activation_function(c->node);
    run_kernel(c, &f);
    return 0;
}

/* ClipGrad(dy, y, min, max): bounds are attributes or inputs. dy where y is neither of them, else 0. */
static int clip_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_unary f = {.fn = MC_UNARY_CLAMP,
                         .a = (double)mc_node_float(c->node, "min", -INFINITY),
                         .b = (double)mc_node_float(c->node, "max", INFINITY)};
    if (mc_op_arg(c, 2))
        f.a = mc_buf_param(mc_op_arg(c, 2), 0);
    if (mc_op_arg(c, 3))
        f.b = mc_buf_param(mc_op_arg(c, 3), 0);
    run_kernel(c, &f);
    return 0;
}

#define ROW_OF(name, run)                                                                          \
    {                                                                                              \
        MC_GRAD_DOMAIN, name, 1, MC_OP_INPLACE, grad_infer, NULL, run, NULL, NULL, NULL            \
    }
#define ROW(name) ROW_OF(name, grad_run)
const struct mc_op mc_ops_activation_grad[] = {
    ROW("AbsGrad"),
    ROW("ReciprocalGrad"),
    ROW("SqrtGrad"),
    ROW("ExpGrad"),
    ROW("LogGrad"),
    ROW("ErfGrad"),
    ROW("ReluGrad"),
    ROW("LeakyReluGrad"),
    ROW("SigmoidGrad"),
    ROW("TanhGrad"),
    ROW("EluGrad"),
    ROW("HardSigmoidGrad"),
    ROW("HardSwishGrad"),
    ROW("SoftplusGrad"),
    ROW("SwishGrad"),
    ROW("GeluGrad"),
    ROW("SinGrad"),
    ROW("CosGrad"),
    ROW("TanGrad"),
    ROW("AsinGrad"),
    ROW("AcosGrad"),
    ROW("AtanGrad"),
    ROW("SinhGrad"),
    ROW("CoshGrad"),
    ROW("AsinhGrad"),
    ROW("AcoshGrad"),
    ROW("AtanhGrad"),
    ROW("SeluGrad"),
    ROW("CeluGrad"),
    ROW("MishGrad"),
    ROW("SoftsignGrad"),
    ROW("ThresholdedReluGrad"),
    ROW("ShrinkGrad"),
    ROW("QuickGeluGrad"),
    ROW_OF("ClipGrad", clip_run),
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->elementwise.unary_grad;
}

#define GPU(name)                                                                                  \
    {                                                                                              \
        MC_GRAD_DOMAIN, name, .can = gpu_can                                                       \
    }
const struct mc_op_gpu mc_op_gpu_activation_grad[] = {
    GPU("AbsGrad"),
    GPU("ReciprocalGrad"),
    GPU("SqrtGrad"),
    GPU("ExpGrad"),
    GPU("LogGrad"),
    GPU("ErfGrad"),
    GPU("ReluGrad"),
    GPU("LeakyReluGrad"),
    GPU("SigmoidGrad"),
    GPU("TanhGrad"),
    GPU("EluGrad"),
    GPU("HardSigmoidGrad"),
    GPU("HardSwishGrad"),
    GPU("SoftplusGrad"),
    GPU("SwishGrad"),
    GPU("GeluGrad"),
    GPU("SinGrad"),
    GPU("CosGrad"),
    GPU("TanGrad"),
    GPU("AsinGrad"),
    GPU("AcosGrad"),
    GPU("AtanGrad"),
    GPU("SinhGrad"),
    GPU("CoshGrad"),
    GPU("AsinhGrad"),
    GPU("AcoshGrad"),
    GPU("AtanhGrad"),
    GPU("SeluGrad"),
    GPU("CeluGrad"),
    GPU("MishGrad"),
    GPU("SoftsignGrad"),
    GPU("ThresholdedReluGrad"),
    GPU("ShrinkGrad"),
    GPU("QuickGeluGrad"),
    {MC_GRAD_DOMAIN, "ClipGrad", .can = gpu_can, .host_in = 1 << 2 | 1 << 3},
    {0},
};
