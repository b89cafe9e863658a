/* One training run. Private to train/. */
#ifndef MC_TRAIN_RUN_H
#define MC_TRAIN_RUN_H

#include "train/checkpoint.h"
#include "train/range_test.h"
#include "train/stepper.h"
#include "train/train.h"

struct mc_run {
    const struct mc_train_ctx *ctx;
    struct mc_dataset *data;
    double epochs;
    struct mc_train_opts o;
    struct mc_step_graph g;
    int64_t *train, *held, n_train, n_held;
    int64_t batch, micro; /* samples of an update without accumulation, of a run of the graph */
    char parts[160];      /* why micro is less than a GPU was asked for; empty: it is not */
    struct mc_stepper *stepper;
    int64_t per_epoch, total; /* updates */
    int64_t stride;           /* updates of a point of the curve */
    int64_t eval_every;
    struct mc_run_id id;
    struct mc_run_state s;
    bool resumed, saved;
    int64_t resumed_at;
    double started, seconds_before;
};

/* From where r->s is to the end: learning rate, updates, evaluations, checkpoints. MC_EINTR with r->saved set when
 * a checkpoint was written. Errors: MC_EFAIL where it diverges again and again. */
int mc_run_train(struct mc_run *r, struct mc_err *err);
int mc_run_report(const struct mc_run *r, json_t **ret, struct mc_err *err);

#endif
