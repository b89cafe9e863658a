/* Between floats and integers of 8 or 16 bits. Rounding is half to even, and saturates; NaN becomes the
 * smallest value. Rows are short enough for one thread: the caller cuts. */
#ifndef MC_KERNELS_QUANT_H
#define MC_KERNELS_QUANT_H

#include <stdint.h>

struct mc_quant_row {
    int64_t n;
    int32_t zero; /* within [lo, hi] */
    int32_t lo,
        hi; /* range of the integers: that of int8, uint8, int16 or uint16, or a part of it */
    const float *scale; /* > 0; element i has scale[i*step] */
    int64_t step;       /* 0 or 1 */
};

struct mc_quant_kernels {
    /* y = clamp(round(x / scale) + zero); y of 1 or 2 bytes by lo and hi. */
    void (*quantize)(const struct mc_quant_row *r, const float *x, void *y);
    /* y = clamp(round(x * scale) + zero); of int32, which is rounded to float first. */
    void (*requantize)(const struct mc_quant_row *r, const int32_t *x, void *y);
    /* y = (x - zero) * scale; x of 1 or 2 bytes by lo and hi. */
    void (*dequantize)(const struct mc_quant_row *r, const void *x, float *y);
};

#endif
