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

/* The same of a whole tensor [outer, axis, inner], whose element (o, a, i) has scale o o_step + a / block a_step +
 * i i_step, all on a device. There are three ways: one scale (all steps 0); one for each place of the axis (a_step
 * alone, block 1); one for each block of it (o_step, a_step and i_step as of [outer, blocks, inner]). */
struct mc_fake_grid {
    int64_t outer, axis, inner, block;
    int64_t o_step, a_step, i_step, n_scales;
    double lo, hi;
    const void *scale;
    /* n_zeros of type zero_elem (enum mc_elem), 1 or as many as scales; with zero_bits 2 or 4 several in a byte, the
     * first in its low bits, signed where zero_elem is MC_ELEM_I8. NULL: 0 */
    const void *zero;
    int zero_elem, zero_bits;
    int64_t n_zeros;
    const void *x, *dy; /* dy NULL: rounding alone */
    void *y;            /* or dx, or NULL; may be x, or dy */
    void *ds;           /* sums by 1 / sqrt(max(1, count) max(1, q)), q the largest step; or NULL */
    double count;
};

struct mc_learned_scales { /* y = start exp(growth), within the positive floats, in double */
    int64_t n;
    const void *start, *growth;
    void *y;
};

struct mc_fake_quant_kernels {
    /* y = (clamp(round(x / s) + z, lo, hi) - z) s, half to even; NaN becomes the least. y may be x. */
    void (*round)(const struct mc_fake_row *r, const void *x, void *y);
    /* With v = x / s and q = round of v clamped:   dx = dy where lo - z <= v <= hi - z, else 0;
     * ds[i step] += dy (q - v) there, dy q elsewhere. dx may be dy or NULL, ds NULL.
     * Source: Esser et al., Learned Step Size Quantization, ICLR 2020, eqs. (3) and (5); deviates: the ends of the range
     * belong to it, as in PyTorch's clamp. */
    void (*grad)(const struct mc_fake_row *r, const void *dy, const void *x, void *dx, double *ds);
    /* Of devices alone, in place of the two above. */
    void (*grid)(const struct mc_fake_grid *g);
    void (*scales)(const struct mc_learned_scales *s);
};

#endif
