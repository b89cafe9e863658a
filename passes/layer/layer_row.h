/* A row of a report: one node, and what became of its weight. */
#ifndef MC_PASSES_LAYER_ROW_H
#define MC_PASSES_LAYER_ROW_H

#include <jansson.h>

#include "graph/graph.h"

/* {name, op, action, reason}; action is `done`, or "left" where there is a reason. */
json_t *mc_layer_row(const struct mc_node *n, const char *done, const char *reason, bool *ok);
/* The row of a node that is left, whose bytes count in no row, or none of whose layers is known. */
json_t *mc_layer_row_left(const struct mc_node *n, const char *reason, bool *ok);

#endif
