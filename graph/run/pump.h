/* Samples through one or several sessions at once, batch by batch: what observe and measure share.
 * Private to graph/run. */
#ifndef MC_GRAPH_RUN_PUMP_H
#define MC_GRAPH_RUN_PUMP_H

#include "graph/run/observe.h"

struct mc_pump {
    struct mc_session *const *sessions;
    int n_sessions;
    struct mc_dataset *data;
    const struct mc_observe_opts *opts;
    /* The sessions will run on the samples of the batch; once more, with fewer, where that turns out to be too many.
     * NULL: nothing to do. */
    int (*before)(void *ctx, const struct mc_batch *batch, struct mc_err *err);
    void *before_ctx;
};

/* The sessions have run on the samples of the batch. */
typedef int mc_pump_fn(void *ctx, const struct mc_batch *batch, struct mc_err *err);

/* Batches in ascending order; where samples differ in shape, all of the first one's shape come first, then all
 * of the next one's that is left, so that a plan is made once for each shape. Where a model's batch axis is frozen to more samples than are left, the last
 * sample is repeated; mc_pump_view cuts those results off again.
 * Errors: MC_EDATA if there is no sample, MC_ESHAPE if the models are frozen to different batches. */
int mc_pump_run(const struct mc_pump *f, mc_pump_fn *fn, void *ctx, int64_t *ret_samples,
                struct mc_err *err);

/* *ret = array a of a session that ran on `ran` samples, of which the first n count. An axis 0 that is a
 * multiple of `ran` holds that many rows for each sample, in order; others have no batch axis. */
void mc_pump_view(const struct mc_array *a, int64_t ran, int64_t n, struct mc_array *ret);
/* The same of the first n_values outputs of a session: values[i] points to view[i]. */
void mc_pump_outputs(const struct mc_session *s, int64_t ran, int64_t n, struct mc_array *view,
                     const struct mc_array **values, size_t n_values);
/* Samples the sessions ran on for a batch of n: more than n where the batch axis is frozen. */
int64_t mc_pump_ran(const struct mc_pump *f, int64_t n);

#endif
