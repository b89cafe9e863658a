/* A filter of its own for every channel, then a product over the channels:
 *     W'[o, (c,w)] = sum over ρ of P[o, (c,ρ)] D[(c,ρ), w],      D [cq, k], P [m, cq].
 * For given D the best P is a linear regression, for given P the best D one too. The first D are the singular vectors
 * of every channel by itself, exact without C; from there both are improved in turn as in form_conv_split.h. */
#ifndef MC_PASSES_FORM_CONV_SEPARATE_H
#define MC_PASSES_FORM_CONV_SEPARATE_H

#include "passes/svd/form_conv_problem.h"

struct mc_conv_filters {
    const struct mc_conv_problem *p;
    int64_t m, c, k, q;
    float *d; /* [c, q, k] */
    float *w; /* [m, c, q] weighed as X */
    double error;
};

/* q < k filters a channel. sweeps: how often D and P are improved in turn.
 * Cost: about (1 + 4 sweeps) 2 q n² operations. */
int mc_conv_separate(struct mc_linalg *la, const struct mc_conv_problem *p, int64_t c, int64_t q,
                     int sweeps, struct mc_conv_filters *ret, struct mc_err *err);
void mc_conv_filters_free(struct mc_conv_filters *f);
/* X' [m,n], new. */
int mc_conv_filters_dense(struct mc_linalg *la, const struct mc_conv_filters *f, float **ret,
                          struct mc_err *err);
double mc_conv_separate_work(const struct mc_conv_problem *p, int64_t c, int64_t q, int sweeps);

#endif
