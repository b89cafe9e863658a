/* Masks: weights of which single elements become 0, and stay 0 through training.
 *
 * Nothing gets smaller or faster by it but a compressed copy and what runs on kernels for sparse weights. In training a
 * masked weight is Mul(weight, Cast(mask)), with a mask of booleans, which no gradient moves (graph/grad/weights.h). */
#ifndef MC_PASSES_MASK_H
#define MC_PASSES_MASK_H

#include <jansson.h>

#include "passes/pass.h"

/* Options, of which one must be there:
 *   "pattern": "N:M": of every M elements in a row along the axis that a product sums over, the N of largest |w| stay;
 *   "sparsity": share of all these elements that goes: "scope" "layer": the same of each layer; else where it costs
 *               least: the smallest w² / (sum of the w² of that layer that are not smaller).
 * With ctx->calib |w| counts times the root mean square of what it is multiplied with.
 * Adds to the report: "mask": {"pattern" or "sparsity", "score", "zeros", "elements"}, "notes" and "layers".
 * Errors: MC_EUSAGE for a pattern that is none; MC_EUNSUP if no weight can be masked; what running gives.
 * Source: Sun et al., A Simple and Effective Pruning Approach for Large Language Models (Wanda), ICLR 2024, eq. (1);
 * Lee et al., Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021, eq. (3). */
int mc_mask_apply(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  json_t *report, struct mc_err *err);

/* File form -> training form of weights that have masks: 30 % zeros and more, or a zero in every 4 or 8 elements in a
 * row along what a product sums over, or, where the model's history says so, any zeros; a weight of zeros alone has none.
 * Weights that have their training form are left alone. Errors: MC_ENOMEM. */
int mc_mask_open(struct mc_model *m, bool any, struct mc_err *err);
/* Training form -> file form. Errors: MC_ENOMEM. */
int mc_mask_close(struct mc_model *m, struct mc_err *err);

#endif
