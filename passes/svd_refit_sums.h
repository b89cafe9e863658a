/* The last factor of a layer, fitted anew by least squares to what the layer gave in the original model.
 *
 * With t what the factor reads in the compressed model and e what the layer's output lacks there, both on the same
 * samples: the D that minimises mean |e - D t - d|² + ridge |D|² is added to the factor, d to its bias where it has one.
 * Errors of layers before it are so made up for (Wang et al., SVD-LLM, 2024, update layer by layer). */
#ifndef MC_PASSES_SVD_REFIT_SUMS_H
#define MC_PASSES_SVD_REFIT_SUMS_H

#include "graph/dataset.h"
#include "passes/svd_run.h"

struct mc_refit {
    struct mc_node *node; /* MatMul, Gemm or Conv with a constant weight that nobody else reads */
    struct mc_value *weight, *bias, *y; /* bias NULL: there is none, or it is not its own */
    bool out_major;                     /* stored [m,n], otherwise [n,m] */
    int64_t m, n;

    int64_t rows; /* while gathering */
    float *
        shift; /* [n] mean of t in the first batch, taken off against cancellation; 0 without a bias */
    double *sum_t, *sum_e;
    float *second,
        *cross; /* [n,n] lower triangle, [m,n]: sums of (t - shift)(t - shift)ᵀ, e (t - shift)ᵀ */
};

/* What gives the value in the graph that was compressed; false where that can not be fitted. */
bool mc_refit_find(struct mc_value *y, struct mc_refit *ret);

/* Add rows of one batch: t, the output as it is and as it should be. `all`: samples of all batches. */
int mc_refit_add(struct mc_refit *f, struct mc_linalg *la, const struct mc_array *t,
                 const struct mc_array *is, const struct mc_array *should, int64_t first,
                 int64_t samples, int64_t all, struct mc_err *err);
/* The ridge, as a share of the mean square of t's elements (about the mean where there is a bias). */
double mc_refit_ridge(int64_t n, int64_t rows);
/* Put the fitted factor and bias in place. Errors: MC_EDATA, MC_EFAIL where there is no solution. */
int mc_refit_solve(struct mc_refit *f, struct mc_linalg *la, struct mc_spill *spill,
                   struct mc_err *err);
void mc_refit_release(struct mc_refit *f);

#endif
