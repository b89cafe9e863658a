/* Elements picked by index: Gather, GatherElements, GatherND, and what flows back through them. */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/index.h"

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
    for (int64_t i = 0; i < g.n; i++) {
        int rc = mc_index_at(c, &c->in[1], i, g.axis, &index[i], err);
        if (rc)
            return rc;
    }
    mc_move_gather(&g, c->pool);
    return 0;
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

static int elements_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *at = &c->in[1];
    int rank = x->shape.rank, axis = mc_shape_axis(mc_node_int(c->node, "axis", 0), rank);
    int64_t stride[MC_RANK_MAX], place[MC_RANK_MAX] = {0};
    size_t elem = (size_t)mc_op_elem_bytes(x->dtype);
    mc_op_strides(&x->shape, stride);
    for (int64_t i = 0, n = mc_op_count(at); i < n; i++) {
        int64_t pick, from = 0;
        int rc = mc_index_at(c, at, i, x->shape.dim[axis], &pick, err);
        if (rc)
            return rc;
        for (int d = 0; d < rank; d++)
            from += (d == axis ? pick : place[d]) * stride[d];
        memcpy((char *)c->out[0].data + (size_t)i * elem,
               (const char *)x->data + (size_t)from * elem, elem);
        for (int d = rank - 1; d >= 0 && ++place[d] == at->shape.dim[d]; d--)
            place[d] = 0;
    }
    return 0;
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

static int nd_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *at = &c->in[1];
    int lead = at->shape.rank - 1, depth = (int)at->shape.dim[lead], rank = x->shape.rank;
    int batch = (int)mc_node_int(c->node, "batch_dims", 0);
    int64_t stride[MC_RANK_MAX], batches = mc_op_span(x, 0, batch);
    int64_t per_batch = mc_op_span(at, batch, lead), whole = mc_op_span(x, batch, rank);
    size_t elem = (size_t)mc_op_elem_bytes(x->dtype);
    size_t row = (size_t)mc_op_span(x, batch + depth, rank) * elem;
    mc_op_strides(&x->shape, stride);
    for (int64_t i = 0; i < batches * per_batch; i++) {
        int64_t from = i / per_batch * whole;
        for (int d = 0; d < depth; d++) {
            int64_t pick;
            int rc = mc_index_at(c, at, i * depth + d, x->shape.dim[batch + d], &pick, err);
            if (rc)
                return rc;
            from += pick * stride[batch + d];
        }
        memcpy((char *)c->out[0].data + (size_t)i * row,
               (const char *)x->data + (size_t)from * elem, row);
    }
    return 0;
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
    for (int64_t i = 0; i < n; i++)
        if ((rc = mc_index_at(c, at, i, axis_n, &index[i], err)))
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
    int64_t stride[MC_RANK_MAX], place[MC_RANK_MAX] = {0}, *index = c->scratch;
    if (at->shape.rank != rank || mc_op_count(&c->in[0]) != mc_op_count(at))
        return wrong_size(c, err);
    mc_op_strides(&x->shape, stride);
    for (int64_t i = 0, n = mc_op_count(at); i < n; i++) {
        int64_t pick;
        if ((rc = mc_index_at(c, at, i, x->shape.dim[axis], &pick, err)))
            return rc;
        index[i] = 0;
        for (int d = 0; d < rank; d++)
            index[i] += (d == axis ? pick : place[d]) * stride[d];
        for (int d = rank - 1; d >= 0 && ++place[d] == at->shape.dim[d]; d--)
            place[d] = 0;
    }
    sum_rows(c, mc_op_count(at), index, 1);
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
    int64_t row = mc_op_span(x, inner, rank), per_batch = mc_op_span(at, batch, lead);
    int64_t n = mc_op_span(at, 0, lead), rows = mc_op_span(x, batch, inner), *index = c->scratch;
    if (mc_op_count(&c->in[0]) != n * row)
        return wrong_size(c, err);
    for (int64_t i = 0; i < n; i++) {
        int64_t to = 0;
        for (int d = 0; d < depth; d++) {
            int64_t pick;
            int rc = mc_index_at(c, at, i * depth + d, x->shape.dim[batch + d], &pick, err);
            if (rc)
                return rc;
            to = to * x->shape.dim[batch + d] + pick;
        }
        index[i] = i / per_batch * rows + to;
    }
    sum_rows(c, n, index, row);
    return 0;
}

const struct mc_op mc_ops_gathering[] = {
    {"", "Gather", 1, 0, gather_infer, gather_setup, gather_run, NULL, NULL, NULL},
    {"", "GatherElements", 11, 0, elements_infer, NULL, elements_run, NULL, NULL, NULL},
    {"", "GatherND", 11, 0, nd_infer, NULL, nd_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "GatherGrad", 1, 0, back_infer, back_setup, gather_back, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "GatherElementsGrad", 1, 0, back_infer, back_setup, elements_back, NULL, NULL,
     NULL},
    {MC_GRAD_DOMAIN, "GatherNDGrad", 1, 0, back_infer, back_setup, nd_back, NULL, NULL, NULL},
    {0},
};
