/* What an error of an inner value costs at the outputs of the model.
 *
 * For a value y of m channels, E[Jᵀ H J] [m,m]: J is the change of the outputs with a channel of y, taken
 * by running the rest of the model with that channel moved a little; H weighs the outputs (see
 * influence_score.h). No gradients are needed and nothing but the forward operators. Where y has many
 * positions (pixels, tokens) a channel is moved by a random sign at each: their sum has the right mean. */
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
    /* About how many multiply-accumulates one value may take. Beyond them fewer samples are used, then only
     * the mean is measured, by moving all channels at once. */
    double work;
};

/* Errors: what cutting, running and reading give. The same numbers for any thread count. */
int mc_influence_measure(const struct mc_model *m, struct mc_dataset *data, struct mc_linalg *la,
                         struct mc_influence *inf, size_t n, const struct mc_influence_opts *opts,
                         struct mc_err *err);

#endif
