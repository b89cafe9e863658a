/* Which point for which item: least sum of errors within a budget. */
#ifndef MC_PASSES_SVD_PLAN_H
#define MC_PASSES_SVD_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define MC_SVD_AS_IT_IS UINT32_MAX

struct mc_svd_offer {
    double cost, error;
    uint32_t curve, point; /* where it comes from; curve MC_SVD_AS_IT_IS: the item stays */
};

struct mc_svd_choice {          /* one item */
    struct mc_svd_offer *offer; /* [n] by rising cost, error falling with it */
    size_t n;
    size_t *hull; /* [n_hull] offers on the lower convex hull, by rising cost */
    size_t n_hull;
    size_t at; /* answer */
};

/* Sort, drop what another offer beats in cost and error, find the hull. c->offer[0..n) in any order, n > 0. */
int mc_svd_choice_make(struct mc_svd_choice *c, struct mc_err *err);
void mc_svd_choice_free(struct mc_svd_choice *c);

/* Offers with the least sum of errors whose cost stays within budget, by one Lagrange multiplier for all items, then
 * single steps while one fits. Without such offers: the cheapest of each. Returns the cost.
 * Source: Shoham, Gersho, Efficient bit allocation for an arbitrary set of quantizers, 1988. */
double mc_svd_plan(struct mc_svd_choice *const *c, size_t n, double budget);

#endif
