/* What the shapes and attributes of a convolution say, whatever its numbers are. */
#ifndef MC_GRAPH_OPS_CONV_NODE_H
#define MC_GRAPH_OPS_CONV_NODE_H

#include "graph/ops/op.h"
#include "kernels/conv.h"

/* The result of a node with the data in input 0, filters in input `weight` and perhaps a bias in input `bias`:
 * output 0 is of type dtype. Errors: MC_ESHAPE; MC_EUNSUP as mc_window_infer. */
int mc_conv_infer(struct mc_infer_ctx *c, int weight, int bias, enum mc_dtype dtype,
                  struct mc_err *err);
/* Sizes and geometry for a kernel, from known shapes; no pointers. Errors: as mc_conv_infer. */
int mc_conv_sizes(const struct mc_node *n, const struct mc_shape *x, const struct mc_shape *w,
                  struct mc_conv *ret, struct mc_err *err);
/* The same for a transposed convolution of x: the convolution that it is the gradient of, from its output to x. */
int mc_conv_transposed_sizes(const struct mc_node *n, const struct mc_shape *x,
                             const struct mc_shape *w, struct mc_conv *ret, struct mc_err *err);
/* Sizes that the kernels of a device count with: everything below 2^31 elements, and groups below 2^12. */
bool mc_conv_counts_fit(const struct mc_conv *c);
double mc_conv_macs(const struct mc_infer_ctx *c, int weight);

#endif
