/* The criteria of importance.h, one function each or one for a family. Private to passes/importance*.c. */
#ifndef MC_PASSES_IMPORTANCE_PARTS_H
#define MC_PASSES_IMPORTANCE_PARTS_H

#include "passes/prune/importance.h"

/* What all of them are given: ret->score is zeros, ret->kind is theirs; they fill in scores that are comparable within a
 * group, finite and >= 0, and nats, samples, order and cost where they have them. Groups are made comparable by
 * mc_importance_measure, unless nats is set or it is to be raw.
 * On failure what they put into *ret is freed by the caller. */

/* From the weights alone: l1, l2, node, fpgm, bn. raw: tensors add up as they are. */
int mc_importance_weights(const struct mc_model *m, const struct mc_coupling *c, bool raw,
                          struct mc_importance *ret, struct mc_err *err);

/* From samples [0, count) of data, which may be fewer where the model is large: activation, entropy. */
int mc_importance_samples(const struct mc_pass_ctx *ctx, const struct mc_model *m,
                          const struct mc_coupling *c, struct mc_dataset *data, int64_t count,
                          bool raw, struct mc_importance *ret, struct mc_err *err);

/* From gradients: taylor, fisher. Needs labels of data only where it has them.
 * Errors: MC_EUNSUP where an operator has no gradient. */
int mc_importance_gradient(const struct mc_pass_ctx *ctx, const struct mc_model *m,
                           const struct mc_coupling *c, struct mc_dataset *data, int64_t count,
                           struct mc_importance *ret, struct mc_err *err);

/* OBS. ret->order, ret->cost: mc_calloc(c->n_units, …). */
int mc_importance_obs(const struct mc_pass_ctx *ctx, const struct mc_model *m,
                      const struct mc_coupling *c, struct mc_importance *ret, struct mc_err *err);

#endif
