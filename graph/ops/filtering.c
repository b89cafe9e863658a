/* Results whose size depends on the data: NonZero, Compress, Unique. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/index.h"

/* ---- NonZero ---- */

static int nonzero_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_index_need_order(c, 0, err);
    if (rc)
        return rc;
    int rank = mc_op_rank(c, 0);
    struct mc_shape y = {2, {rank < 0 ? MC_DIM_ANY : rank > 0 ? rank : 1, MC_DIM_ANY}};
    mc_op_give(c, 0, MC_DTYPE_I64, &y);
    return 0;
}

enum { CHUNK = 256 };

/* test[i] = element from + i of x is not 0. */
static void test_chunk(const struct mc_buf *x, int64_t from, int64_t n, bool *test)
{
    uint64_t key[CHUNK], zero;
    const char *at = (const char *)x->data + from * mc_op_elem_bytes(x->dtype);
    mc_index_keys(x->dtype, &(double){0}, 1, 1, &zero);
    mc_index_keys(x->dtype, at, 1, n, key);
    for (int64_t i = 0; i < n; i++)
        test[i] = key[i] != zero;
}

static int nonzero_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0];
    int64_t n = 0, count = mc_op_count(x);
    int rank = x->shape.rank > 0 ? x->shape.rank : 1;
    bool test[CHUNK];
    for (int64_t i0 = 0; i0 < count; i0 += CHUNK) {
        int64_t m = count - i0 < CHUNK ? count - i0 : CHUNK;
        test_chunk(x, i0, m, test);
        for (int64_t i = 0; i < m; i++)
            n += test[i];
    }
    struct mc_shape y = {2, {rank, n}};
    int rc = mc_op_size(c, 0, &y, err);
    if (rc)
        return rc;
    int64_t *to = c->out[0].data, found = 0;
    for (int64_t i = 0; i < count; i++) {
        if (i % CHUNK == 0)
            test_chunk(x, i, count - i < CHUNK ? count - i : CHUNK, test);
        if (!test[i % CHUNK])
            continue;
        int64_t rest = i;
        for (int d = rank - 1; d >= 0; d--) {
            int64_t dim = d < x->shape.rank ? x->shape.dim[d] : 1;
            to[d * n + found] = rest % dim;
            rest /= dim;
        }
        found++;
    }
    return 0;
}

/* ---- Compress ---- */

static int compress_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int axis, rc = mc_op_arity(c, 2, 2, err), rank = mc_op_rank(c, 0);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 1, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 1, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *test = c->in[1];
    if (test->dtype && test->dtype != MC_DTYPE_BOOL)
        return mc_op_fail(err, MC_EDTYPE, c->node, "condition is %s, must be bool",
                          mc_dtype_name((int)test->dtype));
    struct mc_shape y = {1, {MC_DIM_ANY}};
    if (mc_node_attr(c->node, "axis")) {
        if (rank < 0) {
            mc_op_give(c, 0, x->dtype, NULL);
            return 0;
        }
        if ((rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 0), rank, &axis,
                                  err)))
            return rc;
        y = x->shape;
        y.dim[axis] = MC_DIM_ANY;
    }
    mc_op_give(c, 0, x->dtype, &y);
    return 0;
}

/* A condition shorter than the axis leaves the rest out; what it says beyond is not looked at. */
static int compress_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *test = &c->in[1];
    const uint8_t *keep = test->data;
    int rank = x->shape.rank, axis = -1;
    int64_t outer = 1, inner = 1, n = mc_op_count(x), kept = 0;
    struct mc_shape y = {1, {0}};
    if (mc_node_attr(c->node, "axis")) {
        axis = mc_shape_axis(mc_node_int(c->node, "axis", 0), rank);
        outer = mc_op_span(x, 0, axis);
        inner = mc_op_span(x, axis + 1, rank);
        n = x->shape.dim[axis];
        y = x->shape;
    }
    int64_t look = mc_op_count(test) < n ? mc_op_count(test) : n;
    for (int64_t i = 0; i < look; i++)
        kept += keep[i] != 0;
    y.dim[axis < 0 ? 0 : axis] = kept;
    int rc = mc_op_size(c, 0, &y, err);
    if (rc)
        return rc;
    size_t row = (size_t)(inner * mc_op_elem_bytes(x->dtype));
    char *to = c->out[0].data;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < look; i++)
            if (keep[i]) {
                memcpy(to, (const char *)x->data + (size_t)(o * n + i) * row, row);
                to += row;
            }
    return 0;
}

/* ---- Unique ---- */

static int unique_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int axis, rc = mc_op_arity(c, 1, 1, err), rank = mc_op_rank(c, 0);
    rc = rc ? rc : mc_index_need_order(c, 0, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    struct mc_shape y = {1, {MC_DIM_ANY}}, any = y, all = y;
    bool has_axis = mc_node_attr(c->node, "axis") != NULL;
    if (has_axis && rank >= 0) {
        if ((rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", 0), rank, &axis,
                                  err)))
            return rc;
        y = x->shape;
        all.dim[0] = y.dim[axis];
        y.dim[axis] = MC_DIM_ANY;
    } else if (rank >= 0) {
        int64_t n = mc_shape_count(&x->shape);
        all.dim[0] = n >= 0 ? n : MC_DIM_ANY;
    }
    mc_op_give(c, 0, x->dtype, has_axis && rank < 0 ? NULL : &y);
    mc_op_give(c, 1, MC_DTYPE_I64, &any);
    mc_op_give(c, 2, MC_DTYPE_I64, &all);
    mc_op_give(c, 3, MC_DTYPE_I64, &any);
    return 0;
}

struct unique { /* n things of m elements each, one after another along an axis */
    int64_t n, m, outer, inner, groups;
    uint64_t *keys;  /* [n, m] */
    int64_t *order;  /* [n] things, sorted */
    int64_t *group;  /* [n] of a thing, numbered as the result is */
    int64_t *first;  /* [groups] earliest thing of a group */
    int64_t *number; /* [groups] rank of a sorted group in the result */
};

static int by_keys(const void *a, const void *b, void *ctx)
{
    const struct unique *u = ctx;
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    for (int64_t k = 0; k < u->m; k++) {
        uint64_t x = u->keys[i * u->m + k], y = u->keys[j * u->m + k];
        if (x != y)
            return x < y ? -1 : 1;
    }
    return i < j ? -1 : i > j;
}

static int by_first(const void *a, const void *b, void *ctx)
{
    const struct unique *u = ctx;
    int64_t i = u->first[*(const int64_t *)a], j = u->first[*(const int64_t *)b];
    return i < j ? -1 : i > j;
}

static void load_keys(const struct unique *u, const struct mc_buf *x)
{
    int64_t elem = mc_op_elem_bytes(x->dtype);
    for (int64_t i = 0; i < u->n; i++)
        for (int64_t o = 0; o < u->outer; o++)
            mc_index_keys(x->dtype, (const char *)x->data + (o * u->n + i) * u->inner * elem, 1,
                          u->inner, u->keys + i * u->m + o * u->inner);
}

static void find_groups(struct unique *u, bool sorted)
{
    for (int64_t i = 0; i < u->n; i++)
        u->order[i] = i;
    if (u->n > 0)
        qsort_r(u->order, (size_t)u->n, sizeof *u->order, by_keys, u);
    for (int64_t i = 0; i < u->n; i++) {
        const uint64_t *now = u->keys + u->order[i] * u->m;
        const uint64_t *before = i > 0 ? u->keys + u->order[i - 1] * u->m : NULL;
        if (!before || memcmp(now, before, (size_t)u->m * sizeof *now) != 0)
            u->first[u->groups++] = u->order[i];
        u->group[u->order[i]] = u->groups - 1;
    }
    for (int64_t g = 0; g < u->groups; g++)
        u->order[g] = g;
    if (!sorted && u->groups > 0)
        qsort_r(u->order, (size_t)u->groups, sizeof *u->order, by_first, u);
    for (int64_t g = 0; g < u->groups; g++)
        u->number[u->order[g]] = g;
}

static void give_unique(const struct mc_call *c, const struct unique *u)
{
    const struct mc_buf *x = &c->in[0];
    size_t row = (size_t)(u->inner * mc_op_elem_bytes(x->dtype));
    struct mc_buf *y = mc_op_res(c, 0), *indices = mc_op_res(c, 1), *inverse = mc_op_res(c, 2);
    struct mc_buf *counts = mc_op_res(c, 3);
    for (int64_t g = 0; g < u->groups; g++) {
        int64_t from = u->first[u->order[g]];
        for (int64_t o = 0; y && o < u->outer; o++)
            memcpy((char *)y->data + (size_t)(o * u->groups + g) * row,
                   (const char *)x->data + (size_t)(o * u->n + from) * row, row);
        if (indices)
            ((int64_t *)indices->data)[g] = from;
        if (counts)
            ((int64_t *)counts->data)[g] = 0;
    }
    for (int64_t i = 0; i < u->n; i++) {
        int64_t g = u->number[u->group[i]];
        if (inverse)
            ((int64_t *)inverse->data)[i] = g;
        if (counts)
            ((int64_t *)counts->data)[g]++;
    }
}

static int size_outputs(struct mc_call *c, const struct unique *u, int axis, struct mc_err *err)
{
    struct mc_shape y = {1, {u->groups}}, groups = y, all = {1, {u->n}};
    if (axis >= 0) {
        y = c->in[0].shape;
        y.dim[axis] = u->groups;
    }
    const struct mc_shape *shapes[] = {&y, &groups, &all, &groups};
    int rc = 0;
    for (int i = 0; i < 4 && !rc; i++)
        if (mc_op_res(c, i))
            rc = mc_op_size(c, i, shapes[i], err);
    return rc;
}

static struct unique unique_of(const struct mc_call *c, int *ret_axis)
{
    const struct mc_buf *x = &c->in[0];
    struct unique u = {.n = mc_op_count(x), .m = 1, .outer = 1, .inner = 1};
    *ret_axis = -1;
    if (mc_node_attr(c->node, "axis")) {
        int axis = mc_shape_axis(mc_node_int(c->node, "axis", 0), x->shape.rank);
        *ret_axis = axis;
        u.n = x->shape.dim[axis];
        u.outer = mc_op_span(x, 0, axis);
        u.inner = mc_op_span(x, axis + 1, x->shape.rank);
        u.m = u.outer * u.inner;
    }
    return u;
}

static void layout(const struct mc_call *c, struct unique *u, size_t *at)
{
    size_t n = (size_t)u->n * sizeof(int64_t);
    u->keys = mc_op_scratch(c, at, (size_t)u->m * n);
    u->order = mc_op_scratch(c, at, n);
    u->group = mc_op_scratch(c, at, n);
    u->first = mc_op_scratch(c, at, n);
    u->number = mc_op_scratch(c, at, n);
}

static int unique_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    int axis;
    struct unique u = unique_of(c, &axis);
    size_t at = 0;
    layout(c, &u, &at);
    c->scratch_bytes = at;
    return 0;
}

static int unique_run(struct mc_call *c, struct mc_err *err)
{
    int axis;
    struct unique u = unique_of(c, &axis);
    size_t at = 0;
    layout(c, &u, &at);
    load_keys(&u, &c->in[0]);
    find_groups(&u, mc_node_int(c->node, "sorted", 1) != 0);
    int rc = size_outputs(c, &u, axis, err);
    if (!rc)
        give_unique(c, &u);
    return rc;
}

const struct mc_op mc_ops_filtering[] = {
    {"", "NonZero", 9, MC_OP_SIZES, nonzero_infer, NULL, nonzero_run, NULL, NULL, NULL},
    {"", "Compress", 9, MC_OP_SIZES, compress_infer, NULL, compress_run, NULL, NULL, NULL},
    {"", "Unique", 11, MC_OP_SIZES, unique_infer, unique_setup, unique_run, NULL, NULL, NULL},
    {0},
};
