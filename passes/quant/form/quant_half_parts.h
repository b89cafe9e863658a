/* What the files of quant_half share. */
#ifndef MC_PASSES_QUANT_HALF_PARTS_H
#define MC_PASSES_QUANT_HALF_PARTS_H

#include "passes/quant/form/quant_half.h"

/* t as `to`; *ret NULL and *ret_why where that would lose more than rounding. */
int mc_quant_half_tensor(const struct mc_tensor *t, enum mc_dtype to, struct mc_spill *spill,
                         struct mc_tensor **ret, double *ret_error, const char **ret_why,
                         struct mc_err *err);
/* The main graph computes in F16 where it can. *ret_left: nodes that stay float. */
int mc_quant_half_compute(struct mc_pass_ctx *ctx, struct mc_model *m, size_t *ret_left,
                          struct mc_err *err);

#endif
