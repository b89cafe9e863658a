/* Where the windows of a convolution or a pooling lie. */
#ifndef MC_GRAPH_OPS_WINDOW_H
#define MC_GRAPH_OPS_WINDOW_H

#include "graph/ops/op.h"

enum { MC_WINDOW_DIMS = 3 }; /* spatial dimensions that kernels know */

struct mc_window_dims { /* depth, height, width; leading dimensions that are not there are 1 */
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], end[3];
};

/* From the attributes kernel_shape, strides, dilations, pads, auto_pad and ceil_mode, for an input
 * [n, c, spatial…] of known rank with 1 to 3 spatial dimensions. kernel: sizes from the weight, unknown
 * (< 0) ones allowed, or NULL where only kernel_shape says them. An input dimension that is not known gives an
 * `out` that is negative: the input's own symbol where the size does not change.
 * Errors: MC_ESHAPE for lists of the wrong length, sizes below 1, negative pads and windows larger than
 * the padded input; MC_EUNSUP for other ranks and unknown auto_pad. */
int mc_window_infer(const struct mc_node *n, const struct mc_shape *x, const int64_t *kernel,
                    struct mc_window_dims *ret, struct mc_err *err);

/* Is everything along one dimension below 2^29, so that the kernels of a device can count in 32 bits? False too
 * where mc_window_infer fails. */
bool mc_window_counts_fit(const struct mc_node *n, const struct mc_shape *x);

/* The same for a transposed convolution: `in` is the size of x, and input i reaches, through tap k, the output
 * i*stride + k*dilation - pad. Also reads output_padding and output_shape, which as in ONNX Runtime may
 * begin with the batch and the channels. */
int mc_window_transposed(const struct mc_node *n, const struct mc_shape *x, const int64_t *kernel,
                         struct mc_window_dims *ret, struct mc_err *err);

/* infer() of a pool over everything behind the channels: [n,c,d…] to [n,c,1…], floats only. */
int mc_window_global(struct mc_infer_ctx *c, struct mc_err *err);

#endif
