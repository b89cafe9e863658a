/* Runs the step graph update by update, and the forward graph over held-out samples. Private to train/. */
#ifndef MC_TRAIN_STEPPER_H
#define MC_TRAIN_STEPPER_H

#include "base/threads.h"
#include "train/step_graph.h"

struct mc_stepper;

struct mc_stepper_opts {
    struct mc_pool *pool;
    uint64_t seed;
    struct mc_dataset *data;
    const int64_t *train, *held; /* numbers of samples */
    int64_t n_train, n_held;
    int64_t batch, micro; /* samples of an update (without accumulation), and of a run */
    const struct mc_train_opts *train_opts;
};

int mc_stepper_new(const struct mc_step_graph *g, const struct mc_stepper_opts *o,
                   struct mc_stepper **ret, struct mc_err *err);
void mc_stepper_free(struct mc_stepper *s); /* accepts NULL */

/* Run the first batch, also of the held-out samples, and be as if it had not: whether there is memory for it. Errors: MC_ENOMEM, and those of
 * mc_stepper_run. */
int mc_stepper_try(struct mc_stepper *s, struct mc_err *err);

int64_t mc_stepper_updates(const struct mc_stepper *s); /* in an epoch */

struct mc_step_result {
    double loss, norm; /* mean over samples; of the gradients before clipping */
    int64_t samples,
        hits; /* right answers: the label's, else the teacher's; hits -1: no class scores */
};
/* Update `update` (from 0) of a run, with all its batches, as the step-th (from 1) of the optimizer.
 * Errors: what feeding and running give; MC_EDATA for labels out of range. The state is that of a step half
 * done then. */
int mc_stepper_run(struct mc_stepper *s, int64_t update, int64_t step, double lr,
                   struct mc_step_result *ret, struct mc_err *err);

/* All state, as one block. */
size_t mc_stepper_bytes(const struct mc_stepper *s);
int mc_stepper_fetch(const struct mc_stepper *s, void *block, struct mc_err *err);
int mc_stepper_store(struct mc_stepper *s, const void *block, struct mc_err *err);
int mc_stepper_restart(struct mc_stepper *s, struct mc_err *err); /* the state before training */
/* Weights (their average where there is one) and statistics of a block into a model. */
int mc_stepper_weights(const struct mc_stepper *s, const void *block, struct mc_model *m,
                       struct mc_err *err);

/* Loss over the held-out samples with the weights of a block; the sum of hits as in mc_step_result. norm is 0. */
int mc_stepper_evaluate(struct mc_stepper *s, const void *block, struct mc_step_result *ret,
                        struct mc_err *err);
/* Planned memory of a run of the step graph: values, constants, states. Valid after mc_stepper_plan, which reads
 * one batch. */
int mc_stepper_plan(struct mc_stepper *s, struct mc_err *err);
size_t mc_stepper_peak(const struct mc_stepper *s);
/* Operators of the step that run a second time, so that it fits the limit. */
size_t mc_stepper_recomputed(const struct mc_stepper *s);

#endif
