#include "graph/run/observe.h"

#include <stdlib.h>

#include "base/mem.h"
#include "graph/run/pump.h"

struct observer {
    struct mc_pump feed;
    struct mc_session *session;
    size_t n;
    struct mc_array *view;
    const struct mc_array **values;
    mc_observe_fn *fn;
    void *ctx;
};

static int hand_out(void *ctx, const struct mc_batch *batch, struct mc_err *err)
{
    struct observer *o = ctx;
    int64_t ran = mc_pump_ran(&o->feed, batch->n);
    mc_pump_outputs(o->session, ran, batch->n, o->view, o->values, o->n);
    return o->fn(o->ctx, o->values, batch->index[0], batch, err);
}

int mc_observe(const struct mc_graph *g, struct mc_dataset *data, const char *const *names,
               size_t n_names, const struct mc_observe_opts *opts, mc_observe_fn *fn, void *ctx,
               int64_t *ret_samples, struct mc_err *err)
{
    struct observer o = {.n = n_names, .fn = fn, .ctx = ctx};
    static const char *const nothing[1];
    struct mc_session_opts so = {.pool = opts->pool,
                                 .kernels = opts->kernels,
                                 .only = n_names ? names : nothing,
                                 .n_only = n_names};
    int rc;
    o.view = mc_calloc(n_names + 1, sizeof *o.view);
    o.values = mc_calloc(n_names + 1, sizeof *o.values);
    if (!o.view || !o.values)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    else
        rc = mc_session_new(g, &so, &o.session, err);
    o.feed = (struct mc_pump){&o.session, 1, data, opts};
    if (!rc)
        rc = mc_pump_run(&o.feed, hand_out, &o, ret_samples, err);
    mc_session_free(o.session);
    free(o.view);
    free(o.values);
    return rc;
}
