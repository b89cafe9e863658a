/* Clamped first, a value is so small that adding and taking away 1.5 * 2^23 rounds it, half to even. */
#include "kernels/cpu/vec.h"
#include "kernels/fill.h"

static inline int32_t whole(float v, float lo, float hi)
{
    v = v > lo ? v : lo; /* NaN too */
    v = v < hi ? v : hi;
    return (int32_t)((v + 0x1.8p23f) - 0x1.8p23f);
}

/* Rows of type `out` from `in`, with `value` of element i. */
#define ROUND_ROW(name, in, out, value)                                                            \
    static void name(const struct mc_quant_row *r, const in *x, out *y)                            \
    {                                                                                              \
        const float *scale = r->scale;                                                             \
        float lo = (float)(r->lo - r->zero), hi = (float)(r->hi - r->zero), s = scale[0];          \
        int32_t zero = r->zero;                                                                    \
        if (r->step == 0) {                                                                        \
            for (int64_t i = 0; i < r->n; i++)                                                     \
                y[i] = (out)(whole(value, lo, hi) + zero);                                         \
        } else {                                                                                   \
            for (int64_t i = 0; i < r->n; i++) {                                                   \
                s = scale[i];                                                                      \
                y[i] = (out)(whole(value, lo, hi) + zero);                                         \
            }                                                                                      \
        }                                                                                          \
    }
ROUND_ROW(quantize_8, float, uint8_t, x[i] / s)
ROUND_ROW(quantize_16, float, uint16_t, x[i] / s)
ROUND_ROW(requantize_8, int32_t, uint8_t, (float)x[i] * s)
ROUND_ROW(requantize_16, int32_t, uint16_t, (float)x[i] * s)

static int is_wide(const struct mc_quant_row *r)
{
    return r->hi - r->lo > UINT8_MAX;
}

static void quantize(const struct mc_quant_row *r, const float *x, void *y)
{
    if (is_wide(r))
        quantize_16(r, x, y);
    else
        quantize_8(r, x, y);
}

static void requantize(const struct mc_quant_row *r, const int32_t *x, void *y)
{
    if (is_wide(r))
        requantize_16(r, x, y);
    else
        requantize_8(r, x, y);
}

#define BACK_ROW(name, type)                                                                       \
    static void name(const struct mc_quant_row *r, const type *x, float *y)                        \
    {                                                                                              \
        float s = r->scale[0];                                                                     \
        int32_t zero = r->zero;                                                                    \
        if (r->step == 0) {                                                                        \
            for (int64_t i = 0; i < r->n; i++)                                                     \
                y[i] = (float)((int32_t)x[i] - zero) * s;                                          \
        } else {                                                                                   \
            for (int64_t i = 0; i < r->n; i++)                                                     \
                y[i] = (float)((int32_t)x[i] - zero) * r->scale[i];                                \
        }                                                                                          \
    }
BACK_ROW(back_i8, int8_t)
BACK_ROW(back_u8, uint8_t)
BACK_ROW(back_i16, int16_t)
BACK_ROW(back_u16, uint16_t)

static void dequantize(const struct mc_quant_row *r, const void *x, float *y)
{
    if (r->lo < 0 && is_wide(r))
        back_i16(r, x, y);
    else if (r->lo < 0)
        back_i8(r, x, y);
    else if (is_wide(r))
        back_u16(r, x, y);
    else
        back_u8(r, x, y);
}

void MC_CPU(mc_quant_fill)(struct mc_quant_kernels *k)
{
    *k = (struct mc_quant_kernels){quantize, requantize, dequantize};
}
