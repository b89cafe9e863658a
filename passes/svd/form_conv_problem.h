/* A convolution's weight and the norm its error is measured in, laid out for fits that keep a structure.
 *
 * The error of W' in place of W is tr((W - W')ᵀ G (W - W') C), as in svd_factor.h. All structured forms end in a
 * product with a free matrix, so that G goes into the weight: X = Lᵀ W, the error is ‖(X - X') K‖², and what was
 * found for X' turns back by L⁻ᵀ. */
#ifndef MC_PASSES_FORM_CONV_PROBLEM_H
#define MC_PASSES_FORM_CONV_PROBLEM_H

#include "passes/svd/svd_factor.h"

struct mc_conv_problem {
    int64_t m, n;
    float *w;         /* [m,n] as the model has it */
    float *x;         /* [m,n] Lᵀ W */
    float *cov;       /* C [n,n], both triangles; NULL: identity */
    float *xc;        /* [m,n] X C; x itself without C */
    const float *out; /* L [m,m], borrowed, or NULL */
    double total;     /* tr(X C Xᵀ) */
};

/* w [m,n] is taken over in any case. norm must outlive the problem.
 * Cost: n³/3 + 2mn² operations. Memory: n² + 3mn floats. */
int mc_conv_problem_make(struct mc_linalg *la, float *w, int64_t m, int64_t n,
                         const struct mc_svd_norm *norm, struct mc_conv_problem *ret,
                         struct mc_err *err);
void mc_conv_problem_free(struct mc_conv_problem *p);

/* L⁻ᵀ P in place, P [m,k]. */
int mc_conv_unweigh(struct mc_linalg *la, const struct mc_conv_problem *p, int64_t k, float *x,
                    struct mc_err *err);

/* ---- what the fits share ---- */

float *mc_conv_floats(int64_t rows, int64_t cols); /* NULL: too many */
double mc_conv_dot(const float *x, const float *y, int64_t n);
int mc_conv_no_memory(struct mc_err *err);
/* Cholesky factor of a [n,n], with as much on its diagonal as that takes, from `ridge` of its mean on. An a of zeros
 * becomes the identity. */
int mc_conv_cholesky(struct mc_linalg *la, int64_t n, float *a, double ridge, struct mc_err *err);
/* S⁻¹ from both sides as a linear solve: x [m,n] := x S⁻¹ (right) or S⁻¹ x (left), S = L Lᵀ. */
int mc_conv_solve(struct mc_linalg *la, char side, int64_t m, int64_t n, const float *l, float *x,
                  struct mc_err *err);

/* A few steps of preconditioned conjugate gradients on a positive semidefinite system of n unknowns, from x on; rhs is
 * overwritten. The quadratic that it belongs to does not rise. */
struct mc_conv_system {
    int64_t n;
    int (*apply)(const void *ctx, const float *x, float *y, struct mc_err *err);
    int (*precondition)(const void *ctx, const float *x, float *y, struct mc_err *err);
    const void *ctx;
};
int mc_conv_descend(const struct mc_conv_system *s, float *x, float *rhs, struct mc_err *err);

/* Ranks worth trying, at most max: all small ones, then each a sixth more than the last, and max. Returns how
 * many, at most MC_CONV_RANKS. */
enum { MC_CONV_RANKS = 96 };
size_t mc_conv_ranks(int64_t max, int64_t ret[MC_CONV_RANKS]);

#endif
