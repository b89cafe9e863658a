/* The content of a constant that loses positions. For what cuts models. */
#ifndef MC_PASSES_CUT_TENSOR_H
#define MC_PASSES_CUT_TENSOR_H

#include "passes/couple/couple_rule.h"

/* A tensor of the positions index[d] (kept[d] of them, ascending) of every axis d; NULL: all of the axis. Zeros with
 * MC_CUT_SIZES. Errors: MC_ENOMEM, MC_EIO, MC_EDTYPE for a type without a size. */
int mc_cut_tensor(const struct mc_cutting *k, const struct mc_tensor *t, int64_t *const *index,
                  const int64_t *kept, struct mc_tensor **ret, struct mc_err *err);
/* The same for axis 1, with places of their own for every run of t's rows (equal runs, `groups` of them):
 * column[groups][n]. */
int mc_cut_tensor_grouped(const struct mc_cutting *k, const struct mc_tensor *t,
                          const int64_t *column, int64_t n, int64_t groups, struct mc_tensor **ret,
                          struct mc_err *err);

#endif
