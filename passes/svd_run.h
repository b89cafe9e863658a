/* One run of the svd pass: what its files share. */
#ifndef MC_PASSES_SVD_RUN_H
#define MC_PASSES_SVD_RUN_H

#include "passes/covariance.h"
#include "passes/influence.h"
#include "passes/pass.h"
#include "passes/svd_factor.h"
#include "passes/svd_plan.h"

enum mc_svd_norm_kind {
    MC_SVD_NORM_AUTO,
    MC_SVD_NORM_WEIGHTS, /* difference of the weights */
    MC_SVD_NORM_INPUTS,  /* difference of the layer's outputs on calibration samples */
    MC_SVD_NORM_OUTPUTS, /* what that does to the model's outputs */
};

struct mc_svd_run {
    struct mc_pass_ctx *ctx;
    struct mc_model *model;
    struct mc_linalg *la;
    enum mc_svd_method method;
    int64_t rank;        /* of --rank; 0: not given */
    double energy, keep; /* < 0: not given */
    enum mc_svd_norm_kind norm_kind;

    struct mc_svd_layers layers;
    struct mc_svd_spectrum *spectrum;           /* [layers.n]; filled in where a layer can change */
    struct mc_svd_choice *choice;               /* [layers.n] */
    uint64_t bytes_given;                       /* of the model before it was prepared */
    uint64_t bytes_before, bytes_after, target; /* of the model; target 0: none */
    bool missed;

    struct mc_cov *covs; /* inputs of the layers' sites */
    size_t n_covs, cap_covs;
    struct mc_influence *influence; /* of the layers' sites, from influence_of[layer] on */
    size_t n_influences, *influence_of;
};

/* Decide every layer's rank: choice[i].rank, or layers.item[i].reason where it stays as it is. */
int mc_svd_decide(struct mc_svd_run *r, struct mc_err *err);

/* Singular values of layer i, at least `want` of them (fewer where no more save bytes). */
int mc_svd_run_analyse(struct mc_svd_run *r, size_t i, int64_t want, struct mc_err *err);

/* Bytes the model will have with the ranks chosen now. */
int mc_svd_run_bytes(struct mc_svd_run *r, uint64_t *ret, struct mc_err *err);

/* Put the factors in place. */
int mc_svd_run_apply(struct mc_svd_run *r, struct mc_err *err);

#endif
