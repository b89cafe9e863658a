/* What a layer is fitted to. */
#ifndef MC_PASSES_CIRCULANT_TARGET_H
#define MC_PASSES_CIRCULANT_TARGET_H

#include "passes/fit/refit.h"

/* y should be W x + bias; sums about the means where there is a bias. Arrays are freed by mc_circulant_target_free. */
struct mc_circulant_target {
    int64_t m, n;      /* given */
    float *w;          /* given: [m,n] as it is */
    float *second;     /* [n,n] covariance of x, both triangles */
    float *cross;      /* [m,n] of y and x */
    double total;      /* mean |y|² */
    double *mean_x;    /* [n] */
    double *mean_lack; /* [m] what y lacks of what it should be, on average */
};

/* From the sums of f over samples, one fold, of what e = y - W x is. Errors: MC_ENOMEM. Cost: 2 m n² operations. */
int mc_circulant_target_make(const struct mc_refit *f, struct mc_linalg *la,
                             struct mc_circulant_target *t, struct mc_err *err);
void mc_circulant_target_free(struct mc_circulant_target *t);

/* Input order[j] becomes input j; output order[i] output i. */
int mc_circulant_target_turn(struct mc_circulant_target *t, const int64_t *order,
                             struct mc_err *err);
int mc_circulant_target_rows(struct mc_circulant_target *t, const int64_t *order,
                             struct mc_err *err);

#endif
