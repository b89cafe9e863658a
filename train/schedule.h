/* The learning rate over a run. Private to train/. */
#ifndef MC_TRAIN_SCHEDULE_H
#define MC_TRAIN_SCHEDULE_H

#include <stdint.h>

enum mc_schedule_kind {
    MC_SCHEDULE_CONSTANT,
    MC_SCHEDULE_STEP,     /* a tenth from half of the run on, a hundredth in its last quarter */
    MC_SCHEDULE_COSINE,   /* half a cosine down to 0 after the warm-up */
    MC_SCHEDULE_ONECYCLE, /* half a cosine up, from 1/25, and one down, to 1/250,000 */
};

/* Factor of the highest rate for update `step` of `total`, from 0. warmup: share of the run in which it rises, in a
 * line from nearly 0 but for onecycle. In (0,1].
 * Source: Loshchilov, Hutter, SGDR, ICLR 2017 (without restarts); Smith, Topin, Super-Convergence, 2018, with
 * PyTorch's constants for start and end; deviates: momentum stays. */
double mc_schedule_factor(enum mc_schedule_kind kind, double warmup, int64_t step, int64_t total);

#endif
