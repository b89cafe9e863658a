/* 8-bit integers outside products: uint8 or int8 with a scale and a zero point.
 * Rounding is half to even and saturates into [lo, hi], in float32, each operation rounded by itself: the same
 * bits at every level. */
#ifndef MC_KERNELS_ROWS_S8_H
#define MC_KERNELS_ROWS_S8_H

#include "kernels/conv_s8.h"

/* n elements of one run of memory; y may be a or b. Short enough for one thread: the caller cuts.
 *     add:  y = clamp(round((a - a_zero) a_scale + (b - b_zero) b_scale) + zero, lo, hi)
 *     mul:  y = clamp(round((a - a_zero) (b - b_zero) a_scale) + zero, lo, hi) */
struct mc_pair_s8 {
    int64_t n;
    const void *a, *b;
    int64_t b_step; /* 1, or 0: b is a single element */
    bool a_signed, b_signed;
    int32_t a_zero, b_zero;
    float a_scale, b_scale; /* divided by that of y */
    int32_t zero, lo, hi;   /* lo < 0: y is int8 */
    void *y;
};

/* Pooling of x [n, c, in…] in either layout, the same for y. An average is of the places inside, or of all of
 * the window where count_pad (outside counts as x_zero):
 *     y = clamp(round(sum(x - x_zero) (scale / count)) + zero, lo, hi)
 * A maximum is of x as it is, and of the places inside. A global average has kernel = in. */
struct mc_pool_s8 {
    bool average, count_pad;
    int64_t n, c;
    int64_t in[3], out[3], kernel[3];
    int64_t stride[3], dilation[3], pad[3], end[3]; /* end: what of the padding behind counts */
    enum mc_s8_layout layout;
    const void *x;
    bool x_signed;  /* y is of the same type in a maximum, else by lo < 0 */
    int32_t x_zero; /* from here on of an average only */
    float scale;    /* that of x divided by that of y */
    int32_t zero, lo, hi;
    void *y;
};

struct mc_rows_s8_kernels {
    void (*add)(const struct mc_pair_s8 *p);
    void (*mul)(const struct mc_pair_s8 *p);
    /* y[i] = table[x[i]] : any function of one 8-bit value, another scale and zero point too. y may be x. An
     * int8 indexes by its bits. */
    void (*look_up)(int64_t n, const uint8_t *x, const uint8_t table[256], uint8_t *y);
    void (*pool)(const struct mc_pool_s8 *p, struct mc_pool *pool);
    /* y[i, col, row] = x[i, row, col] for bytes: NCHW to NHWC with rows = c and cols = h w, back with them
     * exchanged. */
    void (*transpose)(int64_t n, int64_t rows, int64_t cols, const uint8_t *x, uint8_t *y,
                      struct mc_pool *pool);
};

#endif
