#include "graph/run/observe.h"

#include <stdlib.h>

#include "base/mem.h"
#include "graph/run/pump.h"

struct observer {
    struct mc_pump feed;
    struct mc_session *session[MC_OBSERVED_MAX];
    size_t n[MC_OBSERVED_MAX];
    struct mc_array *view;
    const struct mc_array **values;
    mc_observe_fn *fn;
    void *ctx;
};

static int hand_out(void *ctx, const struct mc_batch *batch, struct mc_err *err)
{
    struct observer *o = ctx;
    int64_t ran = mc_pump_ran(&o->feed, batch->n);
    size_t at = 0;
    for (int i = 0; i < o->feed.n_sessions; at += o->n[i++])
        mc_pump_outputs(o->session[i], ran, batch->n, o->view + at, o->values + at, o->n[i]);
    return o->fn(o->ctx, o->values, batch->index[0], batch, err);
}

int mc_observe_all(const struct mc_observed *of, int n_of, struct mc_dataset *data,
                   const struct mc_observe_opts *opts, mc_observe_fn *fn, void *ctx,
                   int64_t *ret_samples, struct mc_err *err)
{
    struct observer o = {.fn = fn, .ctx = ctx};
    static const char *const nothing[1];
    size_t n = 0;
    int rc = 0;
    for (int i = 0; i < n_of; i++)
        n += o.n[i] = of[i].n_names;
    o.view = mc_calloc(n + 1, sizeof *o.view);
    o.values = mc_calloc(n + 1, sizeof *o.values);
    if (!o.view || !o.values)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    for (int i = 0; i < n_of && !rc; i++) {
        struct mc_session_opts so = {.pool = opts->pool,
                                     .kernels = opts->kernels,
                                     .only = o.n[i] ? of[i].names : nothing,
                                     .n_only = o.n[i]};
        rc = mc_session_new(of[i].g, &so, &o.session[i], err);
    }
    o.feed = (struct mc_pump){o.session, n_of, data, opts};
    if (!rc)
        rc = mc_pump_run(&o.feed, hand_out, &o, ret_samples, err);
    for (int i = 0; i < n_of; i++)
        mc_session_free(o.session[i]);
    free(o.view);
    free(o.values);
    return rc;
}

int mc_observe(const struct mc_graph *g, struct mc_dataset *data, const char *const *names,
               size_t n_names, const struct mc_observe_opts *opts, mc_observe_fn *fn, void *ctx,
               int64_t *ret_samples, struct mc_err *err)
{
    struct mc_observed of = {g, names, n_names};
    return mc_observe_all(&of, 1, data, opts, fn, ctx, ret_samples, err);
}
