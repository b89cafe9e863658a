/* The least squares over sums. Private to refit.c. */
#ifndef MC_PASSES_REFIT_SOLVE_H
#define MC_PASSES_REFIT_SOLVE_H

#include "passes/refit.h"

struct mc_refit_answer { /* in units of y */
    float *d;            /* [groups,m,n] */
    double *more;        /* [groups,m], over t that is not shifted */
    bool better;         /* true without folds */
};

/* The sums stay as they are. free() what is in ret in any case. Sets f->was and f->is where there are folds.
 * Errors: MC_EDATA, MC_EFAIL where there is no solution, MC_ENOMEM. Cost: n³/3 + 2 m n² operations a group; with folds
 * for every ridge. */
int mc_refit_answer(struct mc_refit *f, struct mc_linalg *la, struct mc_refit_answer *ret,
                    struct mc_err *err);

#endif
