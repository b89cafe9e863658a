/* --auto: the fewest bytes whose loss stays within a limit.
 *
 * A loss of half a point is a handful of decisions of some hundred samples: counted on the set itself it is mostly
 * noise. The divergence is smooth. So decisions that change are told from its root, by the ratio of both over all sets
 * of about that divergence, and right answers lost from those that change, by the ratio counted on the set, drawn towards
 * the usual one. */
#include <math.h>
#include <stdlib.h>

#include "passes/search/search_state.h"

/* Of decisions that change this share costs a right answer, net. Measured on the test samples of the six reference models
 * at keep 0.13 to 0.4: 0.13 to 0.40, mostly 0.25, taken with some caution. What is counted on the set is drawn towards it as
 * if it came from so many changed decisions, which is how closely the six agree. */
static const double LOST_OF_CHANGED = 0.35, LOST_WEIGHT = 100;
/* Changed decisions over root of divergence: 0.18 to 0.34 there, which is as close as so many of them would be. */
static const double CHANGED_OF_ROOT = 0.3, CHANGED_WEIGHT = 16;
/* Squared error over variance that is worth a loss, where outputs decide nothing: 30 dB for half a point. */
static const double ERROR_OF_LOSS = 0.2;

static double changed_of_root(const struct mc_hunt *h, double divergence)
{
    double changed = 0, root = 0;
    for (size_t i = 0; i < h->n_sets; i++) {
        const struct mc_judgement *j = &h->set[i].j;
        if (!(j->divergence > divergence / 8 && j->divergence < divergence * 8))
            continue;
        changed += j->changed;
        root += sqrt(j->divergence);
    }
    double n = (double)mc_judge_samples(h->judge), weight = CHANGED_WEIGHT / n;
    return (changed + weight) / (root + weight / CHANGED_OF_ROOT);
}

/* What a gate adds: the upper end of the 95 % interval of its samples (graph/run/measure.h) is what it compares. */
static double margin(const struct mc_pass_ctx *ctx, double changed)
{
    double n = (double)ctx->judged;
    return ctx->has_max_drop && n > 0 ? 1.96 * sqrt((changed + 2 / n) / n) : 0;
}

static double loss_of(const struct mc_hunt *h, const struct mc_set *set)
{
    const struct mc_judgement *j = &set->j;
    double n = (double)mc_judge_samples(h->judge);
    if (!isfinite(j->divergence))
        return INFINITY;
    if (j->divergence == 0)
        return 0;
    if (isnan(j->changed))
        return j->divergence / ERROR_OF_LOSS;
    double changed = changed_of_root(h, j->divergence) * sqrt(j->divergence);
    double more = margin(h->s->ctx, changed);
    if (isnan(j->lost)) /* --max-drop is of changed decisions then */
        return more + (h->s->ctx->has_max_drop ? changed : LOST_OF_CHANGED * changed);
    double share = (j->lost * n + LOST_OF_CHANGED * LOST_WEIGHT) / (j->changed * n + LOST_WEIGHT);
    return more + fmax(0, share) * changed;
}

/* The plan of a budget; where its loss is within the limit, and it is the smallest so far, it is kept. */
static int probe(struct mc_hunt *h, double budget, bool *ret_ok, struct mc_err *err)
{
    size_t *choice = mc_calloc(h->s->n + 1, sizeof *choice);
    const struct mc_set *set = NULL;
    double cost = NAN;
    int rc = choice ? mc_curves_draw(h, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = mc_curves_plan(h, budget, choice, &cost, err);
    if (!rc)
        rc = mc_hunt_measure(h, choice, &set, err);
    free(choice);
    *ret_ok = false;
    if (rc || !set)
        return rc;
    h->set[set - h->set].cost = cost;
    *ret_ok = loss_of(h, set) <= h->limit;
    return *ret_ok && cost < mc_hunt_best(h)->cost ? mc_hunt_keep(h, set, err) : 0;
}

/* Budgets between one that cannot do and the best, closer and closer. */
static int bisect(struct mc_hunt *h, double low, struct mc_err *err)
{
    enum { STEPS = 9 };
    int rc = 0;
    double high = mc_hunt_best(h)->cost;
    for (int t = 0; !rc && t < STEPS && high - low > 0.004 * h->before && !mc_hunt_over(h); t++) {
        bool ok;
        double middle = low + (high - low) / 2;
        mc_hunt_tell(h, "smaller and smaller", t, STEPS);
        rc = probe(h, middle, &ok, err);
        if (ok)
            high = fmin(middle, mc_hunt_best(h)->cost);
        else
            low = middle;
    }
    return rc;
}

static int least_cost(struct mc_hunt *h, double *ret, struct mc_err *err)
{
    size_t *choice = mc_calloc(h->s->n + 1, sizeof *choice);
    int rc =
        choice ? mc_curves_plan(h, 0, choice, ret, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    free(choice);
    return rc;
}

int mc_hunt_drop(struct mc_hunt *h, struct mc_err *err)
{
    enum { ROUNDS = 3 };
    double least = 0;
    bool ok;
    h->plain.cost = h->before; /* as it is, until something smaller does */
    int rc = mc_curves_draw(h, err);
    if (!rc)
        rc = least_cost(h, &least, err);
    if (!rc)
        rc = bisect(h, least, err);
    if (!rc && h->judge)
        rc = mc_hunt_anchors(h, mc_hunt_best(h)->choice, err);
    for (int round = 0; !rc && round < ROUNDS && !mc_hunt_over(h); round++) {
        double was = mc_hunt_best(h)->cost;
        rc = bisect(h, fmax(least, was * (round ? 0.85 : 0.6)), err);
        if (!rc && h->best)
            rc = mc_hunt_refine(h, mc_hunt_best(h)->cost, err);
        if (!rc)
            rc = probe(h, mc_hunt_best(h)->cost * 0.98, &ok, err);
        if (mc_hunt_best(h)->cost > 0.995 * was && round)
            break;
    }
    return rc;
}
