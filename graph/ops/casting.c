/* Cast and CastLike. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"

/* Only the sides of the run count: a half type that is computed in float32 arrives as float32. */
static bool convertible(enum mc_dtype d)
{
    enum mc_dtype_kind k = mc_dtype_info((int)d)->kind;
    return k != MC_KIND_OTHER && mc_dtype_info((int)d)->bits >= 8;
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

static int cast_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 1, err);
    int64_t to = mc_node_int(c->node, "to", 0);
    if (!rc && (to <= MC_DTYPE_NONE || to >= MC_DTYPE_COUNT))
        rc = mc_op_fail(err, MC_EDTYPE, c->node, "type %lld is not known", (long long)to);
    return rc ? rc : cast_to(c, (enum mc_dtype)to, err);
}

static int cast_like_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    return rc ? rc : cast_to(c, c->in[1]->dtype, err);
}

enum { CHUNK = 512 };

/* float to whole number: toward zero, saturating; NaN gives 0. */
static int float_to_int(const struct mc_buf *x, const struct mc_buf *y, int64_t n,
                        struct mc_err *err)
{
    double v[CHUNK];
    size_t from = (size_t)mc_op_elem_bytes(x->dtype), to = (size_t)mc_op_elem_bytes(y->dtype);
    for (int64_t i = 0; i < n; i += CHUNK) {
        size_t m = (size_t)(n - i < CHUNK ? n - i : CHUNK);
        int rc =
            mc_dtype_to_f64((int)x->dtype, (const char *)x->data + (size_t)i * from, v, m, err);
        for (size_t j = 0; j < m; j++)
            v[j] = trunc(v[j]);
        rc =
            rc ? rc : mc_dtype_from_f64((int)y->dtype, v, (char *)y->data + (size_t)i * to, m, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* Whole number to whole number: the low bits. */
static int int_to_int(const struct mc_buf *x, const struct mc_buf *y, int64_t n, struct mc_err *err)
{
    int64_t v[CHUNK];
    size_t from = (size_t)mc_op_elem_bytes(x->dtype), to = (size_t)mc_op_elem_bytes(y->dtype);
    for (int64_t i = 0; i < n; i += CHUNK) {
        size_t m = (size_t)(n - i < CHUNK ? n - i : CHUNK);
        int rc = 0;
        if (x->dtype == MC_DTYPE_U64) /* keeps the bits that an int64 would saturate */
            memcpy(v, (const char *)x->data + (size_t)i * from, m * from);
        else
            rc =
                mc_dtype_to_i64((int)x->dtype, (const char *)x->data + (size_t)i * from, v, m, err);
        if (rc)
            return rc;
        for (size_t j = 0; j < m; j++) /* little endian */
            memcpy((char *)y->data + ((size_t)i + j) * to, &v[j], to);
    }
    return 0;
}

static int to_bool(const struct mc_buf *x, uint8_t *y, int64_t n, struct mc_err *err)
{
    double v[CHUNK];
    size_t from = (size_t)mc_op_elem_bytes(x->dtype);
    for (int64_t i = 0; i < n; i += CHUNK) {
        size_t m = (size_t)(n - i < CHUNK ? n - i : CHUNK);
        int rc =
            mc_dtype_to_f64((int)x->dtype, (const char *)x->data + (size_t)i * from, v, m, err);
        if (rc)
            return rc;
        for (size_t j = 0; j < m; j++)
            y[(size_t)i + j] = v[j] != 0;
    }
    return 0;
}

static int cast_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    int64_t n = mc_op_count(x);
    if (x->dtype == y->dtype) {
        mc_op_copy(c, x, &c->out[0]);
        return 0;
    }
    if (y->dtype == MC_DTYPE_BOOL)
        return to_bool(x, y->data, n, err);
    if (y->dtype == MC_DTYPE_F32)
        return mc_dtype_to_f32((int)x->dtype, x->data, y->data, (size_t)n, err);
    if (y->dtype == MC_DTYPE_F64)
        return mc_dtype_to_f64((int)x->dtype, x->data, y->data, (size_t)n, err);
    bool from_int = mc_op_is_integer(x->dtype) || x->dtype == MC_DTYPE_BOOL;
    if (mc_op_is_integer(y->dtype))
        return from_int ? int_to_int(x, y, n, err) : float_to_int(x, y, n, err);
    /* float8 and half types that the session stores as they are */
    double v[CHUNK];
    size_t from = (size_t)mc_op_elem_bytes(x->dtype), to = (size_t)mc_op_elem_bytes(y->dtype);
    for (int64_t i = 0; i < n; i += CHUNK) {
        size_t m = (size_t)(n - i < CHUNK ? n - i : CHUNK);
        int rc =
            mc_dtype_to_f64((int)x->dtype, (const char *)x->data + (size_t)i * from, v, m, err);
        rc =
            rc ? rc : mc_dtype_from_f64((int)y->dtype, v, (char *)y->data + (size_t)i * to, m, err);
        if (rc)
            return rc;
    }
    return 0;
}

const struct mc_op mc_ops_casting[] = {
    {"", "Cast", 6, 0, cast_infer, NULL, cast_run, NULL, NULL, NULL},
    {"", "CastLike", 15, 0, cast_like_infer, NULL, cast_run, NULL, NULL, NULL},
    {0},
};
