/* Run a graph over samples and hand named values to a callback: calibration, covariances, measuring. */
#ifndef MC_GRAPH_RUN_OBSERVE_H
#define MC_GRAPH_RUN_OBSERVE_H

#include "base/progress.h"
#include "graph/dataset.h"
#include "graph/run/session.h"

struct mc_observe_opts {
    struct mc_pool *pool;
    const char *kernels;
    int64_t first, count; /* samples [first, first + count); count < 0: to the end */
    int64_t batch; /* samples a run; 0: chosen from the model (256 at most; 1 where its batch axis
                             is frozen to 1 or the samples are whole tensors) */
    size_t
        bytes; /* with batch 0: where several samples run at once, their values take no more; 0: for speed */
    const struct mc_progress *progress;
    const char *what; /* stage name for progress */
};

/* values[i] is the value names[i] for the samples batch->index[0..n), in that order; the first of them is
 * first_sample. A non-zero return stops and is passed up. */
typedef int mc_observe_fn(void *ctx, const struct mc_array *const *values, int64_t first_sample,
                          const struct mc_batch *batch, struct mc_err *err);

/* Batches come in ascending order on the caller's thread (of samples that differ in shape, shape by shape), so
 * sums are the same for any thread count.
 * *ret_samples (may be NULL) = how many samples ran. Only what the named values need is computed.
 * Errors: MC_EDATA if there is no sample; what running and reading give; MC_EINTR. */
int mc_observe(const struct mc_graph *g, struct mc_dataset *data, const char *const *names,
               size_t n_names, const struct mc_observe_opts *opts, mc_observe_fn *fn, void *ctx,
               int64_t *ret_samples, struct mc_err *err);

/* Value names[i] for the samples of a batch. */
typedef int mc_observe_passing_fn(void *ctx, size_t i, const struct mc_array *value,
                                  int64_t samples, struct mc_err *err);

/* Each value is handed out as soon as it is there and gone afterwards, so that a run takes hardly more memory than
 * without: one by one in each batch, in the order in which they are made. What is the same in all runs is not handed
 * out, nor are sequences. names: of g, different.
 * Errors: as mc_observe; MC_ESHAPE if a batch was handed out in part before its samples turned out to be too many: with
 * opts->batch 1 they are not. */
int mc_observe_passing(const struct mc_graph *g, struct mc_dataset *data, const char *const *names,
                       size_t n_names, const struct mc_observe_opts *opts,
                       mc_observe_passing_fn *fn, void *ctx, int64_t *ret_samples,
                       struct mc_err *err);

struct mc_observed {
    const struct mc_graph *g;
    const char *const *names;
    size_t n_names;
};

enum { MC_OBSERVED_MAX = 4 };

/* The same of several graphs side by side on the same samples: first the values of of[0], then those of of[1], … */
int mc_observe_all(const struct mc_observed *of, int n_of, struct mc_dataset *data,
                   const struct mc_observe_opts *opts, mc_observe_fn *fn, void *ctx,
                   int64_t *ret_samples, struct mc_err *err);

#endif
