/* The least squares over sums. Private to refit.c. */
#ifndef MC_PASSES_REFIT_SOLVE_H
#define MC_PASSES_REFIT_SOLVE_H

#include "passes/fit/refit.h"

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
/* What is lacking of a result; clipped: behind f's bounds. */
float mc_refit_lack(const struct mc_refit *f, bool clipped, float should, float is);

/* ---- refit_few.c: over rows instead of sums ---- */

/* ret [count]: mean square that is left on either half after a fit to the other; INFINITY: no solution. */
int mc_refit_few_errors(struct mc_refit *f, struct mc_linalg *la, const double *ridges, int count,
                        double *ret, struct mc_err *err);
/* d [m,n], more [m] over t - shift, from all rows. */
int mc_refit_few_solve(struct mc_refit *f, struct mc_linalg *la, double ridge, float *d,
                       double *more, struct mc_err *err);

#endif
