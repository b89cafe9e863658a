/* TopK: the k largest or smallest elements of each row, in order; of equal ones the earlier first. */
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/index.h"

/* k where it is known, -1 where not. */
static int topk_count(const struct mc_infer_ctx *c, int64_t *ret, struct mc_err *err)
{
    struct mc_contents k;
    *ret = -1;
    if (c->node->version < 10) {
        if (!mc_node_attr(c->node, "k"))
            return mc_op_fail(err, MC_ESHAPE, c->node, "has no k");
        *ret = mc_node_int(c->node, "k", 0);
    } else if (mc_op_numbers(c, 1, &k)) {
        if (k.n != 1)
            return mc_op_fail(err, MC_ESHAPE, c->node, "K has %d elements, must have 1", k.n);
        *ret = k.value[0];
    } else {
        return 0;
    }
    if (*ret < 0)
        return mc_op_fail(err, MC_ESHAPE, c->node, "k is %lld", (long long)*ret);
    return 0;
}

static int topk_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool input = c->node->version >= 10;
    int axis, rc = mc_op_arity(c, input ? 2 : 1, input ? 2 : 1, err);
    int64_t k;
    rc = rc ? rc : mc_index_need_order(c, 0, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_single(c, 1, err);
    rc = rc ? rc : topk_count(c, &k, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, x->dtype, NULL);
    mc_op_give(c, 1, MC_DTYPE_I64, NULL);
    if (!x->ranked)
        return 0;
    struct mc_shape y = x->shape;
    if ((rc = mc_op_need_axis(c->node, "axis", mc_node_int(c->node, "axis", -1), y.rank, &axis,
                              err)))
        return rc;
    if (k >= 0 && y.dim[axis] >= 0 && k > y.dim[axis])
        return mc_op_fail(err, MC_ESHAPE, c->node, "k is %lld of %lld elements", (long long)k,
                          (long long)y.dim[axis]);
    y.dim[axis] = k >= 0 ? k : MC_DIM_ANY;
    mc_op_give(c, 0, x->dtype, &y);
    mc_op_give(c, 1, MC_DTYPE_I64, &y);
    return 0;
}

struct entry {
    uint64_t key; /* smaller is better */
    int64_t index;
};

static bool better(struct entry a, struct entry b)
{
    return a.key < b.key || (a.key == b.key && a.index < b.index);
}

/* Move `e` from the root of a heap of n, whose worst entry is on top, to its place. */
static void sift(struct entry *heap, int64_t n, struct entry e)
{
    int64_t at = 0, child;
    for (; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && better(heap[child], heap[child + 1]))
            child++;
        if (!better(e, heap[child]))
            break;
        heap[at] = heap[child];
    }
    heap[at] = e;
}

/* Put e into a heap that grows to n. */
static void rise(struct entry *heap, int64_t n, struct entry e)
{
    int64_t at = n - 1;
    for (; at > 0 && better(heap[(at - 1) / 2], e); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = e;
}

struct job {
    const struct mc_call *c;
    int64_t n, k, inner;
    struct entry *heaps; /* k for each worker */
    uint64_t flip;       /* all ones where large is good */
};

enum { CHUNK = 256 };

static void select_best(const struct job *j, const char *x, int64_t elem, struct entry *heap)
{
    uint64_t key[CHUNK];
    for (int64_t i0 = 0; i0 < j->n; i0 += CHUNK) {
        int64_t m = j->n - i0 < CHUNK ? j->n - i0 : CHUNK;
        mc_index_keys(j->c->in[0].dtype, x + i0 * j->inner * elem, j->inner, m, key);
        for (int64_t i = 0; i < m; i++) {
            struct entry e = {key[i] ^ j->flip, i0 + i};
            if (e.index < j->k)
                rise(heap, e.index + 1, e);
            else if (e.key < heap[0].key) /* an equal one comes later: not better */
                sift(heap, j->k, e);
        }
    }
    for (int64_t left = j->k - 1; left > 0; left--) {
        struct entry last = heap[left];
        heap[left] = heap[0];
        sift(heap, left, last);
    }
}

static void one_row(void *ctx, int64_t row, int worker)
{
    const struct job *j = ctx;
    const struct mc_call *c = j->c;
    int64_t elem = mc_op_elem_bytes(c->in[0].dtype), outer = row / j->inner, in = row % j->inner;
    const char *x = (const char *)c->in[0].data + (outer * j->n * j->inner + in) * elem;
    struct entry *heap = j->heaps + worker * j->k;
    struct mc_buf *values = mc_op_res(c, 0), *indices = mc_op_res(c, 1);
    select_best(j, x, elem, heap);
    for (int64_t i = 0; i < j->k; i++) {
        int64_t to = (outer * j->k + i) * j->inner + in;
        if (values)
            memcpy((char *)values->data + to * elem, x + heap[i].index * j->inner * elem,
                   (size_t)elem);
        if (indices)
            ((int64_t *)indices->data)[to] = heap[i].index;
    }
}

/* The wanted count, from the shape of an output: one of the two is there. */
static int64_t planned_k(const struct mc_call *c, int axis)
{
    const struct mc_buf *y = mc_op_res(c, 0) ? mc_op_res(c, 0) : mc_op_res(c, 1);
    return y ? y->shape.dim[axis] : 0;
}

static int topk_axis(const struct mc_call *c)
{
    return mc_shape_axis(mc_node_int(c->node, "axis", -1), c->in[0].shape.rank);
}

static int topk_setup(struct mc_call *c, struct mc_err *err)
{
    size_t bytes, k = (size_t)planned_k(c, topk_axis(c));
    if (!mc_size_mul(k, sizeof(struct entry) * (size_t)mc_pool_threads(c->pool), &bytes))
        return mc_op_fail(err, MC_ENOMEM, c->node, "out of memory");
    c->scratch_bytes = bytes;
    return 0;
}

static int check_k(const struct mc_call *c, int64_t n, int64_t k, struct mc_err *err)
{
    int64_t asked;
    if (mc_op_ints(mc_op_arg(c, 1), &asked, 1) == 1 && asked != k)
        return mc_op_fail(err, MC_EDATA, c->node, "K is %lld, not %lld as planned",
                          (long long)asked, (long long)k);
    if (k > n)
        return mc_op_fail(err, MC_EDATA, c->node, "k is %lld of %lld elements", (long long)k,
                          (long long)n);
    return 0;
}

static int topk_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0];
    int axis = topk_axis(c), rank = x->shape.rank;
    struct job j = {.c = c,
                    .n = x->shape.dim[axis],
                    .k = planned_k(c, axis),
                    .inner = mc_op_span(x, axis + 1, rank),
                    .heaps = c->scratch,
                    .flip = mc_node_int(c->node, "largest", 1) ? UINT64_MAX : 0};
    int rc = check_k(c, j.n, j.k, err);
    if (rc)
        return rc;
    if (j.k > 0)
        mc_pool_run(c->pool, mc_op_span(x, 0, axis) * j.inner, one_row, &j);
    return 0;
}

const struct mc_op mc_ops_topk[] = {
    {"", "TopK", 1, 0, topk_infer, topk_setup, topk_run, NULL, NULL, NULL},
    {0},
};

/* Keys of 32 bits, with the number of the element behind them. */
static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->values.top && mc_op_elem(c->in[0].dtype) != MC_ELEM_COUNT &&
           mc_op_elem_bytes(c->in[0].dtype) <= 4 &&
           c->in[0].shape.dim[topk_axis(c)] <= INT32_MAX / 2;
}

static void *data_of(const struct mc_buf *b)
{
    return b ? b->data : NULL;
}

static int gpu_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0];
    int axis = topk_axis(c), rank = x->shape.rank;
    const struct mc_top t = {.type = mc_op_elem(x->dtype),
                             .outer = mc_op_span(x, 0, axis),
                             .n = x->shape.dim[axis],
                             .inner = mc_op_span(x, axis + 1, rank),
                             .k = planned_k(c, axis),
                             .largest = mc_node_int(c->node, "largest", 1) != 0,
                             .x = x->data,
                             .values = data_of(mc_op_res(c, 0)),
                             .index = data_of(mc_op_res(c, 1))};
    int rc = check_k(c, t.n, t.k, err);
    if (!rc)
        c->k->values.top(&t);
    return rc;
}

const struct mc_op_gpu mc_op_gpu_topk[] = {
    {"", "TopK", .can = gpu_can, .host_in = 1 << 1, .run = gpu_run},
    {0},
};
