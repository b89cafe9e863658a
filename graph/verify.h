/* Is a graph sound? Run after reading and after every pass. */
#ifndef MC_GRAPH_VERIFY_H
#define MC_GRAPH_VERIFY_H

#include "graph/graph.h"

/* Checks: one producer per value, every input defined before use (sorts first where only the order is
 * wrong), no cycle, outputs defined, use lists and positions consistent, tensors' bytes match their shape
 * and type, bodies and functions likewise, functions not recursive.
 * Errors: MC_EFORMAT naming graph, node and value; MC_EFAIL where an edit, not a file, left the graph
 * inconsistent. Cost: linear in nodes, values and uses (n log n in nodes where it sorts). */
int mc_verify(struct mc_model *m, struct mc_err *err);

#endif
