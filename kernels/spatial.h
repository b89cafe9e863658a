/* Kernels that work along the spatial dimensions beside convolution and pooling: the folding of columns into
 * images (transposed convolution), resampling along an axis, normalization across channels.
 * Arrays are dense and row-major; outputs may not alias inputs unless said. */
#ifndef MC_KERNELS_SPATIAL_H
#define MC_KERNELS_SPATIAL_H

#include <stdint.h>

#include "base/threads.h"
#include "kernels/epilogue.h"

/* What a product of the transposed weights has spread out is summed where it belongs (col2im):
 *     y[c, i*stride + k*dilation - pad] += x[c, k, i], then the epilogue
 * for every position i and tap k; what lies outside y is dropped. y may be the residual. */
struct mc_fold {
    int64_t channels;
    int64_t in[3], out[3], kernel[3];       /* depth, height, width; unused leading ones are 1 */
    int64_t stride[3], dilation[3], pad[3]; /* pad at the start */
    const void *x;                          /* [channels, kernel…, in…] */
    void *y;                                /* [channels, out…] */
    struct mc_epilogue epilogue;            /* bias per channel */
};

struct mc_resample { /* y[o, j, i] = sum over t of weight[t, j] x[o, index[t, j], i] */
    int64_t outer, n_in, n_out, inner;
    int64_t taps;
    const int32_t *index; /* [taps, n_out], in [0, n_in) */
    const void *weight;   /* [taps, n_out] */
    const void *x;        /* [outer, n_in, inner] */
    void *y;              /* [outer, n_out, inner] */
};

/* y = x / (bias + alpha/size * s)^beta, s the sum of x² over the `size` channels around: (size-1)/2 before
 * and the rest after. */
struct mc_lrn {
    int64_t outer, channels, inner, size;
    double alpha, beta, bias;
    const void *x;
    void *y; /* [outer, channels, inner] */
};

struct mc_spatial_kernels {
    void (*fold)(const struct mc_fold *f, struct mc_pool *pool);
    void (*resample)(const struct mc_resample *r, struct mc_pool *pool);
    void (*lrn)(const struct mc_lrn *l, struct mc_pool *pool);
};

#endif
