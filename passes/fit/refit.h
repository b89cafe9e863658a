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

/* Of the samples of one fold, group by group: sums of t - shift [n], of e [m] and its square; (t - shift)(t - shift)ᵀ [n,n],
 * lower triangle, and e (t - shift)ᵀ [m,n]. */
struct mc_refit_sums {
    int64_t rows;
    double *t, *e, *square;
    float *second, *cross;
};

/* The rows themselves: [groups,most,n] less the shift, [groups,most,m]. */
struct mc_refit_kept {
    int64_t most;
    float *t, *is, *should;
};

struct mc_refit {
    /* MatMul, Gemm, Conv or ConvTranspose with a constant weight that nobody else reads. bias NULL: there is none, or it is
     * not its own. y: where its result is compared. */
    struct mc_node *node;
    struct mc_value *x, *weight, *bias, *y;
    int64_t groups, m, n; /* m, n: of one group */
    /* Element i, j of a group's weight is at group * at_group + i * at_m + j / taps * at_n + j % taps. */
    int64_t at_group, at_m, at_n, taps;
    bool columns; /* rows lie along the last axis but one */
    /* [groups * m] of y by the product and by the bias; NULL: 1. */
    float *slope, *slope_bias;
    /* What is below low and above high is all the same behind y. */
    bool clipped;
    float low, high;

    /* To be set before the first batch. 2 folds: the ridge is chosen, and whether to fit at all, by fitting one half of the
     * samples and measuring on the other; 1: mc_refit_ridge says it. keeps: floats that rows may take; most: that sums may, 0: any number. Where they are
     * enough, what a clip hides is seen, round by round, and where there are fewer rows than n, no matrix [n,n] is made. */
    int folds;
    int64_t keeps, most;

    /* Taken off t against cancellation: its mean in the first batch [groups * n]; 0 without a bias. */
    float *shift;
    struct mc_refit_sums sums[MC_REFIT_FOLDS];
    struct mc_refit_kept kept[MC_REFIT_FOLDS];
    bool few;         /* the sums have no second and no cross */
    bool clipped_now; /* e is counted behind the clip, in later rounds */
    /* After solving with folds, mean squares of e: before; of each half, after what the other says. */
    double was, is;
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
void mc_refit_release(struct mc_refit *f);

#endif
