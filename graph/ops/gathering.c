/* Elements picked by index: Gather, GatherElements, GatherND, and what flows back through them. */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/index.h"
#include "graph/ops/op_gpu.h"

static int gather_axis(const struct mc_infer_ctx *c, int *ret, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 1, MC_RANK_MAX, err);
    *ret = -1;
    int rank = mc_op_rank(c, 0);
    if (!rc && rank > 0)
        rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 0), rank, ret, err);
    return rc;
}

static int carry_contents(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_contents x, at, y;
    if (mc_op_rank(c, 0) != 1 || !mc_op_contents(c, 0, &x) || !mc_op_numbers(c, 1, &at))
        return 0;
    y.n = at.n;
    for (int i = 0; i < at.n; i++) {
        int64_t from = at.value[i] < 0 ? at.value[i] + x.n : at.value[i];
        if (from < 0 || from >= x.n)
            return mc_op_fail(err, MC_EDATA, c->node, "index %lld is outside %d elements",
                              (long long)at.value[i], x.n);
        y.value[i] = x.value[from];
        y.sym[i] = x.sym[from];
    }
    return mc_op_set_contents(c, 0, &y, err);
}

static int gather_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int axis, rc = gather_axis(c, &axis, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *at = c->in[1];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked || !at->ranked)
        return 0;
    struct mc_shape y = {x->shape.rank - 1 + at->shape.rank, {0}};
    if (y.rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, c->node, "rank %d, at most %d can run", y.rank,
                          MC_RANK_MAX);
    for (int d = 0; d < y.rank; d++)
        y.dim[d] = d < axis                    ? x->shape.dim[d]
                   : d < axis + at->shape.rank ? at->shape.dim[d - axis]
                                               : x->shape.dim[d + 1 - at->shape.rank];
    mc_op_give(c, 0, x->dtype, &y);
    return carry_contents(c, err);
}

static int gather_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    c->scratch_bytes = (size_t)mc_op_count(&c->in[1]) * sizeof(int64_t);
    return 0;
}

static int gather_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0];
    int rank = x->shape.rank, axis = mc_shape_axis(mc_node_int(c->node, "axis", 0), rank);
    int64_t *index = c->scratch;
    struct mc_gather g = {.outer = mc_op_span(x, 0, axis),
                          .axis = x->shape.dim[axis],
                          .n = mc_op_count(&c->in[1]),
                          .index = index,
                          .src = x->data,
                          .dst = c->out[0].data};
    g.inner = (size_t)mc_op_span(x, axis + 1, rank) * (size_t)mc_op_elem_bytes(x->dtype);
    struct mc_places p = {
        .rank = 1, .dim = {g.n}, .depth = 1, .size = {g.axis}, .step = {1}, .place = index};
    int rc = mc_index_places(c, &c->in[1], &p, err);
    if (!rc)
        c->k->move.gather(&g, c->pool);
    return rc;
}

static int elements_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int axis, rc = gather_axis(c, &axis, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *at = c->in[1];
    if (x->ranked && at->ranked) {
        if (x->shape.rank != at->shape.rank)
            return mc_op_fail(err, MC_ESHAPE, c->node, "data has rank %d, indices %d",
                              x->shape.rank, at->shape.rank);
        for (int d = 0; d < x->shape.rank; d++)
            if (d != axis && x->shape.dim[d] >= 0 && at->shape.dim[d] > x->shape.dim[d])
                return mc_op_fail(err, MC_ESHAPE, c->node,
                                  "indices have %lld elements where the data has %lld",
                                  (long long)at->shape.dim[d], (long long)x->shape.dim[d]);
    }
    mc_op_give(c, 0, x->dtype, at->ranked ? &at->shape : NULL);
    return 0;
}

/* Where the elements are that `at` names along the axis of x, and in the other dimensions its own coordinates. */
static int element_places(const struct mc_call *c, const struct mc_shape *x,
                          const struct mc_buf *at, int axis, struct mc_err *err)
{
    struct mc_places p = {.rank = x->rank, .depth = 1, .size = {x->dim[axis]}, .place = c->scratch};
    mc_op_strides(x, p.stride);
    memcpy(p.dim, at->shape.dim, sizeof *p.dim * (size_t)x->rank);
    p.step[0] = p.stride[axis];
    p.stride[axis] = 0;
    return mc_index_places(c, at, &p, err);
}

/* Rows of the whole of x by the places in scratch. */
static void take(const struct mc_call *c, int64_t n, size_t row)
{
    size_t bytes = (size_t)mc_op_count(&c->in[0]) * (size_t)mc_op_elem_bytes(c->in[0].dtype);
    struct mc_gather g = {.outer = 1,
                          .axis = row ? (int64_t)(bytes / row) : 0,
                          .n = n,
                          .inner = row,
                          .index = c->scratch,
                          .src = c->in[0].data,
                          .dst = c->out[0].data};
    c->k->move.gather(&g, c->pool);
}

static int elements_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *at = &c->in[1];
    int axis = mc_shape_axis(mc_node_int(c->node, "axis", 0), x->shape.rank);
    int rc = element_places(c, &x->shape, at, axis, err);
    if (!rc)
        take(c, mc_op_count(at), (size_t)mc_op_elem_bytes(x->dtype));
    return rc;
}

/* ---- GatherND ---- */

static int nd_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    int64_t batch = mc_node_int(c->node, "batch_dims", 0);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 1, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 1, MC_RANK_MAX, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *at = c->in[1];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked || !at->ranked)
        return 0;
    int lead = at->shape.rank - 1, rank = x->shape.rank;
    if (batch < 0 || batch > lead || batch > rank)
        return mc_op_fail(err, MC_ESHAPE, c->node, "batch_dims %lld of ranks %d and %d",
                          (long long)batch, rank, at->shape.rank);
    int64_t depth = at->shape.dim[lead], same;
    for (int d = 0; d < batch && !rc; d++)
        rc = mc_op_need_dim(c->node, "batch dimensions", x->shape.dim[d], at->shape.dim[d], &same,
                            err);
    if (rc || depth < 0)
        return rc;
    if (depth > rank - batch)
        return mc_op_fail(err, MC_ESHAPE, c->node, "indices of %lld numbers for rank %d",
                          (long long)depth, rank - (int)batch);
    int rest = (int)(batch + depth);
    struct mc_shape y = {lead + rank - rest, {0}};
    if (y.rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, c->node, "rank %d, at most %d can run", y.rank,
                          MC_RANK_MAX);
    for (int d = 0; d < y.rank; d++)
        y.dim[d] = d < lead ? at->shape.dim[d] : x->shape.dim[d - lead + rest];
    mc_op_give(c, 0, x->dtype, &y);
    return 0;
}

static int nd_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    c->scratch_bytes = (size_t)mc_op_span(&c->in[1], 0, c->in[1].shape.rank - 1) * sizeof(int64_t);
    return 0;
}

/* Numbers of the rows of x, behind `batch` equal dimensions, that `at` names. */
static int row_places(const struct mc_call *c, const struct mc_buf *x, const struct mc_buf *at,
                      int batch, struct mc_err *err)
{
    int lead = at->shape.rank - 1, depth = (int)at->shape.dim[lead];
    struct mc_places p = {.rank = 2,
                          .dim = {mc_op_span(at, 0, batch), mc_op_span(at, batch, lead)},
                          .stride = {mc_op_span(x, batch, batch + depth), 0},
                          .depth = depth,
                          .place = c->scratch};
    for (int d = 0; d < depth; d++) {
        p.size[d] = x->shape.dim[batch + d];
        p.step[d] = mc_op_span(x, batch + d + 1, batch + depth);
    }
    return mc_index_places(c, at, &p, err);
}

static int nd_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *at = &c->in[1];
    int lead = at->shape.rank - 1, depth = (int)at->shape.dim[lead], rank = x->shape.rank;
    int batch = (int)mc_node_int(c->node, "batch_dims", 0);
    size_t row = (size_t)mc_op_span(x, batch + depth, rank) * (size_t)mc_op_elem_bytes(x->dtype);
    int rc = row_places(c, x, at, batch, err);
    if (!rc)
        take(c, mc_op_span(at, 0, lead), row);
    return rc;
}

/* ---- gradients: the rows of dy added to zeros where they were taken from; inputs dy, indices, shape ---- */

static int back_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 3, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    return rc ? rc : mc_op_give_shape(c, 2, err);
}

static int back_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *at = &c->in[1];
    int64_t n = mc_op_count(at), rows = at->shape.rank ? mc_op_span(at, 0, at->shape.rank - 1) : 1;
    c->scratch_bytes = (size_t)(n > rows ? n : rows) * sizeof(int64_t);
    return 0;
}

static int wrong_size(const struct mc_call *c, struct mc_err *err)
{
    return mc_op_fail(err, MC_ESHAPE, c->node, "the gradient does not fit the indices");
}

static int gather_back(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->out[0], *at = &c->in[1];
    int rank = x->shape.rank, axis, rc;
    rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 0), rank, &axis, err);
    if (rc)
        return rc;
    int64_t *index = c->scratch, n = mc_op_count(at), axis_n = x->shape.dim[axis];
    int64_t outer = mc_op_span(x, 0, axis), inner = mc_op_span(x, axis + 1, rank);
    if (mc_op_count(&c->in[0]) != outer * n * inner)
        return wrong_size(c, err);
    struct mc_places p = {
        .rank = 1, .dim = {n}, .depth = 1, .size = {axis_n}, .step = {1}, .place = index};
    if ((rc = mc_index_places(c, at, &p, err)))
        return rc;
    struct mc_scatter_sum s = {.rank = 3,
                               .from = {outer, n, inner},
                               .to = {outer, axis_n, inner},
                               .index = {NULL, index, NULL},
                               .src = c->in[0].data,
                               .dst = x->data};
    c->k->scatter.sum(&s, c->pool);
    return 0;
}

/* n rows of dy, added to the rows of dx whose numbers `index` holds. */
static void sum_rows(const struct mc_call *c, int64_t n, const int64_t *index, int64_t row)
{
    int64_t rows = row ? mc_op_count(&c->out[0]) / row : 0;
    struct mc_scatter_sum s = {.rank = 2,
                               .from = {n, row},
                               .to = {rows, row},
                               .index = {index, NULL},
                               .src = c->in[0].data,
                               .dst = c->out[0].data};
    c->k->scatter.sum(&s, c->pool);
}

static int elements_back(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->out[0], *at = &c->in[1];
    int rank = x->shape.rank, axis, rc;
    rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 0), rank, &axis, err);
    if (rc)
        return rc;
    if (at->shape.rank != rank || mc_op_count(&c->in[0]) != mc_op_count(at))
        return wrong_size(c, err);
    if ((rc = element_places(c, &x->shape, at, axis, err)))
        return rc;
    sum_rows(c, mc_op_count(at), c->scratch, 1);
    return 0;
}

static int nd_back(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->out[0], *at = &c->in[1];
    int lead = at->shape.rank - 1, depth = (int)at->shape.dim[lead], rank = x->shape.rank;
    int batch = (int)mc_node_int(c->node, "batch_dims", 0), inner = batch + depth;
    if (batch < 0 || batch > lead || inner > rank)
        return mc_op_fail(err, MC_ESHAPE, c->node, "indices of %d numbers for rank %d", depth,
                          rank);
    int64_t row = mc_op_span(x, inner, rank), n = mc_op_span(at, 0, lead);
    if (mc_op_count(&c->in[0]) != n * row)
        return wrong_size(c, err);
    int rc = row_places(c, x, at, batch, err);
    if (!rc)
        sum_rows(c, n, c->scratch, row);
    return rc;
}

const struct mc_op mc_ops_gathering[] = {
    {"", "Gather", 1, 0, gather_infer, gather_setup, gather_run, NULL, NULL, NULL},
    {"", "GatherElements", 11, 0, elements_infer, gather_setup, elements_run, NULL, NULL, NULL},
    {"", "GatherND", 11, 0, nd_infer, nd_setup, nd_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "GatherGrad", 1, 0, back_infer, back_setup, gather_back, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "GatherElementsGrad", 1, 0, back_infer, back_setup, elements_back, NULL, NULL,
     NULL},
    {MC_GRAD_DOMAIN, "GatherNDGrad", 1, 0, back_infer, back_setup, nd_back, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->places.find && c->k->move.gather;
}

/* Lists of what comes to a place have numbers of 32 bits. */
static bool gpu_can_sum(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->places.find && c->k->scatter.sum &&
           mc_op_count(&c->out[0]) < INT32_MAX && mc_op_count(&c->in[0]) < INT32_MAX;
}

const struct mc_op_gpu mc_op_gpu_gathering[] = {
    {"", "Gather", .can = gpu_can},
    {"", "GatherElements", .can = gpu_can},
    {"", "GatherND", .can = gpu_can},
    {MC_GRAD_DOMAIN, "GatherGrad", .can = gpu_can_sum, .host_in = 1 << 2},
    {MC_GRAD_DOMAIN, "GatherElementsGrad", .can = gpu_can_sum, .host_in = 1 << 2},
    {MC_GRAD_DOMAIN, "GatherNDGrad", .can = gpu_can_sum, .host_in = 1 << 2},
    {0},
};
