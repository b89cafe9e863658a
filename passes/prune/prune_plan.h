/* How many of each group stay, by errors of levels that add up and costs that do not. */
#ifndef MC_PASSES_PRUNE_PLAN_H
#define MC_PASSES_PRUNE_PLAN_H

#include "passes/prune/prune_run.h"

/* At most so much of each unit; INFINITY: any. */
struct mc_prune_limits {
    double of[MC_PRUNE_UNITS];
};

/* The levels of (nearly) least sum of errors within the limits, and nothing more that could stay without passing one.
 * Where there are none, all that may go goes. error[g] [n_levels of g], rising; level [n].
 * Steps along the lower hulls of the errors, each time the one that costs least for what it brings nearer to the limits, with
 * prices as the sizes of neighbours have become; then exchanges. Errors: MC_ENOMEM. */
int mc_prune_plan(const struct mc_prune_run *r, const double *const *error,
                  const struct mc_prune_limits *limits, size_t *level, bool *ret_within,
                  struct mc_err *err);

/* The same share of every group: about `keep` of each, between min_keep and max_keep, but what --keep NAME= says. */
void mc_prune_uniform(const struct mc_prune_run *r, double keep, size_t *level);
/* The largest such share within the limits. */
bool mc_prune_uniform_within(const struct mc_prune_run *r, const struct mc_prune_limits *limits,
                             size_t *level);

#endif
