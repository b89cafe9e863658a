/* What readers see on samples, and what their errors cost at the outputs. */
#ifndef MC_PASSES_IMPORTANCE_OBS_MEASURE_H
#define MC_PASSES_IMPORTANCE_OBS_MEASURE_H

#include "passes/covariance.h"
#include "passes/importance_obs_find.h"
#include "passes/influence.h"
#include "passes/pass.h"

struct mc_obs_stats {
    struct mc_cov *cov;
    size_t n_cov, cap_cov;
    struct mc_influence *influence;
    size_t n_influence, cap_influence;
    bool nats; /* influences are there */
    int64_t samples;
};

/* Fills in cov and influence of the sites. Errors: what running and reading give; MC_ENOMEM. */
int mc_obs_measure(const struct mc_pass_ctx *ctx, const struct mc_model *m, struct mc_linalg *la,
                   struct mc_obs_sites *sites, struct mc_obs_stats *ret, struct mc_err *err);
void mc_obs_stats_free(struct mc_obs_stats *s);

/* C [n,n] of a site in a new buffer, lower triangle, n = s->n / s->fold, with a ridge that grows with the rows that are
 * lacking; about the mean or not. Errors: MC_ENOMEM. */
int mc_obs_second(const struct mc_obs_stats *s, const struct mc_obs_site *site, bool about_mean,
                  float **ret, struct mc_err *err);
/* What it costs that positions a and b of x are zero: their share of the square. k [n,n], lower triangle: what errors of x
 * cost; NULL: x is a value whose influence was measured. */
double mc_obs_missing(const struct mc_obs_stats *s, const struct mc_obs_site *site, const float *k,
                      int64_t a, int64_t b);
/* w [m, cols] gives way to Rᵀ w, where R Rᵀ is what errors of the site's outputs cost; m = site->m / site->repeat. */
int mc_obs_weigh(const struct mc_obs_stats *s, const struct mc_obs_site *site, struct mc_linalg *la,
                 int64_t m, int64_t cols, float **w, struct mc_err *err);

#endif
