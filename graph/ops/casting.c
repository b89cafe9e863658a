/* Cast, CastLike, BitCast. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static bool convertible(enum mc_dtype d)
{
    return mc_dtype_info((int)d)->kind != MC_KIND_OTHER;
}

static int cast_to(struct mc_infer_ctx *c, enum mc_dtype to, struct mc_err *err)
{
    const struct mc_vtype *x = c->in[0];
    enum mc_dtype bad = x->dtype && !convertible(x->dtype) ? x->dtype
                        : to && !convertible(to)           ? to
                                                           : MC_DTYPE_NONE;
    if (bad)
        return mc_op_fail(err, MC_EUNSUP, c->node, "conversion of %s cannot run",
                          mc_dtype_name((int)bad));
    mc_op_give(c, 0, to, x->ranked ? &x->shape : NULL);
    bool ints = (to == MC_DTYPE_I64 || to == MC_DTYPE_I32);
    return ints ? mc_op_copy_contents(c, 0, err) : 0;
}

enum round { UP, DOWN, NEAREST };

/* How a power of two (float8e8m0) is found. */
static int round_of(const struct mc_node *n, enum round *ret, struct mc_err *err)
{
    static const char *const names[] = {"up", "down", "nearest"};
    const char *mode = mc_node_string(n, "round_mode", "up");
    for (int i = 0; i < 3; i++)
        if (!strcmp(mode, names[i])) {
            *ret = (enum round)i;
            return 0;
        }
    return mc_op_fail(err, MC_EUNSUP, n, "round_mode '%s' is not known", mode);
}

static int cast_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    enum round mode;
    int rc = mc_op_arity(c, 1, 1, err);
    int64_t to = mc_node_int(c->node, "to", 0);
    if (!rc && (to <= MC_DTYPE_NONE || to >= MC_DTYPE_COUNT))
        rc = mc_op_fail(err, MC_EDTYPE, c->node, "type %lld is not known", (long long)to);
    rc = rc ? rc : round_of(c->node, &mode, err);
    return rc ? rc : cast_to(c, (enum mc_dtype)to, err);
}

static int cast_like_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    enum round mode;
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : round_of(c->node, &mode, err);
    return rc ? rc : cast_to(c, c->in[1]->dtype, err);
}

enum { CHUNK = 512 }; /* elements; whole bytes of every packed type */

static const void *part(const struct mc_buf *b, int64_t i)
{
    return (const char *)b->data + (size_t)i * mc_dtype_info((int)b->dtype)->bits / 8;
}

static void *place(const struct mc_buf *b, int64_t i)
{
    return (char *)b->data + (size_t)i * mc_dtype_info((int)b->dtype)->bits / 8;
}

/* Whole number to whole number: the low bits. */
static void low_bits(int64_t *v, int64_t n, const struct mc_dtype_info *to)
{
    unsigned spare = 64u - to->bits;
    for (int64_t i = 0; i < n; i++)
        v[i] = to->kind == MC_KIND_INT ? (int64_t)((uint64_t)v[i] << spare) >> spare
                                       : (int64_t)((uint64_t)v[i] << spare >> spare);
}

static int int_to_int(const struct mc_buf *x, const struct mc_buf *y, int64_t n, struct mc_err *err)
{
    int64_t v[CHUNK];
    double wide[CHUNK];
    size_t to = (size_t)mc_op_elem_bytes(y->dtype);
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t m = n - i < CHUNK ? n - i : CHUNK;
        int rc = 0;
        if (x->dtype == MC_DTYPE_U64) /* keeps the bits that an int64 would saturate */
            memcpy(v, part(x, i), (size_t)m * sizeof *v);
        else
            rc = mc_dtype_to_i64((int)x->dtype, part(x, i), v, (size_t)m, err);
        if (rc)
            return rc;
        if (to > 0) {
            for (int64_t j = 0; j < m; j++) /* little endian */
                memcpy(place(y, i + j), &v[j], to);
            continue;
        }
        low_bits(v, m, mc_dtype_info((int)y->dtype));
        for (int64_t j = 0; j < m; j++)
            wide[j] = (double)v[j];
        if ((rc = mc_dtype_from_f64((int)y->dtype, wide, place(y, i), (size_t)m, err)))
            return rc;
    }
    return 0;
}

/* The largest finite value of a float8 type; infinity for others. */
static double largest(enum mc_dtype d)
{
    switch (d) {
    case MC_DTYPE_F8E4M3FN: return 448;
    case MC_DTYPE_F8E4M3FNUZ: return 240;
    case MC_DTYPE_F8E5M2:
    case MC_DTYPE_F8E5M2FNUZ: return 57344;
    default: return INFINITY;
    }
}

/* v to a power of two, by the bits of a float32; what is not finite becomes NaN. */
static double power_of_two(double v, enum round mode, bool saturate)
{
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t exponent = bits >> 23 & 0xff, fraction = bits & 0x7fffff, half = 0x400000;
    if (exponent == 0xff)
        return NAN;
    bool up = mode == UP        ? fraction != 0
              : mode == NEAREST ? fraction > half || (fraction == half && exponent > 0)
                                : false;
    exponent += up && !(saturate && exponent == 0xfe);
    return exponent == 0xff ? NAN : ldexp(1, (int)exponent - 127);
}

/* Types below a byte keep the low bits of a number that they cannot hold, as ONNX's cases want it. */
static double low_part(double v, enum mc_dtype to)
{
    int64_t whole = fabs(v) < 0x1p62 ? (int64_t)v : 0;
    low_bits(&whole, 1, mc_dtype_info((int)to));
    return (double)whole;
}

/* v as the target wants it before it is stored: whole numbers toward zero, float8 clipped. */
static void prepare(const struct mc_node *n, enum mc_dtype to, double *v, int64_t m)
{
    enum mc_dtype_kind kind = mc_dtype_info((int)to)->kind;
    bool saturate = mc_node_int(n, "saturate", 1) != 0;
    double most = largest(to);
    if (to == MC_DTYPE_F8E8M0) {
        enum round mode = UP;
        round_of(n, &mode, NULL); /* known since inference */
        for (int64_t i = 0; i < m; i++)
            v[i] = power_of_two(v[i], mode, saturate);
    } else if (kind == MC_KIND_INT || kind == MC_KIND_UINT) {
        for (int64_t i = 0; i < m; i++)
            v[i] = mc_dtype_info((int)to)->bits < 8 ? low_part(v[i], to) : trunc(v[i]);
    } else if (saturate && most < INFINITY) {
        for (int64_t i = 0; i < m; i++)
            v[i] = v[i] > most ? most : v[i] < -most ? -most : v[i];
    }
}

static int cast_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    enum mc_dtype_kind from = mc_dtype_info((int)x->dtype)->kind;
    enum mc_dtype_kind to = mc_dtype_info((int)y->dtype)->kind;
    int64_t n = mc_op_count(x);
    if (x->dtype == y->dtype) {
        mc_op_copy(c, x, &c->out[0]);
        return 0;
    }
    if (y->dtype == MC_DTYPE_F32)
        return mc_dtype_to_f32((int)x->dtype, x->data, y->data, (size_t)n, err);
    if (y->dtype == MC_DTYPE_F64)
        return mc_dtype_to_f64((int)x->dtype, x->data, y->data, (size_t)n, err);
    if (from != MC_KIND_FLOAT && (to == MC_KIND_INT || to == MC_KIND_UINT))
        return int_to_int(x, y, n, err);
    double v[CHUNK];
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t m = n - i < CHUNK ? n - i : CHUNK;
        int rc = mc_dtype_to_f64((int)x->dtype, part(x, i), v, (size_t)m, err);
        if (rc)
            return rc;
        prepare(c->node, y->dtype, v, m);
        if ((rc = mc_dtype_from_f64((int)y->dtype, v, place(y, i), (size_t)m, err)))
            return rc;
    }
    return 0;
}

/* ---- BitCast ---- */

/* Half types are kept as float32 while a model runs, so their bits are not there. */
static bool has_bits(enum mc_dtype d)
{
    return mc_op_elem_bytes(d) > 0 && d != MC_DTYPE_F16 && d != MC_DTYPE_BF16;
}

static int bitcast_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    int64_t to = mc_node_int(c->node, "to", 0);
    if (!rc && (to <= MC_DTYPE_NONE || to >= MC_DTYPE_COUNT))
        rc = mc_op_fail(err, MC_EDTYPE, c->node, "type %lld is not known", (long long)to);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    if (!has_bits((enum mc_dtype)to) || (x->dtype && !has_bits(x->dtype)))
        return mc_op_fail(err, MC_EUNSUP, c->node, "bits of %s as %s cannot be had",
                          mc_dtype_name((int)x->dtype), mc_dtype_name((int)to));
    if (x->dtype && mc_op_elem_bytes(x->dtype) != mc_op_elem_bytes((enum mc_dtype)to))
        return mc_op_fail(err, MC_EDTYPE, c->node, "%s and %s differ in size",
                          mc_dtype_name((int)x->dtype), mc_dtype_name((int)to));
    mc_op_give(c, 0, (enum mc_dtype)to, x->ranked ? &x->shape : NULL);
    return 0;
}

/* Where a session computes in float64, a float32 is a double there. */
static int bitcast_run(struct mc_call *c, struct mc_err *err)
{
    struct mc_buf *x = &c->in[0], *y = &c->out[0];
    bool narrow = mc_node_int(c->node, "to", 0) == MC_DTYPE_F32 && y->dtype == MC_DTYPE_F64;
    if (mc_op_elem_bytes(x->dtype) == mc_op_elem_bytes(y->dtype)) {
        mc_op_copy(c, x, y);
        return 0;
    }
    for (int64_t i = 0, n = mc_op_count(x); i < n; i++) {
        float bits;
        int rc = 0;
        if (narrow)
            memcpy(&bits, part(x, i), sizeof bits);
        else
            rc = mc_dtype_to_f32((int)x->dtype, part(x, i), &bits, 1, err);
        if (rc)
            return rc;
        if (narrow)
            ((double *)y->data)[i] = (double)bits;
        else
            memcpy(place(y, i), &bits, sizeof bits);
    }
    return 0;
}

const struct mc_op mc_ops_casting[] = {
    {"", "Cast", 6, 0, cast_infer, NULL, cast_run, NULL, NULL, NULL},
    {"", "CastLike", 15, 0, cast_like_infer, NULL, cast_run, NULL, NULL, NULL},
    {"", "BitCast", 26, 0, bitcast_infer, NULL, bitcast_run, NULL, NULL, NULL},
    {0},
};

/* ---- on a GPU: types that kernels know; half types are float32 there ---- */

static bool gpu_can(const struct mc_call *c)
{
    return c->k->values.cast && mc_op_elem(c->in[0].dtype) != MC_ELEM_COUNT &&
           mc_op_elem(c->out[0].dtype) != MC_ELEM_COUNT;
}

static int gpu_cast(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    const struct mc_cast cast = {.from = mc_op_elem(x->dtype),
                                 .to = mc_op_elem(y->dtype),
                                 .from_truth = x->dtype == MC_DTYPE_BOOL,
                                 .to_truth = y->dtype == MC_DTYPE_BOOL,
                                 .n = mc_op_count(x),
                                 .x = x->data,
                                 .y = y->data};
    if (x->dtype == y->dtype)
        mc_op_copy(c, x, &c->out[0]);
    else
        c->k->values.cast(&cast);
    return 0;
}

static bool gpu_can_bits(const struct mc_call *c)
{
    return c->k->move.run && mc_op_elem_bytes(c->in[0].dtype) == mc_op_elem_bytes(c->out[0].dtype);
}

const struct mc_op_gpu mc_op_gpu_casting[] = {
    {"", "Cast", .can = gpu_can, .run = gpu_cast},
    {"", "CastLike", .can = gpu_can, .run = gpu_cast},
    {"", "BitCast", .can = gpu_can_bits},
    {0},
};
