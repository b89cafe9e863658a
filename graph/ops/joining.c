/* A tensor cut into parts along an axis, and parts put together: Split, Concat. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

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

/* Copy between a dense tensor and its part [at, at + part dim) along axis, in either direction. A part that was made
 * where it goes stays. */
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
    if (m.src != m.dst)
        c->k->move.run(&m, c->pool);
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

const struct mc_op mc_ops_joining[] = {
    {"", "Split", 2, 0, split_infer, NULL, split_run, NULL, NULL, NULL},
    {"", "Concat", 1, 0, concat_infer, NULL, concat_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->move.run && c->k->move.fill;
}

const struct mc_op_gpu mc_op_gpu_joining[] = {
    {"", "Split", .can = gpu_can, .host_in = 1 << 1},
    {"", "Concat", .can = gpu_can},
    {0},
};
