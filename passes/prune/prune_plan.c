#include "passes/prune/prune_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct plan {
    const struct mc_prune_run *r;
    const double *const *error;
    const struct mc_prune_limits *limits;
    size_t *level;
    bool *full;    /* [n] would pass a limit with one more */
    size_t **hull; /* [n] from level l down the hull: the next level, or l */
    double *price[MC_PRUNE_UNITS];
    double count[MC_PRUNE_UNITS];
};

/* ---- what is given ---- */

void mc_prune_uniform(const struct mc_prune_run *r, double keep, size_t *level)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct mc_prune_group *g = &r->group[i];
        double own = g->together > 1 ? pow(keep, 1.0 / g->together) : keep;
        level[i] = g->why ? 0 : mc_prune_level_for(g, own * (double)g->of->n);
    }
}

static bool fits(const struct mc_prune_run *r, const struct mc_prune_limits *limits,
                 const size_t *level)
{
    double count[MC_PRUNE_UNITS];
    mc_prune_count(r, level, count);
    for (int u = 0; u < MC_PRUNE_UNITS; u++)
        if (count[u] > limits->of[u] * (1 + 1e-12))
            return false;
    return true;
}

bool mc_prune_uniform_within(const struct mc_prune_run *r, const struct mc_prune_limits *limits,
                             size_t *level)
{
    double low = 0, high = 1;
    mc_prune_uniform(r, 1, level);
    if (fits(r, limits, level))
        return true;
    for (int t = 0; t < 40; t++) { /* closer than one unit of a million */
        double middle = (low + high) / 2;
        mc_prune_uniform(r, middle, level);
        if (fits(r, limits, level))
            low = middle;
        else
            high = middle;
    }
    mc_prune_uniform(r, low, level);
    return fits(r, limits, level);
}

/* ---- hulls ---- */

/* The next level down from l: the one of least error for each unit that goes. */
static void draw_hull(const struct mc_prune_group *g, const double *error, size_t *next)
{
    size_t n = g->n_levels;
    next[n - 1] = n - 1;
    for (size_t l = n - 1; l-- > 0;) { /* behind l + 1 the chain of next is a lower hull already */
        size_t to = l + 1;
        while (next[to] != to) {
            double a = (error[to] - error[l]) / (double)(g->level[l].keep - g->level[to].keep);
            double b = (error[next[to]] - error[to]) /
                       (double)(g->level[to].keep - g->level[next[to]].keep);
            if (a <= b)
                break;
            to = next[to];
        }
        next[l] = to;
    }
}

static void close_plan(struct plan *p)
{
    for (size_t i = 0; p->hull && i < p->r->n; i++)
        free(p->hull[i]);
    free(p->hull);
    free(p->full);
    for (int u = 0; u < MC_PRUNE_UNITS; u++)
        free(p->price[u]);
}

static bool open_plan(struct plan *p)
{
    const struct mc_prune_run *r = p->r;
    p->hull = mc_calloc(r->n + 1, sizeof *p->hull);
    p->full = mc_calloc(r->n + 1, sizeof *p->full);
    bool ok = p->hull && p->full;
    for (int u = 0; ok && u < MC_PRUNE_UNITS; u++)
        ok = (p->price[u] = mc_calloc(r->n + 1, sizeof **p->price));
    for (size_t i = 0; ok && i < r->n; i++) {
        const struct mc_prune_group *g = &r->group[i];
        if (g->why)
            continue;
        ok = (p->hull[i] = mc_calloc(g->n_levels, sizeof **p->hull));
        if (ok)
            draw_hull(g, p->error[i], p->hull[i]);
    }
    return ok;
}

/* ---- steps ---- */

static void look(struct plan *p)
{
    mc_prune_count(p->r, p->level, p->count);
    for (int u = 0; u < MC_PRUNE_UNITS; u++)
        if (isfinite(p->limits->of[u]))
            mc_prune_prices(p->r, p->level, (enum mc_prune_unit)u, p->price[u]);
}

static bool is_within(const struct plan *p)
{
    for (int u = 0; u < MC_PRUNE_UNITS; u++)
        if (p->count[u] > p->limits->of[u] * (1 + 1e-12))
            return false;
    return true;
}

/* What a unit of a group that goes brings nearer to the limits; of all limits, or of those that are not met. */
static double worth(const struct plan *p, size_t g, bool all)
{
    double sum = 0;
    for (int u = 0; u < MC_PRUNE_UNITS; u++) {
        double to_go = p->r->before_of[u] - p->limits->of[u];
        if (isfinite(p->limits->of[u]) && to_go > 0 && (all || p->count[u] > p->limits->of[u]))
            sum += p->price[u][g] / to_go;
    }
    return sum;
}

/* The step down that costs least for what it is worth. */
static size_t cheapest(const struct plan *p, bool all, double *ret_cost)
{
    size_t best = p->r->n;
    *ret_cost = INFINITY;
    for (size_t i = 0; i < p->r->n; i++) {
        size_t l = p->level[i];
        if (p->r->group[i].why || p->hull[i][l] == l)
            continue;
        const struct mc_prune_level *at = p->r->group[i].level;
        size_t to = p->hull[i][l];
        double gain = worth(p, i, all) * (double)(at[l].keep - at[to].keep);
        double cost = gain > 0 ? (p->error[i][to] - p->error[i][l]) / gain : INFINITY;
        if (cost < *ret_cost) {
            *ret_cost = cost;
            best = i;
        }
    }
    return best;
}

/* Prices are looked up again when the model has come this much nearer to its limits. */
static const double MOVED = 0.002;

static bool go_down(struct plan *p)
{
    double cost, moved = 0;
    look(p);
    while (!is_within(p)) {
        size_t g = cheapest(p, false, &cost);
        if (g == p->r->n)
            return false;
        size_t l = p->level[g], to = p->hull[g][l];
        double units = (double)(p->r->group[g].level[l].keep - p->r->group[g].level[to].keep);
        p->level[g] = to;
        moved += worth(p, g, false) * units;
        for (int u = 0; u < MC_PRUNE_UNITS; u++)
            if (isfinite(p->limits->of[u]))
                p->count[u] -= units * p->price[u][g];
        if (moved < MOVED && !is_within(p))
            continue;
        look(p);
        moved = 0;
    }
    return true;
}

/* What a level more of a group wins for what it is worth: 0 where nothing is lost without it. -1: there is none. */
static double gain_up(const struct plan *p, size_t g)
{
    size_t l = p->level[g];
    if (p->r->group[g].why || l == 0)
        return -1;
    double units = (double)(p->r->group[g].level[l - 1].keep - p->r->group[g].level[l].keep);
    return (p->error[g][l] - p->error[g][l - 1]) / fmax(worth(p, g, true) * units, 1e-300);
}

static size_t best_up(const struct plan *p, const bool *barred, double *ret_gain)
{
    size_t best = p->r->n;
    *ret_gain = -1; /* also what wins nothing comes back where there is room */
    for (size_t i = 0; i < p->r->n; i++) {
        double gain = barred[i] ? -1 : gain_up(p, i);
        if (gain > *ret_gain) {
            *ret_gain = gain;
            best = i;
        }
    }
    return best;
}

/* What fits goes back up: each time the level that wins most of what there is room for. */
static void fill_up(struct plan *p)
{
    double gain;
    memset(p->full, 0, p->r->n * sizeof *p->full);
    look(p);
    for (;;) {
        size_t best = best_up(p, p->full, &gain);
        if (best == p->r->n)
            return;
        p->level[best]--;
        look(p);
        if (is_within(p))
            continue;
        p->level[best]++;
        p->full[best] = true;
        look(p);
    }
}

static double total(const struct plan *p, const size_t *level)
{
    double sum = 0;
    for (size_t i = 0; i < p->r->n; i++)
        if (!p->r->group[i].why)
            sum += p->error[i][level[i]];
    return sum;
}

/* Prices were those of a larger model when the first steps were taken: the group that is worth most for its price comes up
 * a level, others go down for it, as long as that wins. */
static void exchange(struct plan *p, size_t *was, bool *tried)
{
    static const double WORK = 2e8; /* parts looked at: a second at most */
    size_t n = p->r->n;
    int most = (int)fmin(4000, WORK / (64 * (double)(p->r->n_parts + 1)));
    double gain, cost;
    memset(tried, 0, n * sizeof *tried);
    for (int t = 0; t < most; t++) {
        look(p);
        size_t best = best_up(p, tried, &gain);
        if (best == n || cheapest(p, true, &cost) == n || cost >= gain)
            return;
        memcpy(was, p->level, n * sizeof *was);
        p->level[best]--;
        if (go_down(p))
            fill_up(p);
        if (is_within(p) && total(p, p->level) < total(p, was) * (1 - 1e-9)) {
            memset(tried, 0, n * sizeof *tried);
            continue;
        }
        memcpy(p->level, was, n * sizeof *was);
        tried[best] = true;
    }
}

int mc_prune_plan(const struct mc_prune_run *r, const double *const *error,
                  const struct mc_prune_limits *limits, size_t *level, bool *ret_within,
                  struct mc_err *err)
{
    struct plan p = {.r = r, .error = error, .limits = limits, .level = level};
    size_t *was = mc_calloc(r->n + 1, sizeof *was);
    bool *tried = mc_calloc(r->n + 1, sizeof *tried);
    bool ok = was && tried && open_plan(&p);
    if (ok) {
        mc_prune_uniform(r, 1, level);
        *ret_within = go_down(&p);
        if (*ret_within) {
            fill_up(&p);
            exchange(&p, was, tried);
        }
    }
    close_plan(&p);
    free(was);
    free(tried);
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}
