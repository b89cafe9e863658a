/* Signs while they are trained, of MC_GRAD_DOMAIN; their gradients are in binary_rule.c.
 *
 * SignSTE(x): -1 where x < 0, else 1: as Less and Where of the file form have it. Attribute `width`.
 * BinarizeWeight(w): alpha sign(w), alpha = mean |w| over the weights of an output. Attributes: `outputs`, how many
 * outputs there are; `last` 1: they are along the last dimension, as MatMul has them, otherwise along the first ones;
 * `real` 1: w as it is, while activations alone are trained.
 * Source: Rastegari et al., XNOR-Net, ECCV 2016, eq. (6). */
#include <math.h>

#include "graph/grad/rule.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "kernels/gpu.h"

enum { CHUNK = 1 << 15 }; /* elements of a piece of work */

static int64_t pieces(int64_t n)
{
    return (n + CHUNK - 1) / CHUNK;
}

/* ---- SignSTE ---- */

static int sign_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    return rc ? rc : mc_op_same(c, err);
}

static void sign_piece(void *ctx, int64_t piece, int worker)
{
    (void)worker;
    const struct mc_call *c = ctx;
    int64_t from = piece * CHUNK, to = mc_op_count(&c->in[0]);
    to = to - from < CHUNK ? to : from + CHUNK;
    if (c->in[0].dtype == MC_DTYPE_F64) {
        const double *x = c->in[0].data;
        double *y = c->out[0].data;
        for (int64_t i = from; i < to; i++)
            y[i] = x[i] < 0 ? -1.0 : 1.0;
        return;
    }
    const float *x = c->in[0].data;
    float *y = c->out[0].data;
    for (int64_t i = from; i < to; i++)
        y[i] = x[i] < 0 ? -1.0F : 1.0F;
}

static int sign_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    mc_pool_run(c->pool, pieces(mc_op_count(&c->in[0])), sign_piece, c);
    return 0;
}

/* ---- BinarizeWeight ---- */

static int weight_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    if (rc)
        return rc;
    const struct mc_vtype *w = c->in[0];
    int64_t outputs = mc_node_int(c->node, "outputs", 0);
    if (w->ranked && mc_shape_known(&w->shape)) {
        int64_t n = mc_shape_count(&w->shape), rank = w->shape.rank;
        bool last = mc_node_int(c->node, "last", 0);
        if (outputs < 1 || n % outputs ||
            (last && (rank < 1 || w->shape.dim[rank - 1] != outputs))) {
            char text[MC_SHAPE_TEXT];
            return mc_op_fail(err, MC_ESHAPE, c->node, "%s does not hold weights of %lld outputs",
                              mc_shape_text(&w->shape, text), (long long)outputs);
        }
    }
    return mc_op_same(c, err);
}

static void weight_output(void *ctx, int64_t output, int worker)
{
    (void)worker;
    const struct mc_call *c = ctx;
    int64_t m = mc_node_int(c->node, "outputs", 1), n = mc_op_count(&c->in[0]) / m;
    bool last = mc_node_int(c->node, "last", 0);
    int64_t at = last ? output : output * n, step = last ? m : 1;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += fabs(mc_buf_param(&c->in[0], at + i * step));
    double alpha = n ? sum / (double)n : 0;
    for (int64_t i = 0; i < n; i++) {
        bool negative = mc_buf_param(&c->in[0], at + i * step) < 0;
        mc_buf_put(&c->out[0], at + i * step, negative ? -alpha : alpha);
    }
}

static int weight_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    if (mc_node_int(c->node, "real", 0))
        mc_op_copy(c, &c->in[0], &c->out[0]);
    else if (mc_op_count(&c->in[0]))
        mc_pool_run(c->pool, mc_node_int(c->node, "outputs", 1), weight_output, c);
    return 0;
}

const struct mc_op mc_ops_binary_train[] = {
    {MC_GRAD_DOMAIN, "SignSTE", 1, 0, sign_infer, NULL, sign_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "BinarizeWeight", 1, 0, weight_infer, NULL, weight_run, NULL, NULL, NULL},
    {0},
};

/* ---- on a device ---- */

static bool device_can(const struct mc_call *c)
{
    return c->k->small.sign && c->k->small.sign_weight && mc_op_gpu_floats(c);
}

static int device_sign(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    c->k->small.sign(mc_op_count(&c->in[0]), c->in[0].data, c->out[0].data, c->pool);
    return 0;
}

static int device_weight(struct mc_call *c, struct mc_err *err)
{
    int64_t m = mc_node_int(c->node, "outputs", 1), count = mc_op_count(&c->in[0]), n = count / m;
    bool last = mc_node_int(c->node, "last", 0);
    struct mc_small_sign s = {m, n, last ? 1 : n, last ? m : 1, c->in[0].data, c->out[0].data};
    if (mc_node_int(c->node, "real", 0))
        return mc_gpu_copy(mc_pool_gpu(c->pool), c->out[0].data, c->in[0].data,
                           (size_t)count * sizeof(float), err);
    c->k->small.sign_weight(&s, c->pool);
    return 0;
}

const struct mc_op_gpu mc_op_gpu_binary_train[] = {
    {MC_GRAD_DOMAIN, "SignSTE", device_can, 0, NULL, device_sign, NULL, false},
    {MC_GRAD_DOMAIN, "BinarizeWeight", device_can, 0, NULL, device_weight, NULL, false},
    {0},
};
