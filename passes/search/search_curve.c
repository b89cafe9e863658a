#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "graph/summary.h"
#include "passes/search/search_plan.h"
#include "passes/search/search_state.h"

/* What stands for an error that is infinite or not a number: worse than anything. */
static const double WORST = 1e6;
static const double LEAST = 1e-12; /* for logarithms of errors */

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- costs ---- */

static double *given(const struct mc_hunt *h, struct mc_search_option *o)
{
    switch (h->s->goal) {
    case MC_SEARCH_PARAMS: return &o->params;
    case MC_SEARCH_MACS: return &o->macs;
    case MC_SEARCH_LATENCY: return &o->seconds;
    default: return &o->bytes;
    }
}

static int count_alone(struct mc_hunt *h, size_t i, size_t k, double *ret, struct mc_err *err)
{
    size_t *choice = mc_calloc(h->s->n + 1, sizeof *choice);
    if (!choice)
        return no_memory(err);
    choice[i] = k;
    int rc = mc_hunt_count(h, choice, ret, err);
    if (!rc)
        *ret -= h->before;
    free(choice);
    return rc;
}

/* What the work of an option goes by where only its neighbours were counted. */
static double size_of(const struct mc_search_item *it, size_t k, bool by_macs)
{
    return by_macs ? it->option[k].macs : it->option[k].bytes;
}

/* Costs between options lo and hi, which are known, by what else is known of their work. */
static void cost_between(struct mc_hunt *h, size_t i, size_t lo, size_t hi)
{
    const struct mc_search_item *it = &h->s->item[i];
    double *cost = h->curve[i].cost;
    bool macs = true;
    for (size_t k = lo; k <= hi; k++)
        macs = macs && isfinite(it->option[k].macs);
    double x = size_of(it, lo, macs), y = size_of(it, hi, macs);
    for (size_t k = lo + 1; k < hi; k++) {
        double t = y != x ? (size_of(it, k, macs) - x) / (y - x) : 0;
        cost[k] = cost[lo] + fmax(0, fmin(1, t)) * (cost[hi] - cost[lo]);
    }
}

/* Some options of an item counted (or timed) alone, the others between them. */
static int cost_by_some(struct mc_hunt *h, size_t i, size_t some, struct mc_err *err)
{
    struct mc_search_item *it = &h->s->item[i];
    size_t last = 0;
    int rc = 0;
    *given(h, &it->option[0]) = 0;
    for (size_t a = 1; !rc && a <= some; a++) {
        size_t k = a * (it->n - 1) / some;
        if (k == last)
            continue;
        rc = count_alone(h, i, k, given(h, &it->option[k]), err);
        h->curve[i].cost[k] = *given(h, &it->option[k]);
        if (!rc)
            cost_between(h, i, last, k);
        last = k;
    }
    return rc;
}

/* Costs as the pass says, and what it does not say of: nodes and names that a change adds, by one option of the item. */
static int cost_by_pass(struct mc_hunt *h, size_t i, struct mc_err *err)
{
    enum { COUNTED = 12 }; /* where the pass does not know */
    struct mc_search_item *it = &h->s->item[i];
    size_t middle = it->n / 2;
    double more = 0, cost;
    for (size_t k = 1; k < it->n; k++)
        if (isnan(*given(h, &it->option[k])))
            return cost_by_some(h, i, COUNTED, err);
    int rc = middle ? count_alone(h, i, middle, &cost, err) : 0;
    if (!rc && middle)
        more = cost - *given(h, &it->option[middle]);
    for (size_t k = 1; !rc && k < it->n; k++)
        h->curve[i].cost[k] = *given(h, &it->option[k]) + more;
    return rc;
}

/* With a plan of the pass's own: they only tell which exchanges to try, so nothing is built for them. */
static int cost_for_plan(struct mc_hunt *h, size_t i, struct mc_err *err)
{
    struct mc_search_item *it = &h->s->item[i];
    struct mc_summary sum = {.macs = -1};
    int rc = 0;
    if (h->s->goal == MC_SEARCH_LATENCY && i == 0) /* seconds as if all work took the same */
        rc = mc_summary(h->s->before, &sum, err);
    if (sum.macs > 0)
        h->per_mac = h->before / sum.macs;
    for (size_t k = 1; !rc && k < it->n; k++) {
        if (h->s->goal == MC_SEARCH_KEEP)
            rc = count_alone(h, i, k, &h->curve[i].cost[k], err);
        else if (h->s->goal == MC_SEARCH_LATENCY)
            h->curve[i].cost[k] = it->option[k].macs * h->per_mac;
        else
            h->curve[i].cost[k] = *given(h, &it->option[k]);
    }
    return rc;
}

int mc_curves_cost(struct mc_hunt *h, struct mc_err *err)
{
    enum { TIMED = 3 }; /* they take time, and are not exact anyway */
    int rc = 0;
    for (size_t i = 0; !rc && i < h->s->n; i++) {
        mc_hunt_tell(h, "costs of options", (double)i, (double)h->s->n);
        rc = h->s->plan                        ? cost_for_plan(h, i, err)
             : h->s->goal == MC_SEARCH_LATENCY ? cost_by_some(h, i, TIMED, err)
                                               : cost_by_pass(h, i, err);
    }
    return rc;
}

/* ---- errors ---- */

/* By the pass's model, or where it has none by the bytes that are gone. */
static double guess(const struct mc_search_item *it, size_t k)
{
    double p = it->option[k].predicted, all = it->option[it->n - 1].bytes;
    if (isfinite(p))
        return fmax(p, LEAST);
    double gone =
        isfinite(all) && all < 0 ? it->option[k].bytes / all : (double)k / (double)(it->n - 1);
    return isnan(p) ? fmax(gone * gone, LEAST) : WORST;
}

static double known(const struct mc_search_item *it, size_t k)
{
    double e = it->option[k].measured;
    return isnan(e) ? NAN : fmin(WORST, fmax(e, LEAST));
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* What a guess is worth in divergence where an item has nothing measured: the median of the others. */
static int common_ratio(const struct mc_hunt *h, double *ret, struct mc_err *err)
{
    size_t n = 0, most = 0;
    for (size_t i = 0; i < h->s->n; i++)
        most += h->s->item[i].n;
    double *ratio = mc_calloc(most + 1, sizeof *ratio);
    if (!ratio)
        return no_memory(err);
    for (size_t i = 0; i < h->s->n; i++)
        for (size_t k = 1; k < h->s->item[i].n; k++)
            if (isfinite(h->s->item[i].option[k].measured))
                ratio[n++] = known(&h->s->item[i], k) / guess(&h->s->item[i], k);
    qsort(ratio, n, sizeof *ratio, by_value);
    *ret = n ? ratio[n / 2] : 1;
    free(ratio);
    return 0;
}

/* Log of measured / guessed of option k: between the measured ones on both sides of it by the log of the guess, beyond
 * the last one as there. */
static double log_ratio(const struct mc_search_item *it, size_t k, double common)
{
    size_t lo = 0, hi = 0;
    for (size_t a = k; a >= 1 && !lo; a--)
        lo = isnan(known(it, a)) ? 0 : a;
    for (size_t b = k; b < it->n && !hi; b++)
        hi = isnan(known(it, b)) ? 0 : b;
    if (!lo && !hi)
        return log(common);
    lo = lo ? lo : hi;
    hi = hi ? hi : lo;
    double a = log(known(it, lo) / guess(it, lo)), b = log(known(it, hi) / guess(it, hi));
    double x = log(guess(it, lo)), y = log(guess(it, hi));
    double t = y != x ? (log(guess(it, k)) - x) / (y - x) : 0;
    return a + fmax(0, fmin(1, t)) * (b - a);
}

int mc_curves_draw(struct mc_hunt *h, struct mc_err *err)
{
    double common = 1;
    int rc = common_ratio(h, &common, err);
    for (size_t i = 0; !rc && i < h->s->n; i++) {
        const struct mc_search_item *it = &h->s->item[i];
        struct mc_curve_of *c = &h->curve[i];
        for (size_t k = 1; k < it->n; k++)
            c->error[k] = fmin(WORST, guess(it, k) * exp(log_ratio(it, k, common)));
    }
    return rc;
}

int mc_curve_measure(struct mc_hunt *h, size_t i, size_t k, struct mc_err *err)
{
    struct mc_search_option *o = &h->s->item[i].option[k];
    if (k == 0 || !isnan(o->measured) || mc_hunt_over(h))
        return 0;
    size_t *choice = mc_calloc(h->s->n + 1, sizeof *choice);
    if (!choice)
        return no_memory(err);
    const struct mc_set *set;
    choice[i] = k;
    int rc = mc_hunt_measure(h, choice, &set, err);
    if (!rc && set)
        o->measured = set->j.divergence;
    free(choice);
    return rc;
}

size_t mc_curve_near(const struct mc_hunt *h, size_t i, size_t k, double ratio)
{
    const struct mc_search_item *it = &h->s->item[i];
    double want = it->n > 1 ? log(guess(it, k ? k : 1) * ratio) : 0, off = INFINITY;
    size_t at = k;
    for (size_t c = 1; c < it->n; c++) {
        bool side = ratio > 1 ? c > k : c < k;
        double d = fabs(log(guess(it, c)) - want);
        if (side && d < off) {
            off = d;
            at = c;
        }
    }
    return at;
}

/* ---- plans ---- */

/* By the pass's own reckoning; error as in plan(). */
static int plan_by_pass(struct mc_hunt *h, double **error, double budget, size_t *choice,
                        double *ret_cost, struct mc_err *err)
{
    double cost = h->before;
    for (size_t i = 0; i < h->s->n; i++)
        for (size_t k = 1; k < h->s->item[i].n; k++)
            error[i][k] = fmax(error[i][k], error[i][k - 1]);
    int rc = h->s->plan(h->s->self, (const double *const *)error, h->before, h->before + budget,
                        choice, &cost, err);
    *ret_cost = cost - h->before;
    return rc;
}

static int plan(struct mc_hunt *h, double budget, size_t *choice, double *ret_cost,
                struct mc_err *err)
{
    struct mc_plan_item *item = mc_calloc(h->s->n + 1, sizeof *item);
    double **error = mc_calloc(h->s->n + 1, sizeof *error);
    bool ok = item && error;
    for (size_t i = 0; ok && i < h->s->n; i++) {
        size_t n = h->s->item[i].n;
        ok = (error[i] = mc_calloc(n, sizeof **error));
        for (size_t k = 0; ok && k < n; k++)
            error[i][k] = h->curve[i].error[k] * h->curve[i].factor;
        item[i] = (struct mc_plan_item){n, h->curve[i].cost, error[i]};
    }
    int rc = !ok          ? no_memory(err)
             : h->s->plan ? plan_by_pass(h, error, budget, choice, ret_cost, err)
                          : mc_search_plan(item, h->s->n, budget, choice, ret_cost, err);
    for (size_t i = 0; error && i < h->s->n; i++)
        free(error[i]);
    free(error);
    free(item);
    return rc;
}

static double error_of(const struct mc_hunt *h, const size_t *choice)
{
    double sum = 0;
    for (size_t i = 0; i < h->s->n; i++)
        sum += h->curve[i].error[choice[i]] * h->curve[i].factor;
    return sum;
}

/* Costs of options do not quite add up: nodes and names have bytes too, and a latency depends on its neighbours. The
 * budget is moved by what the whole came to, and of the plans that fit the one of least error is taken. */
int mc_curves_plan(struct mc_hunt *h, double limit, size_t *choice, double *ret_cost,
                   struct mc_err *err)
{
    enum { TRIES = 12 };
    size_t n = h->s->n, *now = mc_calloc(2 * n + 2, sizeof *now), *last = now + n + 1;
    double budget = limit - h->before, cost = 0, sum = 0;
    bool found = false;
    int rc = now ? 0 : no_memory(err);
    for (int t = 0; !rc && t < TRIES; t++) {
        rc = plan(h, budget, now, &sum, err);
        if (!rc && t && !memcmp(now, last, n * sizeof *now))
            break;
        if (!rc)
            rc = mc_hunt_count(h, now, &cost, err);
        if (rc)
            break;
        bool fits = cost <= limit;
        bool take = fits ? !found || error_of(h, now) < error_of(h, choice)
                         : !found && (t == 0 || cost < *ret_cost);
        if (take) {
            memcpy(choice, now, n * sizeof *now);
            *ret_cost = cost;
        }
        memcpy(last, now, n * sizeof *now);
        if (fits && (found || limit - cost < 1e-4 * limit)) /* what is left over is tried once */
            break;
        found = found || fits;
        budget = (fits ? budget : fmin(budget, sum)) + limit - cost;
    }
    free(now);
    return rc;
}
