/* Fitting what is left of a layer after its factors are in place. */
#ifndef MC_PASSES_SVD_REFIT_H
#define MC_PASSES_SVD_REFIT_H

#include "passes/svd/svd_run.h"

/* After mc_svd_run_apply: layer by layer, in the order of the nodes, the last factor of what was changed is fitted to the
 * calibration samples (refit.h), with everything in front of it as it has become; without --rank also the
 * weights of layers behind it that were left whole. `before` is a clone of the model from before the factors. Kept only
 * where the model's outputs come closer to those of `before` on the samples that judge a search; otherwise the model
 * stays as it is. Adds "refit" to the report: {"layers": fitted, "whole": of them without factors, "skipped", "samples":
 * fitted on, "judged": measured on, "divergence_before", "divergence_after", "kept"}, or {"layers": 0, …, "reason"}.
 *
 * Passed over: layers inside bodies and functions, in several places, or whose last node is no product with a constant of
 * its own. Errors: MC_ENOMEM, MC_EINTR; what else goes wrong in running is the reason in the report.
 * Cost: one run of both models a layer; fewer samples, or none, for large ones.
 * The same numbers for any thread count. */
int mc_svd_refit(struct mc_svd_run *r, const struct mc_model *before, json_t *report,
                 struct mc_err *err);

#endif
