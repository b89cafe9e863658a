/* A copy of the data with elements or rows of it replaced or combined: ScatterElements (first named Scatter),
 * ScatterND, TensorScatter. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/index.h"
#include "graph/ops/op_gpu.h"

static int combine_of(const struct mc_node *n, enum mc_put_fn *ret, struct mc_err *err)
{
    static const char *const names[] = {"none", "add", "mul", "min", "max"};
    const char *how = mc_node_string(n, "reduction", "none");
    for (int i = 0; i < 5; i++)
        if (!strcmp(how, names[i])) {
            *ret = (enum mc_put_fn)i;
            return 0;
        }
    return mc_op_fail(err, MC_EUNSUP, n, "reduction '%s' is not known", how);
}

/* Rows of `inner` elements from input `updates` to the places in scratch. */
static void put(const struct mc_call *c, int updates, int64_t n, int64_t inner)
{
    const struct mc_buf *y = &c->out[0];
    struct mc_put p = {.type = (int)mc_op_elem(y->dtype),
                       .truth = y->dtype == MC_DTYPE_BOOL,
                       .elem_bytes = mc_op_elem_bytes(y->dtype),
                       .n = n,
                       .inner = inner,
                       .place = c->scratch,
                       .src = c->in[updates].data,
                       .dst = y->data};
    combine_of(c->node, &p.fn, NULL); /* known since inference */
    c->k->places.put(&p);
}

/* What the three operators have in common. */
static int scatter_types(const struct mc_infer_ctx *c, int indices, int updates, struct mc_err *err)
{
    enum mc_put_fn how = MC_PUT_REPLACE;
    int rc = mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, indices, err);
    rc = rc ? rc : mc_op_need_same(c, 0, updates, err);
    rc = rc ? rc : combine_of(c->node, &how, err);
    enum mc_dtype d = c->in[0]->dtype;
    if (!rc && how != MC_PUT_REPLACE && d && !mc_index_orders(d))
        rc = mc_op_fail(err, MC_EUNSUP, c->node, "elements of type %s cannot be combined",
                        mc_dtype_name((int)d));
    return rc;
}

/* ---- ScatterElements ---- */

static int elements_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int axis, rc = mc_op_arity(c, 3, 3, err);
    rc = rc ? rc : scatter_types(c, 1, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 1, MC_RANK_MAX, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *at = c->in[1], *from = c->in[2];
    if (x->ranked)
        rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 0), x->shape.rank, &axis,
                             err);
    for (int i = 1; i < 3 && x->ranked && !rc; i++)
        rc = mc_op_need_rank(c, i, x->shape.rank, x->shape.rank, err);
    int64_t same;
    for (int d = 0; at->ranked && from->ranked && d < at->shape.rank && !rc; d++)
        rc = mc_op_need_dim(c->node, "dimensions of indices and updates", at->shape.dim[d],
                            from->shape.dim[d], &same, err);
    for (int d = 0; x->ranked && at->ranked && d < at->shape.rank && !rc; d++)
        if (d != axis && x->shape.dim[d] >= 0 && at->shape.dim[d] > x->shape.dim[d])
            rc = mc_op_fail(err, MC_ESHAPE, c->node,
                            "indices have %lld elements where the data has %lld",
                            (long long)at->shape.dim[d], (long long)x->shape.dim[d]);
    return rc ? rc : mc_op_same(c, err);
}

/* Scratch holds a place for each row. */
static int setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *at = &c->in[1];
    bool nd = mc_node_is(c->node, "ScatterND");
    int64_t n = nd ? mc_op_span(at, 0, at->shape.rank - 1) : mc_op_count(at);
    c->scratch_bytes = (size_t)n * sizeof(int64_t);
    return 0;
}

static int elements_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *at = &c->in[1];
    int rank = x->shape.rank, axis = mc_shape_axis(mc_node_int(c->node, "axis", 0), rank);
    struct mc_places p = {
        .rank = rank, .depth = 1, .size = {x->shape.dim[axis]}, .place = c->scratch};
    mc_op_strides(&x->shape, p.stride);
    memcpy(p.dim, at->shape.dim, sizeof *p.dim * (size_t)rank);
    p.step[0] = p.stride[axis];
    p.stride[axis] = 0;
    int rc = mc_index_places(c, at, &p, err);
    if (rc)
        return rc;
    mc_op_copy(c, x, &c->out[0]);
    put(c, 2, mc_op_count(at), 1);
    return 0;
}

/* ---- ScatterND ---- */

static int nd_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 3, err);
    rc = rc ? rc : scatter_types(c, 1, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 1, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 1, MC_RANK_MAX, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *at = c->in[1], *from = c->in[2];
    int64_t depth = at->ranked ? at->shape.dim[at->shape.rank - 1] : -1, same;
    if (x->ranked && depth > x->shape.rank)
        return mc_op_fail(err, MC_ESHAPE, c->node, "indices of %lld numbers for rank %d",
                          (long long)depth, x->shape.rank);
    if (x->ranked && depth >= 0 && from->ranked) {
        int lead = at->shape.rank - 1, rank = lead + x->shape.rank - (int)depth;
        rc = mc_op_need_rank(c, 2, rank, rank, err);
        for (int d = 0; d < rank && !rc; d++)
            rc = mc_op_need_dim(c->node, "dimensions of the updates", from->shape.dim[d],
                                d < lead ? at->shape.dim[d] : x->shape.dim[d - lead + (int)depth],
                                &same, err);
    }
    return rc ? rc : mc_op_same(c, err);
}

static int nd_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *at = &c->in[1];
    int lead = at->shape.rank - 1, depth = (int)at->shape.dim[lead];
    struct mc_places p = {
        .rank = 1, .dim = {mc_op_span(at, 0, lead)}, .depth = depth, .place = c->scratch};
    for (int d = 0; d < depth; d++) {
        p.size[d] = x->shape.dim[d];
        p.step[d] = mc_op_span(x, d + 1, depth);
    }
    int rc = mc_index_places(c, at, &p, err);
    if (rc)
        return rc;
    mc_op_copy(c, x, &c->out[0]);
    put(c, 2, p.dim[0], mc_op_span(x, depth, x->shape.rank));
    return 0;
}

/* ---- TensorScatter: new entries of a cache, from a place of each sequence on ---- */

static int cache_axis(const struct mc_node *n, int rank, int *ret, struct mc_err *err)
{
    int rc = mc_op_need_axis(n, "axis", mc_node_int(n, "axis", -2), rank, ret, err);
    if (!rc && *ret == 0)
        rc = mc_op_fail(err, MC_ESHAPE, n, "axis 0 is the batch");
    return rc;
}

static int cache_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int axis = -1, rc = mc_op_arity(c, 2, 3, err);
    const char *mode = mc_node_string(c->node, "mode", "linear");
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    rc = rc ? rc : mc_op_need_index(c, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, 2, 1, 1, err);
    if (!rc && strcmp(mode, "linear") != 0 && strcmp(mode, "circular") != 0)
        rc = mc_op_fail(err, MC_EUNSUP, c->node, "mode '%s' is not known", mode);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *from = c->in[1], *at = mc_op_in(c, 2);
    int64_t same;
    if (x->ranked) {
        rc = cache_axis(c->node, x->shape.rank, &axis, err);
        rc = rc ? rc : mc_op_need_rank(c, 1, x->shape.rank, x->shape.rank, err);
        if (!rc && at && at->ranked)
            rc = mc_op_need_dim(c->node, "batch and write_indices", x->shape.dim[0],
                                at->shape.dim[0], &same, err);
    }
    for (int d = 0; x->ranked && from->ranked && d < x->shape.rank && !rc; d++) {
        int64_t a = x->shape.dim[d], b = from->shape.dim[d];
        if (d != axis)
            rc = mc_op_need_dim(c->node, "dimensions of cache and update", a, b, &same, err);
        else if (a >= 0 && b > a)
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "%lld new entries in a cache of %lld",
                            (long long)b, (long long)a);
    }
    return rc ? rc : mc_op_same(c, err);
}

static int cache_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *from = &c->in[1], *at = mc_op_arg(c, 2);
    int axis = -1, rank = x->shape.rank, rc = cache_axis(c->node, rank, &axis, err);
    if (rc)
        return rc;
    bool circular = !strcmp(mc_node_string(c->node, "mode", "linear"), "circular");
    int64_t size = x->shape.dim[axis], n = from->shape.dim[axis];
    int64_t per_batch = mc_op_span(x, 1, axis), inner = mc_op_span(x, axis + 1, rank);
    size_t row = (size_t)(inner * mc_op_elem_bytes(x->dtype));
    mc_op_copy(c, x, &c->out[0]);
    for (int64_t b = 0; b < x->shape.dim[0]; b++) {
        int64_t first = !at                         ? 0
                        : at->dtype == MC_DTYPE_I32 ? ((const int32_t *)at->data)[b]
                                                    : ((const int64_t *)at->data)[b];
        if (first < 0 || first > (circular ? size - 1 : size - n))
            return mc_op_fail(err, MC_EDATA, c->node,
                              "%lld entries from %lld on in a cache of %lld", (long long)n,
                              (long long)first, (long long)size);
        for (int64_t i = 0; i < per_batch * n; i++) {
            int64_t outer = b * per_batch + i / n, place = (first + i % n) % size;
            memcpy((char *)c->out[0].data + (size_t)(outer * size + place) * row,
                   (const char *)from->data + (size_t)(outer * n + i % n) * row, row);
        }
    }
    return 0;
}

const struct mc_op mc_ops_scatter[] = {
    {"", "Scatter", 9, MC_OP_INPLACE, elements_infer, setup, elements_run, NULL, NULL, NULL},
    {"", "ScatterElements", 11, MC_OP_INPLACE, elements_infer, setup, elements_run, NULL, NULL,
     NULL},
    {"", "ScatterND", 11, MC_OP_INPLACE, nd_infer, setup, nd_run, NULL, NULL, NULL},
    {"", "TensorScatter", 24, MC_OP_INPLACE, cache_infer, NULL, cache_run, NULL, NULL, NULL},
    {0},
};

/* Lists of what comes to a place have numbers of 32 bits. */
static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->places.find && c->k->places.put && c->k->move.run &&
           mc_op_count(&c->out[0]) < INT32_MAX && mc_op_count(&c->in[1]) < INT32_MAX;
}

const struct mc_op_gpu mc_op_gpu_scatter[] = {
    {"", "Scatter", .can = gpu_can},
    {"", "ScatterElements", .can = gpu_can},
    {"", "ScatterND", .can = gpu_can},
    {0},
};
