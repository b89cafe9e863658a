/* Values made of attributes and shapes: Constant, ConstantOfShape, Shape, Size, Range. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

/* ---- Constant ---- */

static const struct form {
    const char *attr;
    enum mc_dtype dtype; /* NONE: of the tensor */
    int rank;            /* of the result, where no tensor says it */
} forms[] = {
    {"value", MC_DTYPE_NONE, 0},           {"value_int", MC_DTYPE_I64, 0},
    {"value_ints", MC_DTYPE_I64, 1},       {"value_float", MC_DTYPE_F32, 0},
    {"value_floats", MC_DTYPE_F32, 1},     {"value_string", MC_DTYPE_STRING, 0},
    {"value_strings", MC_DTYPE_STRING, 1},
};

static const struct mc_attr *value_attr(const struct mc_node *n, const struct form **ret)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        *ret = &forms[i];
        const struct mc_attr *a = mc_node_attr(n, forms[i].attr);
        if (a)
            return a;
    }
    return NULL;
}

static int constant_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 0, 0, err);
    if (rc)
        return rc;
    const struct form *f;
    const struct mc_attr *a = value_attr(c->node, &f);
    if (!a)
        return mc_op_fail(err, MC_EUNSUP, c->node, "has no value that can be read (%s)",
                          mc_node_attr(c->node, "sparse_value") ? "sparse_value" : "no attribute");
    if (f->dtype == MC_DTYPE_NONE) {
        if (a->type != MC_ATTR_TENSOR || a->n != 1)
            return mc_op_fail(err, MC_EFORMAT, c->node, "value is not a tensor");
        mc_op_give(c, 0, a->tensors[0]->dtype, &a->tensors[0]->shape);
        return 0;
    }
    int64_t n = (int64_t)a->n;
    struct mc_shape y = mc_shape_of(f->rank, &n);
    mc_op_give(c, 0, f->dtype, &y);
    struct mc_contents known = {.n = f->rank ? (int)a->n : 1};
    if (f->dtype != MC_DTYPE_I64 || (f->rank && a->n > MC_PARTIAL_MAX))
        return 0;
    for (int i = 0; i < known.n; i++)
        known.value[i] = f->rank ? a->ints[i] : a->i;
    return mc_op_set_contents(c, 0, &known, err);
}

/* n elements of a tensor to the type of a run, which may compute halves in another. */
static int put(const struct mc_tensor *t, const struct mc_buf *y, size_t n, struct mc_err *err)
{
    size_t bytes;
    if (y->dtype == MC_DTYPE_F32 && t->dtype != MC_DTYPE_F32)
        return mc_dtype_to_f32((int)t->dtype, t->data, y->data, n, err);
    if (y->dtype == MC_DTYPE_F64 && t->dtype != MC_DTYPE_F64)
        return mc_dtype_to_f64((int)t->dtype, t->data, y->data, n, err);
    if (mc_dtype_bytes((int)t->dtype, (int64_t)n, &bytes) && bytes)
        memcpy(y->data, t->data, bytes);
    return 0;
}

static int constant_run(struct mc_call *c, struct mc_err *err)
{
    const struct form *f;
    const struct mc_attr *a = value_attr(c->node, &f);
    struct mc_buf *y = &c->out[0];
    size_t n = (size_t)mc_op_count(y);
    if (f->dtype == MC_DTYPE_NONE)
        return put(a->tensors[0], y, n, err);
    if (f->dtype == MC_DTYPE_STRING)
        return mc_op_fail(err, MC_EUNSUP, c->node, "strings cannot run");
    struct mc_tensor t = {.dtype = f->dtype};
    t.data = f->dtype == MC_DTYPE_I64
                 ? (f->rank ? (const uint8_t *)a->ints : (const uint8_t *)&a->i)
                 : (f->rank ? (const uint8_t *)a->floats : (const uint8_t *)&a->f);
    return put(&t, y, n, err);
}

/* ---- ConstantOfShape ---- */

static int fill_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 1, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    const struct mc_attr *a = mc_node_attr(c->node, "value");
    enum mc_dtype dtype = MC_DTYPE_F32;
    if (x->dtype && x->dtype != MC_DTYPE_I64)
        return mc_op_fail(err, MC_EDTYPE, c->node, "the shape is %s, must be int64",
                          mc_dtype_name((int)x->dtype));
    if (a) {
        if (a->type != MC_ATTR_TENSOR || a->n != 1 || mc_tensor_count(a->tensors[0]) != 1)
            return mc_op_fail(err, MC_ESHAPE, c->node, "value is not a tensor of one element");
        dtype = a->tensors[0]->dtype;
        if (mc_op_elem_bytes(dtype) == 0)
            return mc_op_fail(err, MC_EUNSUP, c->node, "filling with %s cannot run",
                              mc_dtype_name((int)dtype));
    }
    struct mc_contents to;
    struct mc_shape y = {0};
    bool known = mc_op_contents(c, 0, &to);
    int64_t rank = known ? to.n : x->ranked ? x->shape.dim[0] : -1;
    if (rank > MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, c->node, "rank %lld, at most %d can run", (long long)rank,
                          MC_RANK_MAX);
    mc_op_give(c, 0, dtype, NULL);
    if (rank < 0)
        return 0;
    y.rank = (int)rank;
    for (int d = 0; d < y.rank; d++) {
        y.dim[d] = !known ? MC_DIM_ANY : to.sym[d] ? to.sym[d] : to.value[d];
        if (known && !to.sym[d] && to.value[d] < 0)
            return mc_op_fail(err, MC_ESHAPE, c->node, "the shape holds %lld",
                              (long long)to.value[d]);
    }
    mc_op_give(c, 0, dtype, &y);
    int64_t n = mc_shape_count(&y), v = 0;
    if ((dtype != MC_DTYPE_I64 && dtype != MC_DTYPE_I32) || n < 0 || n > MC_PARTIAL_MAX ||
        y.rank > 1 || (rc = mc_dtype_to_i64((int)dtype, a->tensors[0]->data, &v, 1, err)))
        return rc;
    struct mc_contents filled = {.n = (int)n};
    for (int i = 0; i < filled.n; i++)
        filled.value[i] = v;
    return mc_op_set_contents(c, 0, &filled, err);
}

static int fill_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_attr *a = mc_node_attr(c->node, "value");
    double one[2] = {0}; /* 16 bytes of zeros: an element of any type */
    int64_t dim[MC_RANK_MAX];
    int rank = mc_op_ints(&c->in[0], dim, MC_RANK_MAX);
    for (int d = 0; d < rank; d++)
        if (rank != c->out[0].shape.rank || dim[d] != c->out[0].shape.dim[d])
            return mc_op_fail(err, MC_EDATA, c->node, "the result has another shape than planned");
    struct mc_buf y = {.dtype = c->out[0].dtype, .data = one};
    int rc = a ? put(a->tensors[0], &y, 1, err) : 0;
    if (!rc)
        c->k->move.fill(c->out[0].data, mc_op_count(&c->out[0]), one,
                        mc_op_elem_bytes(c->out[0].dtype), c->pool);
    return rc;
}

/* ---- Shape and Size ---- */

/* Dimensions [start, end) that Shape gives of rank. */
static void shape_range(const struct mc_node *n, int rank, int *ret_start, int *ret_end)
{
    int64_t v[2] = {mc_node_int(n, "start", 0), mc_node_int(n, "end", rank)};
    for (int i = 0; i < 2; i++) {
        v[i] = v[i] < 0 ? v[i] + rank : v[i];
        v[i] = v[i] < 0 ? 0 : v[i] > rank ? rank : v[i];
    }
    *ret_start = (int)v[0];
    *ret_end = (int)(v[1] < v[0] ? v[0] : v[1]);
}

static int shape_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    if (rc)
        return rc;
    struct mc_shape y = {1, {MC_DIM_ANY}};
    mc_op_give(c, 0, MC_DTYPE_I64, &y);
    const struct mc_vtype *x = c->in[0];
    if (!x->ranked)
        return 0;
    int start, end;
    shape_range(c->node, x->shape.rank, &start, &end);
    y.dim[0] = end - start;
    mc_op_give(c, 0, MC_DTYPE_I64, &y);
    struct mc_contents known = {.n = end - start};
    for (int i = 0; i < known.n; i++) {
        int64_t d = x->shape.dim[start + i];
        known.sym[i] = d < 0 ? d : 0;
        known.value[i] = d < 0 ? 0 : d;
    }
    return mc_op_set_contents(c, 0, &known, err);
}

static int shape_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_shape *x = &c->in[0].shape;
    int start, end;
    shape_range(c->node, x->rank, &start, &end);
    for (int d = start; d < end; d++)
        ((int64_t *)c->out[0].data)[d - start] = x->dim[d];
    return 0;
}

static int size_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    if (rc)
        return rc;
    struct mc_shape y = {0};
    mc_op_give(c, 0, MC_DTYPE_I64, &y);
    int64_t n = c->in[0]->ranked ? mc_shape_count(&c->in[0]->shape) : -1;
    struct mc_contents known = {.n = 1, .value = {n}};
    return n < 0 ? 0 : mc_op_set_contents(c, 0, &known, err);
}

static int size_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    *(int64_t *)c->out[0].data = mc_op_count(&c->in[0]);
    return 0;
}

/* ---- Range: start, limit, delta of whole numbers or floats ---- */

static int range_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 3, err);
    for (int i = 0; i < 3 && !rc; i++) {
        rc = mc_op_need_same(c, 0, i, err);
        rc = rc ? rc : mc_op_need_single(c, i, err);
    }
    if (rc)
        return rc;
    struct mc_shape y = {1, {MC_DIM_ANY}};
    enum mc_dtype d = c->in[0]->dtype;
    double v[3];
    bool known = d != MC_DTYPE_NONE;
    for (int i = 0; i < 3 && known; i++) {
        struct mc_contents p;
        const struct mc_tensor *t = c->in[i]->known;
        if (t && mc_tensor_count(t) == 1)
            known = mc_dtype_to_f64((int)d, t->data, &v[i], 1, NULL) == 0;
        else if ((known = mc_op_numbers(c, i, &p) && p.n == 1))
            v[i] = (double)p.value[0];
    }
    if (known) {
        double n = ceil((v[1] - v[0]) / v[2]);
        if (v[2] == 0 || !(n < 0x1p53))
            return mc_op_fail(err, MC_ESHAPE, c->node, "steps of %g from %g to %g", v[2], v[0],
                              v[1]);
        y.dim[0] = n > 0 ? (int64_t)n : 0;
    }
    struct mc_contents from, to, by;
    if (!known && mc_op_numbers(c, 0, &from) && mc_op_contents(c, 1, &to) &&
        mc_op_numbers(c, 2, &by) && from.n == 1 && to.n == 1 && by.n == 1 && !from.value[0] &&
        by.value[0] == 1 && to.sym[0])
        y.dim[0] = to.sym[0]; /* 0, 1, … of a length */
    mc_op_give(c, 0, d, &y);
    return 0;
}

static int range_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *y = &c->out[0];
    int64_t n = mc_op_count(y), start, step;
    if (!mc_op_is_float(y->dtype)) {
        int rc = mc_dtype_to_i64((int)y->dtype, c->in[0].data, &start, 1, err);
        rc = rc ? rc : mc_dtype_to_i64((int)y->dtype, c->in[2].data, &step, 1, err);
        for (int64_t i = 0; i < n && !rc; i++) {
            int64_t v = start + i * step;
            memcpy((char *)y->data + i * mc_op_elem_bytes(y->dtype), &v,
                   (size_t)mc_op_elem_bytes(y->dtype)); /* little endian: the low bytes */
        }
        return rc;
    }
    for (int64_t i = 0; i < n; i++) {
        if (y->dtype == MC_DTYPE_F32)
            ((float *)y->data)[i] =
                *(const float *)c->in[0].data + (float)i * *(const float *)c->in[2].data;
        else
            ((double *)y->data)[i] =
                *(const double *)c->in[0].data + (double)i * *(const double *)c->in[2].data;
    }
    return 0;
}

const struct mc_op mc_ops_generate[] = {
    {"", "Constant", 1, 0, constant_infer, NULL, constant_run, NULL, NULL, NULL},
    {"", "ConstantOfShape", 9, 0, fill_infer, NULL, fill_run, NULL, NULL, NULL},
    {"", "Shape", 1, MC_OP_HOST, shape_infer, NULL, shape_run, NULL, NULL, NULL},
    {"", "Size", 1, MC_OP_HOST, size_infer, NULL, size_run, NULL, NULL, NULL},
    {"", "Range", 11, 0, range_infer, NULL, range_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->move.fill;
}

static bool gpu_can_range(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->values.steps;
}

static int gpu_range(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *y = &c->out[0];
    struct mc_steps s = {.type = mc_op_elem(y->dtype), .n = mc_op_count(y), .y = y->data};
    bool real = mc_op_is_float(y->dtype);
    int rc = 0;
    for (int i = 0; i < 3 && !rc; i += 2)
        rc = real ? mc_dtype_to_f64((int)y->dtype, c->in[i].data,
                                    i ? &s.float_step : &s.float_start, 1, err)
                  : mc_dtype_to_i64((int)y->dtype, c->in[i].data, i ? &s.step : &s.start, 1, err);
    if (!rc)
        c->k->values.steps(&s);
    return rc;
}

const struct mc_op_gpu mc_op_gpu_generate[] = {
    {"", "Range", .can = gpu_can_range, .host_in = 7, .run = gpu_range},
    {"", "ConstantOfShape", .can = gpu_can, .host_in = 1 << 0},
    {0},
};
