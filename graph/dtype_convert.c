#include "graph/dtype.h"

#include <math.h>
#include <string.h>

static int no_number(int dtype, struct mc_err *err)
{
    return mc_fail(err, MC_EDTYPE, "elements of type '%s' (%d) are not real numbers",
                   mc_dtype_name(dtype), dtype);
}

/* ---- floating-point formats of at most 16 bits ----
 * A code without its sign bit is (exponent << man | mantissa) and grows with the value. */
struct small_float {
    int man, bias;
    uint16_t max;  /* largest finite code */
    uint16_t over; /* what larger values become */
    uint16_t nan;
    uint16_t sign;      /* the sign bit */
    bool unsigned_zero; /* FNUZ: one zero, and the code of -0 is the only NaN */
};

static const struct small_float *small_float(int dtype)
{
    /* Sources: IEEE 754 binary16; bfloat16; Micikevicius et al., FP8 Formats for Deep Learning, 2022 (E4M3FN,
     * E5M2); Noune et al., 8-bit Numerical Formats for Deep Neural Networks, 2022 (FNUZ); OCP Microscaling
     * Formats 1.0 (E2M1, which has no NaN: it becomes a zero of the other sign, as in ml_dtypes). */
    static const struct small_float f16 = {10, 15, 0x7bff, 0x7c00, 0x7e00, 0x8000, false};
    static const struct small_float bf16 = {7, 127, 0x7f7f, 0x7f80, 0x7fc0, 0x8000, false};
    static const struct small_float e4m3fn = {3, 7, 0x7e, 0x7f, 0x7f, 0x80, false};
    static const struct small_float e4m3fnuz = {3, 8, 0x7f, 0x80, 0x80, 0x80, true};
    static const struct small_float e5m2 = {2, 15, 0x7b, 0x7c, 0x7e, 0x80, false};
    static const struct small_float e5m2fnuz = {2, 16, 0x7f, 0x80, 0x80, 0x80, true};
    static const struct small_float e2m1 = {1, 1, 0x7, 0x7, 0x8, 0x8, false};
    switch (dtype) {
    case MC_DTYPE_F16: return &f16;
    case MC_DTYPE_BF16: return &bf16;
    case MC_DTYPE_F8E4M3FN: return &e4m3fn;
    case MC_DTYPE_F8E4M3FNUZ: return &e4m3fnuz;
    case MC_DTYPE_F8E5M2: return &e5m2;
    case MC_DTYPE_F8E5M2FNUZ: return &e5m2fnuz;
    case MC_DTYPE_F4E2M1: return &e2m1;
    }
    return NULL;
}

static double pow2(int e)
{
    uint64_t bits = (uint64_t)(e + 1023) << 52;
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static double small_decode(const struct small_float *f, uint32_t code)
{
    uint32_t mag = code & (f->sign - 1u);
    bool negative = code & f->sign;
    double v;
    if (f->unsigned_zero && code == f->nan)
        return NAN;
    if (mag > f->max) {
        v = mag == f->over && f->over != f->nan ? INFINITY : NAN;
    } else {
        int e = (int)(mag >> f->man);
        uint32_t m = mag & ((1u << f->man) - 1);
        if (e)
            m += 1u << f->man;
        v = m * pow2((e ? e : 1) - f->bias - f->man);
    }
    return negative ? -v : v;
}

static uint32_t small_encode(const struct small_float *f, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 63 ? f->sign : 0;
    int exponent = (int)(bits >> 52 & 0x7ff);
    uint64_t m = bits & ((1ull << 52) - 1);
    if (exponent == 0x7ff && m)
        return f->unsigned_zero ? f->nan : (uint32_t)f->nan ^ sign;

    /* x = m 2^(e-52); round m to `man` fraction bits of the target's exponent, half to even. The carry of
     * a rounding up moves into the exponent by itself. */
    if (exponent)
        m |= 1ull << 52;
    else
        exponent = 1;
    int e = exponent - 1023, lowest = 1 - f->bias;
    int base = e < lowest ? lowest : e;
    int shift = 52 - f->man + (base - e);
    uint64_t r = 0;
    if (shift < 64) {
        uint64_t half = 1ull << (shift - 1), rest = m & (2 * half - 1);
        r = m >> shift;
        if (rest > half || (rest == half && (r & 1)))
            r++;
    }
    uint64_t code = ((uint64_t)(base - lowest) << f->man) + r;
    if (code > f->max)
        return f->unsigned_zero ? f->over : f->over | sign;
    if (f->unsigned_zero && !code)
        return 0;
    return (uint32_t)code | sign;
}

/* E8M0: 2^(code-127), code 255 NaN; neither sign nor zero. Ties go up: both neighbours of 1.5 * 2^e have an
 * even significand only above (ml_dtypes agrees). Source: OCP Microscaling Formats 1.0. */
static uint8_t e8m0_encode(double x)
{
    if (!(x > 0))
        return 255;
    int e;
    double m = frexp(x, &e); /* x = m 2^e, m in [0.5, 1) */
    if (isinf(x))
        return 255;
    int code = e - 1 + 127 + (m >= 0.75);
    return code < 0 ? 0 : code > 254 ? 255 : (uint8_t)code;
}

static float f16_decode(uint16_t h)
{
    /* Shifted into place the exponent is off by 127 - 15 = 112; the multiplication repairs it, also for
     * subnormals. */
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13, special = (h & 0x7c00) == 0x7c00 ? 0x7f800000 : 0;
    float v;
    memcpy(&v, &bits, sizeof v);
    v *= 0x1p112f;
    memcpy(&bits, &v, sizeof bits);
    bits = special ? special | (uint32_t)(h & 0x3ff) << 13 : bits;
    bits |= (uint32_t)(h & 0x8000) << 16;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint16_t f16_encode(float x)
{
    uint32_t bits, sub;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    float tiny;
    memcpy(&tiny, &bits, sizeof tiny);
    tiny += 0.5f; /* one unit in the last place of 0.5 is 2^-24, the unit of f16 subnormals */
    memcpy(&sub, &tiny, sizeof sub);
    uint32_t code = (bits - (112u << 23) + 0xfff + (bits >> 13 & 1)) >> 13;
    code = bits < 0x38800000 ? sub - 0x3f000000 : code; /* below 2^-14 */
    code = bits >= 0x477ff000 ? 0x7c00 : code;          /* 65520 and more round to infinity */
    code = bits > 0x7f800000 ? 0x7e00 : code;
    return (uint16_t)(code | sign);
}

static float bf16_decode(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint16_t bf16_encode(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t code = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? (bits >> 16 & 0x8000) | 0x7fc0 : code);
}

/* ---- packed integers ---- */

static uint32_t packed_get(const uint8_t *src, size_t i, unsigned bits)
{
    unsigned per = 8 / bits;
    return (uint32_t)src[i / per] >> (i % per * bits) & ((1u << bits) - 1);
}

static void packed_put(uint8_t *dst, size_t i, unsigned bits, uint32_t code)
{
    unsigned per = 8 / bits, shift = (unsigned)(i % per) * bits;
    if (!shift)
        dst[i / per] = 0;
    dst[i / per] |= (uint8_t)((code & ((1u << bits) - 1)) << shift);
}

static int sign_extend(uint32_t code, unsigned bits)
{
    uint32_t top = 1u << (bits - 1);
    return (int)(code ^ top) - (int)top;
}

/* ---- loads and stores of n elements ---- */

/* Loop over unaligned elements of type T as `e`. */
#define EACH(T, statement)                                                                         \
    for (size_t i = 0; i < n; i++) {                                                               \
        T e;                                                                                       \
        memcpy(&e, (const uint8_t *)src + i * sizeof e, sizeof e);                                 \
        statement;                                                                                 \
    }                                                                                              \
    return 0

int mc_dtype_to_f64(int dtype, const void *src, double *dst, size_t n, struct mc_err *err)
{
    const struct small_float *f = small_float(dtype);
    unsigned bits = mc_dtype_info(dtype)->bits;
    switch (dtype) {
    case MC_DTYPE_F64:
        if (n)
            memcpy(dst, src, n * sizeof *dst);
        return 0;
    case MC_DTYPE_F32: EACH(float, dst[i] = e);
    case MC_DTYPE_U8: EACH(uint8_t, dst[i] = e);
    case MC_DTYPE_I8: EACH(int8_t, dst[i] = e);
    case MC_DTYPE_U16: EACH(uint16_t, dst[i] = e);
    case MC_DTYPE_I16: EACH(int16_t, dst[i] = e);
    case MC_DTYPE_U32: EACH(uint32_t, dst[i] = e);
    case MC_DTYPE_I32: EACH(int32_t, dst[i] = e);
    case MC_DTYPE_U64: EACH(uint64_t, dst[i] = (double)e);
    case MC_DTYPE_I64: EACH(int64_t, dst[i] = (double)e);
    case MC_DTYPE_BOOL: EACH(uint8_t, dst[i] = e != 0);
    case MC_DTYPE_F8E8M0: EACH(uint8_t, dst[i] = e == 255 ? NAN : pow2(e - 127));
    case MC_DTYPE_F16:
    case MC_DTYPE_BF16: EACH(uint16_t, dst[i] = small_decode(f, e));
    case MC_DTYPE_F8E4M3FN:
    case MC_DTYPE_F8E4M3FNUZ:
    case MC_DTYPE_F8E5M2:
    case MC_DTYPE_F8E5M2FNUZ: EACH(uint8_t, dst[i] = small_decode(f, e));
    case MC_DTYPE_F4E2M1:
        for (size_t i = 0; i < n; i++)
            dst[i] = small_decode(f, packed_get(src, i, bits));
        return 0;
    case MC_DTYPE_U4:
    case MC_DTYPE_U2:
        for (size_t i = 0; i < n; i++)
            dst[i] = packed_get(src, i, bits);
        return 0;
    case MC_DTYPE_I4:
    case MC_DTYPE_I2:
        for (size_t i = 0; i < n; i++)
            dst[i] = sign_extend(packed_get(src, i, bits), bits);
        return 0;
    }
    return no_number(dtype, err);
}

enum { CHUNK = 256 }; /* elements; whole bytes for every packed type */

int mc_dtype_to_f32(int dtype, const void *src, float *dst, size_t n, struct mc_err *err)
{
    switch (dtype) {
    case MC_DTYPE_F32:
        if (n)
            memcpy(dst, src, n * sizeof *dst);
        return 0;
    case MC_DTYPE_F16: EACH(uint16_t, dst[i] = f16_decode(e));
    case MC_DTYPE_BF16: EACH(uint16_t, dst[i] = bf16_decode(e));
    /* Through double these two would be rounded twice. */
    case MC_DTYPE_U64: EACH(uint64_t, dst[i] = (float)e);
    case MC_DTYPE_I64: EACH(int64_t, dst[i] = (float)e);
    }
    size_t bits = mc_dtype_info(dtype)->bits;
    for (size_t at = 0; at < n; at += CHUNK) {
        double part[CHUNK];
        size_t k = n - at < CHUNK ? n - at : CHUNK;
        int rc = mc_dtype_to_f64(dtype, (const uint8_t *)src + at * bits / 8, part, k, err);
        if (rc)
            return rc;
        for (size_t i = 0; i < k; i++)
            dst[at + i] = (float)part[i];
    }
    return n ? 0 : mc_dtype_to_f64(dtype, src, NULL, 0, err);
}

int mc_dtype_to_i64(int dtype, const void *src, int64_t *dst, size_t n, struct mc_err *err)
{
    unsigned bits = mc_dtype_info(dtype)->bits;
    switch (dtype) {
    case MC_DTYPE_I64:
        if (n)
            memcpy(dst, src, n * sizeof *dst);
        return 0;
    case MC_DTYPE_U8: EACH(uint8_t, dst[i] = e);
    case MC_DTYPE_I8: EACH(int8_t, dst[i] = e);
    case MC_DTYPE_U16: EACH(uint16_t, dst[i] = e);
    case MC_DTYPE_I16: EACH(int16_t, dst[i] = e);
    case MC_DTYPE_U32: EACH(uint32_t, dst[i] = e);
    case MC_DTYPE_I32: EACH(int32_t, dst[i] = e);
    case MC_DTYPE_U64: EACH(uint64_t, dst[i] = e > INT64_MAX ? INT64_MAX : (int64_t)e);
    case MC_DTYPE_BOOL: EACH(uint8_t, dst[i] = e != 0);
    case MC_DTYPE_U4:
    case MC_DTYPE_U2:
        for (size_t i = 0; i < n; i++)
            dst[i] = packed_get(src, i, bits);
        return 0;
    case MC_DTYPE_I4:
    case MC_DTYPE_I2:
        for (size_t i = 0; i < n; i++)
            dst[i] = sign_extend(packed_get(src, i, bits), bits);
        return 0;
    }
    return mc_fail(err, MC_EDTYPE, "elements of type '%s' (%d) are not integers",
                   mc_dtype_name(dtype), dtype);
}

/* Nearest integer, half to even, kept within [lo, hi]; NaN is 0. Both bounds are exact in double or (those of
 * 64 bits) lie just above one that is. */
static double clamp_round(double x, double lo, double hi)
{
    if (isnan(x))
        return 0;
    x = rint(x);
    return x < lo ? lo : x > hi ? hi : x;
}

static int64_t round_i64(double x)
{
    if (x >= 0x1p63)
        return INT64_MAX;
    return (int64_t)clamp_round(x, -0x1p63, 0x1p63);
}

static uint64_t round_u64(double x)
{
    if (x >= 0x1p64)
        return UINT64_MAX;
    return (uint64_t)clamp_round(x, 0, 0x1p64);
}

/* Store n elements of type T, unaligned. */
#define PUT(T, value)                                                                              \
    for (size_t i = 0; i < n; i++) {                                                               \
        T e = (T)(value);                                                                          \
        memcpy((uint8_t *)dst + i * sizeof e, &e, sizeof e);                                       \
    }                                                                                              \
    return 0

int mc_dtype_from_f64(int dtype, const double *src, void *dst, size_t n, struct mc_err *err)
{
    const struct small_float *f = small_float(dtype);
    unsigned bits = mc_dtype_info(dtype)->bits;
    switch (dtype) {
    case MC_DTYPE_F64:
        if (n)
            memcpy(dst, src, n * sizeof *src);
        return 0;
    case MC_DTYPE_F32: PUT(float, src[i]);
    case MC_DTYPE_U8: PUT(uint8_t, clamp_round(src[i], 0, UINT8_MAX));
    case MC_DTYPE_I8: PUT(int8_t, clamp_round(src[i], INT8_MIN, INT8_MAX));
    case MC_DTYPE_U16: PUT(uint16_t, clamp_round(src[i], 0, UINT16_MAX));
    case MC_DTYPE_I16: PUT(int16_t, clamp_round(src[i], INT16_MIN, INT16_MAX));
    case MC_DTYPE_U32: PUT(uint32_t, clamp_round(src[i], 0, UINT32_MAX));
    case MC_DTYPE_I32: PUT(int32_t, clamp_round(src[i], INT32_MIN, INT32_MAX));
    case MC_DTYPE_U64: PUT(uint64_t, round_u64(src[i]));
    case MC_DTYPE_I64: PUT(int64_t, round_i64(src[i]));
    case MC_DTYPE_BOOL: PUT(uint8_t, src[i] != 0);
    case MC_DTYPE_F8E8M0: PUT(uint8_t, e8m0_encode(src[i]));
    case MC_DTYPE_F16:
    case MC_DTYPE_BF16: PUT(uint16_t, small_encode(f, src[i]));
    case MC_DTYPE_F8E4M3FN:
    case MC_DTYPE_F8E4M3FNUZ:
    case MC_DTYPE_F8E5M2:
    case MC_DTYPE_F8E5M2FNUZ: PUT(uint8_t, small_encode(f, src[i]));
    case MC_DTYPE_F4E2M1:
        for (size_t i = 0; i < n; i++)
            packed_put(dst, i, bits, small_encode(f, src[i]));
        return 0;
    case MC_DTYPE_U4:
    case MC_DTYPE_U2:
        for (size_t i = 0; i < n; i++)
            packed_put(dst, i, bits, (uint32_t)clamp_round(src[i], 0, (1 << bits) - 1));
        return 0;
    case MC_DTYPE_I4:
    case MC_DTYPE_I2:
        for (size_t i = 0; i < n; i++) {
            int top = 1 << (bits - 1);
            packed_put(dst, i, bits, (uint32_t)(int)clamp_round(src[i], -top, top - 1));
        }
        return 0;
    }
    return no_number(dtype, err);
}

int mc_dtype_from_f32(int dtype, const float *src, void *dst, size_t n, struct mc_err *err)
{
    switch (dtype) {
    case MC_DTYPE_F32:
        if (n)
            memcpy(dst, src, n * sizeof *src);
        return 0;
    case MC_DTYPE_F16: PUT(uint16_t, f16_encode(src[i]));
    case MC_DTYPE_BF16: PUT(uint16_t, bf16_encode(src[i]));
    }
    size_t bits = mc_dtype_info(dtype)->bits;
    for (size_t at = 0; at < n; at += CHUNK) {
        double part[CHUNK];
        size_t k = n - at < CHUNK ? n - at : CHUNK;
        for (size_t i = 0; i < k; i++)
            part[i] = src[at + i];
        int rc = mc_dtype_from_f64(dtype, part, (uint8_t *)dst + at * bits / 8, k, err);
        if (rc)
            return rc;
    }
    return n ? 0 : mc_dtype_from_f64(dtype, NULL, dst, 0, err);
}
