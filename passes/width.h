/* A thinner network with the same graph: every group of units (passes/couple/coupling.h) keeps its strongest. */
#ifndef MC_PASSES_WIDTH_H
#define MC_PASSES_WIDTH_H

#include <jansson.h>

#include "graph/graph.h"

/* Edit m in place: each group keeps round(ratio * size) of its units, or as near to it as it can, those of the largest
 * weights (MC_IMPORTANCE_L2). Of groups that cross on one axis, as heads and places in a head do, one is made thinner:
 * whole heads rather than places in them. ratio in (0, 1]; the model must be prepared (graph/run/fold.h). The result
 * computes something else, and is meant to be trained.
 * *ret_report: {"ratio", "classes": [{"channels", "kept", "kind", "first": the group's name}], "fixed": [{"channels",
 * "why", "kind", "first"}], "parameters_before", "parameters_after"}.
 * Errors: MC_EUNSUP if nothing can be thinner, with the reason of the widest group; MC_ENOMEM; on failure m must be dropped. */
int mc_width_reduce(struct mc_model *m, double ratio, json_t **ret_report, struct mc_err *err);

#endif
