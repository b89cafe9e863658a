/* What stays makes up for what went, without training.
 *
 * Layer by layer, in the order of the nodes: weights that read a value of which units went are fitted by least squares to
 * what the layer gave in the model before, on calibration samples, with everything in front of it as it has become; biases
 * take over the mean of what went; running statistics of BatchNormalization are measured anew. */
#ifndef MC_PASSES_PRUNE_REPAIR_H
#define MC_PASSES_PRUNE_REPAIR_H

#include <jansson.h>

#include "passes/couple/coupling.h"
#include "passes/pass.h"

/* m: `before` (c's model) after mc_cut with `gone`. Products with a constant (refit.h) whose result differs from what stays
 * of it, and norms, in the order of the nodes; the sum behind a branch counts where there is one. Kept only where the outputs
 * come closer to those of `before` on the samples that judge a search. Cells make up for states in their recurrent weights
 * (prune_repair_cell.c). Few samples are made more by mixing them
 * (mixed_samples.h), for products. Adds "repair" to the report: {"layers", "norms": fitted, "skipped": could not be,
 * "samples", "mixed": from them, "judged", "divergence_before", "divergence_after", "kept"}, or a "reason" instead of the last but
 * "kept"; without ctx->calib that is all.
 *
 * Errors: MC_ENOMEM, MC_EINTR; what else goes wrong is the reason in the report. The same numbers for any thread count.
 * Cost: a run of both models a layer, from the last one before it where what is read behind that takes 512 MB at most,
 * otherwise from the samples. Memory: that, the weights as they were, one layer's sums (1 GiB at most) and rows (64 MiB). */
int mc_prune_repair(struct mc_pass_ctx *ctx, const struct mc_model *before,
                    const struct mc_coupling *c, const bool *gone, struct mc_model *m,
                    json_t *report, struct mc_err *err);
/* The same with so much of the work for mixed samples, from 0 to 1: to compare cuts with each other. */
int mc_prune_repair_with(struct mc_pass_ctx *ctx, const struct mc_model *before,
                         const struct mc_coupling *c, const bool *gone, double effort,
                         struct mc_model *m, json_t *report, struct mc_err *err);

#endif
