#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "passes/prune_plan.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static struct mc_prune_limits no_limits(void)
{
    struct mc_prune_limits l;
    for (int u = 0; u < MC_PRUNE_UNITS; u++)
        l.of[u] = INFINITY;
    return l;
}

/* --keep R of the nodes; and of the parameters no more than R, or than the same share of every group would leave where that
 * is more: nodes that cost little would otherwise be all that goes. */
static int limits_of_keep(const struct mc_prune_run *r, struct mc_prune_limits *ret,
                          struct mc_err *err)
{
    size_t *level = mc_calloc(r->n + 1, sizeof *level);
    double count[MC_PRUNE_UNITS], whole[MC_PRUNE_UNITS];
    if (!level)
        return no_memory(err);
    mc_prune_uniform(r, 1, level);
    mc_prune_count(r, level, whole);
    mc_prune_uniform(r, r->keep, level);
    mc_prune_count(r, level, count);
    free(level);
    *ret = no_limits();
    ret->of[MC_PRUNE_NODES] = fmax(r->keep * r->before_of[MC_PRUNE_NODES], count[MC_PRUNE_NODES]);
    ret->of[MC_PRUNE_PARAMS] =
        fmax(r->keep * r->before_of[MC_PRUNE_PARAMS], count[MC_PRUNE_PARAMS]);
    return 0;
}

static int plan(const struct mc_prune_run *r, const struct mc_prune_limits *limits, size_t *level,
                bool *ret_within, struct mc_err *err)
{
    if (!r->global) {
        *ret_within = mc_prune_uniform_within(r, limits, level);
        return 0;
    }
    double **error = mc_calloc(r->n + 1, sizeof *error);
    bool ok = error != NULL;
    for (size_t i = 0; ok && i < r->n; i++) {
        ok = (error[i] = mc_calloc(r->group[i].n_levels + 1, sizeof **error));
        for (size_t l = 0; ok && l < r->group[i].n_levels; l++)
            error[i][l] = r->group[i].level[l].error;
    }
    int rc = ok ? mc_prune_plan(r, (const double *const *)error, limits, level, ret_within, err)
                : no_memory(err);
    for (size_t i = 0; error && i < r->n; i++)
        free(error[i]);
    free(error);
    return rc;
}

static enum mc_prune_unit unit_of(enum mc_search_goal goal)
{
    return goal == MC_SEARCH_PARAMS ? MC_PRUNE_PARAMS
           : goal == MC_SEARCH_MACS ? MC_PRUNE_MACS
                                    : MC_PRUNE_BYTES;
}

/* The limit is moved by what the model itself comes to beside the count: names, written shapes. */
static int decide_target(struct mc_prune_run *r, enum mc_search_goal goal, double limit,
                         size_t *level, double *ret_cost, struct mc_err *err)
{
    enum { TRIES = 8 };
    struct mc_prune_limits l = no_limits();
    enum mc_prune_unit u = unit_of(goal);
    size_t *now = mc_calloc(r->n + 1, sizeof *now);
    double off = 0, count[MC_PRUNE_UNITS];
    bool within, found = false;
    int rc = now ? 0 : no_memory(err);
    *ret_cost = INFINITY;
    for (int t = 0; !rc && t < TRIES; t++) {
        double cost = NAN;
        l.of[u] = limit - off;
        rc = plan(r, &l, now, &within, err);
        if (!rc)
            rc = mc_prune_cost(r, now, goal, &cost, err);
        if (rc)
            break;
        mc_prune_count(r, now, count);
        bool fits = cost <= limit,
             take = fits ? !found || cost > *ret_cost : !found && cost < *ret_cost;
        if (take) {
            memcpy(level, now, r->n * sizeof *now);
            *ret_cost = cost;
        }
        found = found || fits;
        double more = cost - count[u];
        if (fabs(more - off) < 0.5 || (fits && t > 2))
            break;
        off = more;
    }
    free(now);
    return rc;
}

static int missed(struct mc_prune_run *r, enum mc_search_goal goal, double limit, double cost,
                  double before)
{
    struct mc_search s = {.goal = goal};
    struct mc_search_result result = {.limit = limit, .cost = cost, .before = before};
    r->missed = true;
    return mc_search_missed(&s, &result, &r->miss);
}

int mc_prune_decide(struct mc_prune_run *r, const struct mc_search_ask *ask, struct mc_err *err)
{
    size_t *level = mc_calloc(r->n + 1, sizeof *level);
    struct mc_prune_limits l;
    double cost = 0, before = 0, limit = ask->limit;
    bool within;
    int rc = level ? 0 : no_memory(err);
    if (!rc && !ask->given && !r->global)
        mc_prune_uniform(r, r->keep, level);
    if (!rc && !ask->given && r->global)
        rc = limits_of_keep(r, &l, err);
    if (!rc && !ask->given && r->global)
        rc = plan(r, &l, level, &within, err);
    if (!rc && ask->given)
        rc = mc_prune_cost(r, level, ask->goal, &before, err);
    if (!rc && ask->given && ask->share)
        limit = floor(limit * (ask->goal == MC_SEARCH_BYTES && r->ctx->bytes_original
                                   ? (double)r->ctx->bytes_original
                                   : before));
    if (!rc && ask->given)
        rc = decide_target(r, ask->goal, limit, level, &cost, err);
    if (!rc && ask->given && cost > limit)
        missed(r, ask->goal, limit, cost, before);
    for (size_t i = 0; !rc && i < r->n; i++)
        r->group[i].at = level[i];
    free(level);
    return rc;
}
