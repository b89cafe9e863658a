#include "kernels/linalg_inside.h"

#include <cblas.h>
#include <float.h>
#include <lapacke.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

/* LAPACK is column-major: a row-major A[m,n] is, in the same memory, the column-major Aᵀ[n,m]. Every
 * routine below is called on that transpose, so nothing is copied. */

int mc_linalg_new_on(struct mc_gpu *gpu, struct mc_linalg **ret, struct mc_err *err)
{
    struct mc_linalg *la = mc_calloc(1, sizeof *la);
    if (!la)
        return mc_fail(err, MC_ENOMEM, "linear algebra: out of memory");
    la->gpu = gpu;
    /* OpenBLAS changes the bits of 3-80 % of a product's elements between one thread and two. */
    openblas_set_num_threads(1);
    *ret = la;
    return 0;
}

int mc_linalg_new(const char *device, struct mc_linalg **ret, struct mc_err *err)
{
    if (strcmp(device, "cpu") != 0)
        return mc_fail(err, MC_EUNSUP, "linear algebra: no backend for device '%s'", device);
    return mc_linalg_new_on(NULL, ret, err);
}

void mc_linalg_free(struct mc_linalg *la)
{
    free(la);
}

/* ---- what every routine checks ---- */

static int no_memory(struct mc_err *err, const char *what)
{
    return mc_fail(err, MC_ENOMEM, "%s: out of memory", what);
}

static int check_size(const char *what, int64_t rows, int64_t cols, int64_t ld, struct mc_err *err)
{
    if (rows < 0 || cols < 0 || ld < cols || rows > INT_MAX || ld > INT_MAX)
        return mc_fail(err, MC_ESHAPE,
                       "%s: a matrix of %lld x %lld is more than LAPACK's 32-bit sizes hold", what,
                       (long long)rows, (long long)cols);
    return 0;
}

/* Counts instead of leaving early: the loop vectorises. */
static bool finite_row(const float *a, int64_t n)
{
    int bad = 0; /* n is at most INT_MAX */
    for (int64_t j = 0; j < n; j++)
        bad += !(fabsf(a[j]) <= FLT_MAX);
    return bad == 0;
}

static int check_finite(const char *what, const float *a, int64_t rows, int64_t cols, int64_t ld,
                        struct mc_err *err)
{
    int rc = check_size(what, rows, cols, ld, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < rows; i++)
        if (!finite_row(a + i * ld, cols)) {
            int64_t j = 0;
            while (isfinite(a[i * ld + j]))
                j++;
            return mc_fail(err, MC_EDATA, "%s: element (%lld, %lld) of the matrix is %s", what,
                           (long long)i, (long long)j, isnan(a[i * ld + j]) ? "NaN" : "infinite");
        }
    return 0;
}

/* Name of the answer of a LAPACK routine: info < 0 is our own mistake or its failed allocation. */
static int check_info(const char *what, lapack_int info, const char *trouble, struct mc_err *err)
{
    if (info == 0)
        return 0;
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return no_memory(err, what);
    return mc_fail(err, MC_EFAIL, "%s: %s (LAPACK info %d)", what, trouble, (int)info);
}

static float *floats(int64_t rows, int64_t cols)
{
    size_t bytes;
    if (!mc_size_mul((size_t)rows, (size_t)cols, &bytes) ||
        !mc_size_mul(bytes, sizeof(float), &bytes))
        return NULL;
    return mc_alloc_aligned(bytes);
}

/* ---- products and solves ---- */

static CBLAS_TRANSPOSE op(char t)
{
    return t == 't' ? CblasTrans : CblasNoTrans;
}

static void gemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                 int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, op(ta), op(tb), (int)m, (int)n, (int)k, alpha, a, (int)lda, b,
                (int)ldb, beta, c, (int)ldc);
}

int mc_linalg_gemm(struct mc_linalg *la, char ta, char tb, int64_t m, int64_t n, int64_t k,
                   float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                   float beta, float *c, int64_t ldc, struct mc_err *err)
{
    bool at = ta == 't', bt = tb == 't';
    int rc = check_finite("matrix product", a, at ? k : m, at ? m : k, lda, err);
    if (!rc)
        rc = check_finite("matrix product", b, bt ? n : k, bt ? k : n, ldb, err);
    if (!rc)
        rc = check_size("matrix product", m, n, ldc, err);
    if (!rc)
        rc = mc_linalg_gpu_gemm(la, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, err);
    if (rc)
        return rc < 0 ? rc : 0;
    if (m > 0 && n > 0)
        gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return rc;
}

int mc_linalg_syrk(struct mc_linalg *la, int64_t n, int64_t k, float alpha, const float *a,
                   int64_t lda, float beta, float *c, int64_t ldc, struct mc_err *err)
{
    int rc = check_finite("covariance", a, k, n, lda, err);
    if (!rc)
        rc = check_size("covariance", n, n, ldc, err);
    if (!rc)
        rc = mc_linalg_gpu_syrk(la, n, k, alpha, a, lda, beta, c, ldc, err);
    if (rc)
        return rc < 0 ? rc : 0;
    if (n > 0)
        cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, (int)n, (int)k, alpha, a, (int)lda, beta,
                    c, (int)ldc);
    return rc;
}

int mc_linalg_trsm(struct mc_linalg *la, char side, char trans, int64_t m, int64_t n,
                   const float *l, int64_t ldl, float *b, int64_t ldb, struct mc_err *err)
{
    (void)la;
    bool left = side == 'l';
    int64_t rows = left ? n : m, cols = left ? m : n;
    int rc = check_finite("triangular solve", l, n, n, ldl, err);
    if (!rc)
        rc = check_finite("triangular solve", b, rows, cols, ldb, err);
    for (int64_t i = 0; !rc && i < n; i++)
        if (l[i * ldl + i] == 0)
            rc = mc_fail(err, MC_EFAIL, "triangular solve: element %lld of the diagonal is 0",
                         (long long)i);
    if (!rc && rows > 0 && cols > 0)
        cblas_strsm(CblasRowMajor, left ? CblasLeft : CblasRight, CblasLower, op(trans),
                    CblasNonUnit, (int)rows, (int)cols, 1, l, (int)ldl, b, (int)ldb);
    return rc;
}

/* ---- factorisations ---- */

/* Aᵀ = V diag(s) Uᵀ: LAPACK's left vectors (column-major V, [n,r]) are our Vt row by row, its right ones
 * our U. Workspace is asked for and allocated here: the answer comes as a float, which above 2^24 may be
 * rounded down. */
static int svd(int64_t m, int64_t n, float *a, int64_t lda, float *u, int64_t ldu, float *s,
               float *vt, int64_t ldvt, struct mc_err *err)
{
    int64_t r = m < n ? m : n;
    if (r == 0)
        return 0;
    lapack_int *iwork = mc_calloc((size_t)r, 8 * sizeof *iwork);
    float *work = NULL, ask = 0;
    int rc = no_memory(err, "singular values");
    if (!iwork)
        goto out;
    lapack_int info =
        LAPACKE_sgesdd_work(LAPACK_COL_MAJOR, 'S', (lapack_int)n, (lapack_int)m, a, (lapack_int)lda,
                            s, vt, (lapack_int)ldvt, u, (lapack_int)ldu, &ask, -1, iwork);
    if ((rc = check_info("singular values", info, "refused", err)))
        goto out;
    ask = nextafterf(ask, INFINITY);
    if (!(ask < 0x1p31f)) {
        rc = mc_fail(err, MC_ESHAPE, "singular values: %lld x %lld is too large for LAPACK",
                     (long long)m, (long long)n);
        goto out;
    }
    lapack_int lwork = (lapack_int)ask + 1;
    rc = no_memory(err, "singular values");
    if (!(work = floats(lwork, 1)))
        goto out;
    info =
        LAPACKE_sgesdd_work(LAPACK_COL_MAJOR, 'S', (lapack_int)n, (lapack_int)m, a, (lapack_int)lda,
                            s, vt, (lapack_int)ldvt, u, (lapack_int)ldu, work, lwork, iwork);
    rc = check_info("singular values", info, "no convergence", err);
out:
    free(work);
    free(iwork);
    return rc;
}

int mc_linalg_svd(struct mc_linalg *la, int64_t m, int64_t n, float *a, int64_t lda, float *u,
                  int64_t ldu, float *s, float *vt, int64_t ldvt, struct mc_err *err)
{
    int rc = check_finite("singular values", a, m, n, lda, err);
    if (!rc)
        rc = mc_linalg_gpu_svd(la, m, n, a, lda, u, ldu, s, vt, ldvt, err);
    if (rc)
        return rc < 0 ? rc : 0;
    return svd(m, n, a, lda, u, ldu, s, vt, ldvt, err);
}

/* A = QR is Aᵀ = Rᵀ Qᵀ: an LQ factorisation of what LAPACK sees. */
static int qr(int64_t m, int64_t n, float *a, int64_t lda, float *r, int64_t ldr,
              struct mc_err *err)
{
    if (n == 0)
        return 0;
    float *tau = floats(n, 1);
    if (!tau)
        return no_memory(err, "QR");
    lapack_int info =
        LAPACKE_sgelqf(LAPACK_COL_MAJOR, (lapack_int)n, (lapack_int)m, a, (lapack_int)lda, tau);
    int rc = check_info("QR", info, "refused", err);
    if (!rc && r)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                r[i * ldr + j] = j < i ? 0 : a[i * lda + j];
    if (!rc) {
        info = LAPACKE_sorglq(LAPACK_COL_MAJOR, (lapack_int)n, (lapack_int)m, (lapack_int)n, a,
                              (lapack_int)lda, tau);
        rc = check_info("QR", info, "refused", err);
    }
    free(tau);
    return rc;
}

int mc_linalg_qr(struct mc_linalg *la, int64_t m, int64_t n, float *a, int64_t lda, float *r,
                 int64_t ldr, struct mc_err *err)
{
    if (m < n)
        return mc_fail(err, MC_ESHAPE, "QR: %lld rows are fewer than %lld columns", (long long)m,
                       (long long)n);
    int rc = check_finite("QR", a, m, n, lda, err);
    if (!rc)
        rc = mc_linalg_gpu_qr(la, m, n, a, lda, r, ldr, err);
    if (rc)
        return rc < 0 ? rc : 0;
    return qr(m, n, a, lda, r, ldr, err);
}

static void transpose_square(float *a, int64_t n, int64_t lda)
{
    enum { TILE = 32 };
    for (int64_t i0 = 0; i0 < n; i0 += TILE)
        for (int64_t j0 = 0; j0 <= i0; j0 += TILE)
            for (int64_t i = i0; i < n && i < i0 + TILE; i++)
                for (int64_t j = j0; j < i && j < j0 + TILE; j++) {
                    float t = a[i * lda + j];
                    a[i * lda + j] = a[j * lda + i];
                    a[j * lda + i] = t;
                }
}

int mc_linalg_eigh(struct mc_linalg *la, int64_t n, float *a, int64_t lda, float *w,
                   struct mc_err *err)
{
    int rc = 0;
    for (int64_t i = 0; !rc && i < n; i++)
        rc = check_finite("eigenvalues", a + i * lda, 1, i + 1, lda, err);
    if (!rc)
        rc = mc_linalg_gpu_eigh(la, n, a, lda, w, err);
    if (rc || n == 0)
        return rc < 0 ? rc : 0;
    /* ssyevd's own formula for its workspace; LAPACKE would read it back from a rounded float. */
    int64_t lwork = 1 + 6 * n + 2 * n * n, liwork = 3 + 5 * n;
    if (lwork > INT_MAX)
        return mc_fail(err, MC_ESHAPE, "eigenvalues: %lld x %lld is too large for LAPACK",
                       (long long)n, (long long)n);
    float *work = floats(lwork, 1);
    lapack_int *iwork = mc_calloc((size_t)liwork, sizeof *iwork);
    if (!work || !iwork) {
        rc = no_memory(err, "eigenvalues");
    } else {
        lapack_int info =
            LAPACKE_ssyevd_work(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)n, a, (lapack_int)lda, w,
                                work, (lapack_int)lwork, iwork, (lapack_int)liwork);
        rc = check_info("eigenvalues", info, "no convergence", err);
    }
    if (!rc)
        transpose_square(a, n, lda);
    free(work);
    free(iwork);
    return rc;
}

int mc_linalg_cholesky(struct mc_linalg *la, int64_t n, float *a, int64_t lda, struct mc_err *err)
{
    (void)la;
    int rc = 0;
    for (int64_t i = 0; !rc && i < n; i++)
        rc = check_finite("Cholesky", a + i * lda, 1, i + 1, lda, err);
    if (rc || n == 0)
        return rc;
    lapack_int info = LAPACKE_spotrf_work(LAPACK_COL_MAJOR, 'U', (lapack_int)n, a, (lapack_int)lda);
    rc = check_info("Cholesky", info, "the matrix is not positive definite", err);
    for (int64_t i = 0; !rc && i < n; i++)
        memset(a + i * lda + i + 1, 0, (size_t)(n - i - 1) * sizeof *a);
    return rc;
}

int mc_linalg_lstsq(struct mc_linalg *la, int64_t m, int64_t n, int64_t r, float *a, int64_t lda,
                    float *b, int64_t ldb, struct mc_err *err)
{
    (void)la;
    if (m < n)
        return mc_fail(err, MC_ESHAPE, "least squares: %lld equations for %lld unknowns",
                       (long long)m, (long long)n);
    int rc = check_finite("least squares", a, m, n, lda, err);
    if (!rc)
        rc = check_finite("least squares", b, m, r, ldb, err);
    if (rc || n == 0 || r == 0)
        return rc;
    float *bt = floats(r, m); /* column-major [m,r] */
    if (!bt)
        return no_memory(err, "least squares");
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < r; j++)
            bt[j * m + i] = b[i * ldb + j];
    lapack_int info = LAPACKE_sgels(LAPACK_COL_MAJOR, 'T', (lapack_int)n, (lapack_int)m,
                                    (lapack_int)r, a, (lapack_int)lda, bt, (lapack_int)m);
    rc = check_info("least squares", info, "the columns of A are dependent", err);
    for (int64_t i = 0; !rc && i < n; i++)
        for (int64_t j = 0; j < r; j++)
            b[i * ldb + j] = bt[j * m + i];
    free(bt);
    return rc;
}
