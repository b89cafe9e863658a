#include "passes/svd/svd_refit.h"

#include <math.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "base/json.h"
#include "graph/constant.h"
#include "graph/run/observe.h"
#include "graph/summary.h"
#include "passes/fit/refit.h"
#include "passes/search/search_measure.h"

/* Multiply-accumulates of all runs together, and of the sums of a layer that has no factors: some seconds. */
static const double WORK = 2e12, SUMS_WORK = 2e10;
/* Of both models for a sample, where it is not known. */
static const double UNKNOWN_WORK = 1e9;
/* Large images are many rows: few of them do. */
enum { SAMPLES_MIN = 8, JUDGED_MIN = 32, JUDGED_MAX = 1024 };

struct kept { /* what a constant was */
    struct mc_value *value;
    struct mc_tensor *tensor;
};

struct refits {
    struct mc_svd_run *r;
    const struct mc_model *before;
    int64_t samples;
    double work; /* of both models for a sample */
    struct mc_refit at;
    struct kept *kept;
    size_t n_kept, cap_kept;
    size_t layers, whole, skipped; /* whole: of `layers`, those that have no factors */
    const char *reason;            /* why nothing is fitted at all */
    double was, is;                /* divergence */
    int64_t judged;                /* samples of it */
    bool better;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- one layer ---- */

static int batch(void *ctx, const struct mc_array *const *values, int64_t first,
                 const struct mc_batch *b, struct mc_err *err)
{
    struct refits *f = ctx;
    return mc_refit_add(&f->at, f->r->la, f->r->ctx->pool, values[0], values[1], values[2], first,
                        b->n, f->samples, err);
}

static int keep(struct refits *f, struct mc_value *v, struct mc_err *err)
{
    if (!v)
        return 0;
    if (!MC_GROW(f->kept, f->n_kept, f->cap_kept))
        return no_memory(err);
    struct mc_tensor *t = (struct mc_tensor *)mc_constant(v);
    mc_tensor_ref(t);
    f->kept[f->n_kept++] = (struct kept){v, t};
    return 0;
}

/* Sums over so many rows at least that their own number counts for little. */
static bool too_large(const struct mc_refit *f)
{
    double rows = fmax(16384, 16 * (double)f->n);
    return rows * (double)f->groups * (double)f->n * (double)(f->n + f->m) > SUMS_WORK;
}

/* What the pass itself leaves behind. */
static bool plain(const struct mc_refit *f)
{
    return f->groups == 1 && !f->columns && !mc_node_is(f->node, "ConvTranspose");
}

/* `name` is the layer's output in both models. Rows that the numbers cannot be fitted to are none that count. */
static int fit(struct refits *f, const char *name, bool whole, struct mc_err *err)
{
    struct mc_graph *g = f->r->model->graph;
    struct mc_value *y = mc_graph_value(g, name);
    if (!y || !mc_graph_value(f->before->graph, name) || !mc_refit_find(y, &f->at) ||
        !plain(&f->at) || (whole && too_large(&f->at))) {
        f->skipped += !whole;
        return 0;
    }
    const char *const have[] = {f->at.x->name, name};
    struct mc_observed of[] = {{g, have, 2}, {f->before->graph, &name, 1}};
    struct mc_observe_opts o = {.pool = f->r->ctx->pool, .count = f->samples};
    int rc = mc_observe_all(of, 2, f->r->ctx->calib, &o, batch, f, NULL, err);
    if (!rc)
        rc = keep(f, f->at.weight, err);
    if (!rc)
        rc = keep(f, f->at.bias, err);
    if (!rc)
        rc = mc_refit_solve(&f->at, f->r->la, f->r->model->spill, NULL, err);
    mc_refit_release(&f->at);
    bool passed = rc && rc != MC_ENOMEM && rc != MC_EINTR;
    f->layers += !rc;
    f->whole += !rc && whole;
    f->skipped += passed && !whole;
    return passed ? 0 : rc;
}

/* ---- all ---- */

static bool changed(const struct mc_svd_run *r, size_t layer)
{
    for (size_t i = 0; i < r->n_items; i++)
        for (size_t k = 0; k < r->item[i].n_layers; k++)
            if (r->item[i].layer[k] == layer)
                return r->item[i].at && !r->item[i].reason;
    return false;
}

/* Also what has no factors, behind a layer that has: its input differs. Not where the user named ranks: the others are
 * none of the pass's business then. */
static int fit_all(struct refits *f, const struct mc_layers *l, struct mc_err *err)
{
    int rc = 0;
    bool any = false;
    for (size_t i = 0; !rc && i < l->n; i++) {
        const struct mc_layer_site *s = &l->item[i].sites[0];
        bool whole = !changed(f->r, i);
        any = any || !whole;
        if (whole && (!any || f->r->ranks.of))
            continue;
        mc_progress_tell(f->r->ctx->progress, "fit", (double)i, (double)l->n);
        rc = mc_interrupt_check(err);
        const struct mc_value *y = (s->add ? s->add : s->node)->out[0]; /* NULL: a cell's states */
        if (!y || l->item[i].n_sites > 1 || s->node->graph != f->before->graph)
            f->skipped += !whole;
        else if (!rc)
            rc = fit(f, y->name, whole, err);
    }
    return rc;
}

static int restore(struct refits *f, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < f->n_kept; i++)
        rc = mc_constant_replace(f->kept[i].value, f->kept[i].tensor, err);
    return rc;
}

static int divergence(struct refits *f, struct mc_judge *j, double *ret, struct mc_err *err)
{
    struct mc_judgement m;
    bool late;
    int rc = mc_judge_model(j, f->r->model, false, &m, &late, err);
    if (rc)
        return rc;
    *ret = m.divergence;
    mc_judgement_free(&m);
    return 0;
}

static int fit_and_judge(struct refits *f, const struct mc_layers *l, struct mc_err *err)
{
    struct mc_judge *j = NULL;
    int64_t most = (int64_t)fmin(JUDGED_MAX, fmax(JUDGED_MIN, WORK / 4 / f->work));
    int rc = mc_judge_new(f->r->ctx, f->before, most, &j, err);
    if (!rc)
        rc = divergence(f, j, &f->was, err);
    if (!rc)
        f->judged = mc_judge_samples(j);
    if (!rc)
        rc = fit_all(f, l, err);
    if (!rc && f->layers)
        rc = divergence(f, j, &f->is, err);
    f->better = !rc && f->is < f->was;
    if (!f->better && (!rc || rc != MC_ENOMEM)) {
        struct mc_err other;
        int back = restore(f, rc ? &other : err);
        rc = rc ? rc : back;
    }
    mc_judge_free(j);
    return rc;
}

static int count_samples(struct refits *f, const struct mc_layers *l, struct mc_err *err)
{
    struct mc_summary a, b;
    int rc = mc_summary(f->before, &a, err);
    if (!rc)
        rc = mc_summary(f->r->model, &b, err);
    if (rc)
        return rc;
    f->samples = f->r->ctx->calib_count;
    f->work = a.macs > 0 && b.macs >= 0 ? a.macs + b.macs : UNKNOWN_WORK;
    double run = f->work / 2 * (double)l->n; /* up to the middle, on average */
    if (run * (double)f->samples > WORK)
        f->samples = (int64_t)(WORK / run);
    if (f->samples < SAMPLES_MIN && f->samples < f->r->ctx->calib_count)
        f->reason = "it would take too long";
    return 0;
}

static int report(const struct refits *f, json_t *to, struct mc_err *err)
{
    bool ok = true;
    json_t *o = json_object();
    mc_json_put(o, "layers", json_integer((json_int_t)f->layers), &ok);
    mc_json_put(o, "whole", json_integer((json_int_t)f->whole), &ok);
    mc_json_put(o, "skipped", json_integer((json_int_t)f->skipped), &ok);
    if (f->reason)
        mc_json_put(o, "reason", mc_json_text(f->reason), &ok);
    if (!f->reason && f->layers) {
        mc_json_put(o, "samples", json_integer(f->samples), &ok);
        mc_json_put(o, "judged", json_integer(f->judged), &ok);
        mc_json_put(o, "divergence_before", mc_json_real(f->was), &ok);
        mc_json_put(o, "divergence_after", mc_json_real(f->is), &ok);
    }
    mc_json_put(o, "kept", json_boolean(f->better), &ok);
    mc_json_put(to, "refit", o, &ok);
    return ok ? 0 : no_memory(err);
}

int mc_svd_refit(struct mc_svd_run *r, const struct mc_model *before, json_t *to,
                 struct mc_err *err)
{
    struct refits f = {.r = r, .before = before, .was = NAN, .is = NAN};
    struct mc_layers l = {0};
    int rc = mc_layers_collect((struct mc_model *)before, &l, err);
    if (!rc)
        rc = count_samples(&f, &l, err);
    if (!rc && !f.reason)
        rc = fit_and_judge(&f, &l, err);
    if (rc && rc != MC_ENOMEM && rc != MC_EINTR) { /* factors are good without it */
        f.reason = err->msg;
        f.layers = f.whole = 0;
        rc = 0;
    }
    if (!rc)
        rc = report(&f, to, err);
    for (size_t i = 0; i < f.n_kept; i++)
        mc_tensor_unref(f.kept[i].tensor);
    free(f.kept);
    mc_layers_free(&l);
    return rc;
}
