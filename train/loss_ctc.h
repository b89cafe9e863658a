/* Scores of a sequence, as the loss ctc takes them. Private to train/. */
#ifndef MC_TRAIN_LOSS_CTC_H
#define MC_TRAIN_LOSS_CTC_H

#include "train/match.h"

struct mc_ctc_scores {
    struct mc_value
        *value; /* before a last Softmax or LogSoftmax over classes; of `like`'s elements */
    struct mc_value *like; /* of rank 3; what value must be reshaped to, where it is another */
    bool batch_first;      /* `like` is [batch,steps,classes], else [steps,batch,classes] */
    int64_t classes;
    int64_t steps; /* 0: not known ahead */
};

/* The axis of the batch is that which is as long as the inputs' axis 0. whole: samples are whole inputs, and the
 * batch is 1. Errors: MC_ESHAPE where the output is of another rank or type, its classes are not known, or
 * nothing tells which axis is the batch. */
int mc_ctc_scores_find(const struct mc_side *s, struct mc_value *output, bool whole,
                       struct mc_ctc_scores *ret, struct mc_err *err);

#endif
