/* Parts and unions of tensors: Slice, Split, Concat. */
#include <string.h>

#include "graph/ops/helper.h"

/* ---- Slice: ranges are attributes before version 10, inputs from then on ---- */

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

static int slice_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    struct ranges r = {0};
    int rc = 0;
    if (c->node->version < 10) {
        rc = slice_attrs(c->node, &r, err);
    } else {
        r.n = mc_op_ints(mc_op_arg(c, 1), r.start, MC_RANK_MAX);
        mc_op_ints(mc_op_arg(c, 2), r.end, MC_RANK_MAX);
        bool axes = mc_op_ints(mc_op_arg(c, 3), r.axis, MC_RANK_MAX) >= 0;
        bool steps = mc_op_ints(mc_op_arg(c, 4), r.step, MC_RANK_MAX) >= 0;
        for (int i = 0; i < r.n; i++) {
            r.axis[i] = axes ? r.axis[i] : i;
            r.step[i] = steps ? r.step[i] : 1;
        }
    }
    rc = rc ? rc : slice_axes(c->node, &r, x->rank, err);
    if (rc)
        return rc;
    struct mc_move m = {
        .rank = x->rank, .dst = c->out[0].data, .elem_bytes = mc_op_elem_bytes(c->in[0].dtype)};
    int64_t at = 0;
    memcpy(m.dim, y->dim, sizeof *m.dim * (size_t)m.rank);
    mc_op_strides(x, m.src_stride);
    mc_op_strides(y, m.dst_stride);
    bool sliced[MC_RANK_MAX] = {0};
    for (int i = 0; i < r.n; i++)
        sliced[r.axis[i]] = true;
    for (int d = 0; d < x->rank; d++)
        if (!sliced[d] && x->dim[d] != y->dim[d])
            return mc_op_fail(err, MC_EDATA, c->node, "the axes give another shape than planned");
    for (int i = 0; i < r.n; i++) {
        int d = (int)r.axis[i];
        int64_t start;
        if (range_length(&r, i, x->dim[d], &start) != y->dim[d])
            return mc_op_fail(err, MC_EDATA, c->node, "the ranges give another shape than planned");
        at += start * m.src_stride[d];
        if (y->dim[d] > 1)
            m.src_stride[d] *= r.step[i];
    }
    if (mc_op_count(&c->out[0]) == 0)
        return 0;
    m.src = (const char *)c->in[0].data + at * m.elem_bytes;
    mc_move_run(&m, c->pool);
    return 0;
}

/* ---- Split ---- */

/* Sizes of the n parts of a dimension; -1 where not known. */
static int split_sizes(const struct mc_infer_ctx *c, int64_t dim, int64_t *ret, struct mc_err *err)
{
    const struct mc_node *node = c->node;
    int n = c->n_out;
    size_t len = 0;
    const int64_t *given = node->version < 13 ? mc_node_ints(node, "split", &len) : NULL;
    struct mc_contents p;
    int64_t sum = 0, count = mc_node_int(node, "num_outputs", n);
    if (node->version >= 13 && mc_op_in(c, 1)) {
        if (!mc_op_numbers(c, 1, &p)) {
            for (int i = 0; i < n; i++)
                ret[i] = -1;
            return 0;
        }
        given = p.value;
        len = (size_t)p.n;
    }
    if (given && len != (size_t)n)
        return mc_op_fail(err, MC_ESHAPE, node, "%zu sizes for %d outputs", len, n);
    if (count != n)
        return mc_op_fail(err, MC_ESHAPE, node, "num_outputs %lld for %d outputs", (long long)count,
                          n);
    bool uneven = mc_node_attr(node, "num_outputs") != NULL;
    if (!given && !uneven && dim >= 0 && dim % n)
        return mc_op_fail(err, MC_ESHAPE, node, "%lld elements cannot be cut into %d equal parts",
                          (long long)dim, n);
    int64_t each = dim < 0 ? -1 : dim / n + (dim % n != 0);
    for (int i = 0; i < n; i++) {
        ret[i] = given ? given[i] : each;
        if (given && (given[i] < 0 || __builtin_add_overflow(sum, given[i], &sum)))
            return mc_op_fail(err, MC_ESHAPE, node, "a part has size %lld", (long long)given[i]);
    }
    if (!given && dim >= 0 && (ret[n - 1] = dim - each * (n - 1)) < 0)
        return mc_op_fail(err, MC_ESHAPE, node, "%lld elements cannot fill %d parts",
                          (long long)dim, n);
    if (given && dim >= 0 && sum != dim)
        return mc_op_fail(err, MC_ESHAPE, node, "parts of %lld elements together for %lld",
                          (long long)sum, (long long)dim);
    return 0;
}

enum { PARTS_MAX = 4096 }; /* outputs of a Split */

static int split_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, c->node->version >= 13 ? 2 : 1, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    if (c->n_out < 1 || c->n_out > PARTS_MAX)
        return mc_op_fail(err, MC_EUNSUP, c->node, "%d outputs, 1 to %d can run", c->n_out,
                          PARTS_MAX);
    for (int i = 0; i < c->n_out; i++)
        mc_op_give(c, i, x->dtype, NULL);
    if (!x->ranked)
        return 0;
    int axis;
    int64_t part[PARTS_MAX], at = 0;
    rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 0), x->shape.rank, &axis,
                         err);
    rc = rc ? rc : split_sizes(c, x->shape.dim[axis], part, err);
    if (rc)
        return rc;
    struct mc_contents all, piece;
    bool known = x->shape.rank == 1 && mc_op_contents(c, 0, &all);
    for (int i = 0; i < c->n_out && !rc; i++) {
        struct mc_shape y = x->shape;
        y.dim[axis] = part[i];
        mc_op_give(c, i, x->dtype, &y);
        if (!known || part[i] < 0)
            continue;
        piece.n = (int)part[i];
        memcpy(piece.value, all.value + at, (size_t)piece.n * sizeof *piece.value);
        memcpy(piece.sym, all.sym + at, (size_t)piece.n * sizeof *piece.sym);
        at += part[i];
        rc = mc_op_set_contents(c, i, &piece, err);
    }
    return rc;
}

/* Copy between a dense tensor and its part [at, at + part dim) along axis, in either direction. */
static void copy_part(const struct mc_call *c, const struct mc_buf *whole,
                      const struct mc_buf *part, int axis, int64_t at, bool into)
{
    int rank = whole->shape.rank;
    size_t elem = (size_t)mc_op_elem_bytes(whole->dtype);
    int64_t inner = mc_op_span(whole, axis + 1, rank), len = part->shape.dim[axis] * inner;
    int64_t row = whole->shape.dim[axis] * inner;
    char *place = (char *)whole->data + (size_t)(at * inner) * elem;
    struct mc_move m = {.rank = 2,
                        .dim = {mc_op_span(whole, 0, axis), len},
                        .src_stride = {into ? len : row, 1},
                        .dst_stride = {into ? row : len, 1},
                        .src = into ? part->data : place,
                        .dst = into ? place : part->data,
                        .elem_bytes = (int)elem};
    mc_move_run(&m, c->pool);
}

static int split_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0];
    int axis = mc_shape_axis(mc_node_int(c->node, "axis", 0), x->shape.rank);
    const struct mc_buf *sizes = mc_op_arg(c, 1);
    int64_t at = 0, dim = x->shape.dim[axis], each = dim / c->n_out + (dim % c->n_out != 0);
    int64_t given[PARTS_MAX];
    size_t len;
    const int64_t *attr = mc_node_ints(c->node, "split", &len);
    if (mc_op_ints(sizes, given, PARTS_MAX) >= 0)
        attr = given;
    for (int i = 0; i < c->n_out; i++) {
        const struct mc_buf *y = mc_op_res(c, i);
        int64_t part = attr ? attr[i] : i < c->n_out - 1 ? each : dim - at;
        if (part < 0 || part > dim - at || (y && y->shape.dim[axis] != part))
            return mc_op_fail(err, MC_EDATA, c->node, "the sizes give other shapes than planned");
        if (y)
            copy_part(c, x, y, axis, at, false);
        at += part;
    }
    return 0;
}

/* ---- Concat ---- */

static int concat_contents(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_contents all = {0}, next;
    for (int i = 0; i < c->n_in; i++) {
        if (mc_op_rank(c, i) != 1 || !mc_op_contents(c, i, &next) ||
            all.n + next.n > MC_PARTIAL_MAX)
            return 0;
        memcpy(all.value + all.n, next.value, (size_t)next.n * sizeof *next.value);
        memcpy(all.sym + all.n, next.sym, (size_t)next.n * sizeof *next.sym);
        all.n += next.n;
    }
    return mc_op_set_contents(c, 0, &all, err);
}

static int concat_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, INT32_MAX, err), axis = -1;
    struct mc_shape y = {-1, {0}};
    enum mc_dtype dtype = MC_DTYPE_NONE;
    if (!rc && c->node->version >= 4 && !mc_node_attr(c->node, "axis"))
        return mc_op_fail(err, MC_ESHAPE, c->node, "has no axis");
    for (int i = 0; i < c->n_in && !rc; i++) {
        const struct mc_vtype *x = mc_op_in(c, i);
        if (!x)
            return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is left out", i);
        rc = mc_op_need_movable(c, i, err);
        rc = rc ? rc : mc_op_need_same(c, 0, i, err);
        dtype = dtype ? dtype : x->dtype;
        if (rc || !x->ranked)
            continue;
        if (y.rank < 0) {
            y = x->shape;
            rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 1), y.rank, &axis,
                                 err);
            continue;
        }
        if (x->shape.rank != y.rank)
            return mc_op_fail(err, MC_ESHAPE, c->node, "inputs of rank %d and %d", y.rank,
                              x->shape.rank);
        for (int d = 0; d < y.rank && !rc; d++) {
            int64_t more = x->shape.dim[d];
            if (d != axis)
                rc = mc_op_need_dim(c->node, "dimensions of the inputs", y.dim[d], more, &y.dim[d],
                                    err);
            else if (y.dim[d] < 0 || more < 0)
                y.dim[d] = more == 0 ? y.dim[d] : y.dim[d] == 0 ? more : MC_DIM_ANY;
            else if (__builtin_add_overflow(y.dim[d], more, &y.dim[d]))
                rc = mc_op_fail(err, MC_ESHAPE, c->node, "the shape overflows");
        }
    }
    for (int i = 0; i < c->n_in && !rc && y.rank >= 0; i++)
        if (!c->in[i]->ranked)
            y.dim[axis] = MC_DIM_ANY;
    if (rc)
        return rc;
    mc_op_give(c, 0, dtype, y.rank >= 0 ? &y : NULL);
    return concat_contents(c, err);
}

static int concat_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *y = &c->out[0];
    int axis = mc_shape_axis(mc_node_int(c->node, "axis", 1), y->shape.rank);
    int64_t at = 0;
    for (int i = 0; i < c->n_in; i++) {
        copy_part(c, y, &c->in[i], axis, at, true);
        at += c->in[i].shape.dim[axis];
    }
    return 0;
}

const struct mc_op mc_ops_slicing[] = {
    {"", "Slice", 1, 0, slice_infer, NULL, slice_run, NULL, NULL, NULL},
    {"", "Split", 2, 0, split_infer, NULL, split_run, NULL, NULL, NULL},
    {"", "Concat", 1, 0, concat_infer, NULL, concat_run, NULL, NULL, NULL},
    {0},
};
