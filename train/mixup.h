/* Samples and labels mixed in pairs; train/augment.h says how it is asked for. */
#ifndef MC_TRAIN_MIXUP_H
#define MC_TRAIN_MIXUP_H

#include "graph/dataset.h"

/* x = t x + (1 - t) y with a sample y of the same batch, t from Beta(alpha, alpha), in every float input; probs
 * [n, classes] gets the labels mixed alike, NULL: not wanted. Draws are those of (seed, epoch, place of the sample),
 * the first one's place being `first`. Errors: MC_ENOMEM; MC_EDATA for a label that is none of the classes. */
int mc_mixup(double alpha, uint64_t seed, int64_t epoch, int64_t first, struct mc_batch *b,
             float *probs, int64_t classes, struct mc_err *err);
/* A draw from Beta(a, a); the place says which one. */
double mc_mixup_beta(double a, uint64_t seed, uint64_t stream, uint64_t index);

#endif
