#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "graph/summary.h"
#include "passes/fit/influence_cut.h"
#include "passes/search/search_state.h"

/* Multiply-accumulates of all measurements together (moved values as influence_cut.c counts them): of the six reference
 * models none takes longer than 40 s of one core in all. */
static const double WORK = 4e12;
/* Samples: fewer do not tell one option from another, more tell no more than these. */
enum { SAMPLES_MIN = 32, SAMPLES_MAX = 1024, RUNS_MIN = 12, RUNS_MAX = 1500 };
/* Standard errors by which a set has to be better: of the many that are tried the luckiest would win otherwise. With 1 in
 * place of 2 the reference cnn came out 12 % worse on test samples than the plan it began with. */
static const double CLEAR = 2;
/* A model whose work is not known. */
static const double UNKNOWN_WORK = 1e9;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- opening ---- */

/* Of one sample, movement of values included. */
static int work_of(const struct mc_model *m, double *ret, struct mc_err *err)
{
    double work = -1;
    const struct mc_graph *g = m->graph;
    for (size_t i = 0; i < g->n_inputs; i++) {
        struct mc_cut cut = {0};
        int rc = g->inputs[i]->tensor ? 0 : mc_cut_behind(m, g->inputs[i], &cut, err);
        if (rc == MC_ENOMEM)
            return rc;
        if (!rc && cut.model)
            work = fmax(work, cut.work);
        mc_cut_free(&cut);
    }
    *ret = work > 0 ? work : UNKNOWN_WORK;
    return 0;
}

/* Samples and measurements for about six of them an item, and as many for sets. */
static int open_judge(struct mc_hunt *h, struct mc_err *err)
{
    double work, wanted = 6 * (double)h->s->n + 40;
    int rc = work_of(h->s->before, &work, err);
    if (rc)
        return rc;
    double samples = fmax(SAMPLES_MIN, fmin(SAMPLES_MAX, WORK / work / wanted));
    rc = mc_judge_new(h->s->ctx, h->s->before, (int64_t)samples, &h->judge, err);
    if (rc)
        return rc;
    double runs = WORK / work / (double)mc_judge_samples(h->judge);
    h->left = (size_t)fmax(RUNS_MIN, fmin(RUNS_MAX, runs));
    if (h->s->most && h->left > h->s->most)
        h->left = h->s->most;
    return 0;
}

static int open_curves(struct mc_hunt *h, struct mc_err *err)
{
    h->curve = mc_calloc(h->s->n + 1, sizeof *h->curve);
    h->plain.choice = mc_calloc(h->s->n + 1, sizeof *h->plain.choice);
    if (!h->curve || !h->plain.choice)
        return no_memory(err);
    for (size_t i = 0; i < h->s->n; i++) {
        struct mc_curve_of *c = &h->curve[i];
        c->cost = mc_calloc(h->s->item[i].n, sizeof *c->cost);
        c->error = mc_calloc(h->s->item[i].n, sizeof *c->error);
        c->factor = 1;
        if (!c->cost || !c->error)
            return no_memory(err);
    }
    return 0;
}

static double limit_of(const struct mc_hunt *h)
{
    const struct mc_search *s = h->s;
    if (!s->share)
        return s->limit;
    bool original = s->goal == MC_SEARCH_BYTES && s->ctx->bytes_original;
    double whole = original ? (double)s->ctx->bytes_original : h->before;
    return s->goal == MC_SEARCH_LATENCY ? s->limit * whole : floor(s->limit * whole);
}

/* What cannot run here may still be searched by what the pass predicts, unless a loss is asked for. */
static int go_without(const struct mc_search *s, int rc, struct mc_err *err)
{
    if (rc != MC_EUNSUP)
        return rc;
    return s->goal == MC_SEARCH_DROP
               ? mc_fail(err, rc, "%s; without running it --keep and --target bytes= work",
                         err ? err->msg : "")
               : 0;
}

int mc_hunt_open(struct mc_search *s, struct mc_hunt *h, struct mc_err *err)
{
    *h = (struct mc_hunt){.s = s};
    int rc = open_curves(h, err);
    bool measures = mc_search_has_samples(s->ctx) && !(s->ctx->choices && s->ctx->dry_run);
    if (!rc && measures)
        rc = go_without(s, open_judge(h, err), err);
    if (!rc)
        rc = mc_hunt_count(h, h->plain.choice, &h->before, err);
    if (!rc)
        h->limit = limit_of(h);
    return rc;
}

void mc_hunt_close(struct mc_hunt *h)
{
    for (size_t i = 0; h->curve && i < h->s->n; i++) {
        free(h->curve[i].cost);
        free(h->curve[i].error);
    }
    for (size_t i = 0; i < h->n_sets; i++) {
        free(h->set[i].choice);
        mc_judgement_free(&h->set[i].j);
    }
    free(h->curve);
    free(h->set);
    free(h->plain.choice);
    mc_judge_free(h->judge);
}

void mc_hunt_tell(const struct mc_hunt *h, const char *what, double done, double total)
{
    mc_progress_tell(h->s->ctx->progress, what, done, total);
}

/* ---- sets ---- */

bool mc_hunt_over(const struct mc_hunt *h)
{
    double deadline = h->s->ctx->deadline;
    return !h->judge || h->late || h->left == 0 || (deadline > 0 && mc_now() > deadline);
}

static int count(const struct mc_hunt *h, const struct mc_model *m, double *ret, struct mc_err *err)
{
    struct mc_summary sum;
    uint64_t bytes;
    int rc;
    switch (h->s->goal) {
    case MC_SEARCH_PARAMS:
    case MC_SEARCH_MACS:
        rc = mc_summary(m, &sum, err);
        if (rc)
            return rc;
        if (h->s->goal == MC_SEARCH_MACS && sum.macs < 0)
            return mc_fail(err, MC_EUNSUP,
                           "the multiply-accumulates of this model cannot be counted: choose "
                           "another --target");
        *ret = h->s->goal == MC_SEARCH_MACS ? sum.macs : (double)sum.parameters;
        return 0;
    case MC_SEARCH_LATENCY: return mc_search_latency(h->s->ctx, m, ret, err);
    default:
        rc = h->s->ctx->bytes_of(h->s->ctx->host, m, &bytes, err);
        if (!rc)
            *ret = (double)bytes;
        return rc;
    }
}

int mc_hunt_count(struct mc_hunt *h, const size_t *choice, double *ret, struct mc_err *err)
{
    struct mc_model *m;
    bool sizes_only = h->s->goal != MC_SEARCH_LATENCY;
    int rc = mc_interrupt_check(err);
    if (!rc && h->s->goal == MC_SEARCH_KEEP)
        return h->s->count(h->s->self, choice, ret, err);
    if (!rc)
        rc = h->s->build(h->s->self, choice, sizes_only, &m, err);
    if (rc)
        return rc;
    rc = count(h, m, ret, err);
    mc_model_free(m);
    return rc;
}

static size_t find_set(const struct mc_hunt *h, const size_t *choice)
{
    for (size_t i = 0; i < h->n_sets; i++)
        if (!memcmp(h->set[i].choice, choice, h->s->n * sizeof *choice))
            return i;
    return h->n_sets;
}

int mc_hunt_measure(struct mc_hunt *h, const size_t *choice, const struct mc_set **ret_set,
                    struct mc_err *err)
{
    struct mc_model *m;
    struct mc_set set = {.cost = NAN};
    size_t known = find_set(h, choice);
    *ret_set = known < h->n_sets ? &h->set[known] : NULL;
    if (*ret_set || mc_hunt_over(h))
        return 0;
    if (!MC_GROW(h->set, h->n_sets, h->cap_sets))
        return no_memory(err);
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = h->s->build(h->s->self, choice, false, &m, err);
    if (rc)
        return rc;
    rc = mc_judge_model(h->judge, m, true, &set.j, &h->late, err);
    mc_model_free(m);
    if (rc || h->late)
        return rc;
    h->left--;
    set.choice = mc_calloc(h->s->n + 1, sizeof *set.choice);
    if (!set.choice) {
        mc_judgement_free(&set.j);
        return no_memory(err);
    }
    memcpy(set.choice, choice, h->s->n * sizeof *choice);
    h->set[h->n_sets] = set;
    *ret_set = &h->set[h->n_sets++];
    return 0;
}

const struct mc_set *mc_hunt_best(const struct mc_hunt *h)
{
    return h->best ? &h->set[h->best - 1] : &h->plain;
}

int mc_hunt_keep(struct mc_hunt *h, const struct mc_set *set, struct mc_err *err)
{
    struct mc_pass_ctx *ctx = h->s->ctx;
    struct mc_model *m;
    h->best = (size_t)(set - h->set) + 1;
    if (!ctx->keep_best)
        return 0;
    int rc = h->s->build(h->s->self, set->choice, false, &m, err);
    if (rc)
        return rc;
    rc = ctx->keep_best(ctx->host, m, err);
    mc_model_free(m);
    return rc;
}

bool mc_hunt_closer(const struct mc_hunt *h, const struct mc_set *a, const struct mc_set *b)
{
    double mean, se;
    if (!isfinite(b->j.divergence))
        return isfinite(a->j.divergence);
    mc_judgement_difference(h->judge, a->j.each ? &a->j : &b->j, &b->j, &mean, &se);
    return mean < 0 && -mean > CLEAR * se;
}
