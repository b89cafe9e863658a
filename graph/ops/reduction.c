/* Reductions over axes, ArgMax and ArgMin. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static const struct spec {
    const char *name;
    enum mc_reduce_fn fn;
    int input_since; /* version from which axes are an input */
} specs[] = {
    {"ReduceSum", MC_REDUCE_SUM, 13},        {"ReduceMean", MC_REDUCE_MEAN, 18},
    {"ReduceMax", MC_REDUCE_MAX, 18},        {"ReduceMin", MC_REDUCE_MIN, 18},
    {"ReduceProd", MC_REDUCE_PROD, 18},      {"ReduceSumSquare", MC_REDUCE_SUM_SQUARE, 18},
    {"ReduceL1", MC_REDUCE_L1, 18},          {"ReduceL2", MC_REDUCE_L2, 18},
    {"ReduceLogSum", MC_REDUCE_LOG_SUM, 18}, {"ReduceLogSumExp", MC_REDUCE_LOG_SUM_EXP, 18},
};

static const struct spec *spec_of(const struct mc_node *n)
{
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        if (!strcmp(specs[i].name, n->op_type))
            return &specs[i];
    return NULL;
}

/* over[d] = dimension d is reduced, from a list of n axes (n <= 0: all of them, or none with noop). */
static int axes_mask(const struct mc_node *node, const int64_t *axes, int n, int rank, bool *over,
                     struct mc_err *err)
{
    bool all = n <= 0 && !mc_node_int(node, "noop_with_empty_axes", 0);
    for (int d = 0; d < MC_RANK_MAX; d++)
        over[d] = all && d < rank;
    for (int i = 0; i < n; i++) {
        int d, rc = mc_op_need_axis(node, "axis", axes[i], rank, &d, err);
        if (rc)
            return rc;
        over[d] = true;
    }
    return 0;
}

static struct mc_shape reduced_shape(const struct mc_shape *x, const bool *over, bool keep)
{
    struct mc_shape y = {0};
    for (int d = 0; d < x->rank; d++)
        if (!over[d])
            y.dim[y.rank++] = x->dim[d];
        else if (keep)
            y.dim[y.rank++] = 1;
    return y;
}

/* Integer contents: the whole of a small vector of numbers. */
static int carry_contents(struct mc_infer_ctx *c, const struct spec *s, struct mc_err *err)
{
    struct mc_contents in, out = {.n = 1};
    if (!mc_op_numbers(c, 0, &in) || !c->out[0] || !c->out[0]->ranked ||
        mc_shape_count(&c->out[0]->shape) != 1)
        return 0;
    struct mc_reduce r = {.fn = s->fn,
                          .keep_rank = 1,
                          .over_rank = 1,
                          .keep = {1},
                          .over = {in.n},
                          .keep_stride = {1},
                          .over_stride = {1},
                          .x = in.value,
                          .y = out.value};
    mc_typed_reduce(MC_ELEM_I64, &r);
    return mc_op_set_contents(c, 0, &out, err);
}

static int reduce_type(const struct mc_infer_ctx *c, const struct spec *s, struct mc_err *err)
{
    enum mc_dtype d = c->in[0]->dtype;
    bool order = s->fn == MC_REDUCE_MAX || s->fn == MC_REDUCE_MIN;
    if (mc_op_is_integer(d))
        return 0;
    if (d == MC_DTYPE_BOOL && order && c->node->version >= 20)
        return 0;
    return mc_op_need_float(c, 0, err);
}

static int reduce_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct spec *s = spec_of(c->node);
    bool input = c->node->version >= s->input_since;
    int rc = mc_op_arity(c, 1, input ? 2 : 1, err);
    rc = rc ? rc : reduce_type(c, s, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    bool keep = mc_node_int(c->node, "keepdims", 1) != 0, over[MC_RANK_MAX];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked)
        return 0;
    size_t n;
    const int64_t *axes = mc_node_ints(c->node, "axes", &n);
    struct mc_contents given = {.n = -1};
    if (input && mc_op_in(c, 1)) {
        if (!mc_op_numbers(c, 1, &given)) { /* any dimension may go */
            struct mc_shape y = {x->shape.rank, {0}};
            for (int d = 0; d < y.rank; d++)
                y.dim[d] = MC_DIM_ANY;
            mc_op_give(c, 0, x->dtype, keep ? &y : NULL);
            return 0;
        }
        axes = given.value;
        n = (size_t)given.n;
    } else if (input) {
        n = 0;
    }
    if (n > MC_RANK_MAX)
        return mc_op_fail(err, MC_ESHAPE, c->node, "%zu axes for rank %d", n, x->shape.rank);
    if ((rc = axes_mask(c->node, axes, (int)n, x->shape.rank, over, err)))
        return rc;
    struct mc_shape y = reduced_shape(&x->shape, over, keep);
    mc_op_give(c, 0, x->dtype, &y);
    return carry_contents(c, s, err);
}

static int reduce_axes(const struct mc_call *c, bool *over, struct mc_err *err)
{
    int64_t axes[MC_RANK_MAX];
    size_t n;
    const int64_t *given = mc_node_ints(c->node, "axes", &n);
    int count = mc_op_ints(mc_op_arg(c, 1), axes, MC_RANK_MAX);
    if (c->node->version >= spec_of(c->node)->input_since)
        given = axes;
    else
        count = (int)n;
    return axes_mask(c->node, given, count, c->in[0].shape.rank, over, err);
}

static int reduce_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0];
    bool over[MC_RANK_MAX];
    int rc = reduce_axes(c, over, err);
    if (rc)
        return rc;
    struct mc_reduce r = {.fn = spec_of(c->node)->fn, .x = x->data, .y = c->out[0].data};
    int64_t stride[MC_RANK_MAX], walk[1][MC_MOVE_RANK];
    mc_op_strides(&x->shape, stride);
    for (int d = 0; d < x->shape.rank; d++)
        if (over[d]) {
            r.over[r.over_rank] = x->shape.dim[d];
            r.over_stride[r.over_rank++] = stride[d];
        } else {
            r.keep[r.keep_rank] = x->shape.dim[d];
            r.keep_stride[r.keep_rank++] = stride[d];
        }
    int64_t kept = 1;
    for (int d = 0; d < r.keep_rank; d++)
        kept *= r.keep[d];
    if (kept != mc_op_count(&c->out[0]))
        return mc_op_fail(err, MC_EDATA, c->node, "the axes give another shape than planned");
    memcpy(walk[0], r.keep_stride, sizeof walk[0]);
    r.keep_rank = mc_move_merge(r.keep_rank, r.keep, 1, walk);
    memcpy(r.keep_stride, walk[0], sizeof walk[0]);
    memcpy(walk[0], r.over_stride, sizeof walk[0]);
    r.over_rank = mc_move_merge(r.over_rank, r.over, 1, walk);
    memcpy(r.over_stride, walk[0], sizeof walk[0]);
    if (mc_op_is_float(x->dtype))
        c->k->nn.reduce(&r, c->pool);
    else
        c->k->typed.reduce(mc_op_elem(x->dtype), &r);
    return 0;
}

/* ---- ArgMax, ArgMin ---- */

static int argext_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    if (!rc && !mc_op_is_integer(c->in[0]->dtype))
        rc = mc_op_need_float(c, 0, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, MC_DTYPE_I64, NULL);
    if (!x->ranked)
        return 0;
    bool over[MC_RANK_MAX] = {0};
    int axis;
    rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 0), x->shape.rank, &axis,
                         err);
    if (rc)
        return rc;
    if (x->shape.dim[axis] == 0)
        return mc_op_fail(err, MC_ESHAPE, c->node, "axis %d has no elements", axis);
    over[axis] = true;
    struct mc_shape y = reduced_shape(&x->shape, over, mc_node_int(c->node, "keepdims", 1) != 0);
    mc_op_give(c, 0, MC_DTYPE_I64, &y);
    return 0;
}

static int argext_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0];
    int rank = x->shape.rank, axis = mc_shape_axis(mc_node_int(c->node, "axis", 0), rank);
    struct mc_argext a = {.smallest = mc_node_is(c->node, "ArgMin"),
                          .last = mc_node_int(c->node, "select_last_index", 0) != 0,
                          .outer = mc_op_span(x, 0, axis),
                          .n = x->shape.dim[axis],
                          .inner = mc_op_span(x, axis + 1, rank),
                          .x = x->data,
                          .y = c->out[0].data};
    if (mc_op_is_float(x->dtype))
        c->k->nn.argext(&a, c->pool);
    else
        c->k->typed.argext(mc_op_elem(x->dtype), &a);
    return 0;
}

#define REDUCE(name)                                                                               \
    {                                                                                              \
        "", name, 1, 0, reduce_infer, NULL, reduce_run, NULL, NULL, NULL                           \
    }
#define ARGEXT(name)                                                                               \
    {                                                                                              \
        "", name, 1, 0, argext_infer, NULL, argext_run, NULL, NULL, NULL                           \
    }
const struct mc_op mc_ops_reduction[] = {
    REDUCE("ReduceSum"),
    REDUCE("ReduceMean"),
    REDUCE("ReduceMax"),
    REDUCE("ReduceMin"),
    REDUCE("ReduceProd"),
    REDUCE("ReduceSumSquare"),
    REDUCE("ReduceL1"),
    REDUCE("ReduceL2"),
    REDUCE("ReduceLogSum"),
    REDUCE("ReduceLogSumExp"),
    ARGEXT("ArgMax"),
    ARGEXT("ArgMin"),
    {0},
};

static bool gpu_can_reduce(const struct mc_call *c)
{
    return mc_op_is_float(c->in[0].dtype) ? mc_op_gpu_floats(c) && c->k->nn.reduce
                                          : c->k->typed.reduce != NULL;
}

static bool gpu_can_argext(const struct mc_call *c)
{
    return mc_op_is_float(c->in[0].dtype) ? mc_op_gpu_floats(c) && c->k->nn.argext
                                          : c->k->typed.argext != NULL;
}

#define GPU_REDUCE(name)                                                                           \
    {                                                                                              \
        "", name, .can = gpu_can_reduce, .host_in = 1 << 1                                         \
    }
const struct mc_op_gpu mc_op_gpu_reduction[] = {
    GPU_REDUCE("ReduceSum"),
    GPU_REDUCE("ReduceMean"),
    GPU_REDUCE("ReduceMax"),
    GPU_REDUCE("ReduceMin"),
    GPU_REDUCE("ReduceProd"),
    GPU_REDUCE("ReduceSumSquare"),
    GPU_REDUCE("ReduceL1"),
    GPU_REDUCE("ReduceL2"),
    GPU_REDUCE("ReduceLogSum"),
    GPU_REDUCE("ReduceLogSumExp"),
    {"", "ArgMax", .can = gpu_can_argext},
    {"", "ArgMin", .can = gpu_can_argext},
    {0},
};
