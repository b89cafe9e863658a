#include "passes/prune/prune_repair.h"

#include <math.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "base/json.h"
#include "graph/constant.h"
#include "kernels/linalg.h"
#include "passes/fit/mixed_samples.h"
#include "passes/prune/prune_repair_parts.h"
#include "passes/fit/one_sample.h"
#include "passes/prune/prune_run.h"
#include "passes/search/search_measure.h"

/* Multiply-accumulates of all runs together: a minute or so. */
static const double WORK = 1e13;
/* And of those while more samples are mixed from few: with 512 instead of 256 made of 16,
 * 97.19 instead of 96.96 % of the decisions of the reference LSTM stay the same at --keep 0.8. */
static const double MIXED_WORK = 5e11;
/* A fit goes on from where the one before it was (prune_repair_run.h), so all together cost about so many runs. */
static const double RUNS = 8;
/* Of both models for a sample, where it is not known. */
static const double UNKNOWN_WORK = 1e9;
/* Bytes of values that a run begins with. */
static const double STORE_MOST = 512e6;
enum { SAMPLES_MIN = 8, JUDGED_MIN = 32, JUDGED_MAX = 1024, MIXED_MAX = 512 };

struct account {
    int64_t layers, norms, skipped, judged;
    double was, is; /* divergence */
    bool kept;
    const char *reason;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- what constants were ---- */

int mc_repair_keep(struct mc_repair *r, struct mc_value *v, struct mc_err *err)
{
    if (!v)
        return 0;
    for (size_t i = 0; i < r->n_kept; i++)
        if (r->kept[i].value == v)
            return 0;
    if (!MC_GROW(r->kept, r->n_kept, r->cap_kept))
        return no_memory(err);
    struct mc_tensor *t = (struct mc_tensor *)mc_constant(v);
    mc_tensor_ref(t);
    r->kept[r->n_kept++] = (struct mc_repair_kept){v, t};
    return 0;
}

int mc_repair_put(struct mc_repair *r, struct mc_value *v, const float *x, struct mc_err *err)
{
    const struct mc_tensor *old = mc_constant(v);
    struct mc_tensor *t;
    int rc = mc_constant_make(x, &old->shape, old->dtype, r->m->spill, &t, err);
    if (rc)
        return rc;
    rc = mc_constant_replace(v, t, err);
    mc_tensor_unref(t);
    return rc;
}

static int restore(struct mc_repair *r, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->n_kept; i++)
        rc = mc_constant_replace(r->kept[i].value, r->kept[i].tensor, err);
    return rc;
}

static void forget(struct mc_repair *r)
{
    for (size_t i = 0; i < r->n_kept; i++)
        mc_tensor_unref(r->kept[i].tensor);
    r->n_kept = 0;
}

/* ---- all ---- */

static bool reads_touched(const struct mc_repair *r, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i] && r->touched[n->out[i]->index])
            return true;
    return false;
}

static int sweep(struct mc_repair *r, struct account *a, struct mc_err *err)
{
    struct mc_graph *g = r->m->graph;
    int rc = 0;
    for (size_t i = 0; !rc && i < g->n_nodes; i++) {
        enum mc_repair_result is = MC_REPAIR_NONE;
        if (!reads_touched(r, g->nodes[i]))
            continue;
        mc_progress_tell(r->ctx->progress, "repair", (double)i, (double)g->n_nodes);
        rc = mc_repair_layer(r, g->nodes[i], &is, err);
        if (!rc && is == MC_REPAIR_SKIPPED)
            rc = mc_repair_cell(r, g->nodes[i], &is, err);
        a->layers += is == MC_REPAIR_FITTED;
        a->skipped += is == MC_REPAIR_SKIPPED;
        if (!rc && is == MC_REPAIR_NONE) {
            rc = mc_repair_norm(r, g->nodes[i], &is, err);
            a->norms += is == MC_REPAIR_FITTED;
            a->skipped += is == MC_REPAIR_SKIPPED;
        }
        if (rc != MC_ENOMEM && rc != MC_EINTR)
            rc = 0;
    }
    return rc;
}

static int divergence(struct mc_repair *r, struct mc_judge *j, double *ret, struct mc_err *err)
{
    struct mc_judgement m;
    bool late;
    int rc = mc_judge_model(j, r->m, false, &m, &late, err);
    if (rc)
        return rc;
    *ret = m.divergence;
    mc_judgement_free(&m);
    return 0;
}

/* Once: a second time over all layers brought nothing on the reference models. */
static int fit_and_judge(struct mc_repair *r, struct mc_judge *j, struct account *a,
                         struct mc_err *err)
{
    int rc = divergence(r, j, &a->was, err);
    a->is = a->was;
    if (!rc)
        rc = sweep(r, a, err);
    if (!rc && a->layers + a->norms > 0)
        rc = divergence(r, j, &a->is, err);
    a->kept = !rc && a->is < a->was;
    if (!a->kept && rc != MC_ENOMEM) {
        struct mc_err other;
        int back = restore(r, rc ? &other : err);
        rc = rc ? rc : back;
    }
    return rc;
}

/* work: of a sample, in all runs. */
static int mix(struct mc_repair *r, double work, struct mc_err *err)
{
    double most = fmin(MIXED_MAX, work > 0 ? MIXED_WORK * r->effort / work : MIXED_MAX);
    struct mc_dataset *d = r->ctx->calib;
    r->given = r->samples;
    if (r->samples < 2 || d->count < r->samples || !(most >= (double)r->samples + 1))
        return 0;
    int rc = mc_mixed_samples(d, r->given, (int64_t)most - r->given, r->ctx->seed, &r->data, err);
    if (!rc)
        r->samples = (int64_t)most;
    return rc;
}

static int repair(struct mc_repair *r, struct account *a, struct mc_err *err)
{
    struct mc_judge *j = NULL;
    int rc = mc_repair_touch(r, err);
    if (rc)
        return rc;
    double was = mc_sample_macs(r->ctx, r->before), is = mc_sample_macs(r->ctx, r->m);
    double work = was > 0 && is >= 0 ? was + is : UNKNOWN_WORK, runs = 0;
    for (size_t i = 0; i < r->m->graph->n_nodes; i++)
        runs +=
            reads_touched(r, r->m->graph->nodes[i]) && r->m->graph->nodes[i]->n_in > 1 ? 0.5 : 0;
    runs = fmin(runs, RUNS);
    r->samples = r->ctx->calib_count;
    if (runs * work * (double)r->samples > WORK)
        r->samples = (int64_t)(WORK / (runs * work));
    if (r->samples < SAMPLES_MIN && r->samples < r->ctx->calib_count) {
        a->reason = "it would take too long";
        return 0;
    }
    rc = mix(r, runs * work, err);
    if (rc)
        return rc;
    int64_t most = (int64_t)fmin(JUDGED_MAX, fmax(JUDGED_MIN, WORK / 8 / work));
    rc = mc_judge_new(r->ctx, r->before, most, &j, err);
    if (!rc)
        a->judged = mc_judge_samples(j);
    if (!rc)
        rc = fit_and_judge(r, j, a, err);
    mc_judge_free(j);
    return rc;
}

static int report(const struct mc_repair *r, const struct account *a, json_t *to,
                  struct mc_err *err)
{
    bool ok = true;
    json_t *o = json_object();
    mc_json_put(o, "layers", json_integer(a->layers), &ok);
    mc_json_put(o, "norms", json_integer(a->norms), &ok);
    mc_json_put(o, "skipped", json_integer(a->skipped), &ok);
    if (a->reason) {
        mc_json_put(o, "reason", mc_json_text(a->reason), &ok);
    } else {
        mc_json_put(o, "samples", json_integer(r->given), &ok);
        mc_json_put(o, "mixed", json_integer(r->samples - r->given), &ok);
        mc_json_put(o, "judged", json_integer(a->judged), &ok);
        mc_json_put(o, "divergence_before", mc_json_real(a->was), &ok);
        mc_json_put(o, "divergence_after", mc_json_real(a->is), &ok);
    }
    mc_json_put(o, "kept", json_boolean(a->kept), &ok);
    mc_json_put(to, "repair", o, &ok);
    return ok ? 0 : no_memory(err);
}

int mc_prune_repair(struct mc_pass_ctx *ctx, const struct mc_model *before,
                    const struct mc_coupling *c, const bool *gone, struct mc_model *m, json_t *to,
                    struct mc_err *err)
{
    return mc_prune_repair_with(ctx, before, c, gone, 1, m, to, err);
}

int mc_prune_repair_with(struct mc_pass_ctx *ctx, const struct mc_model *before,
                         const struct mc_coupling *c, const bool *gone, double effort,
                         struct mc_model *m, json_t *to, struct mc_err *err)
{
    struct mc_repair r = {.ctx = ctx,
                          .before = before,
                          .c = c,
                          .gone = gone,
                          .m = m,
                          .effort = effort,
                          .data = ctx->calib,
                          .store_most = STORE_MOST};
    struct account a = {.was = NAN, .is = NAN};
    int rc = mc_linalg_new_on(mc_pool_gpu(ctx->pool), &r.la, err);
    if (!rc && (!ctx->calib || ctx->calib_count < 1))
        a.reason = "there are no samples";
    else if (!rc)
        rc = repair(&r, &a, err);
    if (rc && rc != MC_ENOMEM && rc != MC_EINTR) { /* the model is good without it */
        a.reason = err->msg;
        a.layers = a.norms = 0;
        rc = 0;
    }
    if (!rc)
        rc = report(&r, &a, to, err);
    forget(&r);
    mc_repair_forget(&r);
    if (r.data != ctx->calib)
        mc_dataset_free(r.data);
    free(r.kept);
    free(r.touched);
    mc_linalg_free(r.la);
    return rc;
}
