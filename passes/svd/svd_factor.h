/* One layer's singular values in the norm that its error is measured in, and its factors.
 *
 * The error of W' in place of W is tr(Rᵀ G R C), R = W - W', with C [n,n] the covariance of the inputs and
 * G [m,m] what an error of the output costs; without them it is ‖R‖². With Cholesky factors C = K Kᵀ and
 * G = L Lᵀ it is ‖Lᵀ R K‖², whose best W' of rank r follows from Lᵀ W K = U S Vᵀ:
 *     W' = A B,  A = L⁻ᵀ U_r,  B = U_rᵀ Lᵀ W;     error = sum of s_i² beyond r.
 * Source: Eckart, Young, The approximation of one matrix by another of lower rank, 1936; with C alone it is
 * reduced-rank regression on the layer's own output (Izenman 1975). */
#ifndef MC_PASSES_SVD_FACTOR_H
#define MC_PASSES_SVD_FACTOR_H

#include "kernels/linalg.h"
#include "passes/layer/layer.h"

enum mc_svd_method { MC_SVD_AUTO, MC_SVD_EXACT, MC_SVD_RANDOM };

struct mc_svd_norm {
    const float *in;          /* K [n,n] lower, or NULL: identity */
    const float *in_diagonal; /* [n] of a diagonal K, instead of `in`; or NULL */
    const float *out;         /* L [m,m] lower, or NULL: identity */
};

struct mc_svd_spectrum {
    int64_t known; /* directions that are known: ranks up to here can be had */
    double
        total; /* squared error of dropping the layer: sum of the squares of all singular values */
    double *tail; /* [known + 1] what is left of it at each rank, as a share; tail[0] = 1 */
    struct mc_tensor *out; /* L⁻ᵀ U [m, known] */
    struct mc_tensor *in;  /* L U [m, known]; the same tensor without L */
};

/* At least `want` directions, at most the cap that saves bytes; *ret is zeroed or holds an older answer,
 * which is replaced. AUTO: exact where the smaller side is at most 512 or more than an 8th of the
 * directions are wanted, else randomised, iterated until the singular values are right to 1 %; where that takes too
 * long, exact after all. RANDOM takes what it has then.
 * Memory: a copy of W and, exact, 5 times W more, less than 2.5 times W more otherwise; results above
 * 1 MiB go to spill space. */
int mc_svd_analyse(struct mc_linalg *la, const struct mc_layer *l, const struct mc_svd_norm *norm,
                   enum mc_svd_method method, int64_t want, uint64_t seed, struct mc_spill *spill,
                   struct mc_svd_spectrum *ret, struct mc_err *err);
void mc_svd_spectrum_free(struct mc_svd_spectrum *s);

/* tr(Wᵀ G W C): the error of leaving W out. Memory: two copies of W. */
int mc_svd_whole_error(struct mc_linalg *la, const struct mc_layer *l,
                       const struct mc_svd_norm *norm, double *ret, struct mc_err *err);

/* A [m,rank] and B [rank,n], columns and rows of equal norms. shift[i] (mean[i] not NULL) receives what
 * makes up for the mean error at site i, (W - A B) mean, [m].  rank <= known. */
struct mc_svd_pair {
    float *a, *b;
    float **shift;
    size_t n_shift;
};
int mc_svd_pair(struct mc_linalg *la, const struct mc_layer *l, const struct mc_svd_spectrum *s,
                int64_t rank, const float *const *mean, struct mc_svd_pair *ret,
                struct mc_err *err);
void mc_svd_pair_free(struct mc_svd_pair *p);

#endif
