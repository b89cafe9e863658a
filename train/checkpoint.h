/* A run on disk, to go on from. Private to train/. */
#ifndef MC_TRAIN_CHECKPOINT_H
#define MC_TRAIN_CHECKPOINT_H

#include "base/err.h"
#include "graph/graph.h"
#include "train/track.h"

enum { MC_RUN_HASH = 32 };

/* What a checkpoint is of: any difference makes it another run's. */
struct mc_run_id {
    uint8_t model[MC_RUN_HASH], teacher[MC_RUN_HASH], options[MC_RUN_HASH];
    char data[72];
    int64_t samples;
    uint64_t seed;
    double epochs;
};

/* SHA-256 over nodes, names, attributes and constants of the main graph. m NULL: zeros. */
void mc_run_hash_model(const struct mc_model *m, uint8_t ret[MC_RUN_HASH]);
void mc_run_hash_text(const char *text, uint8_t ret[MC_RUN_HASH]);

struct mc_run_state {
    struct mc_track now, good;     /* good: the last evaluated state, which a way back leads to */
    struct mc_track_point *points; /* [MC_TRACK_POINTS + 1] */
    struct mc_track_eval *evals;
    int64_t cap_evals;
    size_t bytes;
    uint8_t *states, *good_states, *best_states; /* [bytes] each */
};

/* Errors: MC_EIO. */
int mc_checkpoint_write(const char *path, const struct mc_run_id *id, const struct mc_run_state *s,
                        struct mc_err *err);
/* *ret_found false where there is no such file. Everything in s but its counters is allocated; evals may grow.
 * Errors: MC_EFORMAT naming what does not fit: damage, another model, teacher, data, options, seed. */
int mc_checkpoint_read(const char *path, const struct mc_run_id *id, struct mc_run_state *s,
                       bool *ret_found, struct mc_err *err);

#endif
