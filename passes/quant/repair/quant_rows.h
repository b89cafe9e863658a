/* Products that sum over the last axis of a value, and what they are expected to lose where it becomes integers: what repairs
 * that change such a value share. */
#ifndef MC_PASSES_QUANT_ROWS_H
#define MC_PASSES_QUANT_ROWS_H

#include "graph/infer.h"
#include "passes/fit/refit.h"
#include "passes/quant/range/quant_stats.h"

/* MatMul or Gemm that multiplies the rows of x with a weight that nobody else reads. */
bool mc_quant_rows_read(struct mc_node *n, const struct mc_value *x, struct mc_refit *ret);
size_t mc_quant_rows_readers(const struct mc_value *x, int64_t channels);
/* Of x, where its channels are known and lie along the last axis; otherwise NULL. */
const struct mc_quant_stat *mc_quant_rows_stat(const struct mc_quant_stats *s,
                                               const struct mc_infer *inf,
                                               const struct mc_value *x);

/* Weights of every such product, as floats. */
typedef int mc_quant_rows_fn(const struct mc_refit *f, const float *w, void *ctx,
                             struct mc_err *err);
int mc_quant_rows_each(const struct mc_value *x, mc_quant_rows_fn *fn, void *ctx,
                       struct mc_err *err);

/* Squared errors that rounding of x to 8 bits and of the weights to 7 and a sign is expected to leave in the results of all of
 * them, with channel j of x times x_by[j] and the weights behind it times w_by[j]. Values of a channel are taken to be spread
 * evenly over their range, so that this is only a guess. Errors: MC_ENOMEM. */
int mc_quant_rows_error(const struct mc_value *x, const struct mc_quant_stat *s, const double *x_by,
                        const double *w_by, double *ret, struct mc_err *err);

#endif
