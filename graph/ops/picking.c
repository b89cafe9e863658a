/* Elements set or moved by index: OneHot, ReverseSequence. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/index.h"
#include "graph/ops/op_gpu.h"

/* ---- OneHot ---- */

/* The depth where it is known, -1 where not. */
static int onehot_depth(const struct mc_infer_ctx *c, int64_t *ret, struct mc_err *err)
{
    const struct mc_vtype *depth = c->in[1];
    struct mc_contents p;
    double v;
    *ret = -1;
    if (mc_op_numbers(c, 1, &p) && p.n == 1) {
        *ret = p.value[0];
    } else if (depth->known && mc_shape_count(&depth->shape) == 1) {
        int rc = mc_dtype_to_f64((int)depth->dtype, depth->known->data, &v, 1, err);
        if (rc)
            return rc;
        *ret = v > 0 && v < 0x1p62 ? (int64_t)v : 0;
    } else {
        return 0;
    }
    if (*ret < 1)
        return mc_op_fail(err, MC_ESHAPE, c->node, "depth is %lld, must be at least 1",
                          (long long)*ret);
    return 0;
}

static int onehot_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 3, err), axis;
    int64_t depth, two;
    for (int i = 0; i < 2 && !rc; i++)
        rc = mc_index_need_order(c, i, err);
    rc = rc ? rc : mc_op_need_single(c, 1, err);
    rc = rc ? rc : mc_op_need_movable(c, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, 2, 1, 1, err);
    rc = rc ? rc : onehot_depth(c, &depth, err);
    if (rc)
        return rc;
    const struct mc_vtype *at = c->in[0], *values = c->in[2];
    if (values->ranked &&
        (rc = mc_op_need_dim(c->node, "number of values", values->shape.dim[0], 2, &two, err)))
        return rc;
    mc_op_give(c, 0, values->dtype, NULL);
    if (!at->ranked)
        return 0;
    struct mc_shape y = {at->shape.rank + 1, {0}};
    if (y.rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, c->node, "rank %d, at most %d can run", y.rank,
                          MC_RANK_MAX);
    if ((rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", -1), y.rank, &axis,
                              err)))
        return rc;
    for (int d = 0; d < y.rank; d++)
        y.dim[d] = d == axis ? depth : at->shape.dim[d - (d > axis)];
    mc_op_give(c, 0, values->dtype, &y);
    return 0;
}

/* The place of index i of `depth`, -1 where it is outside: such a row stays off. */
static int64_t hot_place(const struct mc_buf *at, int64_t i, int64_t depth, struct mc_err *err)
{
    double v;
    int64_t whole = 0;
    const char *from = (const char *)at->data + i * mc_op_elem_bytes(at->dtype);
    if (mc_op_is_float(at->dtype)) {
        mc_dtype_to_f64((int)at->dtype, from, &v, 1, err);
        whole = fabs(v) < 0x1p62 ? (int64_t)v : INT64_MAX;
    } else {
        mc_dtype_to_i64((int)at->dtype, from, &whole, 1, err);
    }
    whole += whole < 0 ? depth : 0;
    return whole >= 0 && whole < depth ? whole : -1;
}

static int onehot_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *at = &c->in[0], *y = &c->out[0];
    int axis = mc_shape_axis(mc_node_int(c->node, "axis", -1), y->shape.rank);
    int64_t depth = y->shape.dim[axis], inner = mc_op_span(y, axis + 1, y->shape.rank);
    int elem = mc_op_elem_bytes(y->dtype);
    const char *values = c->in[2].data; /* off, on */
    mc_move_fill(y->data, mc_op_count(y), values, elem, c->pool);
    for (int64_t i = 0, n = mc_op_count(at); i < n; i++) {
        int64_t place = hot_place(at, i, depth, err);
        if (place >= 0)
            memcpy((char *)y->data + ((i / inner * depth + place) * inner + i % inner) * elem,
                   values + elem, (size_t)elem);
    }
    return 0;
}

/* ---- ReverseSequence ---- */

static int reverse_axes(const struct mc_node *n, int64_t *batch, int64_t *time, struct mc_err *err)
{
    *batch = mc_node_int(n, "batch_axis", 1);
    *time = mc_node_int(n, "time_axis", 0);
    if ((*batch == 0 && *time == 1) || (*batch == 1 && *time == 0))
        return 0;
    return mc_op_fail(err, MC_ESHAPE, n, "batch_axis %lld and time_axis %lld, must be 0 and 1",
                      (long long)*batch, (long long)*time);
}

static int reverse_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int64_t batch, time, same;
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 1, 1, err);
    rc = rc ? rc : reverse_axes(c->node, &batch, &time, err);
    const struct mc_vtype *x = mc_op_in(c, 0), *lens = mc_op_in(c, 1);
    if (!rc && x->ranked && lens->ranked)
        rc = mc_op_need_dim(c->node, "batch and sequence_lens", x->shape.dim[batch],
                            lens->shape.dim[0], &same, err);
    return rc ? rc : mc_op_same(c, err);
}

static int reverse_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *lens = &c->in[1];
    int64_t batch, time;
    int rc = reverse_axes(c->node, &batch, &time, err);
    if (rc)
        return rc;
    int64_t dim[2] = {x->shape.dim[0], x->shape.dim[1]}, step[2] = {dim[1], 1};
    size_t row = (size_t)(mc_op_span(x, 2, x->shape.rank) * mc_op_elem_bytes(x->dtype));
    for (int64_t b = 0; b < dim[batch]; b++) {
        int64_t len = lens->dtype == MC_DTYPE_I32 ? ((const int32_t *)lens->data)[b]
                                                  : ((const int64_t *)lens->data)[b];
        if (len < 0 || len > dim[time])
            return mc_op_fail(err, MC_EDATA, c->node, "sequence %lld has length %lld of %lld steps",
                              (long long)b, (long long)len, (long long)dim[time]);
        for (int64_t t = 0; t < dim[time]; t++) {
            int64_t from = b * step[batch] + (t < len ? len - 1 - t : t) * step[time];
            int64_t to = b * step[batch] + t * step[time];
            memcpy((char *)c->out[0].data + (size_t)to * row,
                   (const char *)x->data + (size_t)from * row, row);
        }
    }
    return 0;
}

const struct mc_op mc_ops_picking[] = {
    {"", "OneHot", 9, 0, onehot_infer, NULL, onehot_run, NULL, NULL, NULL},
    {"", "ReverseSequence", 10, 0, reverse_infer, NULL, reverse_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can_onehot(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->values.hot && c->in[0].dtype != MC_DTYPE_F64 &&
           mc_op_elem_bytes(c->out[0].dtype) <= 8;
}

static int gpu_onehot(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *at = &c->in[0], *y = &c->out[0];
    int axis = mc_shape_axis(mc_node_int(c->node, "axis", -1), y->shape.rank);
    const struct mc_hot h = {.type = mc_op_elem(at->dtype),
                             .outer = mc_op_span(y, 0, axis),
                             .depth = y->shape.dim[axis],
                             .inner = mc_op_span(y, axis + 1, y->shape.rank),
                             .elem_bytes = mc_op_elem_bytes(y->dtype),
                             .at = at->data,
                             .value = c->in[2].data,
                             .y = y->data};
    c->k->values.hot(&h);
    return 0;
}

static bool gpu_can_reverse(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->values.backward && mc_op_elem_bytes(c->in[0].dtype) <= 8;
}

static int gpu_reverse(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *lens = &c->in[1];
    int64_t batch, time;
    int rc = reverse_axes(c->node, &batch, &time, err);
    if (rc)
        return rc;
    const struct mc_backward b = {.batch = x->shape.dim[batch],
                                  .time = x->shape.dim[time],
                                  .row = mc_op_span(x, 2, x->shape.rank),
                                  .batch_stride = batch ? 1 : x->shape.dim[1],
                                  .time_stride = time ? 1 : x->shape.dim[1],
                                  .elem_bytes = mc_op_elem_bytes(x->dtype),
                                  .length_bytes = mc_op_elem_bytes(lens->dtype),
                                  .length = lens->data,
                                  .x = x->data,
                                  .y = c->out[0].data};
    c->k->values.backward(&b);
    return 0;
}

const struct mc_op_gpu mc_op_gpu_picking[] = {
    {"", "OneHot", .can = gpu_can_onehot, .host_in = 1 << 1, .run = gpu_onehot},
    {"", "ReverseSequence", .can = gpu_can_reverse, .run = gpu_reverse},
    {0},
};
