/* Transpose, Expand, Tile: the input's elements in another order, or repeated. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

/* ---- Transpose ---- */

/* Dimension of the input that becomes dimension d of the output. */
static int source_dim(const struct mc_node *n, int rank, int d)
{
    size_t len;
    const int64_t *perm = mc_node_ints(n, "perm", &len);
    return perm ? (int)perm[d] : rank - 1 - d;
}

static int transpose_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    size_t len;
    const int64_t *perm = mc_node_ints(c->node, "perm", &len);
    if (!x->ranked) {
        mc_op_give(c, 0, x->dtype, NULL);
        return 0;
    }
    struct mc_shape y = {x->shape.rank, {0}};
    bool seen[MC_RANK_MAX] = {0};
    if (perm && len != (size_t)y.rank)
        return mc_op_fail(err, MC_ESHAPE, c->node, "perm has %zu values for rank %d", len, y.rank);
    for (int d = 0; d < y.rank; d++) {
        if (perm && (perm[d] < 0 || perm[d] >= y.rank || seen[perm[d]]))
            return mc_op_fail(err, MC_ESHAPE, c->node, "perm is no permutation of %d dimensions",
                              y.rank);
        int from = source_dim(c->node, y.rank, d);
        seen[from] = true;
        y.dim[d] = x->shape.dim[from];
    }
    mc_op_give(c, 0, x->dtype, &y);
    return mc_op_copy_contents(c, 0, err);
}

static int transpose_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_shape *y = &c->out[0].shape;
    struct mc_move m = {.rank = y->rank,
                        .src = c->in[0].data,
                        .dst = c->out[0].data,
                        .elem_bytes = mc_op_elem_bytes(c->in[0].dtype)};
    int64_t stride[MC_RANK_MAX];
    mc_op_strides(&c->in[0].shape, stride);
    mc_op_strides(y, m.dst_stride);
    for (int d = 0; d < y->rank; d++) {
        m.dim[d] = y->dim[d];
        m.src_stride[d] = stride[source_dim(c->node, y->rank, d)];
    }
    c->k->move.run(&m, c->pool);
    return 0;
}

/* ---- Expand: broadcast to a shape ---- */

static int expand_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 1, 1, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *s = c->in[1];
    struct mc_contents to;
    mc_op_give(c, 0, x->dtype, NULL);
    bool known = mc_op_contents(c, 1, &to);
    int64_t rank = known ? to.n : s->ranked ? s->shape.dim[0] : -1;
    if (rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, c->node, "rank %lld, at most %d can run", (long long)rank,
                          MC_RANK_MAX);
    if (!x->ranked || rank < 0)
        return 0;
    struct mc_shape want = {(int)rank, {0}}, y;
    for (int d = 0; d < want.rank; d++) {
        want.dim[d] = !known ? MC_DIM_ANY : to.sym[d] ? to.sym[d] : to.value[d];
        if (known && !to.sym[d] && to.value[d] < 0)
            return mc_op_fail(err, MC_ESHAPE, c->node, "the shape holds %lld",
                              (long long)to.value[d]);
    }
    char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
    if (!mc_shape_broadcast(&x->shape, &want, &y))
        return mc_op_fail(err, MC_ESHAPE, c->node, "%s does not broadcast to %s",
                          mc_shape_text(&x->shape, a), mc_shape_text(&want, b));
    mc_op_give(c, 0, x->dtype, &y);
    struct mc_contents p;
    int64_t n = mc_shape_count(&y);
    if (y.rank > 1 || n < 0 || n > MC_PARTIAL_MAX || !mc_op_contents(c, 0, &p) || p.n == 0)
        return 0;
    for (int i = p.n; i < n; i++) {
        p.value[i] = p.value[0];
        p.sym[i] = p.sym[0];
    }
    p.n = (int)n;
    return mc_op_set_contents(c, 0, &p, err);
}

/* The shape input of Expand, or the repeats of Tile, are what the planned result was made with. */
static int check_planned(const struct mc_call *c, bool repeats, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    int64_t v[MC_RANK_MAX];
    int n = mc_op_ints(mc_op_arg(c, 1), v, MC_RANK_MAX);
    bool same = true;
    for (int i = 0; i < n && same; i++) {
        int d = y->rank - n + i, from = d - (y->rank - x->rank);
        int64_t have = from >= 0 ? x->dim[from] : 1;
        same = d >= 0 &&
               y->dim[d] == (repeats     ? have * v[i]
                             : v[i] == 1 ? have
                                         : v[i]) &&
               (repeats || have == 1 || have == y->dim[d]);
    }
    if (same)
        return 0;
    return mc_op_fail(err, MC_EDATA, c->node, "the result has another shape than planned");
}

static int expand_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *y = &c->out[0].shape;
    int rc = check_planned(c, false, err);
    if (rc)
        return rc;
    struct mc_move m = {.rank = y->rank,
                        .src = c->in[0].data,
                        .dst = c->out[0].data,
                        .elem_bytes = mc_op_elem_bytes(c->in[0].dtype)};
    memcpy(m.dim, y->dim, sizeof *m.dim * (size_t)m.rank);
    mc_op_broadcast_strides(&c->in[0].shape, y, m.src_stride);
    mc_op_strides(y, m.dst_stride);
    c->k->move.run(&m, c->pool);
    return 0;
}

/* ---- Tile ---- */

static int tile_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 1, 1, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked)
        return 0;
    struct mc_contents times;
    struct mc_shape y = x->shape;
    bool known = mc_op_contents(c, 1, &times);
    if (y.rank > MC_RANK_MAX / 2)
        return mc_op_fail(err, MC_EUNSUP, c->node, "rank %d, at most %d can run", y.rank,
                          MC_RANK_MAX / 2);
    if (known && times.n != y.rank)
        return mc_op_fail(err, MC_ESHAPE, c->node, "%d repeats for rank %d", times.n, y.rank);
    for (int d = 0; d < y.rank; d++) {
        int64_t t = known && !times.sym[d] ? times.value[d] : -1;
        if (known && !times.sym[d] && t < 0)
            return mc_op_fail(err, MC_ESHAPE, c->node, "a repeat is %lld", (long long)t);
        if (t != 1 && (t < 0 || y.dim[d] < 0))
            y.dim[d] = MC_DIM_ANY;
        else if (__builtin_mul_overflow(y.dim[d], t, &y.dim[d]))
            return mc_op_fail(err, MC_ESHAPE, c->node, "the shape overflows");
    }
    mc_op_give(c, 0, x->dtype, &y);
    return 0;
}

static int tile_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    int rc = check_planned(c, true, err);
    if (rc)
        return rc;
    struct mc_move m = {.src = c->in[0].data,
                        .dst = c->out[0].data,
                        .elem_bytes = mc_op_elem_bytes(c->in[0].dtype)};
    int64_t from[MC_RANK_MAX], to[MC_RANK_MAX];
    mc_op_strides(x, from);
    mc_op_strides(y, to);
    if (mc_op_count(&c->in[0]) == 0)
        return 0;
    for (int d = 0; d < x->rank; d++) { /* each dimension as (repeat, element) */
        m.dim[m.rank] = y->dim[d] / x->dim[d];
        m.dst_stride[m.rank++] = to[d] * x->dim[d];
        m.dim[m.rank] = x->dim[d];
        m.src_stride[m.rank] = from[d];
        m.dst_stride[m.rank++] = to[d];
    }
    c->k->move.run(&m, c->pool);
    return 0;
}

const struct mc_op mc_ops_transpose[] = {
    {"", "Transpose", 1, 0, transpose_infer, NULL, transpose_run, NULL, NULL, NULL},
    {"", "Expand", 8, 0, expand_infer, NULL, expand_run, NULL, NULL, NULL},
    {"", "Tile", 6, 0, tile_infer, NULL, tile_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->move.run && c->k->move.fill;
}

const struct mc_op_gpu mc_op_gpu_transpose[] = {
    {"", "Transpose", .can = gpu_can},
    {"", "Expand", .can = gpu_can, .host_in = 1 << 1},
    {"", "Tile", .can = gpu_can, .host_in = 1 << 1},
    {0},
};
