/* What the results of a product lack, and rounds over rows that were kept. Private to refit.c. */
#ifndef MC_PASSES_REFIT_ROUNDS_H
#define MC_PASSES_REFIT_ROUNDS_H

#include "passes/fit/refit_solve.h"

/* Add k rows of a group to the sums of e; e [k,m] is room for them. clipped: with f's bounds. */
int mc_refit_lacks(const struct mc_refit *f, struct mc_linalg *la, struct mc_refit_sums *s,
                   int64_t group, bool clipped, int64_t k, const float *t, const float *is,
                   const float *should, float *e, struct mc_err *err);
/* More rounds from a first answer, over the rows kept: a becomes the sum of all. Cost: rows m n operations each, and
 * what mc_refit_answer costs. */
int mc_refit_rounds(struct mc_refit *f, struct mc_linalg *la, struct mc_refit_answer *a,
                    struct mc_err *err);

#endif
