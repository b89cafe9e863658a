#include "passes/search/search_plan.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/mem.h"

static const double OPERATIONS = 3e7; /* 30 ms */

struct table {
    const struct mc_plan_item *item;
    size_t n, steps;
    double unit;
    double *least; /* [steps + 1] error with at most that cost */
    double *next;
    uint16_t *from; /* [n, steps + 1] option */
};

static bool better(double cost, double error, double than_cost, double than_error, bool by_cost)
{
    double a = by_cost ? cost : error, b = by_cost ? than_cost : than_error;
    double c = by_cost ? error : cost, d = by_cost ? than_error : than_cost;
    return a < b || (a == b && c < d);
}

/* The cheapest option of each item, or the one of least error. Returns the cost. */
static double choose(const struct mc_plan_item *item, size_t n, bool by_cost, size_t *choice)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const struct mc_plan_item *it = &item[i];
        size_t at = 0;
        for (size_t k = 1; k < it->n; k++)
            if (better(it->cost[k], it->error[k], it->cost[at], it->error[at], by_cost))
                at = k;
        choice[i] = at;
        sum += it->cost[at];
    }
    return sum;
}

/* Of all exchanges of one option that fit, take the one that gains most per cost. */
static bool step(const struct mc_plan_item *item, size_t n, size_t *choice, double *room)
{
    double best = 0;
    size_t at = n, to = 0;
    for (size_t i = 0; i < n; i++) {
        const struct mc_plan_item *it = &item[i];
        for (size_t k = 0; k < it->n; k++) {
            double more = it->cost[k] - it->cost[choice[i]];
            double gain = it->error[choice[i]] - it->error[k];
            if (more > *room || !(gain > 0))
                continue;
            double rate = more > 0 ? gain / more : INFINITY;
            if (rate > best) {
                best = rate;
                at = i;
                to = k;
            }
        }
    }
    if (at == n)
        return false;
    *room -= item[at].cost[to] - item[at].cost[choice[at]];
    choice[at] = to;
    return true;
}

static void add_item(struct table *t, size_t i, double cheapest)
{
    const struct mc_plan_item *it = &t->item[i];
    uint16_t *from = t->from + i * (t->steps + 1);
    for (size_t b = 0; b <= t->steps; b++)
        t->next[b] = INFINITY;
    for (size_t k = 0; k < it->n && k <= UINT16_MAX; k++) {
        double w = ceil((it->cost[k] - cheapest) / t->unit);
        if (!(w <= (double)t->steps))
            continue;
        for (size_t b = (size_t)fmax(w, 0), a = 0; b <= t->steps; b++, a++)
            if (t->least[a] + it->error[k] < t->next[b]) {
                t->next[b] = t->least[a] + it->error[k];
                from[b] = (uint16_t)k;
            }
    }
    double *swap = t->least;
    t->least = t->next;
    t->next = swap;
}

static void solve(struct table *t, size_t *choice)
{
    const size_t *cheapest = choice; /* on entry */
    for (size_t b = 0; b <= t->steps; b++)
        t->least[b] = 0;
    for (size_t i = 0; i < t->n; i++)
        add_item(t, i, t->item[i].cost[cheapest[i]]);
    size_t b = t->steps;
    for (size_t i = t->n; i-- > 0;) {
        double low = t->item[i].cost[choice[i]];
        choice[i] = t->from[i * (t->steps + 1) + b];
        b -= (size_t)fmax(0, ceil((t->item[i].cost[choice[i]] - low) / t->unit));
    }
}

static size_t count_steps(const struct mc_plan_item *item, size_t n)
{
    double options = 1;
    for (size_t i = 0; i < n; i++)
        options += (double)item[i].n;
    double steps = OPERATIONS / options;
    return steps > MC_PLAN_STEPS ? MC_PLAN_STEPS : steps < 256 ? 256 : (size_t)steps;
}

int mc_search_plan(const struct mc_plan_item *item, size_t n, double budget, size_t *choice,
                   double *ret_cost, struct mc_err *err)
{
    *ret_cost = choose(item, n, false, choice);
    if (*ret_cost <= budget)
        return 0;
    *ret_cost = choose(item, n, true, choice);
    if (!(*ret_cost < budget))
        return 0;
    struct table t = {.item = item, .n = n, .steps = count_steps(item, n)};
    t.unit = (budget - *ret_cost) / (double)t.steps;
    t.least = mc_calloc(t.steps + 1, sizeof *t.least);
    t.next = mc_calloc(t.steps + 1, sizeof *t.next);
    t.from = mc_calloc(n, (t.steps + 1) * sizeof *t.from);
    bool ok = t.least && t.next && t.from;
    if (ok)
        solve(&t, choice);
    free(t.least);
    free(t.next);
    free(t.from);
    if (!ok)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    double room = budget;
    for (size_t i = 0; i < n; i++)
        room -= item[i].cost[choice[i]];
    while (step(item, n, choice, &room))
        ;
    *ret_cost = budget - room;
    return 0;
}
