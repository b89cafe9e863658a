/* What readers see on samples, and what their errors cost at the outputs. */
#ifndef MC_PASSES_IMPORTANCE_OBS_MEASURE_H
#define MC_PASSES_IMPORTANCE_OBS_MEASURE_H

#include "passes/fit/covariance.h"
#include "passes/prune/importance_obs_find.h"
#include "passes/fit/influence.h"
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
/* Roots of what errors of the site's m = site->m / site->repeat channels cost: R, lower triangle, of R Rᵀ; or of the
 * diagonal alone, where there are too many channels. */
struct mc_obs_root {
    int64_t m;
    float *r, *diagonal; /* one of them */
};
int mc_obs_root(const struct mc_obs_stats *s, const struct mc_obs_site *site, struct mc_linalg *la,
                struct mc_obs_root *ret, struct mc_err *err);
void mc_obs_root_free(struct mc_obs_root *r);
/* Rows [first, first + k) of Rᵀ w to out, w [m, cols]. */
int mc_obs_weigh(const struct mc_obs_root *r, struct mc_linalg *la, int64_t first, int64_t k,
                 int64_t cols, const float *w, float *out, struct mc_err *err);

#endif
