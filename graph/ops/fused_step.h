/* Which nodes are one function of the elementwise kernels, for the planner, and the operators of what it makes of
 * several nodes. These two are in no registry: no model has them. */
#ifndef MC_GRAPH_OPS_FUSED_STEP_H
#define MC_GRAPH_OPS_FUSED_STEP_H

#include "graph/ops/op.h"
#include "kernels/elementwise.h"

/* fn, a and b of a node y = fn(x) of floats, whose other inputs are constants; false if it is none. */
bool mc_activation_as_unary(const struct mc_call *c, struct mc_unary *ret);
/* fn of a node z = fn(x, y) of floats that broadcast as they stand; false if it is none. */
bool mc_arith_as_binary(const struct mc_call *c, enum mc_binary_fn *ret);

#define MC_FUSED_DOMAIN "fused" /* of their rows in graph/ops/op_gpu.h */

extern const struct mc_op mc_op_chain; /* runs mc_call.chain on its inputs */
extern const struct mc_op
    mc_op_norm; /* runs mc_call.norm on x, scale and bias; those two may be omitted */

#endif
