/* Where a run is: plain data that a checkpoint holds as it is, and its logs. Private to train/. */
#ifndef MC_TRAIN_TRACK_H
#define MC_TRAIN_TRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MC_TRACK_POINTS = 2000, MC_TRACK_RANGE = 128, MC_TRACK_RECOVERIES = 8 };

struct mc_track_point { /* of the curve: means since the point before */
    int64_t update;
    double lr, loss, norm, share; /* share of right answers, -1: none */
};

struct mc_track_eval { /* on held-out samples (loss NAN where there are none) */
    int64_t update;
    double train_loss, loss, share, seconds;
};

enum mc_track_trouble {
    MC_TROUBLE_NONE,
    MC_TROUBLE_LOSS,   /* not finite */
    MC_TROUBLE_NORM,   /* not finite */
    MC_TROUBLE_CLIMBS, /* far above its best for long */
};

struct mc_track_recovery {
    int64_t update, back;
    enum mc_track_trouble why;
    double lr; /* highest one from there on */
};

struct mc_track_sums { /* since the last point or evaluation */
    double loss, norm;
    int64_t n, hits, samples;
};

struct mc_track {
    int64_t update; /* next one */
    int64_t n_points, n_evals;
    struct mc_track_sums point, eval;
    double start, last;  /* loss of the first update, of the last one */
    double smooth;       /* moving average of the loss */
    double smooth_first; /* after its first updates */
    double
        smooth_best; /* its lowest; smooth_n updates are in it, `above` of them far above the best */
    int64_t smooth_n, above;
    /* what a way back does not undo */
    bool has_lr, done, stopped;
    double lr, lr_scale, seconds;
    int64_t n_recoveries;
    struct mc_track_recovery recoveries[MC_TRACK_RECOVERIES];
    int64_t best_update; /* -1: none yet */
    double best_loss, best_share;
    double first_loss; /* held-out, before training */
    /* of the range test */
    int64_t n_range;
    double range_lr[MC_TRACK_RANGE], range_loss[MC_TRACK_RANGE];
};

#endif
