/* Pad with a constant, the edge, a reflection or a repetition of the input; PadGrad, the way back of the last
 * three. */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

enum mode { CONSTANT, REFLECT, EDGE, WRAP };

static int mode_of(const struct mc_node *n, enum mode *ret, struct mc_err *err)
{
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    const char *mode = mc_node_string(n, "mode", "constant");
    for (int i = 0; i < 4; i++)
        if (!strcmp(mode, names[i])) {
            *ret = (enum mode)i;
            return 0;
        }
    return mc_op_fail(err, MC_EUNSUP, n, "mode '%s' is not known", mode);
}

struct pads { /* per dimension of the input; negative ones cut */
    int64_t before[MC_RANK_MAX], after[MC_RANK_MAX];
};

/* Spread `n` values for `n_axes` axes (all of them in order where axes is NULL) over the dimensions. */
static int spread(const struct mc_node *node, const int64_t *v, int n, const int64_t *axes,
                  int n_axes, int rank, struct pads *ret, struct mc_err *err)
{
    memset(ret, 0, sizeof *ret);
    if (!axes)
        n_axes = rank;
    if (n != 2 * n_axes)
        return mc_op_fail(err, MC_ESHAPE, node, "%d pads for %d dimensions", n, n_axes);
    for (int i = 0; i < n_axes; i++) {
        int d = i, rc = axes ? mc_op_need_axis(node, "axis", axes[i], rank, &d, err) : 0;
        if (rc)
            return rc;
        ret->before[d] = v[i];
        ret->after[d] = v[i + n_axes];
    }
    return 0;
}

/* Size of a padded dimension. */
static int padded(const struct mc_node *n, enum mode mode, int64_t dim, int64_t before,
                  int64_t after, int64_t *ret, struct mc_err *err)
{
    int64_t sum;
    if (dim < 0) {
        *ret = before == 0 && after == 0 ? dim : MC_DIM_ANY;
        return 0;
    }
    if (__builtin_add_overflow(dim, before, &sum) || __builtin_add_overflow(sum, after, &sum) ||
        sum < 0 || dim + (before < 0 ? before : 0) < 0 || dim + (after < 0 ? after : 0) < 0)
        return mc_op_fail(err, MC_ESHAPE, n, "pads %lld and %lld do not fit %lld elements",
                          (long long)before, (long long)after, (long long)dim);
    int64_t most = before > after ? before : after;
    bool empty = dim == 0 && sum > 0, far = mode == REFLECT && most > 0 && most >= dim;
    if (mode != CONSTANT && (empty || far))
        return mc_op_fail(err, MC_ESHAPE, n, "pads of %lld need more than %lld elements",
                          (long long)most, (long long)dim);
    *ret = sum;
    return 0;
}

static int pad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool input = c->node->version >= 11;
    int rc = mc_op_arity(c, input ? 2 : 1, input ? 4 : 1, err);
    enum mode mode = CONSTANT;
    rc = rc ? rc : mode_of(c->node, &mode, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 2, err);
    rc = rc ? rc : mc_op_need_single(c, 2, err);
    rc = rc ? rc : mc_op_need_index(c, 3, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked)
        return 0;
    struct mc_contents v, axes = {.n = -1};
    struct mc_shape y = x->shape;
    struct pads p;
    size_t n;
    const int64_t *attr = mc_node_ints(c->node, "pads", &n);
    if (!input && (!attr || n > 2 * MC_RANK_MAX))
        return mc_op_fail(err, MC_ESHAPE, c->node, "%zu pads for rank %d", n, y.rank);
    if (input && (!mc_op_numbers(c, 1, &v) || (mc_op_in(c, 3) && !mc_op_numbers(c, 3, &axes)))) {
        for (int d = 0; d < y.rank; d++)
            y.dim[d] = MC_DIM_ANY;
        mc_op_give(c, 0, x->dtype, &y);
        return 0;
    }
    rc = spread(c->node, input ? v.value : attr, input ? v.n : (int)n,
                axes.n >= 0 ? axes.value : NULL, axes.n, y.rank, &p, err);
    for (int d = 0; d < y.rank && !rc; d++)
        rc = padded(c->node, mode, y.dim[d], p.before[d], p.after[d], &y.dim[d], err);
    if (!rc)
        mc_op_give(c, 0, x->dtype, &y);
    return rc;
}

/* Position in a dimension of n elements that position i of the padded one, counted from the first element,
 * takes its content from. */
static int64_t source(enum mode mode, int64_t i, int64_t n)
{
    if (mode == EDGE)
        return i < 0 ? 0 : i >= n ? n - 1 : i;
    if (mode == WRAP)
        return (i % n + n) % n;
    return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i;
}

/* The mode of a kernel: not of CONSTANT. */
static enum mc_outside outside_of(enum mode mode)
{
    return mode == EDGE ? MC_OUTSIDE_EDGE : mode == WRAP ? MC_OUTSIDE_WRAP : MC_OUTSIDE_REFLECT;
}

static void pad_device(const struct mc_call *c, enum mode mode, const struct pads *p)
{
    const struct mc_shape *x = &c->in[0].shape;
    struct mc_beyond b = {.outside = outside_of(mode),
                          .rank = x->rank,
                          .elem_bytes = mc_op_elem_bytes(c->in[0].dtype),
                          .x = c->in[0].data,
                          .y = c->out[0].data};
    for (int d = 0; d < x->rank; d++) {
        b.dim[d] = c->out[0].shape.dim[d];
        b.size[d] = x->dim[d];
        b.before[d] = p->before[d];
    }
    c->k->values.beyond(&b);
}

static void pad_mapped(const struct mc_call *c, enum mode mode, const struct pads *p)
{
    const struct mc_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    size_t elem = (size_t)mc_op_elem_bytes(c->in[0].dtype);
    int64_t stride[MC_RANK_MAX], at[MC_RANK_MAX] = {0};
    mc_op_strides(x, stride);
    for (int64_t i = 0, n = mc_op_count(&c->out[0]); i < n; i++) {
        int64_t from = 0;
        for (int d = 0; d < y->rank; d++)
            from += source(mode, at[d] - p->before[d], x->dim[d]) * stride[d];
        memcpy((char *)c->out[0].data + (size_t)i * elem,
               (const char *)c->in[0].data + (size_t)from * elem, elem);
        for (int d = y->rank - 1; d >= 0 && ++at[d] == y->dim[d]; d--)
            at[d] = 0;
    }
}

/* Fill everything, then copy what is left of the input into its place. */
static void pad_constant(const struct mc_call *c, const void *value, const struct pads *p)
{
    const struct mc_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    int elem = mc_op_elem_bytes(c->in[0].dtype);
    struct mc_move m = {.rank = x->rank, .elem_bytes = elem};
    int64_t from = 0, to = 0;
    c->k->move.fill(c->out[0].data, mc_op_count(&c->out[0]), value, elem, c->pool);
    mc_op_strides(x, m.src_stride);
    mc_op_strides(y, m.dst_stride);
    for (int d = 0; d < x->rank; d++) {
        int64_t cut = p->before[d] < 0 ? -p->before[d] : 0;
        m.dim[d] = x->dim[d] - cut + (p->after[d] < 0 ? p->after[d] : 0);
        if (m.dim[d] <= 0)
            return;
        from += cut * m.src_stride[d];
        to += (p->before[d] > 0 ? p->before[d] : 0) * m.dst_stride[d];
    }
    m.src = (const char *)c->in[0].data + from * elem;
    m.dst = (char *)c->out[0].data + to * elem;
    c->k->move.run(&m, c->pool);
}

static int pad_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *value = mc_op_arg(c, 2);
    int64_t v[2 * MC_RANK_MAX], axes[MC_RANK_MAX];
    int n = mc_op_ints(mc_op_arg(c, 1), v, 2 * MC_RANK_MAX);
    int n_axes = mc_op_ints(mc_op_arg(c, 3), axes, MC_RANK_MAX);
    size_t len;
    const int64_t *attr = mc_node_ints(c->node, "pads", &len);
    bool input = c->node->version >= 11;
    struct pads p;
    enum mode mode = CONSTANT;
    int rc = mode_of(c->node, &mode, err);
    rc = rc ? rc
            : spread(c->node, input ? v : attr, input ? n : (int)len, n_axes >= 0 ? axes : NULL,
                     n_axes, x->shape.rank, &p, err);
    for (int d = 0; d < x->shape.rank && !rc; d++)
        if (x->shape.dim[d] + p.before[d] + p.after[d] != c->out[0].shape.dim[d])
            rc = mc_op_fail(err, MC_EDATA, c->node, "the pads give another shape than planned");
    if (rc)
        return rc;
    double store[2] = {0};
    const void *fill = value ? value->data : store;
    if (!input && mc_op_is_float(x->dtype))
        mc_op_scalar(c->k->elem_bytes, (double)mc_node_float(c->node, "value", 0), store);
    if (mode == CONSTANT)
        pad_constant(c, fill, &p);
    else if (c->k->device)
        pad_device(c, mode, &p);
    else
        pad_mapped(c, mode, &p);
    return 0;
}

/* ---- PadGrad: what was taken from an element is added to it; inputs dy, shape, pads, axes ---- */

static int back_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    enum mode mode = CONSTANT;
    int rc = mc_op_arity(c, 3, 4, err);
    rc = rc ? rc : mode_of(c->node, &mode, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 2, err);
    rc = rc ? rc : mc_op_need_index(c, 3, err);
    if (!rc && mode == CONSTANT)
        rc = mc_op_fail(err, MC_EUNSUP, c->node, "mode 'constant' cannot run");
    return rc ? rc : mc_op_give_shape(c, 1, err);
}

static int back_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    for (int d = 0; d < c->in[0].shape.rank; d++)
        c->scratch_bytes += (size_t)c->in[0].shape.dim[d] * sizeof(int64_t);
    return 0;
}

static int back_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->out[0].shape, *y = &c->in[0].shape;
    int64_t v[2 * MC_RANK_MAX], axes[MC_RANK_MAX], *index = c->scratch;
    int n = mc_op_ints(mc_op_arg(c, 2), v, 2 * MC_RANK_MAX);
    int n_axes = mc_op_ints(mc_op_arg(c, 3), axes, MC_RANK_MAX);
    enum mode mode = EDGE;
    struct pads p;
    int rc = mode_of(c->node, &mode, err);
    rc = rc ? rc : spread(c->node, v, n, n_axes >= 0 ? axes : NULL, n_axes, x->rank, &p, err);
    struct mc_scatter_sum s = {.rank = x->rank, .src = c->in[0].data, .dst = c->out[0].data};
    for (int d = 0; d < x->rank && !rc; d++) {
        s.from[d] = y->dim[d];
        s.to[d] = x->dim[d];
        if (y->rank != x->rank || x->dim[d] + p.before[d] + p.after[d] != y->dim[d])
            return mc_op_fail(err, MC_ESHAPE, c->node, "the gradient does not fit the pads");
        if (p.before[d] == 0 && p.after[d] == 0)
            continue;
        const struct mc_beyond_index at = {outside_of(mode), y->dim[d], x->dim[d], p.before[d],
                                           index};
        if (c->k->device)
            c->k->values.beyond_index(&at);
        for (int64_t i = 0; i < y->dim[d] && !c->k->device; i++)
            index[i] = source(mode, i - p.before[d], x->dim[d]);
        s.index[d] = index;
        index += y->dim[d];
    }
    if (!rc && s.rank > 0)
        c->k->scatter.sum(&s, c->pool);
    else if (!rc)
        mc_op_copy(c, &c->in[0], &c->out[0]);
    return rc;
}

const struct mc_op mc_ops_padding[] = {
    {"", "Pad", 2, 0, pad_infer, NULL, pad_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "PadGrad", 1, 0, back_infer, back_setup, back_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    enum mode mode = CONSTANT;
    if (!mc_op_gpu_floats(c) || mode_of(c->node, &mode, NULL))
        return false;
    return mode == CONSTANT ? c->k->move.run && c->k->move.fill
                            : c->k->values.beyond && mc_op_elem_bytes(c->in[0].dtype) <= 8;
}

/* Lists of what comes to a place have numbers of 32 bits. */
static bool gpu_can_back(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->values.beyond_index && c->k->scatter.sum &&
           c->k->move.run && mc_op_count(&c->in[0]) < INT32_MAX;
}

const struct mc_op_gpu mc_op_gpu_padding[] = {
    {"", "Pad", .can = gpu_can, .host_in = 1 << 1 | 1 << 2 | 1 << 3},
    {MC_GRAD_DOMAIN, "PadGrad", .can = gpu_can_back, .host_in = 1 << 1 | 1 << 2 | 1 << 3},
    {0},
};
