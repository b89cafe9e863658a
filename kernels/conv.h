/* Convolution, NC(D)HW, as a matrix product whose second side is never written down: channels are
 * copied with their padding, and taps read from there. y[n,oc,o…] = epilogue(sum over ic/group, k… of w[oc,ic,k…] x[n,ic,o*stride + k*dilation - pad])
 * y may be the residual; otherwise nothing overlaps. */
#ifndef MC_KERNELS_CONV_H
#define MC_KERNELS_CONV_H

#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"
#include "kernels/epilogue.h"

struct mc_conv {
    int64_t n, c, oc, group;          /* group divides c and oc */
    int64_t in[3], out[3], kernel[3]; /* depth, height, width; unused leading ones are 1 */
    int64_t stride[3], dilation[3],
        pad[3];                  /* pad at the start, below 0: cut off; the end follows from out */
    const void *x;               /* [n, c, in…] */
    const void *packed_w;        /* from pack_w */
    const void *w;               /* of a table that packs nothing (pack_w is NULL): as it is */
    void *y;                     /* [n, oc, out…] */
    struct mc_epilogue epilogue; /* bias per output channel [oc] */
};

struct mc_conv_kernels {
    /* Sizes and shapes are read from c; pointers are not. w is [oc, c/group, kernel…]. */
    size_t (*pack_w_bytes)(const struct mc_conv *c);
    void (*pack_w)(const struct mc_conv *c, const void *w, void *dst, struct mc_pool *pool);
    size_t (*scratch_bytes)(const struct mc_conv *c, int threads);
    void (*run)(const struct mc_conv *c, void *scratch, struct mc_pool *pool);
};

#endif
