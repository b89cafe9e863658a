/* More samples than there are: parts of one put into another, for fits that compare two models on the same input, whatever
 * it is. */
#ifndef MC_PASSES_MIXED_SAMPLES_H
#define MC_PASSES_MIXED_SAMPLES_H

#include "graph/dataset.h"

/* A view of the first `count` samples of `of`, then of `more`: each of them in turn with a box of another of its shape in
 * it, over all of its axes of length 4 and more (also runs of tokens), the same box in every input. Without labels. `of` is
 * borrowed. The same samples for the same seed.
 * Errors: MC_ENOMEM. Source: Yun et al., CutMix, ICCV 2019, for the inputs alone. */
int mc_mixed_samples(struct mc_dataset *of, int64_t count, int64_t more, uint64_t seed,
                     struct mc_dataset **ret, struct mc_err *err);

#endif
