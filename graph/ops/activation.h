/* What a node that is a function of one input computes. Private to graph/ops. */
#ifndef MC_GRAPH_OPS_ACTIVATION_H
#define MC_GRAPH_OPS_ACTIVATION_H

#include "graph/graph.h"
#include "kernels/elementwise.h"

/* The function of a node with a row in activation.c, but Clip, or of its derivative (Relu and ReluGrad); without
 * arrays. */
struct mc_unary mc_activation_function(const struct mc_node *n);

#endif
