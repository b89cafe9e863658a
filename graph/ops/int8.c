#include "graph/ops/int8.h"

#include <math.h>

#include "graph/ops/helper.h"

int mc_int8_need(const struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    if (!x || !x->dtype || x->dtype == MC_DTYPE_I8 || x->dtype == MC_DTYPE_U8)
        return 0;
    return mc_op_fail(err, MC_EDTYPE, c->node, "input %d is %s, must be int8 or uint8", i,
                      mc_dtype_name((int)x->dtype));
}

int mc_int8_need_params(const struct mc_infer_ctx *c, int scale, int zero, int of, bool many,
                        struct mc_err *err)
{
    int rc = scale >= 0 && mc_op_in(c, scale) ? mc_op_need_float(c, scale, err) : 0;
    rc = rc ? rc : of >= 0 ? mc_op_need_same(c, of, zero, err) : mc_int8_need(c, zero, err);
    if (!rc && !many) {
        rc = scale >= 0 ? mc_op_need_single(c, scale, err) : 0;
        rc = rc ? rc : mc_op_need_single(c, zero, err);
    }
    return rc;
}

struct mc_s8_zero mc_int8_zero(const struct mc_buf *b, int32_t *store)
{
    int64_t n = b ? mc_op_count(b) : 0;
    for (int64_t i = 0; i < n; i++)
        store[i] =
            b->dtype == MC_DTYPE_I8 ? ((const int8_t *)b->data)[i] : ((const uint8_t *)b->data)[i];
    return (struct mc_s8_zero){n > 0 ? store : NULL, n > 1};
}

struct mc_s8_zero mc_int8_device_zero(const struct mc_call *c, const struct mc_buf *b,
                                      int32_t *store)
{
    int64_t n = b ? mc_op_count(b) : 0;
    if (n > 0)
        c->k->quant.widen(n, b->dtype == MC_DTYPE_I8, b->data, store, c->pool);
    return (struct mc_s8_zero){n > 0 ? store : NULL, n > 1};
}

float mc_int8_scale(const struct mc_buf *b, int64_t i, float missing)
{
    if (!b)
        return missing;
    return b->dtype == MC_DTYPE_F64 ? (float)((const double *)b->data)[i]
                                    : ((const float *)b->data)[i];
}

int32_t mc_int8_first(const struct mc_buf *b)
{
    int64_t v = 0;
    if (b)
        mc_dtype_to_i64((int)b->dtype, b->data, &v, 1, NULL);
    return (int32_t)v;
}

void mc_int8_range(enum mc_dtype dtype, int32_t *lo, int32_t *hi)
{
    bool wide = dtype == MC_DTYPE_I16 || dtype == MC_DTYPE_U16;
    bool is_signed = dtype == MC_DTYPE_I8 || dtype == MC_DTYPE_I16;
    *lo = !is_signed ? 0 : wide ? INT16_MIN : INT8_MIN;
    *hi = *lo + (wide ? UINT16_MAX : UINT8_MAX);
}

enum { CHUNK = 1 << 14, LANES = 16 };

static void range_of(const float *x, int64_t n, float *lo, float *hi)
{
    float low[LANES] = {0}, high[LANES] = {0}; /* 0 belongs to the range */
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            low[j] = x[i + j] < low[j] ? x[i + j] : low[j];
            high[j] = x[i + j] > high[j] ? x[i + j] : high[j];
        }
    for (; i < n; i++) {
        low[0] = x[i] < low[0] ? x[i] : low[0];
        high[0] = x[i] > high[0] ? x[i] : high[0];
    }
    *lo = *hi = 0;
    for (int j = 0; j < LANES; j++) {
        *lo = low[j] < *lo ? low[j] : *lo;
        *hi = high[j] > *hi ? high[j] : *hi;
    }
}

void mc_int8_dynamic(const struct mc_quant_kernels *k, const float *x, int64_t n, uint8_t *y,
                     float *ret_scale, int32_t *ret_zero, struct mc_pool *pool)
{
    float lo, hi;
    range_of(x, n, &lo, &hi);
    float scale = hi == lo ? 1 : (hi - lo) / 255, zero = rintf(-lo / scale);
    *ret_scale = scale;
    *ret_zero = !(zero > 0) ? 0 : zero > 255 ? 255 : (int32_t)zero;
    struct mc_quant_row r = {.zero = *ret_zero, .hi = 255, .scale = ret_scale};
    mc_int8_quantize(k, &r, n, x, y, pool);
}

struct job {
    const struct mc_quant_kernels *k;
    struct mc_quant_row row;
    int64_t n;
    size_t wide; /* bytes of an integer */
    const void *from;
    void *to;
};

static void quantize_chunk(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    struct mc_quant_row r = j->row;
    r.n = j->n - i * CHUNK < CHUNK ? j->n - i * CHUNK : CHUNK;
    j->k->quantize(&r, (const float *)j->from + i * CHUNK,
                   (char *)j->to + (size_t)(i * CHUNK) * j->wide);
}

static void dequantize_chunk(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    struct mc_quant_row r = j->row;
    r.n = j->n - i * CHUNK < CHUNK ? j->n - i * CHUNK : CHUNK;
    j->k->dequantize(&r, (const char *)j->from + (size_t)(i * CHUNK) * j->wide,
                     (float *)j->to + i * CHUNK);
}

void mc_int8_quantize(const struct mc_quant_kernels *k, const struct mc_quant_row *r, int64_t n,
                      const float *x, void *y, struct mc_pool *pool)
{
    struct job j = {k, *r, n, r->hi - r->lo > UINT8_MAX ? 2 : 1, x, y};
    mc_pool_run(pool, (n + CHUNK - 1) / CHUNK, quantize_chunk, &j);
}

void mc_int8_dequantize(const struct mc_quant_kernels *k, const struct mc_quant_row *r, int64_t n,
                        const void *x, float *y, struct mc_pool *pool)
{
    struct job j = {k, *r, n, r->hi - r->lo > UINT8_MAX ? 2 : 1, x, y};
    mc_pool_run(pool, (n + CHUNK - 1) / CHUNK, dequantize_chunk, &j);
}
