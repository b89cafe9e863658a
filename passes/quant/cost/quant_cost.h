/* How long a model takes in a runtime that is not here: by a table of costs measured in it. */
#ifndef MC_PASSES_QUANT_COST_H
#define MC_PASSES_QUANT_COST_H

#include "graph/infer.h"
#include "passes/quant/quant_form.h"

/* Estimated time of one sample, in units of the table (nanoseconds of the machine it was made on; only ratios mean something).
 * Finds the patterns that the runtime fuses (layer + activation + QuantizeLinear, …) and takes each at its cost,
 * what it does not fuse at the cost of its parts. sample: shapes of the inputs; NULL, empty or where they do not fit: as
 * declared, with one sample.
 * ret_node (may be NULL): [n_node_ids of the main graph] each node's share.
 * Errors: MC_ENOMEM. Unknown operators count by the bytes they move. */
int mc_quant_cost(const struct mc_model *m, enum mc_quant_runtime runtime,
                  const struct mc_infer_opts *sample, double *ret, double *ret_node,
                  struct mc_err *err);
/* Where the table comes from, for the report: "ONNX Runtime 1.32, Intel Xeon, 1 thread". */
const char *mc_quant_cost_source(enum mc_quant_runtime runtime);

#endif
