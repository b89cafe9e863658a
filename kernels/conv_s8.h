/* Convolution of 8-bit integers, exact in 32 bits (wrapping, as int32 does), and what is made of its sums:
 *
 *     y[n,oc,o…] = to( sum over ic/group, k… of
 *                       (w[oc,ic,k…] - w_zero[oc]) (x[n,ic,o*stride + k*dilation - pad] - x_zero) )
 * Outside, x counts as x_zero. x and w are uint8 or int8, each on its own. Same bits at every level.
 *
 * Channels last is the faster layout of both x and y: a chain of layers keeps it, and only its ends convert. */
#ifndef MC_KERNELS_CONV_S8_H
#define MC_KERNELS_CONV_S8_H

#include "kernels/gemm_s8.h"

enum mc_s8_layout { MC_S8_NCHW, MC_S8_NHWC }; /* [n, c, d, h, w] and [n, d, h, w, c] */

struct mc_conv_s8 {
    int64_t n, c, oc, group;                /* group divides c and oc */
    int64_t in[3], out[3], kernel[3];       /* depth, height, width; unused leading ones are 1 */
    int64_t stride[3], dilation[3], pad[3]; /* pad at the start; the end follows from out */
    enum mc_s8_layout x_layout, y_layout;
    const void *x;
    bool x_signed, w_signed;
    int32_t x_zero;
    struct mc_s8_zero w_zero; /* of output channels */
    const void *packed_w;     /* from pack_w */
    struct mc_s8_out to;      /* channel: oc; all zero: int32 */
    void *y;                  /* may not overlap x */
};

struct mc_conv_s8_kernels {
    /* Sizes and w_signed are read from c; pointers, layouts, n and in and out are not. w is [oc, c/group, kernel…]. */
    size_t (*pack_w_bytes)(const struct mc_conv_s8 *c);
    void (*pack_w)(const struct mc_conv_s8 *c, const void *w, void *dst, struct mc_pool *pool);
    size_t (*scratch_bytes)(const struct mc_conv_s8 *c, int threads);
    void (*run)(const struct mc_conv_s8 *c, void *scratch, struct mc_pool *pool);
};

#endif
