/* Between floats and integers of 8 or 16 bits. Rounding is half to even, and saturates; NaN becomes the
 * smallest value. Rows are short enough for one thread: the caller cuts. */
#ifndef MC_KERNELS_QUANT_H
#define MC_KERNELS_QUANT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/threads.h"

struct mc_quant_row {
    int64_t n;
    int32_t zero; /* within [lo, hi] */
    int32_t lo,
        hi; /* range of the integers: that of int8, uint8, int16 or uint16, or a part of it */
    const float *scale; /* > 0; element i has scale[i*step] */
    int64_t step;       /* 0 or 1 */
};

/* A whole tensor of [outer, axis, inner], for devices: element (o, a, i) has scale and zero point number o o_step + a / block
 * a_step + i i_step. */
struct mc_quant_all {
    int64_t outer, axis, inner;
    int64_t o_step, a_step, i_step, block;
    int32_t lo, hi; /* of the integers, which say their type */
    const float *scale;
    const void *zero; /* of that type, or NULL: 0 */
};

/* Of sums of 8-bit products [rows, n], for devices: y = (sum + whole) s + bias, with
 *     s[i,j] = alpha a_scale[i a_step] b_scale[j b_step] / y_scale
 * as floats, or where there is a y_scale rounded to integers with the zero point. */
struct mc_quant_sums {
    int64_t rows, n;
    const int32_t *sums;
    float alpha;
    const float *a_scale, *b_scale, *y_scale; /* y_scale or NULL */
    int64_t a_step, b_step;
    const int32_t *whole; /* or NULL */
    int64_t whole_row, whole_col;
    const float *bias; /* or NULL; of floats alone */
    int64_t bias_step;
    int32_t lo, hi;   /* of the integers, which say their type */
    const void *zero; /* of that type, or NULL: 0 */
    void *y;
};

struct mc_quant_kernels {
    /* y = clamp(round(x / scale) + zero); y of 1 or 2 bytes by lo and hi. */
    void (*quantize)(const struct mc_quant_row *r, const float *x, void *y);
    /* y = clamp(round(x * scale) + zero); of int32, which is rounded to float first. */
    void (*requantize)(const struct mc_quant_row *r, const int32_t *x, void *y);
    /* y = (x - zero) * scale; x of 1 or 2 bytes by lo and hi. */
    void (*dequantize)(const struct mc_quant_row *r, const void *x, float *y);

    /* Of devices alone, whose scales and zero points the host does not see. */
    void (*quantize_all)(const struct mc_quant_all *q, const float *x, void *y,
                         struct mc_pool *pool);
    void (*dequantize_all)(const struct mc_quant_all *q, const void *x, float *y,
                           struct mc_pool *pool);
    /* As DynamicQuantizeLinear: scale and zero point to uint8 by the least and the largest of n numbers and 0. */
    void (*dynamic)(int64_t n, const float *x, uint8_t *y, float *scale, uint8_t *zero,
                    struct mc_pool *pool);
    void (*sums)(const struct mc_quant_sums *s, struct mc_pool *pool);
    /* y = x for n integers of 8 bits. */
    void (*widen)(int64_t n, bool is_signed, const void *x, int32_t *y, struct mc_pool *pool);
};

#endif
