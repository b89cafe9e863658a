#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/threads.h"
#include "kernels/gpu.h"
#include "kernels/linalg_inside.h"

static struct mc_linalg *la;
static struct mc_gpu *gpu;
static struct mc_err err;

/* Sizes around LAPACK's block of 32 and its crossovers, tall, wide, square and single. */
static const int64_t shapes[][2] = {{1, 1},  {1, 7},  {7, 1},   {5, 5},    {31, 31}, {32, 33},
                                    {64, 3}, {3, 64}, {65, 64}, {127, 40}, {40, 127}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static float *gauss(uint64_t seed, int64_t rows, int64_t cols)
{
    float *a = mc_calloc((size_t)(rows * cols), sizeof *a);
    assert_non_null(a);
    mc_rng_fill_normal(seed, 9, 0, a, (size_t)(rows * cols));
    return a;
}

static float *copy(const float *a, int64_t n)
{
    float *b = mc_calloc((size_t)n, sizeof *b);
    assert_non_null(b);
    memcpy(b, a, (size_t)n * sizeof *b);
    return b;
}

/* C = op(A) op(B) in f64, by definition. */
static double *product(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a,
                       int64_t lda, const float *b, int64_t ldb)
{
    double *c = mc_calloc((size_t)(m * n), sizeof *c);
    assert_non_null(c);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t p = 0; p < k; p++)
                c[i * n + j] += (double)(ta ? a[p * lda + i] : a[i * lda + p]) *
                                (tb ? b[j * ldb + p] : b[p * ldb + j]);
    return c;
}

static void close_to(const double *want, const float *got, int64_t n, double tol)
{
    double top = 0, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        assert_true(isfinite(got[i]));
        top = fmax(top, fabs(want[i]));
        worst = fmax(worst, fabs(want[i] - got[i]));
    }
    if (!(worst <= tol * top))
        fail_msg("error %g of %g", worst, top);
}

static void orthonormal(bool rows, const float *q, int64_t m, int64_t n, int64_t ld)
{
    int64_t k = rows ? m : n;
    double *g = product(!rows, rows, k, k, rows ? n : m, q, ld, q, ld);
    for (int64_t i = 0; i < k * k; i++)
        assert_true(fabs(g[i] - (i % (k + 1) == 0)) <= 5e-6);
    free(g);
}

/* Q1 diag(w) Q2ᵀ with random orthonormal Q1 [m,r], Q2 [n,r]. */
static float *with_spectrum(uint64_t seed, int64_t m, int64_t n, int64_t r, const float *w)
{
    float *q1 = gauss(seed, m, r), *q2 = gauss(seed + 1, n, r), *a = gauss(0, m, n);
    assert_int_equal(mc_linalg_qr(la, m, r, q1, r, NULL, 0, &err), 0);
    assert_int_equal(mc_linalg_qr(la, n, r, q2, r, NULL, 0, &err), 0);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < r; j++)
            q1[i * r + j] *= w[j];
    assert_int_equal(mc_linalg_gemm(la, 'n', 't', m, n, r, 1, q1, r, q2, r, 0, a, n, &err), 0);
    free(q1);
    free(q2);
    return a;
}

static void gemm_is_the_definition(void **state)
{
    (void)state;
    for (int t = 0; t < 4; t++)
        for (int s = 0; s < N_SHAPES; s++) {
            bool ta = t & 1, tb = t & 2;
            int64_t m = shapes[s][0], n = shapes[s][1], k = 29, pad = 3;
            int64_t lda = (ta ? m : k) + pad, ldb = (tb ? k : n) + pad;
            float *a = gauss(1, ta ? k : m, lda), *b = gauss(2, tb ? n : k, ldb);
            float *c = gauss(3, m, n + pad), *was = copy(c, m * (n + pad));
            double *want = product(ta, tb, m, n, k, a, lda, b, ldb);
            assert_int_equal(mc_linalg_gemm(la, ta ? 't' : 'n', tb ? 't' : 'n', m, n, k, 0.5f, a,
                                            lda, b, ldb, 2, c, n + pad, &err),
                             0);
            for (int64_t i = 0; i < m; i++) {
                double row[130];
                for (int64_t j = 0; j < n; j++)
                    row[j] = 0.5 * want[i * n + j] + 2 * was[i * (n + pad) + j];
                for (int64_t j = 0; j < n; j++)
                    assert_true(fabs(row[j] - c[i * (n + pad) + j]) <= 2e-5);
                assert_memory_equal(c + i * (n + pad) + n, was + i * (n + pad) + n,
                                    (size_t)pad * sizeof *c);
            }
            free(a);
            free(b);
            free(c);
            free(was);
            free(want);
        }
}

static void syrk_is_the_lower_product(void **state)
{
    (void)state;
    int64_t k = 37, n = 21;
    float *a = gauss(4, k, n), *c = gauss(5, n, n), *was = copy(c, n * n);
    double *want = product(true, false, n, n, k, a, n, a, n);
    assert_int_equal(mc_linalg_syrk(la, n, k, 2, a, n, 0.5f, c, n, &err), 0);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if (j > i)
                assert_true(c[i * n + j] == was[i * n + j]);
            else
                assert_true(fabs(2 * want[i * n + j] + 0.5 * was[i * n + j] - c[i * n + j]) <=
                            1e-4);
    free(a);
    free(c);
    free(was);
    free(want);
}

static void svd_reconstructs(void **state)
{
    (void)state;
    for (int t = 0; t < N_SHAPES; t++) {
        int64_t m = shapes[t][0], n = shapes[t][1], r = m < n ? m : n, pad = 2;
        float *a = gauss(10 + (uint64_t)t, m, n + pad), *keep = copy(a, m * (n + pad));
        float *u = gauss(0, m, r + pad), *vt = gauss(0, r, n + pad), s[130];
        assert_int_equal(mc_linalg_svd(la, m, n, a, n + pad, u, r + pad, s, vt, n + pad, &err), 0);
        orthonormal(false, u, m, r, r + pad);
        orthonormal(true, vt, r, n, n + pad);
        for (int64_t i = 0; i < r; i++) {
            assert_true(s[i] >= 0 && (i == 0 || s[i] <= s[i - 1]));
            for (int64_t j = 0; j < m; j++)
                u[j * (r + pad) + i] *= s[i];
        }
        double *back = product(false, false, m, n, r, u, r + pad, vt, n + pad);
        for (int64_t i = 0; i < m; i++)
            close_to(back + i * n, keep + i * (n + pad), n, 2e-5);
        free(a);
        free(keep);
        free(u);
        free(vt);
        free(back);
    }
}

/* Closed form: the path's difference matrix [n-1,n] has singular values 2 sin(pi k / 2n). */
static void svd_of_a_difference_matrix(void **state)
{
    (void)state;
    enum { N = 50 };
    float a[(N - 1) * N] = {0}, u[(N - 1) * (N - 1)], s[N - 1], vt[(N - 1) * N];
    for (int i = 0; i < N - 1; i++) {
        a[i * N + i] = 1;
        a[i * N + i + 1] = -1;
    }
    assert_int_equal(mc_linalg_svd(la, N - 1, N, a, N, u, N - 1, s, vt, N, &err), 0);
    for (int k = 1; k < N; k++)
        assert_true(fabs(s[N - 1 - k] - 2 * sin(M_PI * k / (2 * N))) <= 2e-6);
}

/* The Hilbert matrix: its determinant's closed form against the product of the singular values, at a
 * size where single precision still resolves the smallest. */
static void svd_of_a_hilbert_matrix(void **state)
{
    (void)state;
    enum { N = 4 };
    float a[N * N], u[N * N], s[N], vt[N * N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            a[i * N + j] = 1.0f / (float)(i + j + 1);
    assert_int_equal(mc_linalg_svd(la, N, N, a, N, u, N, s, vt, N, &err), 0);
    double det = (double)s[0] * s[1] * s[2] * s[3];
    assert_true(fabs(det * 6048000 - 1) <= 0.02); /* 1 / det H4 = 6048000 */
}

static void rsvd_agrees_with_sgesdd(void **state)
{
    (void)state;
    int64_t m = 180, n = 140, r = 140, k = 20;
    float w[140], s[140], sr[20];
    for (int64_t i = 0; i < r; i++)
        w[i] = 3 * powf(0.8f, (float)i) + 1e-3f;
    for (int wide = 0; wide < 2; wide++) {
        float *a = wide ? with_spectrum(20, n, m, r, w) : with_spectrum(20, m, n, r, w);
        int64_t rows = wide ? n : m, cols = wide ? m : n;
        float *keep = copy(a, m * n), *u = gauss(0, rows, r), *vt = gauss(0, r, cols);
        float *ur = gauss(0, rows, k), *vr = gauss(0, k, cols);
        assert_int_equal(
            mc_linalg_rsvd(la, rows, cols, k, 2, 7, a, cols, ur, k, sr, vr, cols, &err), 0);
        assert_memory_equal(a, keep, (size_t)(m * n) * sizeof *a);
        assert_int_equal(mc_linalg_svd(la, rows, cols, a, cols, u, r, s, vt, cols, &err), 0);
        for (int64_t i = 0; i < r; i++)
            assert_true(fabsf(s[i] - w[i]) <= 1e-5f);
        for (int64_t i = 0; i < k; i++)
            assert_true(fabsf(sr[i] - s[i]) <= 1e-5f);
        orthonormal(false, ur, rows, k, k);
        orthonormal(true, vr, k, cols, cols);
        free(a);
        free(keep);
        free(u);
        free(vt);
        free(ur);
        free(vr);
    }
}

enum spectrum { NOISE, ROOT, GEOMETRIC, STEPS, EQUAL, SPECTRA };

static float *of_spectrum(enum spectrum kind, int64_t m, int64_t n)
{
    float *w = gauss(0, n, 1), *a = gauss(21, m, n);
    for (int64_t i = 0; i < n; i++)
        w[i] = kind == ROOT        ? 1 / sqrtf((float)i + 1)
               : kind == GEOMETRIC ? powf(0.99f, (float)i)
               : kind == STEPS     ? powf(0.9f, (float)(i / 16))
                                   : 1;
    if (kind != NOISE) {
        free(a);
        a = with_spectrum(21, m, n, n, w);
    }
    free(w);
    return a;
}

/* The singular values kept are right to 1 %, and the estimate says no less than what they are off, for values that
 * fall and values that lie close together. Too few iterations are told. */
static void rsvd_to_one_percent(void **state)
{
    (void)state;
    enum { N = 192 };
    float *u = gauss(0, 4 * N, N), *vt = gauss(0, N, N), s[N], exact[N];
    for (int kind = 0; kind < SPECTRA; kind++)
        for (int64_t m = N; m <= 4 * N; m *= 4)
            for (int64_t k = N / 32; k <= N / 4; k *= 2) {
                double off = -1, most = 0;
                float *a = of_spectrum((enum spectrum)kind, m, N);
                assert_int_equal(
                    mc_linalg_rsvd_to(la, m, N, k, 0.01, 20, 7, a, N, u, k, s, vt, N, &off, &err),
                    0);
                orthonormal(false, u, m, k, k);
                orthonormal(true, vt, k, N, N);
                assert_int_equal(mc_linalg_svd(la, m, N, a, N, u, N, exact, vt, N, &err), 0);
                for (int64_t i = 0; i < k; i++)
                    most = fmax(most, fabs((double)s[i] / exact[i] - 1));
                if (!(off <= 0.01 && most <= 0.01 && most <= off + 1e-4))
                    fail_msg("values %d, %d x %d, rank %d: %g off, told %g", kind, (int)m, N,
                             (int)k, most, off);
                free(a);
            }
    double off = 0;
    float *a = of_spectrum(NOISE, N, N);
    assert_int_equal(mc_linalg_rsvd_to(la, N, N, 12, 0.01, 2, 7, a, N, u, 12, s, vt, N, &off, &err),
                     0);
    assert_true(off > 0.03);
    /* a sketch of all columns is exact; a matrix of zeros has nothing to be off */
    assert_int_equal(mc_linalg_rsvd_to(la, 20, 20, 9, 0.01, 0, 7, a, N, u, 9, s, vt, N, &off, &err),
                     0);
    assert_true(off == 0);
    memset(a, 0, N * N * sizeof *a);
    assert_int_equal(mc_linalg_rsvd_to(la, N, N, 12, 0.01, 5, 7, a, N, u, 12, s, vt, N, &off, &err),
                     0);
    assert_true(off == 0 && s[0] == 0);
    free(a);
    free(u);
    free(vt);
}

static void rsvd_of_every_rank(void **state)
{
    (void)state;
    for (int64_t k = 1; k <= 12; k++) {
        float *a = gauss(30, 12, 17), u[12 * 12], s[12], vt[12 * 17];
        assert_int_equal(mc_linalg_rsvd(la, 12, 17, k, 0, 1, a, 17, u, k, s, vt, 17, &err), 0);
        orthonormal(false, u, 12, k, k);
        orthonormal(true, vt, k, 17, 17);
        free(a);
    }
    float one = 1, u, s, v;
    assert_int_equal(mc_linalg_rsvd(la, 1, 1, 2, 0, 1, &one, 1, &u, 1, &s, &v, 1, &err), MC_ESHAPE);
}

static void qr_reconstructs(void **state)
{
    (void)state;
    for (int t = 0; t < N_SHAPES; t++) {
        int64_t m = shapes[t][0], n = shapes[t][1], pad = 1;
        float *a = gauss(40, m, n + pad), *keep = copy(a, m * (n + pad)), *r = gauss(0, n, n);
        int rc = mc_linalg_qr(la, m, n, a, n + pad, r, n, &err);
        assert_int_equal(rc, m < n ? MC_ESHAPE : 0);
        if (!rc) {
            orthonormal(false, a, m, n, n + pad);
            double *back = product(false, false, m, n, n, a, n + pad, r, n);
            for (int64_t i = 0; i < m; i++)
                close_to(back + i * n, keep + i * (n + pad), n, 5e-5);
            for (int64_t i = 1; i < n; i++)
                assert_true(r[i * n] == 0);
            free(back);
        }
        free(a);
        free(keep);
        free(r);
    }
}

/* Closed form: the second difference matrix has eigenvalues 4 sin²(pi k / 2(n+1)). */
static void eigh_of_a_second_difference(void **state)
{
    (void)state;
    enum { N = 45, LD = N + 2 };
    float a[N * LD] = {0}, w[N];
    for (int i = 0; i < N; i++) {
        a[i * LD + i] = 2;
        if (i)
            a[i * LD + i - 1] = -1;
        for (int j = i + 1; j < N; j++)
            a[i * LD + j] = NAN; /* never read */
    }
    assert_int_equal(mc_linalg_eigh(la, N, a, LD, w, &err), 0);
    orthonormal(false, a, N, N, LD);
    for (int k = 1; k <= N; k++) {
        double want = 4 * pow(sin(M_PI * k / (2 * (N + 1))), 2);
        assert_true(fabs(w[k - 1] - want) <= 1e-5);
        for (int i = 0; i < N; i++) { /* A v = w v */
            double av = 2.0 * a[i * LD + k - 1];
            av -= i ? a[(i - 1) * LD + k - 1] : 0;
            av -= i < N - 1 ? a[(i + 1) * LD + k - 1] : 0;
            assert_true(fabs(av - want * a[i * LD + k - 1]) <= 2e-5);
        }
    }
}

static void cholesky_and_solves(void **state)
{
    (void)state;
    int64_t n = 33, m = 9;
    float *g = gauss(50, n, n), *c = gauss(0, n, n);
    assert_int_equal(mc_linalg_gemm(la, 'n', 't', n, n, n, 1, g, n, g, n, 0, c, n, &err), 0);
    for (int64_t i = 0; i < n; i++)
        c[i * n + i] += 1;
    float *l = copy(c, n * n);
    assert_int_equal(mc_linalg_cholesky(la, n, l, n, &err), 0);
    double *back = product(false, true, n, n, n, l, n, l, n);
    close_to(back, c, n * n, 5e-6);
    for (int64_t i = 0; i < n - 1; i++)
        assert_true(l[i * n + i + 1] == 0);
    for (int t = 0; t < 4; t++) {
        bool left = t & 1, trans = t & 2;
        int64_t rows = left ? n : m, cols = left ? m : n;
        float *b = gauss(51, rows, cols), *x = copy(b, rows * cols);
        assert_int_equal(
            mc_linalg_trsm(la, left ? 'l' : 'r', trans ? 't' : 'n', m, n, l, n, x, cols, &err), 0);
        double *bx = left ? product(trans, false, n, m, n, l, n, x, m)
                          : product(false, trans, m, n, n, x, n, l, n);
        close_to(bx, b, rows * cols, 1e-4);
        free(b);
        free(x);
        free(bx);
    }
    c[0] = -1;
    assert_int_equal(mc_linalg_cholesky(la, n, c, n, &err), MC_EFAIL);
    free(g);
    free(c);
    free(l);
    free(back);
}

/* The residual of a least-squares solution is orthogonal to the columns of A. */
static void lstsq_residual_is_orthogonal(void **state)
{
    (void)state;
    int64_t m = 50, n = 12, r = 3;
    float *a = gauss(60, m, n), *b = gauss(61, m, r);
    float *ac = copy(a, m * n), *x = copy(b, m * r);
    assert_int_equal(mc_linalg_lstsq(la, m, n, r, ac, n, x, r, &err), 0);
    double *ax = product(false, false, m, r, n, a, n, x, r);
    for (int64_t j = 0; j < n; j++)
        for (int64_t k = 0; k < r; k++) {
            double dot = 0;
            for (int64_t i = 0; i < m; i++)
                dot += a[i * n + j] * (b[i * r + k] - ax[i * r + k]);
            assert_true(fabs(dot) <= 1e-4);
        }
    free(a);
    free(b);
    free(ac);
    free(x);
    free(ax);
}

static void not_finite_is_refused(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        float a[4] = {1, 0, 0, 1}, b[4] = {1, 2, 3, 4}, u[4], s[2], v[4];
        a[2] = bad[i];
        assert_int_equal(mc_linalg_svd(la, 2, 2, a, 2, u, 2, s, v, 2, &err), MC_EDATA);
        assert_non_null(strstr(err.msg, "(1, 0)"));
        assert_int_equal(mc_linalg_rsvd(la, 2, 2, 1, 1, 0, a, 2, u, 1, s, v, 2, &err), MC_EDATA);
        assert_int_equal(mc_linalg_gemm(la, 'n', 'n', 2, 2, 2, 1, b, 2, a, 2, 0, u, 2, &err),
                         MC_EDATA);
        assert_int_equal(mc_linalg_qr(la, 2, 2, a, 2, NULL, 0, &err), MC_EDATA);
        assert_int_equal(mc_linalg_eigh(la, 2, a, 2, s, &err), MC_EDATA);
        assert_int_equal(mc_linalg_cholesky(la, 2, a, 2, &err), MC_EDATA);
        assert_int_equal(mc_linalg_trsm(la, 'r', 'n', 2, 2, a, 2, b, 2, &err), MC_EDATA);
        assert_int_equal(mc_linalg_lstsq(la, 2, 2, 2, b, 2, a, 2, &err), MC_EDATA);
        assert_int_equal(mc_linalg_syrk(la, 2, 2, 1, a, 2, 0, u, 2, &err), MC_EDATA);
    }
    /* Finite elements whose products are not. */
    float big[4] = {3e38f, 3e38f, 3e38f, -3e38f}, u[4], s[2], v[4];
    assert_int_equal(mc_linalg_rsvd(la, 2, 2, 2, 1, 0, big, 2, u, 2, s, v, 2, &err), MC_EFAIL);
}

static void devices(void **state)
{
    (void)state;
    struct mc_linalg *other;
    assert_int_equal(mc_linalg_new("abacus", &other, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "abacus"));
}

/* ---- the same bits from any number of threads ---- */

enum { JOBS = 6, SIDE = 96 };

struct jobs {
    float *a[JOBS], *u[JOBS], *vt[JOBS], s[JOBS][SIDE];
};

static void one_job(void *ctx, int64_t i, int worker)
{
    (void)worker;
    struct jobs *j = ctx;
    int64_t n = SIDE;
    if (i % 2)
        mc_linalg_svd(la, n, n, j->a[i], n, j->u[i], n, j->s[i], j->vt[i], n, NULL);
    else
        mc_linalg_rsvd(la, n, n, 20, 2, 3, j->a[i], n, j->u[i], n, j->s[i], j->vt[i], n, NULL);
}

static void run_jobs(int threads, struct jobs *j)
{
    struct mc_pool *pool;
    assert_int_equal(mc_pool_new(threads, &pool, &err), 0);
    for (int i = 0; i < JOBS; i++) {
        j->a[i] = gauss(70 + (uint64_t)i, SIDE, SIDE);
        j->u[i] = mc_calloc(SIDE * SIDE, sizeof(float));
        j->vt[i] = mc_calloc(SIDE * SIDE, sizeof(float));
        memset(j->s[i], 0, sizeof j->s[i]);
    }
    mc_pool_run(pool, JOBS, one_job, j);
    mc_pool_free(pool);
}

static void threads_do_not_change_bits(void **state)
{
    (void)state;
    struct jobs one, two;
    run_jobs(1, &one);
    run_jobs(2, &two);
    for (int i = 0; i < JOBS; i++) {
        assert_true(one.s[i][0] > 1);
        assert_memory_equal(one.s[i], two.s[i], sizeof one.s[i]);
        assert_memory_equal(one.u[i], two.u[i], SIDE * SIDE * sizeof(float));
        assert_memory_equal(one.vt[i], two.vt[i], SIDE * SIDE * sizeof(float));
        free(one.a[i]);
        free(one.u[i]);
        free(one.vt[i]);
        free(two.a[i]);
        free(two.u[i]);
        free(two.vt[i]);
    }
}

static int setup(void **state)
{
    (void)state;
    const char *device = getenv("MC_LINALG_DEVICE"); /* one of the simulation, for every size */
    if (!device)
        return mc_linalg_new("cpu", &la, &err);
    int rc = mc_gpu_open(device, NULL, &gpu, &err);
    rc = rc ? rc : mc_linalg_new_on(gpu, &la, &err);
    if (!rc)
        la->always = true;
    return rc;
}

static int teardown(void **state)
{
    struct mc_gpu_memory left = {0};
    (void)state;
    mc_linalg_free(la);
    if (gpu)
        mc_gpu_memory(gpu, &left);
    mc_gpu_close(gpu);
    if (left.used)
        return -1;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_is_the_definition),
        cmocka_unit_test(syrk_is_the_lower_product),
        cmocka_unit_test(svd_reconstructs),
        cmocka_unit_test(svd_of_a_difference_matrix),
        cmocka_unit_test(svd_of_a_hilbert_matrix),
        cmocka_unit_test(rsvd_agrees_with_sgesdd),
        cmocka_unit_test(rsvd_of_every_rank),
        cmocka_unit_test(rsvd_to_one_percent),
        cmocka_unit_test(qr_reconstructs),
        cmocka_unit_test(eigh_of_a_second_difference),
        cmocka_unit_test(cholesky_and_solves),
        cmocka_unit_test(lstsq_residual_is_orthogonal),
        cmocka_unit_test(not_finite_is_refused),
        cmocka_unit_test(devices),
        cmocka_unit_test(threads_do_not_change_bits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
