/* Norms in training: batch statistics, and the gradients of all norms.
 * Arrays are dense and row-major; outputs may not alias inputs unless said. */
#ifndef MC_KERNELS_NORM_H
#define MC_KERNELS_NORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/threads.h"
#include "kernels/epilogue.h"

/* y = (x - mean) / sqrt(var + eps) * scale + bias per channel of [outer, channels, inner], mean and variance
 * (of all of them, not of a sample) over the rest; then the epilogue: residual and activation. y may be x or the
 * residual. Mean and variance of nothing are 0.
 * Cost: one pass over memory where a channel fits into the cache. */
struct mc_batch_norm {
    bool given; /* mean and var are, and stay; of a device's table alone */
    int64_t outer, channels, inner;
    double eps;
    const void *x, *scale, *bias;
    void *y;
    void *mean, *var;                   /* [channels] */
    const struct mc_epilogue *epilogue; /* or NULL; its scale and bias are not read */
};

/* The gradients: with h = (x - mean) / sqrt(var + eps),
 *     dbias = sum dy   dscale = sum dy h
 *     dx = scale / sqrt(var + eps) (dy - dbias / m - h dscale / m), m = outer * inner; or if frozen, which is when
 *     mean and variance do not come from x: dx = scale / sqrt(var + eps) dy
 * dx may be dy. */
struct mc_batch_grad {
    bool frozen;
    int64_t outer, channels, inner;
    double eps;
    const void *dy, *x;
    const void *scale, *mean, *var; /* [channels] */
    void *dx, *dscale, *dbias;      /* each may be NULL */
};

/* The gradients of y = h scale[p] + bias[p] where h = (x - mean) / sqrt(variance + eps) over rows of n, and element
 * i of row r has parameter p = r % groups * (n / inner) + i / inner: of the last dimensions groups 1, inner 1; of an
 * instance channels and n; of a group of channels groups and the size of an image.
 *     dbias[p] = sum dy   dscale[p] = sum dy h   over the elements of p
 *     dx = (e - mean(e) - h mean(e h)) / sqrt(variance + eps), e = dy scale[p]
 * dx may be dy. */
struct mc_norm_grad {
    bool rms; /* the mean is taken as 0, and mean(e) is left out */
    int64_t rows, n, groups, inner;
    double eps;
    const void *dy, *x;
    const void *scale;         /* or NULL: 1 */
    void *dx, *dscale, *dbias; /* each may be NULL */
};

struct mc_norm_kernels {
    void (*batch)(const struct mc_batch_norm *b, struct mc_pool *pool);
    void (*batch_grad)(const struct mc_batch_grad *b, struct mc_pool *pool);
    /* scratch: norm_grad_scratch(n) bytes, 64-byte aligned. */
    size_t (*norm_grad_scratch)(const struct mc_norm_grad *n);
    void (*norm_grad)(const struct mc_norm_grad *n, void *scratch, struct mc_pool *pool);
};

#endif
