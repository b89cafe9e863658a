/* Giving back what graphs hold outside the model's arena. Private to graph/. */
#ifndef MC_GRAPH_RELEASE_H
#define MC_GRAPH_RELEASE_H

#include "graph/graph.h"

/* References to tensors; bodies are not followed. */
void mc_attr_release(struct mc_attr *a);
/* Tensors, arrays and names; leaves an empty graph. Bodies are not followed. */
void mc_graph_release(struct mc_graph *g);

#endif
