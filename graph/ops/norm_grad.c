/* Gradients of norms, of ai.mcompress.grad: (dy, x, scale) to (dx, dscale, dbias).
 *
 *     LayerNormGrad  rows are the dimensions from `axis` on, scale has their shape; rms 1: without a mean
 *     GroupNormGrad  rows are num_groups parts of an image's channels, or with 0 each channel; scale has an element
 *                    for each channel, or for each group */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

enum { DY, X, SCALE, INPUTS };

static int need_inputs(const struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, INPUTS, INPUTS, err);
    for (int i = 0; i < INPUTS && !rc; i++) {
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_same(c, DY, i, err);
    }
    return rc;
}

static void give(struct mc_infer_ctx *c, const struct mc_shape *params)
{
    const struct mc_vtype *x = c->in[X]->ranked ? c->in[X] : c->in[DY];
    mc_op_give(c, 0, x->dtype, x->ranked ? &x->shape : NULL);
    mc_op_give(c, 1, x->dtype, params);
    mc_op_give(c, 2, x->dtype, params);
}

static int layer_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = need_inputs(c, err), axis, rank = rc ? -1 : mc_op_rank(c, X);
    if (rc || rank < 0) {
        if (!rc)
            give(c, c->in[SCALE]->ranked ? &c->in[SCALE]->shape : NULL);
        return rc;
    }
    const struct mc_shape *x = &c->in[X]->shape;
    rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", -1), rank, &axis, err);
    struct mc_shape params = rc ? (struct mc_shape){0} : mc_shape_of(rank - axis, x->dim + axis);
    rc = rc ? rc : mc_op_need_rank(c, SCALE, params.rank, params.rank, err);
    for (int d = 0; d < params.rank && !rc && c->in[SCALE]->ranked; d++)
        rc = mc_op_need_dim(c->node, "scale and x", c->in[SCALE]->shape.dim[d], params.dim[d],
                            &params.dim[d], err);
    if (!rc)
        give(c, &params);
    return rc;
}

static int group_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = need_inputs(c, err);
    rc = rc ? rc : mc_op_need_rank(c, X, 2, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, SCALE, 1, 1, err);
    if (rc)
        return rc;
    int64_t groups = mc_node_int(c->node, "num_groups", 0);
    int64_t channels = c->in[X]->ranked ? c->in[X]->shape.dim[1] : -1;
    int64_t params = c->in[SCALE]->ranked ? c->in[SCALE]->shape.dim[0] : -1;
    if (groups < 0 || (groups && channels >= 0 && channels % groups) ||
        (channels >= 0 && params >= 0 && params != channels && params != groups))
        return mc_op_fail(err, MC_ESHAPE, c->node, "%lld groups of %lld channels, %lld scales",
                          (long long)groups, (long long)channels, (long long)params);
    give(c, c->in[SCALE]->ranked ? &c->in[SCALE]->shape : NULL);
    return 0;
}

static double wanted; /* stands for memory that is not there yet */

static struct mc_norm_grad job_of(const struct mc_call *c)
{
    const struct mc_buf *x = &c->in[X];
    struct mc_norm_grad g = {.groups = 1, .inner = 1};
    g.eps = (double)mc_node_float(c->node, "epsilon", 1e-5f);
    g.rms = mc_node_int(c->node, "rms", 0) != 0;
    if (!strcmp(c->node->op_type, "LayerNormGrad")) {
        int axis = mc_shape_axis(mc_node_int(c->node, "axis", -1), x->shape.rank);
        g.rows = mc_op_span(x, 0, axis);
        g.n = mc_op_span(x, axis, x->shape.rank);
    } else {
        int64_t groups = mc_node_int(c->node, "num_groups", 0), channels = x->shape.dim[1];
        g.groups = groups ? groups : channels;
        g.inner = mc_op_span(x, 2, x->shape.rank);
        g.rows = x->shape.dim[0] * g.groups;
        g.n = g.groups ? channels / g.groups * g.inner : 0;
        if (mc_op_count(&c->in[SCALE]) != channels)
            g.inner = g.n;
    }
    const struct mc_buf *dx = mc_op_res(c, 0), *dscale = mc_op_res(c, 1), *dbias = mc_op_res(c, 2);
    g.dy = c->in[DY].data;
    g.x = x->data;
    g.scale = c->in[SCALE].data;
    g.dx = dx ? dx->data : NULL;
    g.dscale = dscale ? (dscale->data ? dscale->data : &wanted) : NULL;
    g.dbias = dbias ? (dbias->data ? dbias->data : &wanted) : NULL;
    return g;
}

static int norm_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_norm_grad g = job_of(c);
    c->scratch_bytes = g.n > 0 ? c->k->norm.norm_grad_scratch(&g) : 0;
    return 0;
}

static int norm_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct mc_norm_grad g = job_of(c);
    for (int i = 1; i < 3 && g.n == 0; i++) { /* parameters of no elements */
        struct mc_buf *d = mc_op_res(c, i);
        if (d && d->data)
            memset(d->data, 0, (size_t)(mc_op_count(d) * c->k->elem_bytes));
    }
    if (g.n > 0)
        c->k->norm.norm_grad(&g, c->scratch, c->pool);
    return 0;
}

#define ROW(name, infer)                                                                           \
    {                                                                                              \
        MC_GRAD_DOMAIN, name, 1, MC_OP_INPLACE, infer, norm_setup, norm_run, NULL, NULL, NULL      \
    }
const struct mc_op mc_ops_norm_grad[] = {ROW("LayerNormGrad", layer_infer),
                                         ROW("GroupNormGrad", group_infer),
                                         {0}};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->norm.norm_grad && job_of(c).n > 0;
}

const struct mc_op_gpu mc_op_gpu_norm_grad[] = {
    {MC_GRAD_DOMAIN, "LayerNormGrad", .can = gpu_can},
    {MC_GRAD_DOMAIN, "GroupNormGrad", .can = gpu_can},
    {0},
};
