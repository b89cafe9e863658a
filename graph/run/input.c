#include <stdint.h>
#include <string.h>

#include "graph/run/plan.h"

/* Elements converted at a time, in a buffer on the stack. */
enum { CHUNK = 512 };

int mc_input_round(enum mc_dtype half, float *x, int64_t n, struct mc_err *err)
{
    uint16_t buf[CHUNK];
    for (int64_t i = 0; i < n; i += CHUNK) {
        size_t m = (size_t)(n - i < CHUNK ? n - i : CHUNK);
        int rc = mc_dtype_from_f32(half, x + i, buf, m, err);
        if (!rc)
            rc = mc_dtype_to_f32(half, buf, x + i, m, err);
        if (rc)
            return rc;
    }
    return 0;
}

static bool is_half(enum mc_dtype d)
{
    return d == MC_DTYPE_F16 || d == MC_DTYPE_BF16;
}

/* Range of an integer type as int64; false for a type that is none. A uint64 of 2^63 or more is refused. */
static bool int_range(enum mc_dtype d, int64_t *low, int64_t *high)
{
    const struct mc_dtype_info *i = mc_dtype_info(d);
    if (i->kind == MC_KIND_INT) {
        *high = INT64_MAX >> (64 - i->bits);
        *low = -*high - 1;
    } else if (i->kind == MC_KIND_UINT) {
        *low = 0;
        *high = i->bits == 64 ? INT64_MAX : (INT64_C(1) << i->bits) - 1;
    } else if (i->kind == MC_KIND_BOOL) {
        *low = 0;
        *high = 1;
    } else {
        return false;
    }
    return true;
}

static void put_int(void *dst, int bytes, int64_t i, int64_t v)
{
    if (bytes == 1)
        ((uint8_t *)dst)[i] = (uint8_t)v;
    else if (bytes == 2)
        ((uint16_t *)dst)[i] = (uint16_t)v;
    else if (bytes == 4)
        ((uint32_t *)dst)[i] = (uint32_t)v;
    else
        ((uint64_t *)dst)[i] = (uint64_t)v;
}

/* Integers to another integer type, every value of which must fit. */
static int convert_ints(const char *name, enum mc_dtype from, const void *src, enum mc_dtype to,
                        void *dst, int64_t n, struct mc_err *err)
{
    int64_t buf[CHUNK], low, high;
    int from_bytes = mc_dtype_info(from)->bits / 8, to_bytes = mc_dtype_info(to)->bits / 8;
    if (!int_range(to, &low, &high) || !from_bytes || !to_bytes)
        return mc_fail(err, MC_EDTYPE, "input '%s': cannot convert %s to %s", name,
                       mc_dtype_name(from), mc_dtype_name(to));
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t m = n - i < CHUNK ? n - i : CHUNK;
        int rc = mc_dtype_to_i64(from, (const char *)src + i * from_bytes, buf, (size_t)m, err);
        if (rc)
            return rc;
        for (int64_t j = 0; j < m; j++) {
            if (buf[j] < low || buf[j] > high)
                return mc_fail(err, MC_EDATA, "input '%s': element %lld is %lld, outside %s", name,
                               (long long)(i + j), (long long)buf[j], mc_dtype_name(to));
            put_int(dst, to_bytes, i + j, buf[j]);
        }
    }
    return 0;
}

int mc_input_check(const char *name, const struct mc_array *a, struct mc_err *err)
{
    size_t bytes;
    char text[MC_SHAPE_TEXT];
    if (!mc_shape_known(&a->shape))
        return mc_fail(err, MC_ESHAPE, "input '%s': the data has the shape %s", name,
                       mc_shape_text(&a->shape, text));
    if (!mc_dtype_bytes(a->dtype, mc_shape_count(&a->shape), &bytes) || bytes > a->bytes)
        return mc_fail(err, MC_EDATA, "input '%s': the data has %zu bytes, too few for its shape",
                       name, a->bytes);
    return 0;
}

/* Integers become floats, and other integers where they fit; floats become other floats; floats become no
 * integers. */
int mc_input_convert(const char *name, enum mc_dtype want, const struct mc_buf *to,
                     enum mc_dtype dtype, const void *src, void *dst, struct mc_err *err)
{
    int64_t n = mc_shape_count(&to->shape);
    enum mc_dtype_kind a = mc_dtype_info(dtype)->kind, b = mc_dtype_info(to->dtype)->kind;
    size_t bytes = 0;
    if (a == MC_KIND_OTHER || b == MC_KIND_OTHER || (a == MC_KIND_FLOAT && b != MC_KIND_FLOAT))
        return mc_fail(err, MC_EDTYPE, "input '%s' is %s; data of type %s does not fit", name,
                       mc_dtype_name(want), mc_dtype_name(dtype));
    int rc = 0;
    if (dtype == to->dtype && mc_dtype_bytes(dtype, n, &bytes)) {
        if (bytes)
            memcpy(dst, src, bytes);
    } else if (to->dtype == MC_DTYPE_F64) {
        rc = mc_dtype_to_f64(dtype, src, dst, (size_t)n, err);
    } else if (to->dtype == MC_DTYPE_F32) {
        rc = mc_dtype_to_f32(dtype, src, dst, (size_t)n, err);
    } else if (b == MC_KIND_FLOAT) {
        rc = mc_fail(err, MC_EDTYPE, "input '%s': cannot convert %s to %s", name,
                     mc_dtype_name(dtype), mc_dtype_name(want));
    } else {
        rc = convert_ints(name, dtype, src, to->dtype, dst, n, err);
    }
    if (!rc && is_half(want) && dtype != want && to->dtype == MC_DTYPE_F32)
        rc = mc_input_round(want, dst, n, err);
    return rc;
}

int mc_input_load(const struct mc_session *s, int i, const struct mc_buf *to, void *dst,
                  struct mc_err *err)
{
    const struct mc_session_input *in = &s->inputs[i];
    const struct mc_value *v = in->value;
    enum mc_dtype dtype = in->given ? in->given->dtype : v->tensor->dtype;
    const void *src = in->given ? in->given->data : (const void *)v->tensor->data;
    return mc_input_convert(v->name, v->type.dtype, to, dtype, src, dst, err);
}
