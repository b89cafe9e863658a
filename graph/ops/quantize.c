/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear: per tensor, per axis, or in blocks along an axis. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/int8.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/quant_grid.h"

enum { X, SCALE, ZERO };

static int64_t scale_at(const struct mc_quant_grid *g, int64_t i)
{
    int64_t in = i % g->inner, a = i / g->inner % g->axis, o = i / g->inner / g->axis;
    return o * g->o_step + a / g->block * g->a_step + in * g->i_step;
}

/* ---- what both have in common at inference ---- */

static bool is_number(enum mc_dtype d)
{
    enum mc_dtype_kind k = mc_dtype_info((int)d)->kind;
    return k == MC_KIND_FLOAT || k == MC_KIND_INT || k == MC_KIND_UINT;
}

static int check_params(const struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct mc_vtype *x = c->in[X], *s = c->in[SCALE], *z = mc_op_in(c, ZERO);
    struct mc_quant_grid g;
    int64_t same;
    int rc = mc_op_need_float(c, SCALE, err);
    if (!rc && x->dtype && !is_number(x->dtype))
        rc = mc_op_fail(err, MC_EDTYPE, c->node, "input 0 is %s, must be numbers",
                        mc_dtype_name((int)x->dtype));
    if (!rc && x->ranked && s->ranked)
        rc = mc_quant_grid_of(c->node, &x->shape, &s->shape, &g, err);
    if (rc || !z || !z->ranked || !s->ranked)
        return rc;
    bool single = mc_shape_count(&z->shape) == 1 && mc_shape_count(&s->shape) == 1;
    if (!single && z->shape.rank != s->shape.rank)
        return mc_op_fail(err, MC_ESHAPE, c->node, "zero points of rank %d, scales of rank %d",
                          z->shape.rank, s->shape.rank);
    for (int d = 0; d < s->shape.rank && !single && !rc; d++)
        rc = mc_op_need_dim(c->node, "zero points and scales", z->shape.dim[d], s->shape.dim[d],
                            &same, err);
    return rc;
}

/* ---- QuantizeLinear ---- */

static bool quantized_type(enum mc_dtype d)
{
    int bits = mc_dtype_info((int)d)->bits;
    return is_number(d) && bits <= 16 && d != MC_DTYPE_F16 && d != MC_DTYPE_BF16 &&
           d != MC_DTYPE_F8E8M0;
}

static int quantize_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 3, err);
    rc = rc ? rc : check_params(c, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[X], *zero = mc_op_in(c, ZERO);
    int64_t asked = mc_node_int(c->node, "output_dtype", 0);
    if (asked < 0 || asked >= MC_DTYPE_COUNT)
        return mc_op_fail(err, MC_EDTYPE, c->node, "output_dtype %lld is not known",
                          (long long)asked);
    enum mc_dtype to = zero && zero->dtype ? zero->dtype
                       : asked             ? (enum mc_dtype)asked
                       : zero              ? MC_DTYPE_NONE
                                           : MC_DTYPE_U8;
    if (asked && zero && zero->dtype && zero->dtype != (enum mc_dtype)asked)
        return mc_op_fail(err, MC_EDTYPE, c->node, "output_dtype is %s, the zero point %s",
                          mc_dtype_name((int)asked), mc_dtype_name((int)zero->dtype));
    if (to && !quantized_type(to))
        return mc_op_fail(err, MC_EDTYPE, c->node, "nothing is quantised to %s",
                          mc_dtype_name((int)to));
    mc_op_give(c, 0, to, x->ranked ? &x->shape : NULL);
    return 0;
}

/* The largest finite value of a small float type. */
static double largest(enum mc_dtype d)
{
    switch (d) {
    case MC_DTYPE_F8E4M3FN: return 448;
    case MC_DTYPE_F8E4M3FNUZ: return 240;
    case MC_DTYPE_F8E5M2:
    case MC_DTYPE_F8E5M2FNUZ: return 57344;
    case MC_DTYPE_F4E2M1: return 6;
    default: return INFINITY;
    }
}

enum { CHUNK = 512 }; /* elements; whole bytes of every packed type */

static size_t byte_at(enum mc_dtype d, int64_t i)
{
    return (size_t)i * mc_dtype_info((int)d)->bits / 8;
}

static double element(const struct mc_buf *b, int64_t i)
{
    double v[8];
    int bits = mc_dtype_info((int)b->dtype)->bits;
    int64_t per = bits < 8 ? 8 / bits : 1;
    mc_dtype_to_f64((int)b->dtype, (const char *)b->data + byte_at(b->dtype, i / per * per), v,
                    (size_t)(i % per + 1), NULL);
    return v[i % per];
}

/* Any types: x / scale, rounded before the zero point is added where the target is whole numbers. */
static int quantize_any(const struct mc_call *c, const struct mc_quant_grid *g, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[X], *zero = mc_op_arg(c, ZERO), *y = &c->out[0];
    bool whole = mc_dtype_info((int)y->dtype)->kind != MC_KIND_FLOAT;
    bool clips = !whole && mc_node_int(c->node, "saturate", 1);
    double most = largest(y->dtype), v[CHUNK];
    for (int64_t i0 = 0, n = mc_op_count(x); i0 < n; i0 += CHUNK) {
        int64_t m = n - i0 < CHUNK ? n - i0 : CHUNK;
        int rc = mc_dtype_to_f64((int)x->dtype, (const char *)x->data + byte_at(x->dtype, i0), v,
                                 (size_t)m, err);
        for (int64_t i = 0; i < m && !rc; i++) {
            int64_t at = scale_at(g, i0 + i);
            v[i] =
                (double)((float)v[i] / (float)element(&c->in[SCALE], at)); /* rounded so by ONNX */
            if (whole)
                v[i] = rint(v[i]) + (zero ? element(zero, at) : 0);
            else if (clips)
                v[i] = v[i] > most ? most : v[i] < -most ? -most : v[i];
        }
        rc = rc ? rc
                : mc_dtype_from_f64((int)y->dtype, v, (char *)y->data + byte_at(y->dtype, i0),
                                    (size_t)m, err);
        if (rc)
            return rc;
    }
    return 0;
}

static bool is_row_type(enum mc_dtype d)
{
    return d == MC_DTYPE_I8 || d == MC_DTYPE_U8 || d == MC_DTYPE_I16 || d == MC_DTYPE_U16;
}

/* Runs of elements with one scale and zero point each, for the vectorised kernels. */
struct runs {
    const struct mc_call *c;
    const struct mc_quant_grid *g;
    struct mc_quant_row row;
    bool back;
};

static void one_run(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const struct runs *s = ctx;
    const struct mc_call *c = s->c;
    const struct mc_buf *zero = mc_op_arg(c, ZERO), *x = &c->in[X], *y = &c->out[0];
    struct mc_quant_row r = s->row;
    int64_t at = i % s->g->axis, from = i * s->g->inner;
    r.n = s->g->inner;
    r.scale += at;
    r.zero = zero ? (int32_t)element(zero, at) : 0;
    if (s->back)
        c->k->quant.dequantize(&r, (const char *)x->data + byte_at(x->dtype, from),
                               (float *)y->data + from);
    else
        c->k->quant.quantize(&r, (const float *)x->data + from,
                             (char *)y->data + byte_at(y->dtype, from));
}

/* True if it was done here: float32 and integers of 8 or 16 bits, runs that are worth it. */
static bool run_rows(const struct mc_call *c, const struct mc_quant_grid *g, bool back)
{
    const struct mc_buf *x = &c->in[X], *y = &c->out[0], *zero = mc_op_arg(c, ZERO);
    const struct mc_buf *real = back ? y : x, *whole = back ? x : y;
    if (real->dtype != MC_DTYPE_F32 || c->in[SCALE].dtype != MC_DTYPE_F32 ||
        !is_row_type(whole->dtype) || g->i_step != 0 || g->inner < 8)
        return false;
    struct runs s = {c, g, {.scale = c->in[SCALE].data}, back};
    mc_int8_range(whole->dtype, &s.row.lo, &s.row.hi);
    if (g->a_step != 0) {
        mc_pool_run(c->pool, g->outer * g->axis, one_run, &s);
        return true;
    }
    s.row.zero = mc_int8_first(zero);
    if (back)
        mc_int8_dequantize(&c->k->quant, &s.row, g->inner, x->data, y->data, c->pool);
    else
        mc_int8_quantize(&c->k->quant, &s.row, g->inner, x->data, y->data, c->pool);
    return true;
}

static int quantize_run(struct mc_call *c, struct mc_err *err)
{
    struct mc_quant_grid g;
    int rc = mc_quant_grid_of(c->node, &c->in[X].shape, &c->in[SCALE].shape, &g, err);
    if (rc || run_rows(c, &g, false))
        return rc;
    return quantize_any(c, &g, err);
}

/* ---- DequantizeLinear ---- */

static int dequantize_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 3, err);
    rc = rc ? rc : check_params(c, err);
    rc = rc ? rc : mc_op_need_same(c, X, ZERO, err);
    int64_t asked = mc_node_int(c->node, "output_dtype", 0);
    if (!rc && asked != 0 && asked != MC_DTYPE_F32 && asked != MC_DTYPE_F16 &&
        asked != MC_DTYPE_BF16)
        rc = mc_op_fail(err, MC_EDTYPE, c->node, "output_dtype is %lld, must be a float type",
                        (long long)asked);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[X];
    mc_op_give(c, 0, asked ? (enum mc_dtype)asked : c->in[SCALE]->dtype,
               x->ranked ? &x->shape : NULL);
    return 0;
}

static int dequantize_any(const struct mc_call *c, const struct mc_quant_grid *g,
                          struct mc_err *err)
{
    const struct mc_buf *x = &c->in[X], *zero = mc_op_arg(c, ZERO), *y = &c->out[0];
    double v[CHUNK];
    for (int64_t i0 = 0, n = mc_op_count(x); i0 < n; i0 += CHUNK) {
        int64_t m = n - i0 < CHUNK ? n - i0 : CHUNK;
        int rc = mc_dtype_to_f64((int)x->dtype, (const char *)x->data + byte_at(x->dtype, i0), v,
                                 (size_t)m, err);
        for (int64_t i = 0; i < m && !rc; i++) {
            int64_t at = scale_at(g, i0 + i);
            v[i] = (v[i] - (zero ? element(zero, at) : 0)) * element(&c->in[SCALE], at);
        }
        rc = rc ? rc
                : mc_dtype_from_f64((int)y->dtype, v, (char *)y->data + byte_at(y->dtype, i0),
                                    (size_t)m, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int dequantize_run(struct mc_call *c, struct mc_err *err)
{
    struct mc_quant_grid g;
    int rc = mc_quant_grid_of(c->node, &c->in[X].shape, &c->in[SCALE].shape, &g, err);
    if (rc || run_rows(c, &g, true))
        return rc;
    return dequantize_any(c, &g, err);
}

/* ---- DynamicQuantizeLinear ---- */

static int dynamic_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    struct mc_shape one = {0};
    mc_op_give(c, 0, MC_DTYPE_U8, x->ranked ? &x->shape : NULL);
    mc_op_give(c, 1, x->dtype, &one);
    mc_op_give(c, 2, MC_DTYPE_U8, &one);
    return 0;
}

/* Doubles are rounded to float32 first; a result that nobody wants goes to the scratch too. */
static int dynamic_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0, n = (size_t)mc_op_count(&c->in[0]);
    mc_op_scratch(c, &at, n * sizeof(float));
    mc_op_scratch(c, &at, n);
    c->scratch_bytes = c->in[0].dtype == MC_DTYPE_F64 || !mc_op_res(c, 0) ? at : 0;
    return 0;
}

static int dynamic_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0];
    struct mc_buf *y = mc_op_res(c, 0), *scale = mc_op_res(c, 1), *zero = mc_op_res(c, 2);
    size_t at = 0, n = (size_t)mc_op_count(x);
    float s, *narrow = mc_op_scratch(c, &at, n * sizeof *narrow);
    uint8_t *unwanted = mc_op_scratch(c, &at, n);
    int32_t z;
    int rc = x->dtype == MC_DTYPE_F64 ? mc_dtype_to_f32((int)x->dtype, x->data, narrow, n, err) : 0;
    if (rc)
        return rc;
    mc_int8_dynamic(&c->k->quant, x->dtype == MC_DTYPE_F64 ? narrow : x->data, (int64_t)n,
                    y ? y->data : unwanted, &s, &z, c->pool);
    if (scale && scale->dtype == MC_DTYPE_F64)
        *(double *)scale->data = (double)s;
    else if (scale)
        *(float *)scale->data = s;
    if (zero)
        *(uint8_t *)zero->data = (uint8_t)z;
    return 0;
}

const struct mc_op mc_ops_quantize[] = {
    {"", "QuantizeLinear", 10, 0, quantize_infer, NULL, quantize_run, NULL, NULL, NULL},
    {"", "DequantizeLinear", 10, 0, dequantize_infer, NULL, dequantize_run, NULL, NULL, NULL},
    {"", "DynamicQuantizeLinear", 11, 0, dynamic_infer, dynamic_setup, dynamic_run, NULL, NULL,
     NULL},
    {"com.microsoft", "QuantizeLinear", 1, 0, quantize_infer, NULL, quantize_run, NULL, NULL, NULL},
    {"com.microsoft", "DequantizeLinear", 1, 0, dequantize_infer, NULL, dequantize_run, NULL, NULL,
     NULL},
    {0},
};

/* ---- on a device ---- */

static bool device_can(const struct mc_call *c, const struct mc_buf *real,
                       const struct mc_buf *whole)
{
    const struct mc_buf *zero = mc_op_arg(c, ZERO);
    return c->k->quant.quantize_all && c->k->quant.dequantize_all && is_row_type(whole->dtype) &&
           real->dtype == MC_DTYPE_F32 && c->in[SCALE].dtype == MC_DTYPE_F32 &&
           (!zero || zero->dtype == whole->dtype);
}

static bool device_can_quantize(const struct mc_call *c)
{
    return device_can(c, &c->in[X], &c->out[0]);
}

static bool device_can_dequantize(const struct mc_call *c)
{
    return device_can(c, &c->out[0], &c->in[X]);
}

static int device_all(const struct mc_call *c, enum mc_dtype whole, struct mc_quant_all *ret,
                      struct mc_err *err)
{
    struct mc_quant_grid g;
    const struct mc_buf *zero = mc_op_arg(c, ZERO);
    int rc = mc_quant_grid_of(c->node, &c->in[X].shape, &c->in[SCALE].shape, &g, err);
    *ret = (struct mc_quant_all){.outer = g.outer,
                                 .axis = g.axis,
                                 .inner = g.inner,
                                 .o_step = g.o_step,
                                 .a_step = g.a_step,
                                 .i_step = g.i_step,
                                 .block = g.block,
                                 .scale = c->in[SCALE].data,
                                 .zero = zero ? zero->data : NULL};
    mc_int8_range(whole, &ret->lo, &ret->hi);
    return rc;
}

static int device_quantize(struct mc_call *c, struct mc_err *err)
{
    struct mc_quant_all q;
    int rc = device_all(c, c->out[0].dtype, &q, err);
    if (!rc)
        c->k->quant.quantize_all(&q, c->in[X].data, c->out[0].data, c->pool);
    return rc;
}

static int device_dequantize(struct mc_call *c, struct mc_err *err)
{
    struct mc_quant_all q;
    int rc = device_all(c, c->in[X].dtype, &q, err);
    if (!rc)
        c->k->quant.dequantize_all(&q, c->in[X].data, c->out[0].data, c->pool);
    return rc;
}

static bool device_can_dynamic(const struct mc_call *c)
{
    return c->k->quant.dynamic && mc_op_gpu_floats(c) && mc_op_res(c, 0) && mc_op_res(c, 1) &&
           mc_op_res(c, 2);
}

static int device_dynamic(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    c->k->quant.dynamic(mc_op_count(&c->in[0]), c->in[0].data, c->out[0].data, c->out[1].data,
                        c->out[2].data, c->pool);
    return 0;
}

const struct mc_op_gpu mc_op_gpu_quantize[] = {
    {"", "QuantizeLinear", device_can_quantize, 0, NULL, device_quantize, NULL, false},
    {"", "DequantizeLinear", device_can_dequantize, 0, NULL, device_dequantize, NULL, false},
    {"", "DynamicQuantizeLinear", device_can_dynamic, 0, NULL, device_dynamic, NULL, false},
    {"com.microsoft", "QuantizeLinear", device_can_quantize, 0, NULL, device_quantize, NULL, false},
    {"com.microsoft", "DequantizeLinear", device_can_dequantize, 0, NULL, device_dequantize, NULL,
     false},
    {0},
};
