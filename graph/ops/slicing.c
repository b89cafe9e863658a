/* Slice: ranges are attributes before version 10, inputs from then on. SliceGrad: the other way round. */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

struct ranges { /* one entry per axis that is named */
    int n;
    int64_t axis[MC_RANK_MAX], start[MC_RANK_MAX], end[MC_RANK_MAX], step[MC_RANK_MAX];
    int64_t start_sym[MC_RANK_MAX], end_sym[MC_RANK_MAX]; /* as in mc_partial */
};

/* Range r of a dimension, clamped: where it starts and how many elements it has; -1 elements: unknown. */
static int64_t range_length(const struct ranges *r, int i, int64_t dim, int64_t *ret_start)
{
    int64_t start = r->start[i], end = r->end[i], step = r->step[i];
    *ret_start = 0;
    if (dim < 0 || r->start_sym[i] || r->end_sym[i])
        return -1;
    start += start < 0 ? dim : 0;
    end += end < 0 ? dim : 0;
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? dim : dim - 1;
    start = start < 0 ? 0 : start > high ? high : start;
    end = end < low ? low : end > dim ? dim : end;
    *ret_start = start;
    if (dim == 0 || (step > 0 ? end <= start : end >= start))
        return 0;
    uint64_t gap = step > 0 ? (uint64_t)(end - start) : (uint64_t)(start - end);
    uint64_t by = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    return (int64_t)((gap + by - 1) / by);
}

static int slice_axes(const struct mc_node *n, struct ranges *r, int rank, struct mc_err *err)
{
    bool seen[MC_RANK_MAX] = {0};
    for (int i = 0; i < r->n; i++) {
        int axis, rc = mc_op_need_axis(n, "axis", r->axis[i], rank, &axis, err);
        if (rc)
            return rc;
        if (seen[axis])
            return mc_op_fail(err, MC_ESHAPE, n, "axis %d twice", axis);
        if (r->step[i] == 0)
            return mc_op_fail(err, MC_ESHAPE, n, "step 0");
        seen[axis] = true;
        r->axis[i] = axis;
    }
    return 0;
}

static int slice_attrs(const struct mc_node *n, struct ranges *r, struct mc_err *err)
{
    size_t ns, ne, na;
    const int64_t *start = mc_node_ints(n, "starts", &ns), *end = mc_node_ints(n, "ends", &ne);
    const int64_t *axes = mc_node_ints(n, "axes", &na);
    if (!start || !end || ns != ne || (axes && na != ns) || ns > MC_RANK_MAX)
        return mc_op_fail(err, MC_ESHAPE, n, "starts, ends and axes do not match");
    *r = (struct ranges){.n = (int)ns};
    for (int i = 0; i < r->n; i++) {
        r->axis[i] = axes ? axes[i] : i;
        r->start[i] = start[i];
        r->end[i] = end[i];
        r->step[i] = 1;
    }
    return 0;
}

/* From inputs at inference. *ret_known false: not even the axes are known. */
static int slice_inputs(const struct mc_infer_ctx *c, struct ranges *r, bool *ret_known,
                        struct mc_err *err)
{
    struct mc_contents v[5] = {0};
    const struct mc_vtype *starts = c->in[1];
    bool has_start = mc_op_contents(c, 1, &v[1]), has_end = mc_op_contents(c, 2, &v[2]);
    *r = (struct ranges){.n = has_start ? v[1].n
                              : has_end ? v[2].n
                              : starts->ranked && starts->shape.rank == 1
                                  ? (int)(starts->shape.dim[0] > MC_RANK_MAX ? MC_RANK_MAX + 1
                                                                             : starts->shape.dim[0])
                                  : -1};
    *ret_known = r->n >= 0;
    for (int i = 3; i < 5; i++)
        if (mc_op_in(c, i) && !mc_op_numbers(c, i, &v[i]))
            *ret_known = false;
    if (!*ret_known)
        return 0;
    if (r->n > MC_RANK_MAX || (has_end && v[2].n != r->n) || (mc_op_in(c, 3) && v[3].n != r->n) ||
        (mc_op_in(c, 4) && v[4].n != r->n))
        return mc_op_fail(err, MC_ESHAPE, c->node, "starts, ends, axes and steps do not match");
    for (int i = 0; i < r->n; i++) {
        r->axis[i] = mc_op_in(c, 3) ? v[3].value[i] : i;
        r->step[i] = mc_op_in(c, 4) ? v[4].value[i] : 1;
        r->start[i] = v[1].value[i];
        r->end[i] = v[2].value[i];
        r->start_sym[i] = has_start ? v[1].sym[i] : MC_DIM_ANY;
        r->end_sym[i] = has_end ? v[2].sym[i] : MC_DIM_ANY;
    }
    return 0;
}

/* Slicing [0, its own size) or [0, beyond) keeps a symbol. */
static bool keeps_all(const struct ranges *r, int i, int64_t dim)
{
    bool whole = r->end_sym[i] ? r->end_sym[i] == dim && dim != MC_DIM_ANY : r->end[i] >= INT32_MAX;
    return !r->start_sym[i] && r->start[i] == 0 && r->step[i] == 1 && whole;
}

static int slice_contents(struct mc_infer_ctx *c, const struct ranges *r, struct mc_err *err)
{
    struct mc_contents x, y;
    int64_t start = 0;
    if (mc_op_rank(c, 0) != 1 || !mc_op_contents(c, 0, &x))
        return 0;
    int64_t n = r->n ? range_length(r, 0, x.n, &start) : x.n;
    if (n < 0)
        return 0;
    y.n = (int)n;
    for (int i = 0; i < y.n; i++) {
        int64_t at = start + i * (r->n ? r->step[0] : 1);
        y.value[i] = x.value[at];
        y.sym[i] = x.sym[at];
    }
    return mc_op_set_contents(c, 0, &y, err);
}

static int slice_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool input = c->node->version >= 10, known = true;
    int rc = mc_op_arity(c, input ? 3 : 1, input ? 5 : 1, err);
    struct ranges r;
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    for (int i = 1; i < 5 && !rc; i++) {
        rc = mc_op_need_rank(c, i, 1, 1, err);
        rc = rc ? rc : mc_op_need_index(c, i, err);
    }
    rc = rc ? rc : input ? slice_inputs(c, &r, &known, err) : slice_attrs(c->node, &r, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked)
        return 0;
    struct mc_shape y = x->shape;
    for (int d = 0; d < y.rank && !known; d++)
        y.dim[d] = MC_DIM_ANY;
    if (known && (rc = slice_axes(c->node, &r, y.rank, err)))
        return rc;
    for (int i = 0; known && i < r.n; i++) {
        int64_t start, *dim = &y.dim[r.axis[i]];
        if (!keeps_all(&r, i, *dim))
            *dim = range_length(&r, i, *dim, &start);
    }
    mc_op_give(c, 0, x->dtype, &y);
    return known ? slice_contents(c, &r, err) : 0;
}

/* The ranges in inputs `first`, first + 1, … when a node runs. */
static void run_ranges(const struct mc_call *c, int first, struct ranges *r)
{
    r->n = mc_op_ints(mc_op_arg(c, first), r->start, MC_RANK_MAX);
    mc_op_ints(mc_op_arg(c, first + 1), r->end, MC_RANK_MAX);
    bool axes = mc_op_ints(mc_op_arg(c, first + 2), r->axis, MC_RANK_MAX) >= 0;
    bool steps = mc_op_ints(mc_op_arg(c, first + 3), r->step, MC_RANK_MAX) >= 0;
    for (int i = 0; i < r->n; i++) {
        r->axis[i] = axes ? r->axis[i] : i;
        r->step[i] = steps ? r->step[i] : 1;
    }
}

/* Where the slice y of x begins, and the strides of its elements in x. */
static int slice_walk(const struct mc_node *n, const struct ranges *r, const struct mc_shape *x,
                      const struct mc_shape *y, int64_t *ret_at, int64_t *stride,
                      struct mc_err *err)
{
    bool sliced[MC_RANK_MAX] = {0};
    mc_op_strides(x, stride);
    *ret_at = 0;
    for (int i = 0; i < r->n; i++)
        sliced[r->axis[i]] = true;
    for (int d = 0; d < x->rank; d++)
        if (!sliced[d] && x->dim[d] != y->dim[d])
            return mc_op_fail(err, MC_EDATA, n, "the axes give another shape than planned");
    for (int i = 0; i < r->n; i++) {
        int d = (int)r->axis[i];
        int64_t start;
        if (range_length(r, i, x->dim[d], &start) != y->dim[d])
            return mc_op_fail(err, MC_EDATA, n, "the ranges give another shape than planned");
        *ret_at += start * stride[d];
        if (y->dim[d] > 1)
            stride[d] *= r->step[i];
    }
    return 0;
}

static int slice_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    struct ranges r = {0};
    int rc = 0;
    if (c->node->version < 10)
        rc = slice_attrs(c->node, &r, err);
    else
        run_ranges(c, 1, &r);
    struct mc_move m = {
        .rank = x->rank, .dst = c->out[0].data, .elem_bytes = mc_op_elem_bytes(c->in[0].dtype)};
    int64_t at = 0;
    rc = rc ? rc : slice_axes(c->node, &r, x->rank, err);
    rc = rc ? rc : slice_walk(c->node, &r, x, y, &at, m.src_stride, err);
    if (rc || mc_op_count(&c->out[0]) == 0)
        return rc;
    memcpy(m.dim, y->dim, sizeof *m.dim * (size_t)m.rank);
    mc_op_strides(y, m.dst_stride);
    m.src = (const char *)c->in[0].data + at * m.elem_bytes;
    c->k->move.run(&m, c->pool);
    return 0;
}

/* ---- SliceGrad: dy in its place among zeros; inputs dy, shape, starts, ends, axes, steps ---- */

static int back_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 4, 6, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    for (int i = 2; i < 6 && !rc; i++) {
        rc = mc_op_need_rank(c, i, 1, 1, err);
        rc = rc ? rc : mc_op_need_index(c, i, err);
    }
    return rc ? rc : mc_op_give_shape(c, 1, err);
}

static int back_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->out[0].shape, *y = &c->in[0].shape;
    struct mc_move m = {
        .rank = x->rank, .src = c->in[0].data, .elem_bytes = mc_op_elem_bytes(c->in[0].dtype)};
    struct ranges r = {0};
    int64_t at = 0;
    run_ranges(c, 2, &r);
    int rc = x->rank == y->rank
                 ? 0
                 : mc_op_fail(err, MC_ESHAPE, c->node, "the gradient does not fit the slice");
    rc = rc ? rc : slice_axes(c->node, &r, x->rank, err);
    rc = rc ? rc : slice_walk(c->node, &r, x, y, &at, m.dst_stride, err);
    if (rc)
        return rc;
    mc_op_zero(c, &c->out[0]);
    if (mc_op_count(&c->in[0]) == 0)
        return 0;
    memcpy(m.dim, y->dim, sizeof *m.dim * (size_t)m.rank);
    mc_op_strides(y, m.src_stride);
    m.dst = (char *)c->out[0].data + at * m.elem_bytes;
    c->k->move.run(&m, c->pool);
    return 0;
}

const struct mc_op mc_ops_slicing[] = {
    {"", "Slice", 1, 0, slice_infer, NULL, slice_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "SliceGrad", 1, 0, back_infer, NULL, back_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->move.run && c->k->move.fill;
}

const struct mc_op_gpu mc_op_gpu_slicing[] = {
    {"", "Slice", .can = gpu_can, .host_in = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4},
    {MC_GRAD_DOMAIN, "SliceGrad", .can = gpu_can,
     .host_in = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5},
    {0},
};
