/* Matrices whose blocks are circulant, and the best of them for a given matrix.
 *
 * W [m, channels * taps] is cut into blocks of b rows and b channels; in each block and tap, W[r, c] = col[(r - c) mod b].
 * Rows and channels behind the last whole block are as if the blocks there went on and nobody read them. One tap: a matrix.
 * Several: a convolution's window, circulant over channels.
 *
 * Nearest in least squares of W itself are the means along the wrapped diagonals. Nearest in what the layer gives for inputs
 * of covariance S is another matrix: with row r's weights being those of row 0, rotated, each block of rows is a
 * least-squares problem for row 0 over the inputs in all their rotations,
 *     sum_r R_r S R_rᵀ  w_0  =  sum_r R_r (Y Xᵀ)_r      R_r x [c] = x[(c + r) mod b] in every block,
 * whose matrix is the same for all blocks. A random matrix keeps 1/b of its energy in the first, while few directions of S matter
 * in practice: an eighth of the numbers keeps 94 % of what the first layer of the reference mlp gives, and 13 % of its
 * energy.
 * Source of the form: Cheng et al., An exploration of parameter redundancy in deep networks with circulant projections, ICCV
 * 2015; Ding et al., CirCNN, MICRO 2017. */
#ifndef MC_PASSES_CIRCULANT_FORM_H
#define MC_PASSES_CIRCULANT_FORM_H

#include <stdbool.h>

#include "kernels/linalg.h"

struct mc_circulant_form {
    int64_t m, channels, taps, b;
};

/* Blocks along rows and along channels; numbers that columns take, p q b taps. */
int64_t mc_circulant_form_p(const struct mc_circulant_form *f);
int64_t mc_circulant_form_q(const struct mc_circulant_form *f);
int64_t mc_circulant_form_count(const struct mc_circulant_form *f);

/* col [p, q, b, taps] nearest to w [m, channels * taps]: the mean of each wrapped diagonal, over what of it is in w. */
void mc_circulant_form_nearest(const struct mc_circulant_form *f, const float *w, float *col);
/* Share of the squares of w that those keep. Cost: as often as w is read, 2. */
double mc_circulant_form_energy(const struct mc_circulant_form *f, const float *w,
                                const float *col);
/* w [m, channels * taps] from its columns. */
void mc_circulant_form_dense(const struct mc_circulant_form *f, const float *col, float *w);

/* What the fit of all blocks shares: the rotated covariance, factorised. */
struct mc_circulant_fit {
    struct mc_circulant_form form;
    struct mc_linalg *la;
    int64_t n;   /* columns with padding: q b taps */
    float *l;    /* [n,n] Cholesky factor of sum_r R_r S R_rᵀ + ridge */
    float ridge; /* what was added to its diagonal */
};

/* second: covariance of inputs [n,n] with n = channels * taps, lower triangle; ridge is a share of the mean of its diagonal.
 * rows: of the block (b, or m mod b for a last one that is not whole).
 * Errors: MC_ENOMEM; MC_EFAIL, MC_EDATA where there is no solution. Cost: b n² + n³/3. Memory: n² floats. */
int mc_circulant_fit_begin(const struct mc_circulant_form *f, struct mc_linalg *la,
                           const float *second, double ridge, int64_t rows,
                           struct mc_circulant_fit *ret, struct mc_err *err);
void mc_circulant_fit_end(struct mc_circulant_fit *s);
/* The right side R_r k of one row k [channels * taps] of Y Xᵀ, as row r of its block: out [n]. */
void mc_circulant_fit_rotate(const struct mc_circulant_form *f, const float *k, int64_t r,
                             float *out);

/* col [p, q, b, taps] that minimises mean |y - W x|²: second as above, cross [m, channels * taps] = mean of y xᵀ (W S to stay near
 * a W). *ret_kept: what of mean |y|² W x explains; the rest is the error.
 * Errors and cost: as above, and 2 p n² operations more. The same numbers for any thread count. */
int mc_circulant_form_fit(const struct mc_circulant_form *f, struct mc_linalg *la,
                          const float *second, const float *cross, double ridge, float *col,
                          double *ret_kept, struct mc_err *err);

#endif
