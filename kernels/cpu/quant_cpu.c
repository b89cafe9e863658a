#include "kernels/cpu/blocks.h"
#include "kernels/cpu/rows_s8_cpu.h"
#include "kernels/fill.h"

/* Clamped first, a value is so small that adding and taking away 1.5 * 2^23 rounds it, half to even. */
static inline int32_t whole(float v, float lo, float hi)
{
    v = v > lo ? v : lo; /* NaN too */
    v = v < hi ? v : hi;
    return (int32_t)((v + 0x1.8p23f) - 0x1.8p23f);
}

/* Rows of bytes, 64 at a time, from `in`, with `value` of element i. */
#define BYTE_ROW(name, in, value)                                                                  \
    static void name(const struct mc_quant_row *r, const in *from, uint8_t *y)                     \
    {                                                                                              \
        struct s8_round round = s8_round_of(r->zero, r->lo, r->hi);                                \
        float f[64] = {0}, s = r->scale[0];                                                        \
        for (int64_t at = 0; at < r->n; at += 64) {                                                \
            const in *x = from + at;                                                               \
            int64_t n = min64(64, r->n - at);                                                      \
            if (n == 64 && r->step == 0) {                                                         \
                for (int64_t i = 0; i < 64; i++)                                                   \
                    f[i] = value;                                                                  \
            } else {                                                                               \
                for (int64_t i = 0; i < n; i++) {                                                  \
                    s = r->scale[(at + i) * r->step];                                              \
                    f[i] = value;                                                                  \
                }                                                                                  \
            }                                                                                      \
            s8_put_run(&round, f, n, y + at);                                                      \
        }                                                                                          \
    }
BYTE_ROW(quantize_8, float, x[i] / s)
BYTE_ROW(requantize_8, int32_t, (float)x[i] * s)

/* Of 16 bits. */
#define WIDE_ROW(name, in, value)                                                                  \
    static void name(const struct mc_quant_row *r, const in *x, uint16_t *y)                       \
    {                                                                                              \
        float lo = (float)(r->lo - r->zero), hi = (float)(r->hi - r->zero), s = r->scale[0];       \
        int32_t zero = r->zero;                                                                    \
        if (r->step == 0) {                                                                        \
            for (int64_t i = 0; i < r->n; i++)                                                     \
                y[i] = (uint16_t)(whole(value, lo, hi) + zero);                                    \
        } else {                                                                                   \
            for (int64_t i = 0; i < r->n; i++) {                                                   \
                s = r->scale[i];                                                                   \
                y[i] = (uint16_t)(whole(value, lo, hi) + zero);                                    \
            }                                                                                      \
        }                                                                                          \
    }
WIDE_ROW(quantize_16, float, x[i] / s)
WIDE_ROW(requantize_16, int32_t, (float)x[i] * s)

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
    *k = (struct mc_quant_kernels){
        .quantize = quantize, .requantize = requantize, .dequantize = dequantize};
}
