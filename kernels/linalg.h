/* Dense linear algebra on f32 matrices for the passes: LAPACKE/OpenBLAS on the CPU; with a GPU, what is large enough to be
 * worth moving there and fits, products by cuBLAS and factorisations by cuSOLVER. Matrices are host memory.
 *
 * Row-major, element (i,j) at a[i*ld + j]. A handle names the backend and its threads; LAPACK runs
 * single-threaded (its bits change with the thread count), parallelism is over matrices.
 * Errors: MC_EDATA on NaN or infinity in the input, MC_EFAIL on no convergence, MC_ENOMEM. */
#ifndef MC_KERNELS_LINALG_H
#define MC_KERNELS_LINALG_H

#include <stdint.h>

#include "base/err.h"
#include "base/interrupt.h"

struct mc_linalg;
struct mc_gpu;
int mc_linalg_new(const char *device /* "cpu" */, struct mc_linalg **ret, struct mc_err *err);
/* With a GPU (borrowed; NULL: without), which no other thread uses meanwhile but through this handle. */
int mc_linalg_new_on(struct mc_gpu *gpu, struct mc_linalg **ret, struct mc_err *err);
void mc_linalg_free(struct mc_linalg *la);

/* The kernels that OpenBLAS runs on ("SkylakeX"). */
const char *mc_linalg_core(void);
/* Better ones that it has for this CPU, NULL where it chose well or where the user chose by
 * OPENBLAS_CORETYPE: the library reads that variable once, when it is loaded. Releases older than a CPU take
 * it for a Prescott: sgemm at 22 instead of 120 GFLOP/s. */
const char *mc_linalg_better_core(void);

/* C[m,n] = alpha op(A) op(B) + beta C; ta/tb: 'n' or 't'. */
int mc_linalg_gemm(struct mc_linalg *la, char ta, char tb, int64_t m, int64_t n, int64_t k,
                   float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                   float beta, float *c, int64_t ldc, struct mc_err *err);

/* Lower triangle of C[n,n] = alpha Aᵀ A + beta C, A [k,n]; the upper triangle is left alone. */
int mc_linalg_syrk(struct mc_linalg *la, int64_t n, int64_t k, float alpha, const float *a,
                   int64_t lda, float beta, float *c, int64_t ldc, struct mc_err *err);

/* Thin SVD: A[m,n] = U diag(s) Vt, r = min(m,n), U [m,r], s [r] descending, Vt [r,n]; A is destroyed.
 * sgesdd. Memory: about 6 times A at the worst; see the body for what is avoided. */
int mc_linalg_svd(struct mc_linalg *la, int64_t m, int64_t n, float *a, int64_t lda, float *u,
                  int64_t ldu, float *s, float *vt, int64_t ldvt, struct mc_err *err);
/* Randomised SVD of rank k <= min(m,n): U [m,k], s [k], Vt [k,n]; A is kept. `power` power iterations,
 * QR between; sketch of k + 16 columns; the same numbers for the same seed. Singular values come out too small: by 8 %
 * with two iterations for a matrix of noise, whose values lie close together.
 * Cost: about 4 (power + 1) m n (k + 16) operations. Memory: 2 (m + n) (k + 16) floats.
 * Source: Halko, Martinsson, Tropp, Finding Structure with Randomness, SIAM Review 2011, alg. 4.4 + 5.1. */
int mc_linalg_rsvd(struct mc_linalg *la, int64_t m, int64_t n, int64_t k, int power, uint64_t seed,
                   const float *a, int64_t lda, float *u, int64_t ldu, float *s, float *vt,
                   int64_t ldvt, struct mc_err *err);
/* The same, iterated until the k singular values are right to `tolerance` (0.01: 1 %) by an estimate, at most `power`
 * times; sketch of 3/2 k + 16 columns. *ret_off: the estimate of the largest relative error that is left, above
 * tolerance where it was not reached. */
int mc_linalg_rsvd_to(struct mc_linalg *la, int64_t m, int64_t n, int64_t k, double tolerance,
                      int power, uint64_t seed, const float *a, int64_t lda, float *u, int64_t ldu,
                      float *s, float *vt, int64_t ldvt, double *ret_off, struct mc_err *err);
/* A[m,n], m >= n, overwritten by the thin Q of A = QR; R [n,n] upper, or NULL. */
int mc_linalg_qr(struct mc_linalg *la, int64_t m, int64_t n, float *a, int64_t lda, float *r,
                 int64_t ldr, struct mc_err *err);
/* Symmetric A[n,n] = V diag(w) Vᵀ, w ascending, A overwritten by V (columns). Lower triangle is read. */
int mc_linalg_eigh(struct mc_linalg *la, int64_t n, float *a, int64_t lda, float *w,
                   struct mc_err *err);
/* Lower Cholesky factor of a symmetric positive definite A, in place; the upper triangle is zeroed.
 * MC_EFAIL if it is not positive definite. */
int mc_linalg_cholesky(struct mc_linalg *la, int64_t n, float *a, int64_t lda, struct mc_err *err);
/* Solve X L = B (right) or L X = B (left), L lower [n,n]; trans: Lᵀ. B [m,n] or [n,m] is overwritten. */
int mc_linalg_trsm(struct mc_linalg *la, char side, char trans, int64_t m, int64_t n,
                   const float *l, int64_t ldl, float *b, int64_t ldb, struct mc_err *err);
/* Least squares min ‖A X - B‖, A [m,n] of full column rank, m >= n, B [m,r] overwritten by X in its first n rows. A is destroyed. */
int mc_linalg_lstsq(struct mc_linalg *la, int64_t m, int64_t n, int64_t r, float *a, int64_t lda,
                    float *b, int64_t ldb, struct mc_err *err);

#endif
