/* Values of the teacher for a batch: run, or taken from memory. Private to train/. */
#ifndef MC_TRAIN_TEACHER_H
#define MC_TRAIN_TEACHER_H

#include "base/threads.h"
#include "graph/dataset.h"
#include "train/loss.h"

struct mc_teacher;

struct mc_teacher_opts {
    struct mc_pool *pool;
    const struct mc_loss_input *values;
    size_t n;
    int64_t samples; /* in the data: values are kept where they are few bytes; 0: never */
    bool whole;      /* batches are samples without a batch axis */
};

/* side must stay. */
int mc_teacher_new(const struct mc_side *side, const struct mc_teacher_opts *o,
                   struct mc_teacher **ret, struct mc_err *err);
void mc_teacher_free(struct mc_teacher *t); /* accepts NULL */

/* ret[0..n): values for the samples of a batch, named as the inputs they are for; valid until the next call. Its
 * arrays are matched to the teacher's inputs by name, else by place. fresh: the samples were changed at
 * random, so nothing is kept. A teacher that is frozen to another batch runs in parts.
 * Errors: MC_ESHAPE where inputs do not correspond; what running gives. */
int mc_teacher_run(struct mc_teacher *t, const struct mc_array *arrays, int n_arrays,
                   const int64_t *index, int64_t n, bool fresh, struct mc_array *ret,
                   struct mc_err *err);

#endif
