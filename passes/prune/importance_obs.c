#include <math.h>
#include <stdlib.h>

#include "passes/prune/importance_obs_reader.h"
#include "passes/prune/importance_parts.h"
#include "passes/search/search_slice.h"

/* Samples, at most, as for the other criteria. */
enum { SAMPLES = 512 };

struct job { /* all groups; each is on its own */
    struct mc_obs_job of;
    struct mc_importance *to;
    bool *read; /* [groups] by a site */
    int *rc;    /* [groups] */
    struct mc_err *errs;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

/* ---- one group ---- */

/* What a unit adds, never less than one that went before it. */
static void score(const struct mc_coupling_group *g, const int32_t *order, const double *cost,
                  double *to)
{
    double least = 0;
    for (int64_t k = 0; k < g->n; k++) {
        double adds = fmax(0, cost[k] - (k ? cost[k - 1] : 0));
        least = adds > least ? adds : k ? nextafter(least, INFINITY) : 0;
        to[order[k]] = least;
    }
}

static int measure_group(const struct job *j, const struct mc_coupling_group *g, struct mc_err *err)
{
    const struct mc_obs_sites *l = &j->of.sites;
    struct mc_obs_reader *r = mc_calloc(l->n + 1, sizeof *r);
    float *pairs = NULL;
    size_t n = 0;
    int rc = r ? mc_obs_pairs_make(&j->of, g, &pairs, err) : no_memory(err);
    for (size_t i = 0; i < l->n && !rc; i++)
        if (mc_obs_reader_first(l, i)) {
            rc = mc_obs_reader_make(&j->of, i, g, &r[n], err);
            n += !rc && r[n].n > 0;
        }
    int32_t *order = j->to->order + g->first;
    double *cost = j->to->cost + g->first;
    if (!rc)
        rc = mc_obs_greedy(j->of.la, r, n, pairs, g->n, order, cost, err);
    for (int64_t k = 0; k < g->n && !rc; k++) {
        order[k] += g->first;
        cost[k] /= 2; /* second order: half the square */
    }
    if (!rc)
        score(g, order, cost, j->to->score);
    for (size_t i = 0; i < n; i++)
        mc_obs_reader_free(&r[i]);
    free(r);
    free(pairs);
    return rc;
}

static void one(void *ctx, int64_t i, int worker)
{
    (void)worker;
    struct job *j = ctx;
    const struct mc_coupling_group *g = &j->of.c->group[i];
    if (!g->why && g->first >= 0 && j->read[i])
        j->rc[i] = measure_group(j, g, &j->errs[i]);
}

static int measure_groups(struct job *j, struct mc_err *err)
{
    size_t n = j->of.c->n_groups;
    j->rc = mc_calloc(n + 1, sizeof *j->rc);
    j->errs = mc_calloc(n + 1, sizeof *j->errs);
    int rc = j->rc && j->errs ? 0 : no_memory(err);
    if (!rc)
        mc_pool_run(j->of.ctx->pool, (int64_t)n, one, j);
    for (size_t i = 0; i < n && !rc; i++)
        if (j->rc[i])
            rc = mc_fail(err, j->rc[i], "%s: %s", j->of.c->group[i].name, j->errs[i].msg);
    free(j->rc);
    free(j->errs);
    return rc;
}

/* ---- groups of which nothing is known here ---- */

struct ranked {
    double score;
    int32_t unit;
};

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->score != y->score ? (x->score > y->score) - (x->score < y->score) : y->unit - x->unit;
}

static int take_scores(struct job *j, const struct mc_coupling_group *g,
                       const struct mc_importance *from, struct mc_err *err)
{
    struct ranked *r = mc_calloc((size_t)g->n, sizeof *r);
    double sum = 0;
    if (!r)
        return no_memory(err);
    for (int64_t k = 0; k < g->n; k++)
        r[k] = (struct ranked){from->score[g->first + k], (int32_t)(g->first + k)};
    qsort(r, (size_t)g->n, sizeof *r, by_score);
    for (int64_t k = 0; k < g->n; k++) {
        j->to->order[g->first + k] = r[k].unit;
        j->to->cost[g->first + k] = sum += r[k].score;
        j->to->score[r[k].unit] = r[k].score;
    }
    free(r);
    return 0;
}

static int measure_others(struct job *j, const struct mc_model *m, struct mc_err *err)
{
    struct mc_importance taylor = {0};
    int rc = 0;
    for (size_t i = 0; i < j->of.c->n_groups && !rc; i++) {
        const struct mc_coupling_group *g = &j->of.c->group[i];
        if (j->read[i] || g->why || g->first < 0)
            continue;
        if (!taylor.score)
            rc = mc_importance_measure(j->of.ctx, m, j->of.c, MC_IMPORTANCE_TAYLOR, false, &taylor,
                                       err);
        if (!rc)
            rc = take_scores(j, g, &taylor, err);
    }
    mc_importance_free(&taylor);
    return rc;
}

/* ---- all ---- */

static int measure(struct job *j, const struct mc_model *m, struct mc_err *err)
{
    struct mc_obs_job *o = &j->of;
    int rc = mc_linalg_new_on(mc_pool_gpu(o->ctx->pool), &o->la, err);
    if (!rc)
        rc = mc_obs_sites_find(m, o->c, &o->sites, err);
    if (!rc)
        rc = mc_obs_measure(o->ctx, m, o->la, &o->sites, &o->stats, err);
    for (size_t g = 0; g < o->c->n_groups && !rc; g++)
        for (size_t i = 0; i < o->sites.n && !j->read[g]; i++)
            j->read[g] = mc_obs_site_reads(o->c, &o->sites.item[i], &o->c->group[g]);
    if (!rc)
        rc = measure_groups(j, err);
    if (!rc)
        rc = measure_others(j, m, err);
    j->to->nats = o->stats.nats;
    j->to->samples = o->stats.samples;
    return rc;
}

int mc_importance_obs(const struct mc_pass_ctx *ctx, const struct mc_model *m,
                      const struct mc_coupling *c, struct mc_importance *ret, struct mc_err *err)
{
    struct mc_pass_ctx with = *ctx;
    struct mc_dataset *own = NULL;
    struct job j = {.of = {.ctx = &with, .c = c}, .to = ret};
    if (!ctx->calib && !ctx->train)
        return mc_fail(err, MC_EUSAGE,
                       "the criterion 'obs' looks at samples: give some with --calib, or take one "
                       "that needs none (l2)");
    ret->order = mc_calloc((size_t)c->n_units + 1, sizeof *ret->order);
    ret->cost = mc_calloc((size_t)c->n_units + 1, sizeof *ret->cost);
    j.read = mc_calloc(c->n_groups + 1, sizeof *j.read);
    int rc = ret->order && ret->cost && j.read ? 0 : no_memory(err);
    if (!rc && !ctx->calib) {
        rc = mc_slice_open(ctx, SAMPLES, &own, err);
        with.calib = own;
        with.calib_count = SAMPLES;
    }
    if (with.calib_count > SAMPLES)
        with.calib_count = SAMPLES;
    struct mc_err why;
    int got = rc ? 0 : measure(&j, m, &why);
    if (got == MC_EDATA ||
        got == MC_EFAIL) /* numbers that cannot be counted with: other criteria can do without */
        got = MC_EUNSUP;
    if (got)
        rc = mc_fail(err, got, "%s", why.msg);
    mc_obs_stats_free(&j.of.stats);
    mc_obs_sites_free(&j.of.sites);
    mc_linalg_free(j.of.la);
    mc_dataset_free(own);
    free(j.read);
    return rc;
}
