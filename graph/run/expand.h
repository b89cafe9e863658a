/* The copy of a model that runs: calls of functions inlined, an If whose branch is known replaced by it. */
#ifndef MC_GRAPH_RUN_EXPAND_H
#define MC_GRAPH_RUN_EXPAND_H

#include "graph/graph.h"

/* *ret: a copy of g's model whose main graph does what g does without them; its inputs, outputs and inner
 * values have the names they have in g. NULL if g can be run as it is, or is not a main graph.
 * Errors: of mc_inline; MC_ENOMEM. Cost: nodes and values, no weights. */
int mc_expand(const struct mc_graph *g, struct mc_model **ret, struct mc_err *err);

#endif
