/* What the shapes and attributes of a convolution say, whatever its numbers are. */
#ifndef MC_GRAPH_OPS_CONV_NODE_H
#define MC_GRAPH_OPS_CONV_NODE_H

#include "graph/ops/op.h"

/* The result of a node with the data in input 0, filters in input `weight` and perhaps a bias in input `bias`:
 * output 0 is of type dtype. Errors: MC_ESHAPE; MC_EUNSUP as mc_window_infer. */
int mc_conv_infer(struct mc_infer_ctx *c, int weight, int bias, enum mc_dtype dtype,
                  struct mc_err *err);
double mc_conv_macs(const struct mc_infer_ctx *c, int weight);

#endif
