/* A product with a constant, fitted anew by least squares to what it gave in another model.
 *
 * With t what the product reads in the changed model and e what its result lacks there, both on the same samples: the D
 * that minimises mean |e - D t - d|² + ridge |D|² is added to the weight, d to the bias where there is one. Errors of what
 * stands before it are so made up for (Wang et al., SVD-LLM, 2024, update layer by layer; He, Zhang, Sun, Channel Pruning
 * for Accelerating Very Deep Neural Networks, ICCV 2017, also for the sum behind a branch).
 *
 *     mc_refit_of(node, &f);  mc_refit_behind(&f);
 *     for every batch: mc_refit_add(&f, la, t, is, should, …)
 *     mc_refit_solve(&f, la, spill, err);  mc_refit_release(&f) */
#ifndef MC_PASSES_REFIT_H
#define MC_PASSES_REFIT_H

#include "base/threads.h"
#include "graph/dataset.h"
#include "graph/graph.h"
#include "kernels/linalg.h"

enum { MC_REFIT_FOLDS = 2 };

struct mc_refit_sums { /* of the samples of one fold; [groups] of each */
    int64_t rows;
    double *t, *e, *square; /* [n], [m], [m]: sums of t - shift, of e, of e² */
    float *second,
        *cross; /* [n,n] lower triangle, [m,n]: (t - shift)(t - shift)ᵀ, e (t - shift)ᵀ */
};

struct mc_refit {
    struct mc_node *
        node; /* MatMul, Gemm, Conv or ConvTranspose with a constant weight that nobody else reads */
    struct mc_value *x, *weight, *bias; /* bias NULL: there is none, or it is not its own */
    struct mc_value *y;                 /* where its result is compared */
    int64_t groups, m, n;               /* m, n: of one group */
    int64_t at_m, at_n,
        at_group;              /* where a weight's elements lie: strides of i, j / taps, group; */
    int64_t taps;              /* j = channel * taps + tap, taps together */
    bool columns;              /* rows lie along the last axis but one */
    float *slope, *slope_bias; /* [groups * m] of y by the product and by the bias; NULL: 1 */
    bool clipped;              /* what is below low and above high is all the same behind y */
    float low, high;

    int folds; /* 2: the ridge is chosen, and whether to fit at all, by fitting one half of the samples and
                * measuring on the other; otherwise mc_refit_ridge says it */
    bool again; /* sums of t are there from an earlier run over the same samples: only e is added */
    float *
        shift; /* [groups * n] mean of t in the first batch, taken off against cancellation; 0 without a bias */
    struct mc_refit_sums sums[MC_REFIT_FOLDS];
    double was,
        is; /* after solving with folds: mean square of e before, and by the other half after */
};

/* The product of a node; false where it cannot be fitted. */
bool mc_refit_of(struct mc_node *n, struct mc_refit *ret);
/* What gives the value: a product, or one whose bias is added by an Add of its own. */
bool mc_refit_find(struct mc_value *y, struct mc_refit *ret);
/* Move y behind BatchNormalization, and behind Add with a value that is there before the node runs, as long as nobody
 * else reads it; take over a bias found there, and the bounds of a Relu or Clip behind it. Errors: MC_ENOMEM. */
int mc_refit_behind(struct mc_refit *f, struct mc_err *err);

/* Add rows of one batch: t, and y as it is and as it should be, of one shape. `all`: samples of all batches.
 * Errors: MC_ESHAPE, MC_EDTYPE, MC_ENOMEM. Cost: rows n (n + m) operations a group; of many rows a sample only some. */
int mc_refit_add(struct mc_refit *f, struct mc_linalg *la, struct mc_pool *pool,
                 const struct mc_array *t, const struct mc_array *is, const struct mc_array *should,
                 int64_t first, int64_t samples, int64_t all, struct mc_err *err);
/* The ridge, as a share of the mean square of t's elements (about the mean where there is a bias). */
double mc_refit_ridge(int64_t n, int64_t rows);
/* Put the fitted weight and bias in place. *ret_better (may be NULL): false where, by folds, nothing is better than no
 * change, and nothing is changed then. Errors: MC_EDATA, MC_EFAIL where there is no solution. */
int mc_refit_solve(struct mc_refit *f, struct mc_linalg *la, struct mc_spill *spill,
                   bool *ret_better, struct mc_err *err);
/* For another round over the same samples: sums of e are zero again, those of t stay. */
void mc_refit_again(struct mc_refit *f);
void mc_refit_release(struct mc_refit *f);

#endif
