#include <math.h>

#include "kernels/fill.h"
#include "kernels/ref/elem.h"

static void put(const struct mc_quant_row *r, int64_t i, float v, void *y)
{
    float lo = (float)(r->lo - r->zero), hi = (float)(r->hi - r->zero);
    v = !(v > lo) ? lo : v > hi ? hi : v;
    int32_t whole = (int32_t)rintf(v) + r->zero;
    if (r->hi - r->lo > UINT8_MAX)
        ((uint16_t *)y)[i] = (uint16_t)whole;
    else
        ((uint8_t *)y)[i] = (uint8_t)whole;
}

static void quantize(const struct mc_quant_row *r, const float *x, void *y)
{
    for (int64_t i = 0; i < r->n; i++)
        put(r, i, x[i] / r->scale[i * r->step], y);
}

static void requantize(const struct mc_quant_row *r, const int32_t *x, void *y)
{
    for (int64_t i = 0; i < r->n; i++)
        put(r, i, (float)x[i] * r->scale[i * r->step], y);
}

static int32_t get(const struct mc_quant_row *r, const void *x, int64_t i)
{
    bool wide = r->hi - r->lo > UINT8_MAX;
    if (r->lo < 0)
        return wide ? ((const int16_t *)x)[i] : ((const int8_t *)x)[i];
    return wide ? ((const uint16_t *)x)[i] : ((const uint8_t *)x)[i];
}

static void dequantize(const struct mc_quant_row *r, const void *x, float *y)
{
    for (int64_t i = 0; i < r->n; i++)
        y[i] = (float)(get(r, x, i) - r->zero) * r->scale[i * r->step];
}

void MC_REF(mc_quant_fill)(struct mc_quant_kernels *k)
{
    *k = (struct mc_quant_kernels){
        .quantize = quantize, .requantize = requantize, .dequantize = dequantize};
}
