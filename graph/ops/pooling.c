/* MaxPool, AveragePool and their global forms. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/window.h"

/* 8-bit maxima are found as floats, which hold them exactly. */
static bool pools_bytes(const struct mc_node *n, enum mc_dtype dtype)
{
    return (dtype == MC_DTYPE_U8 || dtype == MC_DTYPE_I8) && n->version >= 12 &&
           mc_node_is(n, "MaxPool");
}

static int pool_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool max = mc_node_is(c->node, "MaxPool");
    int rc = mc_op_arity(c, 1, 1, err);
    if (!rc && !pools_bytes(c->node, c->in[0]->dtype))
        rc = mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, MC_RANK_MAX, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    const struct mc_shape *shape = NULL;
    struct mc_shape y;
    if (x->ranked) {
        struct mc_window_dims w;
        if ((rc = mc_window_infer(c->node, &x->shape, NULL, &w, err)))
            return rc;
        y = x->shape;
        for (int d = 5 - y.rank; d < 3; d++) {
            y.dim[d + y.rank - 3] = w.out[d];
            int64_t extent = (w.kernel[d] - 1) * w.dilation[d] + 1;
            if (w.pad[d] >= extent || w.end[d] >= extent)
                return mc_op_fail(err, MC_ESHAPE, c->node,
                                  "padding %lld+%lld leaves windows of %lld with nothing in them",
                                  (long long)w.pad[d], (long long)w.end[d], (long long)extent);
        }
        shape = &y;
    }
    mc_op_give(c, 0, x->dtype, shape);
    if (max)
        mc_op_give(c, 1, MC_DTYPE_I64, shape);
    return 0;
}

static size_t bytes_scratch(struct mc_call *c, void **ret_x, void **ret_y)
{
    size_t at = 0, each = (size_t)c->k->elem_bytes;
    *ret_x = mc_op_scratch(c, &at, (size_t)mc_op_count(&c->in[0]) * each);
    *ret_y = mc_op_scratch(c, &at, (size_t)mc_op_count(&c->out[0]) * each);
    return at;
}

static int pool_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    void *x, *y;
    if (pools_bytes(c->node, c->in[0].dtype))
        c->scratch_bytes = bytes_scratch(c, &x, &y);
    return 0;
}

/* Positions in a plane to positions in the whole input, in row-major or (storage_order 1) in column-major
 * order of the spatial dimensions. */
static void finish_positions(const struct mc_call *c, const struct mc_window *w)
{
    int64_t plane = w->in[0] * w->in[1] * w->in[2], out = w->out[0] * w->out[1] * w->out[2];
    bool columns = mc_node_int(c->node, "storage_order", 0) != 0;
    if (c->k->device) {
        c->k->values.positions(w, columns);
        return;
    }
    for (int64_t i = 0; i < w->planes * out; i++) {
        int64_t at = w->arg[i];
        if (columns) {
            int64_t x = at % w->in[2], y = at / w->in[2] % w->in[1], z = at / w->in[2] / w->in[1];
            at = z + (y + x * w->in[1]) * w->in[0];
        }
        w->arg[i] = i / out * plane + at;
    }
}

/* n elements of `x` to float32 or float64, or such elements to bytes. */
static int convert(const struct mc_call *c, enum mc_dtype from, const void *x, enum mc_dtype to,
                   void *y, int64_t n, struct mc_err *err)
{
    if (c->k->device) {
        const struct mc_cast cast = {
            .from = mc_op_elem(from), .to = mc_op_elem(to), .n = n, .x = x, .y = y};
        c->k->values.cast(&cast);
        return 0;
    }
    if (to == MC_DTYPE_F64)
        return mc_dtype_to_f64((int)from, x, y, (size_t)n, err);
    if (to == MC_DTYPE_F32)
        return mc_dtype_to_f32((int)from, x, y, (size_t)n, err);
    return from == MC_DTYPE_F64 ? mc_dtype_from_f64((int)to, x, y, (size_t)n, err)
                                : mc_dtype_from_f32((int)to, x, y, (size_t)n, err);
}

static int pool_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *in = &c->in[0];
    struct mc_buf *positions = mc_op_res(c, 1);
    struct mc_window_dims d;
    int rc = mc_window_infer(c->node, &in->shape, NULL, &d, err);
    if (rc)
        return rc;
    struct mc_window w = {.average = mc_node_is(c->node, "AveragePool"),
                          .count_pad = mc_node_int(c->node, "count_include_pad", 0) != 0,
                          .planes = mc_op_span(in, 0, 2),
                          .x = in->data,
                          .y = c->out[0].data,
                          .arg = positions ? positions->data : NULL};
    memcpy(w.in, d.in, sizeof d.in);
    memcpy(w.out, d.out, sizeof d.out);
    memcpy(w.kernel, d.kernel, sizeof d.kernel);
    memcpy(w.stride, d.stride, sizeof d.stride);
    memcpy(w.dilation, d.dilation, sizeof d.dilation);
    memcpy(w.pad, d.pad, sizeof d.pad);
    memcpy(w.end, d.end, sizeof d.end);
    bool bytes = pools_bytes(c->node, in->dtype);
    enum mc_dtype real = c->k->elem_bytes == 8 ? MC_DTYPE_F64 : MC_DTYPE_F32;
    if (bytes) {
        void *x, *y;
        bytes_scratch(c, &x, &y);
        rc = convert(c, in->dtype, in->data, real, x, mc_op_count(in), err);
        w.x = x;
        w.y = y;
    }
    if (!rc)
        c->k->nn.window(&w, c->pool);
    if (!rc && bytes)
        rc = convert(c, real, w.y, in->dtype, c->out[0].data, mc_op_count(&c->out[0]), err);
    if (!rc && w.arg)
        finish_positions(c, &w);
    return rc;
}

static int global_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0];
    int64_t inner = mc_op_span(x, 2, x->shape.rank);
    struct mc_reduce r = {.fn =
                              mc_node_is(c->node, "GlobalMaxPool") ? MC_REDUCE_MAX : MC_REDUCE_MEAN,
                          .keep_rank = 1,
                          .over_rank = 1,
                          .keep = {mc_op_span(x, 0, 2)},
                          .over = {inner},
                          .keep_stride = {inner},
                          .over_stride = {1},
                          .x = x->data,
                          .y = c->out[0].data};
    c->k->nn.reduce(&r, c->pool);
    return 0;
}

const struct mc_op mc_ops_pooling[] = {
    {"", "MaxPool", 1, 0, pool_infer, pool_setup, pool_run, NULL, NULL, NULL},
    {"", "AveragePool", 1, 0, pool_infer, pool_setup, pool_run, NULL, NULL, NULL},
    {"", "GlobalAveragePool", 1, 0, mc_window_global, NULL, global_run, NULL, NULL, NULL},
    {"", "GlobalMaxPool", 1, 0, mc_window_global, NULL, global_run, NULL, NULL, NULL},
    {0},
};

static bool pool_can(const struct mc_call *c)
{
    bool bytes = pools_bytes(c->node, c->in[0].dtype);
    return c->k->nn.window &&
           (bytes ? c->k->values.cast != NULL : c->in[0].dtype == MC_DTYPE_F32) &&
           (!mc_op_res(c, 1) || c->k->values.positions) &&
           mc_window_counts_fit(c->node, &c->in[0].shape);
}

static bool global_can(const struct mc_call *c)
{
    return c->k->nn.reduce && c->in[0].dtype == MC_DTYPE_F32;
}

const struct mc_op_gpu mc_op_gpu_pooling[] = {
    {"", "MaxPool", .can = pool_can},
    {"", "AveragePool", .can = pool_can},
    {"", "GlobalAveragePool", .can = global_can},
    {"", "GlobalMaxPool", .can = global_can},
    {0},
};
