/* One run of the svd pass: what its files share. */
#ifndef MC_PASSES_SVD_RUN_H
#define MC_PASSES_SVD_RUN_H

#include "passes/fit/covariance.h"
#include "passes/fit/influence.h"
#include "passes/svd/merge.h"
#include "passes/pass.h"
#include "passes/svd/svd_factor.h"
#include "passes/svd/svd_item.h"
#include "passes/svd/svd_probe.h"
#include "passes/svd/svd_ranks.h"

enum mc_svd_norm_kind {
    MC_SVD_NORM_AUTO,
    MC_SVD_NORM_WEIGHTS, /* difference of the weights */
    MC_SVD_NORM_INPUTS,  /* difference of the layer's outputs on calibration samples */
    MC_SVD_NORM_OUTPUTS, /* what that does to the model's outputs */
};

struct mc_conv_last;

struct mc_svd_run {
    struct mc_pass_ctx *ctx;
    struct mc_model *model;
    struct mc_linalg *la;
    enum mc_svd_method method;
    struct mc_svd_ranks ranks; /* of --rank */
    double energy, keep;       /* < 0: not given */
    bool by_macs;              /* the plan's budget is of multiply-accumulates, not of bytes */
    enum mc_svd_norm_kind norm_kind;

    struct mc_merges merges; /* pairs of the model as it was given that are one layer here */
    struct mc_layers layers;
    double *raw_total; /* [layers.n] what leaving it out costs in its norm; NAN: not known yet */
    struct mc_svd_item *item; /* what is decided as a whole */
    size_t n_items, cap_items;
    uint64_t bytes_given;                       /* of the model before it was prepared */
    uint64_t bytes_before, bytes_after, target; /* of the model; target 0: none */
    bool missed;
    struct mc_err miss; /* what to say of it */
    json_t *search;     /* its report, where there was one */

    struct mc_conv_last *conv; /* the convolution that forms worked on last */

    struct mc_svd_probe probe; /* to measure in; empty: in the model itself */
    struct mc_cov *covs;       /* inputs of the layers' sites */
    size_t n_covs, cap_covs;
    struct mc_influence *influence; /* of the layers' sites, from influence_of[layer] on */
    size_t n_influences, *influence_of;
};

/* Decide for every item: at and point, or a reason why it stays as it is. */
int mc_svd_decide(struct mc_svd_run *r, struct mc_err *err);

/* What a layer's squared error in its norm (tr Rᵀ G R C) has to be multiplied with to be comparable with those of other
 * layers; raw_total must be known. */
double mc_svd_run_scale(struct mc_svd_run *r, size_t layer);
/* The comparable error of leaving a layer out; makes raw_total known. */
int mc_svd_run_total(struct mc_svd_run *r, size_t layer, double *ret, struct mc_err *err);

/* A clone of the model with the points chosen now in place. */
int mc_svd_run_build(struct mc_svd_run *r, bool sizes_only, struct mc_model **ret,
                     struct mc_err *err);
/* Bytes it will have. */
int mc_svd_run_bytes(struct mc_svd_run *r, uint64_t *ret, struct mc_err *err);

/* The model as it was given, but for pairs whose product is no larger: those stay merged. */
int mc_svd_run_leave(struct mc_svd_run *r, struct mc_err *err);
/* Put the factors in place. */
int mc_svd_run_apply(struct mc_svd_run *r, struct mc_err *err);

/* The forms. */
extern const struct mc_svd_form mc_svd_form_matrix;
extern const struct mc_svd_form mc_svd_form_stored;
extern const struct mc_svd_form mc_svd_form_together;
extern const struct mc_svd_form mc_svd_form_apart;
extern const struct mc_svd_form mc_svd_form_split;
extern const struct mc_svd_form mc_svd_form_input, mc_svd_form_tucker;
extern const struct mc_svd_form mc_svd_form_spatial, mc_svd_form_spatial_row;
extern const struct mc_svd_form mc_svd_form_separable, mc_svd_form_group;

#endif
