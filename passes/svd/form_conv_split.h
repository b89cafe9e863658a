/* Factors over a part of a convolution's columns.
 *
 * The n columns of W are pairs of a `inner` index of a values and an `outer` one of b. A first convolution of r
 * channels sees only the inner index, a second one the outer:
 *     W'[o, (β,α)] = sum over ρ of P[o, (β,ρ)] T[ρ, α],      T [r,a], P [m, b r].
 * inner = channels, outer = window: 1x1, then k x k. inner = channels and rows of the window, outer = its
 * columns: k x 1, then 1 x k.
 *
 * For given T the best P is a linear regression, for given P the best T is one too. The first T are the singular
 * vectors with C ≈ C_outer ⊗ C_inner in place of C, which is exact without C; from there both are improved in turn,
 * T by conjugate gradients that the same approximation preconditions. A P of rank s < m gives Tucker's form (Tucker
 * 1966; alternating as in De Lathauwer, De Moor, Vandewalle, On the best rank-1 and rank-(R1,…,RN) approximation of
 * higher-order tensors, 2000, but in this norm). */
#ifndef MC_PASSES_FORM_CONV_SPLIT_H
#define MC_PASSES_FORM_CONV_SPLIT_H

#include "passes/svd/form_conv_problem.h"

struct mc_conv_split {
    const struct mc_conv_problem *p;
    const int64_t *column; /* [n] column of W at (β,α) */
    int64_t m, n, a, b;
    float *x, *xc, *cov; /* of the problem with columns in this order; cov NULL: identity */
    float *inner;        /* Cholesky factor of C_inner [a,a]; NULL: identity */
    float *outer;        /* C_outer [b,b], of mean diagonal 1; NULL: identity */
    float *start;        /* [known, a] first T, rows by falling share */
    int64_t known;
};

/* column must outlive it. At least `want` directions or as many as there are.
 * Cost: without the SVD of a mb x a matrix a copy of C. */
int mc_conv_split_make(struct mc_linalg *la, const struct mc_conv_problem *p, const int64_t *column,
                       int64_t a, int64_t b, int64_t want, uint64_t seed, struct mc_conv_split *ret,
                       struct mc_err *err);
void mc_conv_split_free(struct mc_conv_split *s);

struct mc_conv_fit {
    int64_t r, s; /* s: rank of P in Tucker's form, or 0 */
    float *t;     /* [r,a] */
    float *p;     /* [m, b r], columns (β,ρ) */
    float *left;  /* [m,s] orthonormal, P = left core; s = 0: NULL */
    float *core;  /* [s, b r] */
    double error;
    double *tail; /* [m + 1] where asked for: error at each rank of P with this T */
};

/* rank r <= known, s as above (0: free P). sweeps: how often T and P are improved in turn.
 * Cost: about (1 + 4 sweeps) (2 r n² + …) operations. */
int mc_conv_fit(struct mc_linalg *la, const struct mc_conv_split *s, int64_t r, int64_t rank_p,
                int sweeps, bool tail, struct mc_conv_fit *ret, struct mc_err *err);
void mc_conv_fit_free(struct mc_conv_fit *f);
/* X' in the order of W's columns, new [m,n]. */
int mc_conv_fit_dense(struct mc_linalg *la, const struct mc_conv_split *s,
                      const struct mc_conv_fit *f, float **ret, struct mc_err *err);
/* Operations of a fit. */
double mc_conv_fit_work(const struct mc_conv_split *s, int64_t r, int sweeps);

#endif
