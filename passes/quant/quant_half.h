/* Weights and computation in 16-bit floats. */
#ifndef MC_PASSES_QUANT_FORM_HALF_H
#define MC_PASSES_QUANT_FORM_HALF_H

#include "passes/quant/quant_form.h"

/* Every float tensor of the graph becomes `to` (F16 or BF16), inputs and outputs stay float behind Casts unless `io`; what a half
 * cannot do stays float between Casts: operators that have no such type, sums that overflow (norms of large values by
 * stats where calibration is there), integers, shapes. Weights beyond the largest half number are left, and named.
 * *ret_report: {"layers": […], …}. Errors: MC_EUNSUP, MC_ENOMEM. */
int mc_quant_half(struct mc_pass_ctx *ctx, struct mc_model *m, enum mc_dtype to, bool io,
                  json_t **ret_report, struct mc_err *err);

#endif
