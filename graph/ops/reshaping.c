/* The same elements under another shape: Flatten, Reshape, Squeeze, Unsqueeze, Identity. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static int copy_run(struct mc_call *c, struct mc_err *err)
{
    /* A shape that is only known now may not be the one that was declared. */
    if (mc_op_count(&c->in[0]) != mc_op_count(&c->out[0]))
        return mc_op_fail(err, MC_EDATA, c->node, "the result has another shape than planned");
    mc_op_copy(c, &c->in[0], &c->out[0]);
    return 0;
}

static int flatten_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    struct mc_shape y = {2, {MC_DIM_ANY, MC_DIM_ANY}};
    if (x->ranked) {
        int rank = x->shape.rank;
        int64_t axis = mc_node_int(c->node, "axis", 1);
        if (axis < -rank || axis > rank)
            return mc_op_fail(err, MC_ESHAPE, c->node, "axis %lld is outside rank %d",
                              (long long)axis, rank);
        int at = (int)(axis < 0 ? axis + rank : axis);
        /* A side of one unknown dimension and ones keeps its symbol. */
        for (int side = 0; side < 2; side++) {
            int64_t symbol = MC_DIM_ANY, count = 1, unknown = 0;
            for (int d = side ? at : 0; d < (side ? rank : at); d++) {
                if (x->shape.dim[d] < 0) {
                    symbol = x->shape.dim[d];
                    unknown++;
                } else if (__builtin_mul_overflow(count, x->shape.dim[d], &count)) {
                    return mc_op_fail(err, MC_ESHAPE, c->node, "the shape overflows");
                }
            }
            y.dim[side] = count == 0                   ? 0
                          : unknown == 0               ? count
                          : unknown == 1 && count == 1 ? symbol
                                                       : MC_DIM_ANY;
        }
    }
    mc_op_give(c, 0, x->dtype, &y);
    return 0;
}

/* ---- Reshape ---- */

/* Divide the symbols and numbers of x by those of y (without its -1): what is left for the -1. */
static int64_t left_over(const struct mc_shape *x, const struct mc_shape *y, int hole,
                         bool *ret_bad)
{
    bool used[MC_RANK_MAX] = {0};
    int64_t num = 1, den = 1;
    int64_t symbol = 0;
    *ret_bad = false;
    for (int d = 0; d < y->rank; d++) {
        if (d == hole)
            continue;
        if (y->dim[d] >= 0) {
            if (__builtin_mul_overflow(den, y->dim[d], &den))
                return MC_DIM_ANY;
            continue;
        }
        int match = -1;
        for (int i = 0; i < x->rank; i++)
            if (!used[i] && x->dim[i] == y->dim[d] && y->dim[d] != MC_DIM_ANY)
                match = i;
        if (match < 0)
            return MC_DIM_ANY;
        used[match] = true;
    }
    for (int i = 0; i < x->rank; i++) {
        if (used[i])
            continue;
        if (x->dim[i] < 0) {
            if (symbol)
                return MC_DIM_ANY;
            symbol = x->dim[i];
        } else if (__builtin_mul_overflow(num, x->dim[i], &num)) {
            return MC_DIM_ANY;
        }
    }
    if (symbol)
        return num == den ? symbol : MC_DIM_ANY;
    *ret_bad = den == 0 ? num != 0 : num % den != 0;
    return den == 0 ? 0 : num / den;
}

static int reshape_dims(const struct mc_infer_ctx *c, const struct mc_contents *to,
                        struct mc_shape *y, int *ret_hole, struct mc_err *err)
{
    const struct mc_vtype *x = c->in[0];
    bool zero = mc_node_int(c->node, "allowzero", 0) != 0;
    if (to->n > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, c->node, "rank %d, at most %d can run", to->n,
                          MC_RANK_MAX);
    *ret_hole = -1;
    y->rank = to->n;
    for (int d = 0; d < to->n; d++) {
        int64_t v = to->sym[d] ? to->sym[d] : to->value[d];
        if (!to->sym[d] && v == -1) {
            if (*ret_hole >= 0)
                return mc_op_fail(err, MC_ESHAPE, c->node, "the new shape has two -1");
            *ret_hole = d;
        } else if (!to->sym[d] && v == 0 && !zero) {
            if (x->ranked && d >= x->shape.rank)
                return mc_op_fail(err, MC_ESHAPE, c->node,
                                  "the new shape copies dimension %d of an input of rank %d", d,
                                  x->shape.rank);
            v = x->ranked ? x->shape.dim[d] : MC_DIM_ANY;
        } else if (!to->sym[d] && v < 0) {
            return mc_op_fail(err, MC_ESHAPE, c->node, "the new shape holds %lld", (long long)v);
        }
        y->dim[d] = v;
    }
    return 0;
}

static int reshape_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 0, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *s = c->in[1];
    if (s->dtype && s->dtype != MC_DTYPE_I64)
        return mc_op_fail(err, MC_EDTYPE, c->node, "the new shape is %s, must be int64",
                          mc_dtype_name((int)s->dtype));
    struct mc_contents to;
    struct mc_shape y;
    mc_op_give(c, 0, x->dtype, NULL);
    if (!mc_op_contents(c, 1, &to)) { /* only the rank may be known */
        if (!s->ranked || s->shape.rank != 1 || s->shape.dim[0] < 0 ||
            s->shape.dim[0] > MC_RANK_MAX)
            return 0;
        y.rank = (int)s->shape.dim[0];
        for (int d = 0; d < y.rank; d++)
            y.dim[d] = MC_DIM_ANY;
        mc_op_give(c, 0, x->dtype, &y);
        return 0;
    }
    int hole = -1;
    if ((rc = reshape_dims(c, &to, &y, &hole, err)))
        return rc;
    if (x->ranked) {
        bool bad;
        int64_t rest = left_over(&x->shape, &y, hole, &bad);
        if (bad || (hole < 0 && rest >= 0 && rest != 1 && mc_shape_count(&y) != 0)) {
            char from[MC_SHAPE_TEXT], into[MC_SHAPE_TEXT];
            return mc_op_fail(err, MC_ESHAPE, c->node, "%s cannot become %s",
                              mc_shape_text(&x->shape, from), mc_shape_text(&y, into));
        }
        if (hole >= 0)
            y.dim[hole] = rest;
    } else if (hole >= 0) {
        y.dim[hole] = MC_DIM_ANY;
    }
    mc_op_give(c, 0, x->dtype, &y);
    return mc_op_copy_contents(c, 0, err);
}

/* ---- Squeeze and Unsqueeze: axes are an attribute before version 13, an input from then on ---- */

/* Axes in *ret, count in *ret_n; -1 absent, -2 not known. */
static int axes_of(const struct mc_infer_ctx *c, struct mc_contents *ret, struct mc_err *err)
{
    size_t n;
    const int64_t *v = mc_node_ints(c->node, "axes", &n);
    ret->n = -1;
    if (c->node->version >= 13) {
        if (mc_op_in(c, 1) && !mc_op_numbers(c, 1, ret))
            ret->n = -2;
    } else if (v && n <= MC_RANK_MAX) {
        ret->n = (int)n;
        memcpy(ret->value, v, n * sizeof *v);
    }
    if (ret->n > MC_RANK_MAX || (v && n > MC_RANK_MAX))
        return mc_op_fail(err, MC_ESHAPE, c->node, "too many axes");
    return 0;
}

/* mask[d] = dimension d of `rank` is among the axes. */
static int axes_mask(const struct mc_node *n, const struct mc_contents *axes, int rank, bool *mask,
                     struct mc_err *err)
{
    memset(mask, 0, MC_RANK_MAX * sizeof *mask);
    for (int i = 0; i < axes->n; i++) {
        int d, rc = mc_op_need_axis(n, "axis", axes->value[i], rank, &d, err);
        if (rc)
            return rc;
        if (mask[d])
            return mc_op_fail(err, MC_ESHAPE, n, "axis %d twice", d);
        mask[d] = true;
    }
    return 0;
}

static int squeeze_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_contents axes;
    int rc = mc_op_arity(c, 1, c->node->version >= 13 ? 2 : 1, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : axes_of(c, &axes, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked || axes.n == -2)
        return 0;
    bool mask[MC_RANK_MAX];
    if ((rc = axes_mask(c->node, &axes, x->shape.rank, mask, err)))
        return rc;
    struct mc_shape y = {0};
    for (int d = 0; d < x->shape.rank; d++) {
        int64_t v = x->shape.dim[d];
        if (axes.n == -1 && v < 0)
            return 0; /* may be 1 or not: the rank is open */
        bool drop = axes.n == -1 ? v == 1 : mask[d];
        if (drop && v >= 0 && v != 1)
            return mc_op_fail(err, MC_ESHAPE, c->node, "dimension %d is %lld, must be 1", d,
                              (long long)v);
        if (!drop)
            y.dim[y.rank++] = v;
    }
    mc_op_give(c, 0, x->dtype, &y);
    return mc_op_copy_contents(c, 0, err);
}

static int unsqueeze_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_contents axes;
    bool input = c->node->version >= 13;
    int rc = mc_op_arity(c, input ? 2 : 1, input ? 2 : 1, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : axes_of(c, &axes, err);
    if (rc)
        return rc;
    if (axes.n == -1)
        return mc_op_fail(err, MC_ESHAPE, c->node, "has no axes");
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked || axes.n == -2)
        return 0;
    struct mc_shape y = {x->shape.rank + axes.n, {0}};
    if (y.rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, c->node, "rank %d, at most %d can run", y.rank,
                          MC_RANK_MAX);
    bool mask[MC_RANK_MAX];
    if ((rc = axes_mask(c->node, &axes, y.rank, mask, err)))
        return rc;
    for (int d = 0, from = 0; d < y.rank; d++)
        y.dim[d] = mask[d] ? 1 : x->shape.dim[from++];
    mc_op_give(c, 0, x->dtype, &y);
    return mc_op_copy_contents(c, 0, err);
}

/* ---- Identity ---- */

static int identity_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_same(c, err);
    return rc ? rc : mc_op_copy_contents(c, 0, err);
}

const struct mc_op mc_ops_reshaping[] = {
    {"", "Flatten", 1, MC_OP_VIEW, flatten_infer, NULL, copy_run, NULL, NULL, NULL},
    {"", "Reshape", 5, MC_OP_VIEW, reshape_infer, NULL, copy_run, NULL, NULL, NULL},
    {"", "Squeeze", 1, MC_OP_VIEW, squeeze_infer, NULL, copy_run, NULL, NULL, NULL},
    {"", "Unsqueeze", 1, MC_OP_VIEW, unsqueeze_infer, NULL, copy_run, NULL, NULL, NULL},
    {"", "Identity", 1, MC_OP_VIEW, identity_infer, NULL, copy_run, NULL, NULL, NULL},
    {0},
};

/* Of any type: where they are no views, bytes are copied. */
static bool gpu_can(const struct mc_call *c)
{
    return c->k->move.run != NULL;
}

const struct mc_op_gpu mc_op_gpu_reshaping[] = {
    {"", "Flatten", .can = gpu_can},
    {"", "Reshape", .can = gpu_can, .host_in = 1 << 1},
    {"", "Squeeze", .can = gpu_can, .host_in = 1 << 1},
    {"", "Unsqueeze", .can = gpu_can, .host_in = 1 << 1},
    {"", "Identity", .can = gpu_can},
    {0},
};
