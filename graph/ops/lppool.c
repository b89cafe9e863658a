/* LpPool, GlobalLpPool, MaxUnpool, LRN. */
#include <math.h>
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/window.h"

/* ---- p-norms of windows ---- */

static int power_of(const struct mc_node *n, double *ret, struct mc_err *err)
{
    const struct mc_attr *a = mc_node_attr(n, "p");
    *ret = a && a->type == MC_ATTR_FLOAT ? (double)mc_node_float(n, "p", 2)
                                         : (double)mc_node_int(n, "p", 2);
    if (*ret > 0 && isfinite(*ret))
        return 0;
    return mc_op_fail(err, MC_ESHAPE, n, "p is %g, must be above 0", *ret);
}

static double powered(double x, double p)
{
    x = fabs(x);
    return p == 1 ? x : p == 2 ? x * x : pow(x, p);
}

static double rooted(double sum, double p)
{
    return p == 1 ? sum : p == 2 ? sqrt(sum) : pow(sum, 1 / p);
}

static int lp_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    double p;
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, MC_RANK_MAX, err);
    rc = rc ? rc : power_of(c->node, &p, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    struct mc_shape y = x->shape;
    struct mc_window_dims w;
    if (x->ranked && (rc = mc_window_infer(c->node, &x->shape, NULL, &w, err)))
        return rc;
    for (int d = 2; x->ranked && d < y.rank; d++)
        y.dim[d] = w.out[d + 3 - y.rank];
    mc_op_give(c, 0, x->dtype, x->ranked ? &y : NULL);
    return 0;
}

struct lp_job {
    const struct mc_call *c;
    struct mc_window_dims w;
    double p;
};

static double lp_at(const struct lp_job *j, int64_t plane, const int64_t o[3])
{
    const struct mc_window_dims *w = &j->w;
    int64_t k[3], i[3];
    double sum = 0;
    for (k[0] = 0; k[0] < w->kernel[0]; k[0]++)
        for (k[1] = 0; k[1] < w->kernel[1]; k[1]++)
            for (k[2] = 0; k[2] < w->kernel[2]; k[2]++) {
                bool inside = true;
                for (int d = 0; d < 3; d++) {
                    i[d] = o[d] * w->stride[d] + k[d] * w->dilation[d] - w->pad[d];
                    inside = inside && i[d] >= 0 && i[d] < w->in[d];
                }
                int64_t at = ((plane * w->in[0] + i[0]) * w->in[1] + i[1]) * w->in[2] + i[2];
                if (inside)
                    sum += powered(mc_buf_param(&j->c->in[0], at), j->p);
            }
    return rooted(sum, j->p);
}

static void lp_plane(void *ctx, int64_t plane, int worker)
{
    (void)worker;
    const struct lp_job *j = ctx;
    const int64_t *out = j->w.out;
    int64_t o[3], at = plane * out[0] * out[1] * out[2];
    for (o[0] = 0; o[0] < out[0]; o[0]++)
        for (o[1] = 0; o[1] < out[1]; o[1]++)
            for (o[2] = 0; o[2] < out[2]; o[2]++)
                mc_set_param(j->c->out[0].data, j->c->k->elem_bytes, at++, lp_at(j, plane, o));
}

static int lp_run(struct mc_call *c, struct mc_err *err)
{
    struct lp_job j = {.c = c};
    int rc = power_of(c->node, &j.p, err);
    rc = rc ? rc : mc_window_infer(c->node, &c->in[0].shape, NULL, &j.w, err);
    if (!rc)
        mc_pool_run(c->pool, mc_op_span(&c->in[0], 0, 2), lp_plane, &j);
    return rc;
}

static int global_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    double p;
    int rc = mc_window_global(c, err);
    return rc ? rc : power_of(c->node, &p, err);
}

static int global_run(struct mc_call *c, struct mc_err *err)
{
    double p;
    int rc = power_of(c->node, &p, err);
    int64_t n = mc_op_span(&c->in[0], 2, c->in[0].shape.rank);
    for (int64_t r = 0, rows = mc_op_span(&c->in[0], 0, 2); r < rows && !rc; r++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += powered(mc_buf_param(&c->in[0], r * n + i), p);
        mc_set_param(c->out[0].data, c->k->elem_bytes, r, rooted(sum, p));
    }
    return rc;
}

/* ---- their gradients: LpPoolGrad(dy, x, y), GlobalLpPoolGrad ---- */

static int lp_grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    double p;
    int rc = mc_op_arity(c, 3, 3, err);
    rc = rc ? rc : mc_op_need_float(c, 1, err);
    rc = rc ? rc : power_of(c->node, &p, err);
    for (int i = 0; i < 3 && !rc; i++) {
        rc = mc_op_need_rank(c, i, 2, MC_RANK_MAX, err);
        rc = rc ? rc : mc_op_need_same(c, 1, i, err);
    }
    if (!rc)
        mc_op_give(c, 0, c->in[1]->dtype, c->in[1]->ranked ? &c->in[1]->shape : NULL);
    return rc;
}

/* y = (sum of |x|^p)^(1/p): dy/dx = sign(x) (|x|/y)^(p-1), and 0 where nothing is. */
static double lp_slope(double x, double y, double p)
{
    if (x == 0 || y == 0)
        return 0;
    double s = p == 1 ? 1 : p == 2 ? fabs(x) / y : pow(fabs(x) / y, p - 1);
    return x < 0 ? -s : s;
}

static void lp_grad_window(const struct lp_job *j, int64_t plane, const int64_t o[3], int64_t to)
{
    const struct mc_window_dims *w = &j->w;
    const struct mc_call *c = j->c;
    double dy = mc_buf_param(&c->in[0], to), y = mc_buf_param(&c->in[2], to);
    int64_t k[3], i[3];
    for (k[0] = 0; k[0] < w->kernel[0]; k[0]++)
        for (k[1] = 0; k[1] < w->kernel[1]; k[1]++)
            for (k[2] = 0; k[2] < w->kernel[2]; k[2]++) {
                bool inside = true;
                for (int d = 0; d < 3; d++) {
                    i[d] = o[d] * w->stride[d] + k[d] * w->dilation[d] - w->pad[d];
                    inside = inside && i[d] >= 0 && i[d] < w->in[d];
                }
                int64_t at = ((plane * w->in[0] + i[0]) * w->in[1] + i[1]) * w->in[2] + i[2];
                if (!inside)
                    continue;
                double dx = mc_buf_param(&c->out[0], at);
                dx += dy * lp_slope(mc_buf_param(&c->in[1], at), y, j->p);
                mc_set_param(c->out[0].data, c->k->elem_bytes, at, dx);
            }
}

static void lp_grad_plane(void *ctx, int64_t plane, int worker)
{
    (void)worker;
    const struct lp_job *j = ctx;
    const int64_t *out = j->w.out, in = j->w.in[0] * j->w.in[1] * j->w.in[2];
    int64_t o[3], at = plane * out[0] * out[1] * out[2], elem = j->c->k->elem_bytes;
    memset((char *)j->c->out[0].data + plane * in * elem, 0, (size_t)(in * elem));
    for (o[0] = 0; o[0] < out[0]; o[0]++)
        for (o[1] = 0; o[1] < out[1]; o[1]++)
            for (o[2] = 0; o[2] < out[2]; o[2]++)
                lp_grad_window(j, plane, o, at++);
}

static int lp_grad_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[1];
    bool global = c->node->op_type[0] == 'G';
    struct lp_job j = {.c = c};
    int rc = power_of(c->node, &j.p, err);
    int64_t n = mc_op_span(x, 2, x->shape.rank), planes = mc_op_span(x, 0, 2);
    j.w = (struct mc_window_dims){{1, 1, n}, {1, 1, 1}, {1, 1, n}, {1, 1, 1}, {1, 1, 1}, {0}, {0}};
    if (!rc && !global)
        rc = mc_window_infer(c->node, &x->shape, NULL, &j.w, err);
    if (!rc && mc_op_count(&c->in[0]) != planes * j.w.out[0] * j.w.out[1] * j.w.out[2])
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "x and dy do not fit");
    if (!rc)
        mc_pool_run(c->pool, planes, lp_grad_plane, &j);
    return rc;
}

/* ---- MaxUnpool ---- */

static int unpooled(const struct mc_node *n, const struct mc_shape *x, struct mc_shape *y,
                    struct mc_err *err)
{
    struct mc_window_dims w;
    int rc = mc_window_transposed(n, x, NULL, &w, err);
    *y = *x;
    for (int d = 2; d < x->rank && !rc; d++)
        y->dim[d] = w.out[d + 3 - x->rank];
    return rc;
}

static int unpool_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 3, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, MC_RANK_MAX, err);
    const struct mc_vtype *x = c->in[0], *at = c->in[1];
    if (!rc && at->dtype && at->dtype != MC_DTYPE_I64)
        rc = mc_op_fail(err, MC_EDTYPE, c->node, "positions are %s, must be int64",
                        mc_dtype_name((int)at->dtype));
    if (!rc && x->ranked && at->ranked && mc_shape_known(&x->shape) && mc_shape_known(&at->shape) &&
        !mc_shape_equal(&x->shape, &at->shape))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "values and positions have different shapes");
    rc = rc ? rc : mc_op_need_index(c, 2, err);
    if (rc)
        return rc;
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked)
        return 0;
    struct mc_shape y = x->shape;
    struct mc_contents size;
    if (!mc_op_in(c, 2)) {
        rc = unpooled(c->node, &x->shape, &y, err);
    } else {
        bool known = mc_op_contents(c, 2, &size);
        if (known && size.n != y.rank)
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "output_shape has %d values for rank %d",
                            size.n, y.rank);
        for (int d = 0; d < y.rank && !rc; d++) {
            y.dim[d] = !known ? MC_DIM_ANY : size.sym[d] ? size.sym[d] : size.value[d];
            if (known && !size.sym[d] && size.value[d] < 0)
                rc = mc_op_fail(err, MC_ESHAPE, c->node, "output_shape holds %lld",
                                (long long)size.value[d]);
        }
    }
    if (!rc)
        mc_op_give(c, 0, x->dtype, &y);
    return rc;
}

static int unpool_run(struct mc_call *c, struct mc_err *err)
{
    const int64_t *at = c->in[1].data;
    int64_t n = mc_op_count(&c->out[0]);
    int elem = c->k->elem_bytes;
    double zero;
    mc_move_fill(c->out[0].data, n, mc_op_scalar(elem, 0, &zero), elem, c->pool);
    for (int64_t i = 0, all = mc_op_count(&c->in[0]); i < all; i++) {
        if (at[i] < 0 || at[i] >= n)
            return mc_op_fail(err, MC_EDATA, c->node, "position %lld is outside %lld elements",
                              (long long)at[i], (long long)n);
        mc_set_param(c->out[0].data, elem, at[i], mc_buf_param(&c->in[0], i));
    }
    return 0;
}

/* ---- LRN ---- */

static int lrn_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int64_t size = mc_node_int(c->node, "size", 0);
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, MC_RANK_MAX, err);
    if (!rc && (size < 1 || size > INT32_MAX))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "size %lld, must be at least 1", (long long)size);
    return rc ? rc : mc_op_same(c, err);
}

static int lrn_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0];
    struct mc_lrn l = {.outer = x->shape.dim[0],
                       .channels = x->shape.dim[1],
                       .inner = mc_op_span(x, 2, x->shape.rank),
                       .size = mc_node_int(c->node, "size", 1),
                       .alpha = (double)mc_node_float(c->node, "alpha", 1e-4f),
                       .beta = (double)mc_node_float(c->node, "beta", 0.75f),
                       .bias = (double)mc_node_float(c->node, "bias", 1),
                       .x = x->data,
                       .y = c->out[0].data};
    c->k->spatial.lrn(&l, c->pool);
    return 0;
}

const struct mc_op mc_ops_lppool[] = {
    {"", "LpPool", 2, 0, lp_infer, NULL, lp_run, NULL, NULL, NULL},
    {"", "GlobalLpPool", 1, 0, global_infer, NULL, global_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "LpPoolGrad", 1, 0, lp_grad_infer, NULL, lp_grad_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "GlobalLpPoolGrad", 1, 0, lp_grad_infer, NULL, lp_grad_run, NULL, NULL, NULL},
    {"", "MaxUnpool", 9, 0, unpool_infer, NULL, unpool_run, NULL, NULL, NULL},
    {"", "LRN", 1, 0, lrn_infer, NULL, lrn_run, NULL, NULL, NULL},
    {0},
};

static bool lrn_can(const struct mc_call *c)
{
    return c->k->spatial.lrn && mc_op_gpu_floats(c);
}

const struct mc_op_gpu mc_op_gpu_lppool[] = {
    {"", "LRN", .can = lrn_can},
    {0},
};
