#include "graph/run/observe.h"

#include <stdlib.h>

#include "base/mem.h"
#include "graph/run/plan.h"
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
    o.feed =
        (struct mc_pump){.sessions = o.session, .n_sessions = n_of, .data = data, .opts = opts};
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

/* ---- values in passing ---- */

struct passing {
    struct mc_pump feed;
    mc_observe_passing_fn *fn;
    void *ctx;
    int64_t samples; /* of the batch that runs */
    bool told;       /* some of its values were handed out */
};

static int start_batch(void *ctx, const struct mc_batch *batch, struct mc_err *err)
{
    struct passing *p = ctx;
    if (p->told)
        return mc_fail(
            err, MC_ESHAPE,
            "the model runs on fewer samples at once than %lld, after part of it has run",
            (long long)p->samples);
    p->samples = batch->n;
    return 0;
}

static int pass_on(void *ctx, size_t i, const struct mc_array *value, struct mc_err *err)
{
    struct passing *p = ctx;
    struct mc_array view;
    p->told = true;
    mc_pump_view(value, mc_pump_ran(&p->feed, p->samples), p->samples, &view);
    return p->fn(p->ctx, i, &view, p->samples, err);
}

static int end_batch(void *ctx, const struct mc_batch *batch, struct mc_err *err)
{
    (void)batch;
    (void)err;
    ((struct passing *)ctx)->told = false;
    return 0;
}

/* Of the wanted values those that no other comes from: all others are made on the way to them. *ret: heap. */
static int find_last(const struct mc_graph *g, const char *const *names, size_t n,
                     const char ***ret, size_t *ret_n, struct mc_err *err)
{
    bool *wanted = mc_calloc(g->n_values + 1, sizeof *wanted);
    bool *read = mc_calloc(g->n_values + 1, sizeof *read); /* on the way to a wanted one */
    const char **last = mc_calloc(n + 1, sizeof *last);
    int rc = wanted && read && last ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n && !rc; i++) {
        const struct mc_value *v = mc_graph_value(g, names[i]);
        if (!v)
            rc = mc_fail(err, MC_EUSAGE, "the model has no value '%s'", names[i]);
        else
            wanted[v->index] = true;
    }
    for (size_t i = g->n_nodes; i-- > 0 && !rc;) {
        const struct mc_node *node = g->nodes[i];
        bool leads = false;
        for (size_t j = 0; j < node->n_out; j++)
            leads |= node->out[j] && (wanted[node->out[j]->index] || read[node->out[j]->index]);
        if (leads)
            mc_segment_reads(node, read);
    }
    *ret_n = 0;
    for (size_t i = 0; i < n && !rc; i++)
        if (!read[mc_graph_value(g, names[i])->index])
            last[(*ret_n)++] = names[i];
    free(wanted);
    free(read);
    if (rc)
        free(last);
    else
        *ret = last;
    return rc;
}

int mc_observe_passing(const struct mc_graph *g, struct mc_dataset *data, const char *const *names,
                       size_t n_names, const struct mc_observe_opts *opts,
                       mc_observe_passing_fn *fn, void *ctx, int64_t *ret_samples,
                       struct mc_err *err)
{
    struct passing p = {.fn = fn, .ctx = ctx};
    struct mc_session_watch watch = {names, n_names, pass_on, &p};
    struct mc_session_opts so = {.pool = opts->pool, .kernels = opts->kernels, .watch = &watch};
    struct mc_session *s = NULL;
    const char **last = NULL;
    int rc = find_last(g, names, n_names, &last, &so.n_only, err);
    if (rc)
        return rc;
    so.only = last;
    rc = mc_session_new(g, &so, &s, err);
    p.feed = (struct mc_pump){.sessions = &s,
                              .n_sessions = 1,
                              .data = data,
                              .opts = opts,
                              .before = start_batch,
                              .before_ctx = &p};
    if (!rc)
        rc = mc_pump_run(&p.feed, end_batch, &p, ret_samples, err);
    mc_session_free(s);
    free(last);
    return rc;
}
