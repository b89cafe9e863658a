/* The checks that mc_verify consists of. Private to graph/. */
#ifndef MC_GRAPH_VERIFY_PARTS_H
#define MC_GRAPH_VERIFY_PARTS_H

#include "graph/graph.h"

/* Bring nodes into topological order, of all such orders the one nearest to the present in the sense that
 * the earliest possible node comes first. Errors: MC_EFORMAT naming the nodes of a cycle.
 * Cost: linear in uses, n log n in nodes. */
int mc_verify_sort(struct mc_graph *g, struct mc_err *err);
/* No two functions of one name; none calls itself, through others or bodies either. */
int mc_verify_functions(const struct mc_model *m, struct mc_err *err);

#endif
