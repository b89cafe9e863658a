/* What the error of each layer is measured in. */
#ifndef MC_PASSES_SVD_NORM_H
#define MC_PASSES_SVD_NORM_H

#include "passes/svd/svd_run.h"

/* Gather what r->norm_kind needs from the calibration samples: covariances of inputs, influence on the
 * model's outputs. */
int mc_svd_norm_measure(struct mc_svd_run *r, struct mc_err *err);
void mc_svd_norm_release(struct mc_svd_run *r);
/* Is there anything to gather of layer i? Values inside bodies have no name outside. */
bool mc_svd_norm_measurable(const struct mc_svd_run *r, size_t i);

/* The norm of layer i; *ret_hold keeps its matrices until freed. */
struct mc_svd_norm_hold {
    struct mc_tensor *in, *out;
};
int mc_svd_norm_of(const struct mc_svd_run *r, size_t i, struct mc_svd_norm *ret,
                   struct mc_svd_norm_hold *ret_hold, struct mc_err *err);
void mc_svd_norm_free(struct mc_svd_norm_hold *h);

/* The same of one part of a layer that has several. */
int mc_svd_norm_of_part(const struct mc_svd_run *r, size_t i, int64_t part, struct mc_svd_norm *ret,
                        struct mc_svd_norm_hold *ret_hold, struct mc_err *err);

/* The same for some of a layer's outputs: rows [first, first + m) of W. */
int mc_svd_norm_of_rows(const struct mc_svd_run *r, size_t i, int64_t first, int64_t m,
                        struct mc_svd_norm *ret, struct mc_svd_norm_hold *ret_hold,
                        struct mc_err *err);

/* What all of layer i's error, `total` in that norm, is worth beside that of other layers. */
double mc_svd_norm_worth(const struct mc_svd_run *r, size_t i, double total);

/* Mean input at a site of layer i, or of one of its parts; NULL where its bias cannot take up the mean error. */
const float *mc_svd_norm_mean(const struct mc_svd_run *r, size_t i, size_t site);
const float *mc_svd_norm_mean_part(const struct mc_svd_run *r, size_t i, size_t site, int64_t part);

#endif
