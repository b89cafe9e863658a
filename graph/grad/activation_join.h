/* Activations that a file spells out, as one node. */
#ifndef MC_GRAPH_GRAD_ACTIVATION_JOIN_H
#define MC_GRAPH_GRAD_ACTIVATION_JOIN_H

#include "graph/graph.h"

/* Put one node where several make Gelu (by erf or tanh), Swish, HardSwish or Mish of a value, in any order of their
 * products, and where nobody else reads what is in between: a gradient then needs that value alone, and is one node,
 * too. Before mc_backward. Values that are read or given out stay. *ret_n: how many; may be NULL.
 * Errors: MC_ENOMEM. Cost: linear in nodes. */
int mc_activation_join(struct mc_graph *g, size_t *ret_n, struct mc_err *err);

#endif
