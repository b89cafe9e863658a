/* Mean squares of what weights are multiplied with. */
#ifndef MC_PASSES_MASK_INPUTS_H
#define MC_PASSES_MASK_INPUTS_H

#include "passes/prune/mask_site.h"
#include "passes/pass.h"

/* ret[i]: of item i of s, one for each position of x along x_axis; NULL where there is no x or it does not fit the weight.
 * The caller frees each. On ctx->calib. Errors: MC_ENOMEM; what running gives. */
int mc_mask_inputs(struct mc_pass_ctx *ctx, const struct mc_graph *g, const struct mc_mask_sites *s,
                   double **ret, struct mc_err *err);

#endif
