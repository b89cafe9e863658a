/* Layers by themselves: the covariance of what each reads in the model as it is, and the best blocks for it. What a search
 * compares. */
#ifndef MC_PASSES_CIRCULANT_LOCAL_H
#define MC_PASSES_CIRCULANT_LOCAL_H

#include "passes/circulant/circulant_run.h"
#include "passes/circulant/circulant_target.h"
#include "passes/fit/covariance.h"

struct mc_circulant_local {
    struct mc_cov
        *cov; /* [layers.n] those that can be measured have rows; NULL: there are no samples */
    size_t n;
};

/* Errors: MC_ENOMEM, MC_EINTR; what running gives. Cost: one run, and rows n² operations a layer. */
int mc_circulant_local_measure(struct mc_circulant_run *r, struct mc_circulant_local *ret,
                               struct mc_err *err);
void mc_circulant_local_free(struct mc_circulant_local *s);

/* Columns of layer i in blocks of f->b: fitted where its inputs are known, else nearest. *gather (in, out): the order of its inputs
 * [n]; `choose`: it is still to be chosen, NULL if they stay as they come; otherwise it is kept. *ret_error: lost share of
 * the mean square of its outputs (of the squares of its weights). ret_col: [mc_circulant_form_count]. */
int mc_circulant_local_fit(struct mc_circulant_run *r, const struct mc_circulant_local *s, size_t i,
                           const struct mc_circulant_form *f, bool choose, int64_t **gather,
                           float *ret_col, double *ret_error, struct mc_err *err);

/* Fit f to t in ret_col; first (choose) with inputs shuffled as `seed` says where that leaves clearly less, and t turned so:
 * *ret_gather is their order then. */
int mc_circulant_fit_inputs(struct mc_linalg *la, const struct mc_circulant_form *f, uint64_t seed,
                            struct mc_circulant_target *t, double ridge, bool choose,
                            int64_t **ret_gather, float *ret_col, double *ret_kept,
                            struct mc_err *err);

#endif
