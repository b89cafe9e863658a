/* Floats as if they had been integers: rounded to the grid of a quantisation, and its gradient. Rows are short enough for
 * one thread: the caller cuts. */
#ifndef MC_KERNELS_FAKE_QUANT_H
#define MC_KERNELS_FAKE_QUANT_H

#include <stdint.h>

struct mc_fake_row {
    int64_t n;
    const void *scale; /* > 0; element i has scale[i*step] */
    const void *zero;  /* whole numbers, as scale; NULL: 0 */
    int64_t step;      /* 0 or 1 */
    double lo, hi;     /* range of the integers, zero point included */
};

struct mc_fake_quant_kernels {
    /* y = (clamp(round(x / s) + z, lo, hi) - z) s, half to even; NaN becomes the least. y may be x. */
    void (*round)(const struct mc_fake_row *r, const void *x, void *y);
    /* With v = x / s and q = round of v clamped:   dx = dy where lo - z <= v <= hi - z, else 0;
     * ds[i step] += dy (q - v) there, dy q elsewhere. dx may be dy or NULL, ds NULL.
     * Source: Esser et al., Learned Step Size Quantization, ICLR 2020, eqs. (3) and (5); deviates: the ends of the range
     * belong to it, as in PyTorch's clamp. */
    void (*grad)(const struct mc_fake_row *r, const void *dy, const void *x, void *dx, double *ds);
};

#endif
