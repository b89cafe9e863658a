/* All the best ways to choose from several curves at once, from the cheapest to the dearest. */
#ifndef MC_PASSES_SVD_PATH_H
#define MC_PASSES_SVD_PATH_H

#include "passes/svd/svd_plan.h"

struct mc_svd_path {
    size_t n, parts;
    size_t *
        at; /* [n, parts] offers of each choice; the first row: the cheapest of all, the last: the dearest of all */
};

/* What one Lagrange multiplier, falling from infinity to 0, chooses: in every row one part takes the next step of its
 * hull, the one that gains most per cost. parts > 0. Errors: MC_ENOMEM. */
int mc_svd_path_make(const struct mc_svd_choice *c, size_t parts, struct mc_svd_path *ret,
                     struct mc_err *err);
void mc_svd_path_free(struct mc_svd_path *p);

#endif
