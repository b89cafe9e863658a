/* A thinner network with the same graph: every free class of channels (passes/channels.h) keeps its strongest. */
#ifndef MC_PASSES_WIDTH_H
#define MC_PASSES_WIDTH_H

#include <jansson.h>

#include "graph/graph.h"

/* Edit m in place: each class keeps round(ratio * size) of its channels, at least 1, those of the largest
 * weights: the sum over all constants that have the channel of its share of their squares. Constants are cut,
 * shapes written in Reshape corrected, declared types of what changed dropped. ratio in (0, 1]; the model must be
 * prepared (graph/run/fold.h). The result computes something else, and is meant to be trained.
 * *ret_report: {"ratio", "classes": [{"channels", "kept", "first": name of a constant}], "fixed": [{"channels",
 * "why"}], "parameters_before", "parameters_after"}.
 * Errors: MC_EUNSUP if nothing can be thinner, with the reason of the widest class; MC_ENOMEM; on failure m must be dropped. */
int mc_width_reduce(struct mc_model *m, double ratio, json_t **ret_report, struct mc_err *err);

#endif
