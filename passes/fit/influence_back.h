/* Influence of many values at once, by gradients. */
#ifndef MC_PASSES_INFLUENCE_BACK_H
#define MC_PASSES_INFLUENCE_BACK_H

#include "passes/fit/influence.h"

/* Fill in those of inf[0..n) that gradients reach: vectors of the score's root (influence_score.h) are carried back
 * from the outputs to all values in one run, and E[g gᵀ], summed over positions, is E[Jᵀ H J]. Others keep
 * samples == 0: an operator without a rule stands between, or results that are no float32.
 * opts->work is for each value, as it is for mc_influence_measure.
 * Errors: what running and reading give; MC_EUNSUP where the model has no gradient at all. */
int mc_influence_back(const struct mc_model *m, struct mc_dataset *data, struct mc_linalg *la,
                      struct mc_influence *inf, size_t n, const struct mc_influence_opts *opts,
                      struct mc_err *err);

#endif
