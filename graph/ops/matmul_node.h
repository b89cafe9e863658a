/* What the shapes of a matrix product as numpy's say, whatever its numbers are. */
#ifndef MC_GRAPH_OPS_MATMUL_NODE_H
#define MC_GRAPH_OPS_MATMUL_NODE_H

#include "graph/ops/op.h"

/* The product of inputs 0 and `second`: output 0 is of type dtype. Errors: MC_ESHAPE. */
int mc_matmul_infer(struct mc_infer_ctx *c, int second, enum mc_dtype dtype, struct mc_err *err);

#endif
