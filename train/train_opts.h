/* Options of a training run, from JSON. Private to train/. */
#ifndef MC_TRAIN_OPTS_H
#define MC_TRAIN_OPTS_H

#include <jansson.h>

#include "graph/grad/update.h"
#include "train/loss.h"
#include "train/schedule.h"

enum { MC_TRAIN_BATCH = 128 }; /* samples of an update where nothing is said */

struct mc_train_opts {
    json_t *values; /* validated, with defaults: owns all text below */
    enum mc_loss_kind loss;
    double alpha, temperature;
    const char *output;
    const json_t *blocks; /* or NULL */
    struct mc_update_opts update;
    double lr; /* 0: to be found */
    enum mc_schedule_kind schedule;
    double warmup;
    int64_t batch; /* 0: not given */
    int64_t accumulate;
    int64_t blank; /* class that means none in ctc */
    bool batchnorm;
    struct mc_weights_opts weights;
    const char *augment;
    bool mixup, balance;
    double holdout, patience; /* patience in epochs, 0: never */
    int64_t mem;              /* bytes, 0: no limit */
    bool in_parts;            /* batches may be cut: gradients of parts are added up */
};

/* options: an object of mc_train_params' names, NULL for none. Errors: MC_EUSAGE. */
int mc_train_opts_read(const json_t *options, struct mc_train_opts *ret, struct mc_err *err);
void mc_train_opts_free(struct mc_train_opts *o);

#endif
