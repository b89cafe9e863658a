/* Which option for which item, by costs and errors that add up. */
#ifndef MC_PASSES_SEARCH_PLAN_H
#define MC_PASSES_SEARCH_PLAN_H

#include <stddef.h>

#include "base/err.h"

struct mc_plan_item {
    size_t n;            /* options, at least one */
    const double *cost;  /* [n] any sign */
    const double *error; /* [n] >= 0, finite */
};

/* Costs are counted in this many steps of the budget at most, fewer where there are very many options. */
enum { MC_PLAN_STEPS = 8192 };

/* The options with the least sum of errors whose costs add up to at most `budget`; where there are none, the cheapest
 * of each. choice [n]; *ret_cost their sum.
 * Dynamic programming over costs rounded up to steps of the budget (above the cheapest options), then single exchanges
 * that still fit: the sum of errors is at most the best one of a budget smaller by n steps. 3e7 operations at most.
 * Source: Kellerer, Pferschy, Pisinger, Knapsack Problems, 2004, 11.5 (multiple choice). */
int mc_search_plan(const struct mc_plan_item *item, size_t n, double budget, size_t *choice,
                   double *ret_cost, struct mc_err *err);

#endif
