/* Few samples say little of covariances, and some models nothing of what errors at their layers do: then the plan that is
 * best by its own reckoning is tried against those of simpler criteria, by what is left of the outputs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/json.h"
#include "base/mem.h"
#include "passes/prune/prune_repair.h"
#include "passes/fit/one_sample.h"
#include "passes/prune/prune_run.h"
#include "passes/search/search_measure.h"
#include "passes/search/search_slice.h"

enum { FEW = 128, SAMPLES_MIN = 4, HALF_MAX = 32 };
/* Multiply-accumulates of a run over half of the samples, and parameters, at most: all rivals take seconds. */
static const double WORK = 2e9, PARAMS = 3e7;
/* Of what a repair may cost; there are up to five. */
static const double EFFORT = 0.1;
/* Closer than this is close enough, of KL divergence or of variance. */
static const double ENOUGH = 1e-4;
/* So much closer a rival has to come: half of few samples is not all. A speech model's embedding came out closer on that half
 * by obs in every layer, and further away on other samples. */
static const double CLEARLY = 0.5;

struct plan { /* what one of them decided */
    struct mc_importance imp;
    struct mc_prune_group *group;
    json_t *search;
    bool global;
    double divergence;
};

struct rivals {
    struct mc_prune_run *r;
    struct mc_pass_ctx fits;
    struct mc_judge *judge;
};

static const struct {
    enum mc_importance_kind kind;
    bool global;
} others[] = {{MC_IMPORTANCE_OBS, false},
              {MC_IMPORTANCE_TAYLOR, true},
              {MC_IMPORTANCE_ACTIVATION, false},
              {MC_IMPORTANCE_L2, false}};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- plans ---- */

static struct plan plan_of(const struct mc_prune_run *r, double divergence)
{
    return (struct plan){r->imp, r->group, r->search, r->global, divergence};
}

static void take(struct mc_prune_run *r, const struct plan *p)
{
    r->imp = p->imp;
    r->group = p->group;
    r->search = p->search;
    r->global = p->global;
}

static void drop(struct plan *p, size_t n)
{
    for (size_t i = 0; p->group && i < n; i++) {
        free(p->group[i].score);
        free(p->group[i].level);
    }
    free(p->group);
    mc_importance_free(&p->imp);
    json_decref(p->search);
}

/* The same groups, with nothing measured yet. */
static int fresh(struct mc_prune_run *r, const struct plan *of, bool global, struct mc_err *err)
{
    r->imp = (struct mc_importance){0};
    r->search = NULL;
    r->global = global;
    r->group = mc_calloc(r->n + 1, sizeof *r->group);
    if (!r->group)
        return no_memory(err);
    for (size_t i = 0; i < r->n; i++) {
        r->group[i] = of->group[i];
        r->group[i].score = NULL;
        r->group[i].level = NULL;
        r->group[i].order_cost = NULL;
        r->group[i].n_levels = 0;
    }
    return 0;
}

/* ---- how far its outputs are ---- */

static int judge(struct rivals *v, double *ret, struct mc_err *err)
{
    struct mc_prune_run *r = v->r;
    struct mc_model *m = NULL;
    struct mc_judgement is;
    bool late;
    size_t *level = mc_calloc(r->n + 1, sizeof *level);
    bool *gone = mc_calloc((size_t)r->c->n_units + 1, sizeof *gone);
    json_t *report = json_object();
    int rc = level && gone && report ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < r->n; i++)
        level[i] = r->group[i].at;
    if (!rc)
        rc = mc_prune_gone(r, level, gone, err);
    if (!rc)
        rc = mc_prune_build(r, gone, false, &m, err);
    if (!rc && r->repairs)
        rc = mc_prune_repair_with(&v->fits, r->before, r->c, gone, EFFORT, m, report, err);
    if (!rc)
        rc = mc_judge_model(v->judge, m, false, &is, &late, err);
    if (!rc) {
        *ret = is.divergence;
        mc_judgement_free(&is);
    }
    mc_model_free(m);
    json_decref(report);
    free(level);
    free(gone);
    return rc;
}

static int decide(struct rivals *v, const struct plan *best, enum mc_importance_kind kind,
                  bool global, const struct mc_search_ask *ask, struct mc_err *err)
{
    struct mc_prune_run *r = v->r;
    int rc = fresh(r, best, global, err);
    if (!rc)
        rc = mc_importance_measure(r->ctx, r->before, r->c, kind, false, &r->imp, err);
    if (!rc)
        rc = mc_prune_levels(r, err);
    if (!rc)
        rc = mc_prune_decide(r, ask, err);
    if (!rc)
        r->imp.why =
            "with it the outputs come closer, on samples that were kept back, than with obs";
    return rc;
}

static int note(struct mc_prune_run *r, enum mc_importance_kind kind, bool global,
                double divergence, struct mc_err *err)
{
    bool ok = true;
    json_t *o = json_object();
    mc_json_put(o, "criterion", json_string(mc_importance_names[kind]), &ok);
    mc_json_put(o, "scope", json_string(global ? "global" : "layer"), &ok);
    mc_json_put(o, "divergence", mc_json_real(divergence), &ok);
    mc_json_add(r->rivals, o, &ok);
    return ok ? 0 : no_memory(err);
}

/* One of them; what the model cannot do is no error. */
static int try(struct rivals *v, struct plan *best, size_t k, const struct mc_search_ask *ask,
               struct mc_err *err)
{
    struct mc_prune_run *r = v->r;
    double d = NAN;
    int rc = decide(v, best, others[k].kind, others[k].global, ask, err);
    if (!rc)
        rc = judge(v, &d, err);
    struct plan p = plan_of(r, d);
    bool wins = !rc && d < CLEARLY * best->divergence;
    if (!rc)
        rc = note(r, others[k].kind, others[k].global, d, err);
    if (wins) {
        struct plan was = *best;
        *best = p;
        p = was;
    }
    drop(&p, r->n);
    take(r, best);
    return rc == MC_ENOMEM || rc == MC_EINTR ? rc : 0;
}

static int all(struct rivals *v, const struct mc_search_ask *ask, struct mc_err *err)
{
    struct mc_prune_run *r = v->r;
    struct plan best = plan_of(r, INFINITY);
    int rc = judge(v, &best.divergence, err);
    bool global = r->global;
    enum mc_importance_kind kind = r->imp.kind;
    if (!rc)
        rc = note(r, kind, global, best.divergence, err);
    for (size_t k = 0; !rc && best.divergence > ENOUGH && k < sizeof others / sizeof *others; k++)
        if (others[k].kind != kind || others[k].global != global) {
            rc = mc_interrupt_check(err);
            mc_progress_tell(r->ctx->progress, "rivals", (double)k, 4);
            if (!rc)
                rc = try(v, &best, k, ask, err);
        }
    return rc;
}

/* ---- when ---- */

static bool wanted(const struct mc_prune_run *r, const struct mc_search_ask *ask)
{
    int64_t n = r->ctx->calib ? r->ctx->calib_count : 0;
    if (ask->given || r->ctx->dry_run || !r->global || n < 2 * SAMPLES_MIN ||
        (n > FEW && r->imp.nats))
        return false;
    return mc_sample_macs(r->ctx, r->before) < WORK / 8 && r->before_of[MC_PRUNE_PARAMS] <= PARAMS;
}

int mc_prune_rivals(struct mc_prune_run *r, const struct mc_search_ask *ask, struct mc_err *err)
{
    if (!wanted(r, ask))
        return 0;
    struct rivals v = {.r = r, .fits = *r->ctx};
    struct mc_dataset *even = NULL, *odd = NULL;
    struct mc_err why;
    int64_t n = r->ctx->calib_count;
    n = n < 2 * HALF_MAX ? n : 2 * HALF_MAX;
    struct mc_pass_ctx judges = *r->ctx;
    int rc = (r->rivals = json_array()) ? 0 : no_memory(err);
    if (rc)
        return rc;
    rc = mc_slice_half(r->ctx->calib, n, false, &even, &why);
    if (!rc)
        rc = mc_slice_half(r->ctx->calib, n, true, &odd, &why);
    v.fits.calib = even;
    judges.calib = odd;
    v.fits.train = judges.train = NULL;
    v.fits.calib_count = judges.calib_count = n / 2;
    if (!rc)
        rc = mc_judge_new(&judges, r->before, n / 2, &v.judge, &why);
    if (!rc && (!r->imp.nats || strstr(mc_judge_metric(v.judge), "KL")))
        rc = all(&v, ask, &why);
    if (!json_array_size(r->rivals)) {
        json_decref(r->rivals);
        r->rivals = NULL;
    }
    mc_judge_free(v.judge);
    mc_dataset_free(even);
    mc_dataset_free(odd);
    if (rc == MC_ENOMEM || rc == MC_EINTR)
        return mc_fail(err, rc, "%s", why.msg);
    return 0;
}
