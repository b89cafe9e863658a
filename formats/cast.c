#include "formats/cast.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 512 }; /* elements converted at once: 4 KiB of f64 */

static bool is_complex(enum mc_dtype t)
{
    return t == MC_DTYPE_C64 || t == MC_DTYPE_C128;
}

static bool is_float(enum mc_dtype t)
{
    return mc_dtype_info(t)->kind == MC_KIND_FLOAT;
}

bool mc_cast_possible(enum mc_dtype from, enum mc_dtype to)
{
    if (is_complex(from) || is_complex(to))
        return from == to;
    const struct mc_dtype_info *f = mc_dtype_info(from), *t = mc_dtype_info(to);
    return f->kind != MC_KIND_OTHER && t->kind != MC_KIND_OTHER && f->bits >= 8 && t->bits >= 8;
}

static int fault_float(struct mc_cast_fault *f, size_t at, double v)
{
    f->at = at;
    f->nan = isnan(v);
    snprintf(f->value, sizeof f->value, "%.9g", v);
    return f->nan ? MC_EDATA : MC_EDTYPE;
}

/* A chunk of n <= CHUNK float elements of any kind to f64. */
static void widen(enum mc_dtype from, const void *src, double *dst, size_t n)
{
    mc_dtype_to_f64(from, src, dst, n, NULL);
}

static int no_nan(enum mc_dtype type, const void *data, size_t n, struct mc_cast_fault *ret)
{
    double v[CHUNK];
    enum mc_dtype part = type == MC_DTYPE_C64    ? MC_DTYPE_F32
                         : type == MC_DTYPE_C128 ? MC_DTYPE_F64
                                                 : type;
    size_t parts = part == type ? 1 : 2, size = mc_dtype_info(part)->bits / 8;
    for (size_t i = 0; i < n * parts; i += CHUNK) {
        size_t m = n * parts - i < CHUNK ? n * parts - i : CHUNK;
        widen(part, (const uint8_t *)data + i * size, v, m);
        for (size_t k = 0; k < m; k++)
            if (isnan(v[k]))
                return fault_float(ret, (i + k) / parts, v[k]);
    }
    return 0;
}

static int chunk_to_float(enum mc_dtype from, const void *src, enum mc_dtype to, void *dst,
                          size_t n, struct mc_cast_fault *ret)
{
    double v[CHUNK], back[CHUNK];
    widen(from, src, v, n);
    mc_dtype_from_f64(to, v, dst, n, NULL);
    widen(to, dst, back, n);
    for (size_t k = 0; k < n; k++)
        if (isnan(v[k]) || (isfinite(v[k]) && !isfinite(back[k])))
            return fault_float(ret, k, v[k]);
    return 0;
}

/* The least and greatest value of an integer type; the greatest of u64 is not an int64_t. */
static void bounds(enum mc_dtype t, int64_t *ret_lo, uint64_t *ret_hi)
{
    const struct mc_dtype_info *d = mc_dtype_info(t);
    if (d->kind == MC_KIND_BOOL) {
        *ret_lo = 0;
        *ret_hi = 1;
    } else if (d->kind == MC_KIND_UINT) {
        *ret_lo = 0;
        *ret_hi = UINT64_MAX >> (64 - d->bits);
    } else {
        *ret_hi = (uint64_t)INT64_MAX >> (64 - d->bits);
        *ret_lo = -(int64_t)*ret_hi - 1;
    }
}

static void store(enum mc_dtype to, void *dst, size_t k, int64_t v)
{
    switch (mc_dtype_info(to)->bits) {
    case 8: ((uint8_t *)dst)[k] = (uint8_t)v; break;
    case 16: ((uint16_t *)dst)[k] = (uint16_t)v; break;
    case 32: ((uint32_t *)dst)[k] = (uint32_t)v; break;
    case 64: ((uint64_t *)dst)[k] = (uint64_t)v; break;
    }
}

static int chunk_float_to_int(enum mc_dtype from, const void *src, enum mc_dtype to, void *dst,
                              size_t n, struct mc_cast_fault *ret)
{
    double v[CHUNK];
    int64_t lo;
    uint64_t hi;
    bounds(to, &lo, &hi);
    widen(from, src, v, n);
    /* hi + 1 is a power of two, so it is exact where hi itself is not. */
    double above = hi == UINT64_MAX ? 0x1p64 : (double)(hi + 1);
    for (size_t k = 0; k < n; k++) {
        if (!(v[k] >= (double)lo && v[k] < above && v[k] == rint(v[k])))
            return fault_float(ret, k, v[k]);
        store(to, dst, k, v[k] >= 0x1p63 ? (int64_t)(uint64_t)v[k] : (int64_t)v[k]);
    }
    return 0;
}

static int chunk_int_to_int(enum mc_dtype from, const void *src, enum mc_dtype to, void *dst,
                            size_t n, struct mc_cast_fault *ret)
{
    int64_t v[CHUNK], lo;
    uint64_t hi;
    bounds(to, &lo, &hi);
    mc_dtype_to_i64(from, src, v, n, NULL);
    for (size_t k = 0; k < n; k++) {
        uint64_t raw = 0;
        if (from == MC_DTYPE_U64)
            memcpy(&raw, (const uint8_t *)src + 8 * k, 8);
        bool fits = raw > INT64_MAX ? raw <= hi : v[k] >= lo && (v[k] < 0 || (uint64_t)v[k] <= hi);
        if (!fits) {
            ret->at = k;
            ret->nan = false;
            if (raw > INT64_MAX)
                snprintf(ret->value, sizeof ret->value, "%" PRIu64, raw);
            else
                snprintf(ret->value, sizeof ret->value, "%" PRId64, v[k]);
            return MC_EDTYPE;
        }
        store(to, dst, k, raw > INT64_MAX ? (int64_t)raw : v[k]);
    }
    return 0;
}

int mc_cast(enum mc_dtype from, const void *src, enum mc_dtype to, void *dst, size_t n,
            struct mc_cast_fault *ret)
{
    size_t in = mc_dtype_info(from)->bits / 8, out = mc_dtype_info(to)->bits / 8;
    if (from == to && from != MC_DTYPE_BOOL) {
        if (dst != src)
            memcpy(dst, src, n * in);
        return is_float(from) || is_complex(from) ? no_nan(from, src, n, ret) : 0;
    }
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t m = n - i < CHUNK ? n - i : CHUNK;
        const uint8_t *s = (const uint8_t *)src + i * in;
        uint8_t *d = (uint8_t *)dst + i * out;
        int rc = is_float(to)     ? chunk_to_float(from, s, to, d, m, ret)
                 : is_float(from) ? chunk_float_to_int(from, s, to, d, m, ret)
                                  : chunk_int_to_int(from, s, to, d, m, ret);
        if (rc) {
            ret->at += i;
            return rc;
        }
    }
    return 0;
}

void mc_cast_swap(enum mc_dtype dtype, void *data, size_t n)
{
    size_t size = mc_dtype_info(dtype)->bits / 8;
    if (is_complex(dtype)) {
        size /= 2;
        n *= 2;
    }
    uint8_t *p = data;
    for (size_t i = 0; i < n; i++, p += size)
        for (size_t a = 0, b = size - 1; a < b; a++, b--) {
            uint8_t t = p[a];
            p[a] = p[b];
            p[b] = t;
        }
}
