/* Gradients of a convolution y = conv(x, w), geometry as in kernels/conv.h, and of the pools.
 *     dx[n,ic,i] = epilogue(sum over oc, k… with o*stride + k*dilation - pad = i of w[oc,ic,k…] dy[n,oc,o])
 *     dw[oc,ic,k…] = sum over n, o… of dy[n,oc,o] x[n,ic,o*stride + k*dilation - pad]
 *     db[oc] = sum over n, o… of dy[n,oc,o]
 * dx is what a transposed convolution computes. Nothing overlaps, but dx may be the residual. */
#ifndef MC_KERNELS_CONV_GRAD_H
#define MC_KERNELS_CONV_GRAD_H

#include "kernels/conv.h"
#include "kernels/nn.h"

struct mc_conv_grad {
    struct mc_conv c; /* sizes; its pointers are not read. epilogue: of dx, scale and bias per ic */
    const void *x;    /* [n, c, in…] */
    const void *w;    /* [oc, c/group, kernel…] */
    const void *dy;   /* [n, oc, out…] */
    void *dx, *dw;    /* as x, as w */
    void *db;         /* [oc], or NULL */
};

/* dx of a pool, which w describes: of a maximum, dy goes to the first element that equals y (NaN equals
 * NaN), w.arg is not read; of a mean, in equal parts to all elements of the window. */
struct mc_window_grad {
    struct mc_window w; /* x and y are read for a maximum only */
    const void *dy;     /* [planes, out…] */
    void *dx;           /* [planes, in…] */
};

struct mc_conv_grad_kernels {
    /* Scratch, 64-byte aligned; sizes and shapes are read from c, and whether there is an epilogue is not. */
    size_t (*input_bytes)(const struct mc_conv *c, int threads);
    void (*input)(const struct mc_conv_grad *g, void *scratch, struct mc_pool *pool);
    size_t (*weight_bytes)(const struct mc_conv *c, int threads);
    void (*weight)(const struct mc_conv_grad *g, void *scratch, struct mc_pool *pool);
    void (*window)(const struct mc_window_grad *g, struct mc_pool *pool);
};

#endif
