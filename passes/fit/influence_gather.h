/* Outer products of gradients, summed over samples, vectors and positions. */
#ifndef MC_PASSES_INFLUENCE_GATHER_H
#define MC_PASSES_INFLUENCE_GATHER_H

#include "passes/fit/influence.h"

struct mc_influence_gather {
    struct mc_linalg *la;
    struct mc_influence *inf;
    size_t n;
    const struct mc_influence_opts *opts;
    int64_t runs; /* gradients of one sample each that are to come: samples * vectors */

    double *sum; /* [n] of squares, where no matrix is kept */
    int *rc;     /* [n] */
    struct mc_err *errs;
    /* of the call at hand */
    const struct mc_array *const *grads;
    const int *grad_of;
    int copies;
    int64_t first, samples;
};

int mc_influence_gather_open(struct mc_influence_gather *g, struct mc_err *err);
/* grads[grad_of[c * n + i]] is the gradient by inf[i].y of `samples` samples from number `first` on, c < copies.
 * Of many positions an even spread is taken, as mc_cov_gather does. */
int mc_influence_gather_add(struct mc_influence_gather *g, const struct mc_array *const *grads,
                            const int *grad_of, int copies, int64_t first, int64_t samples,
                            struct mc_err *err);
void mc_influence_gather_close(struct mc_influence_gather *g);

/* From sums over inf->samples to means; sum: of the diagonal, where no matrix is kept. */
void mc_influence_finish(struct mc_influence *inf, double sum);

#endif
