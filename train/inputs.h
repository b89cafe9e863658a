/* From a batch of samples to the inputs of a graph with a loss. Private to train/. */
#ifndef MC_TRAIN_INPUTS_H
#define MC_TRAIN_INPUTS_H

#include "train/feed.h"
#include "train/loss.h"
#include "train/teacher.h"

struct mc_inputs { /* the first four are set by the caller, the rest is zero at first */
    const struct mc_loss *loss;
    struct mc_dataset *data;
    struct mc_teacher *teacher; /* or NULL */
    int extra;                  /* arrays for which there is room behind the others */
    struct mc_array *arrays;    /* [n]: samples, labels or targets, values of the teacher */
    int n, n_data, cap;
    float *targets;
    int64_t cap_targets;
};

void mc_inputs_free(struct mc_inputs *in);
/* Valid until the batch goes. fresh: it was changed at random. Errors: MC_EDATA for a label out of range. */
int mc_inputs_fill(struct mc_inputs *in, const struct mc_feed_batch *b, bool fresh,
                   struct mc_err *err);
/* How many of the scores [n,classes] (one score: above 0 or not) name the label's class, else the teacher's. */
int64_t mc_inputs_hits(const struct mc_inputs *in, const struct mc_feed_batch *b,
                       const struct mc_array *scores);

#endif
