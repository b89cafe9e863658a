/* All operator families, closed by NULL; each is a table closed by a row without name. */
#ifndef MC_GRAPH_OPS_OP_REGISTRY_H
#define MC_GRAPH_OPS_OP_REGISTRY_H

#include "graph/ops/op_gpu.h"

extern const struct mc_op *const mc_op_families[];
extern const struct mc_op_gpu *const mc_op_gpu_families[]; /* the same of graph/ops/op_gpu.h */

#endif
