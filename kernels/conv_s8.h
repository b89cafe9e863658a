/* Convolution of 8-bit integers, NC(D)HW, exact in 32 bits (wrapping, as int32 does):
 *
 *     y[n,oc,o…] = sum over ic/group, k… of (w[oc,ic,k…] - w_zero[oc]) (x[n,ic,o*stride + k*dilation - pad] - x_zero)
 * Outside, x counts as x_zero. x and w are uint8 or int8, each on its own. Same bits at every level. */
#ifndef MC_KERNELS_CONV_S8_H
#define MC_KERNELS_CONV_S8_H

#include "kernels/gemm_s8.h"

struct mc_conv_s8 {
    int64_t n, c, oc, group;                /* group divides c and oc */
    int64_t in[3], out[3], kernel[3];       /* depth, height, width; unused leading ones are 1 */
    int64_t stride[3], dilation[3], pad[3]; /* pad at the start; the end follows from out */
    const void *x;                          /* [n, c, in…] */
    bool x_signed, w_signed;
    int32_t x_zero;
    struct mc_s8_zero w_zero; /* of output channels */
    const void *packed_w;     /* from pack_w */
    int32_t *y;               /* [n, oc, out…] */
};

struct mc_conv_s8_kernels {
    /* Sizes and w_signed are read from c; pointers are not. w is [oc, c/group, kernel…]. */
    size_t (*pack_w_bytes)(const struct mc_conv_s8 *c);
    void (*pack_w)(const struct mc_conv_s8 *c, const void *w, void *dst, struct mc_pool *pool);
    size_t (*scratch_bytes)(const struct mc_conv_s8 *c, int threads);
    void (*run)(const struct mc_conv_s8 *c, void *scratch, struct mc_pool *pool);
};

#endif
