/* A learning rate from a short trial: rates rise exponentially over a few batches until the loss climbs.
 * Private to train/.
 *
 * Source: Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017; deviates: the same few batches
 * are used in turn, and each loss is divided by what the batch gave before training, so that differences between
 * batches are no noise, and a rate for a model that is trained already can be told too. */
#ifndef MC_TRAIN_RANGE_TEST_H
#define MC_TRAIN_RANGE_TEST_H

#include <stdint.h>

#include "base/err.h"

enum { MC_RANGE_BATCHES = 8, MC_RANGE_STEPS = 48 };

/* Train once on batch `batch` at rate lr (0: only tell the loss); *ret_loss as it was before. */
typedef int mc_range_step(void *ctx, int64_t batch, double lr, double *ret_loss,
                          struct mc_err *err);

struct mc_range {
    int64_t
        n; /* rates that were tried: the loss after the last one climbed, or it was the highest */
    double lr[MC_RANGE_STEPS], ratio[MC_RANGE_STEPS]; /* ratio of the loss after it, smoothed */
    double pick;
};

/* Rates from lo to hi over `batches` batches (at most MC_RANGE_BATCHES). Errors: those of fn; MC_EFAIL if no rate
 * has a finite loss. */
int mc_range_test(mc_range_step *fn, void *ctx, int64_t batches, double lo, double hi,
                  struct mc_range *ret, struct mc_err *err);

#endif
