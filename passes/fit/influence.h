/* What an error of an inner value costs at the outputs of the model.
 *
 * For a value y of m channels, E[Jᵀ H J] [m,m], summed over positions (pixels, tokens): J is the derivative of the
 * outputs by y, H weighs the outputs (see influence_score.h). By gradients, for all values at once; where none
 * gets through (an operator without a gradient rule, bodies, functions, half precision) by differences, value for
 * value: the rest of the model runs again with a channel moved a little, by a random sign at each position. */
#ifndef MC_PASSES_INFLUENCE_H
#define MC_PASSES_INFLUENCE_H

#include "base/progress.h"
#include "base/threads.h"
#include "graph/dataset.h"
#include "graph/graph.h"
#include "kernels/linalg.h"

struct mc_influence {
    const struct mc_value *y; /* given: of the main graph */
    int axis;                 /* given: of the channels; -1: the last */
    int64_t m;                /* given: how many */

    struct mc_tensor *cost; /* [m,m], lower triangle; NULL where only the mean is known */
    double mean;            /* of its diagonal */
    int64_t samples;
};

struct mc_influence_opts {
    struct mc_pool *pool;
    const struct mc_progress *progress;
    struct mc_spill *spill;
    int64_t samples; /* at most */
    uint64_t seed;
    /* About how many multiply-accumulates one value may take. Beyond them fewer gradients and samples are used;
     * by differences then only the mean is measured, moving all channels at once. */
    double work;
    bool differences; /* no gradients */
};

/* Errors: what cutting, running and reading give. The same numbers for any thread count. */
int mc_influence_measure(const struct mc_model *m, struct mc_dataset *data, struct mc_linalg *la,
                         struct mc_influence *inf, size_t n, const struct mc_influence_opts *opts,
                         struct mc_err *err);

#endif
