/* Vectors at the outputs carried back to inner values, batch by batch. */
#ifndef MC_PASSES_INFLUENCE_RUN_H
#define MC_PASSES_INFLUENCE_RUN_H

#include "passes/fit/influence_graph.h"
#include "passes/fit/influence_score.h"

struct mc_influence_run {
    struct mc_influence_graph *g; /* built */
    struct mc_score *score;       /* holds the undisturbed results of the batch at hand */
    struct mc_pool *pool;
    const struct mc_progress *progress;
    const char *what;        /* stage name for progress */
    int64_t samples;         /* of the data, from the first */
    int64_t vectors;         /* of each sample */
    int64_t most;            /* samples at once; 0: as many as memory allows */
    const char *const *only; /* what is computed */
    size_t n_only;
    void *self;
    /* Vector k: dst[i] [samples of the batch, width of output i]; `first` samples came before. NULL: those of
     * mc_score_vector. */
    void (*vector)(void *self, int64_t k, const struct mc_batch *b, int64_t first,
                   float *const *dst);
    /* got[i] is only[i] for `samples` samples, by vectors [at, at + copies). */
    int (*add)(void *self, const struct mc_array *const *got, int64_t at, int copies, int64_t first,
               int64_t samples, struct mc_err *err);
};

/* m is the model that r->g was opened for. Batches come in the order of mc_observe, on the caller's thread.
 * *ret_samples: how many ran. Errors: what running, reading and r->add give; MC_EINTR. */
int mc_influence_run(const struct mc_influence_run *r, const struct mc_model *m,
                     struct mc_dataset *data, int64_t *ret_samples, struct mc_err *err);

/* How the outputs are, from the first samples, at most `most`; score is freed by the caller. Errors: those of running;
 * MC_EUNSUP where an output is not computed in float32. */
int mc_influence_look(const struct mc_influence_graph *g, const struct mc_model *m,
                      struct mc_dataset *data, struct mc_pool *pool, uint64_t seed, int64_t most,
                      struct mc_score *ret, struct mc_err *err);

struct mc_influence_plan {
    int64_t samples, vectors; /* of each sample */
    int copies;               /* as many vectors at once */
    struct mc_infer_opts
        infer; /* types of inputs from the first sample, where all are alike; the batch is free */
    struct mc_infer_input *inputs;
};
/* What `limit` multiply-accumulates allow. Errors: those of reading and inference. */
int mc_influence_plan_make(const struct mc_score *score, const struct mc_model *m,
                           struct mc_dataset *data, int64_t most_samples, double limit,
                           struct mc_influence_plan *ret, struct mc_err *err);
void mc_influence_plan_free(struct mc_influence_plan *p);

#endif
