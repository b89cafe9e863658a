#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/linalg_inside.h"

enum { OVERSAMPLE = 16 };

struct rsvd {
    struct mc_linalg *la;
    int64_t m, n, k, l; /* l: columns of the sketch */
    const float *a;
    int64_t lda;
    double tolerance; /* 0: all iterations are made */
    int power;
    uint64_t seed;
    float *q, *z;        /* [m,l], [n,l] */
    float *r, *copy;     /* [l,l] */
    float *left, *right; /* [l,l] */
    float *value, *last; /* [l] */
    double off;
    struct mc_linalg_sketch *gpu; /* has A, Q and Z, which are not on the host then; or NULL */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "randomised singular values: out of memory");
}

static float *floats(int64_t rows, int64_t cols)
{
    size_t bytes;
    if (!mc_size_mul((size_t)rows, (size_t)cols, &bytes) ||
        !mc_size_mul(bytes, sizeof(float), &bytes))
        return NULL;
    return mc_alloc_aligned(bytes);
}

static int alloc(struct rsvd *s, struct mc_err *err)
{
    s->q = floats(s->m, s->l);
    s->z = floats(s->n, s->l);
    s->r = floats(s->l, s->l);
    s->copy = floats(s->l, s->l);
    s->left = floats(s->l, s->l);
    s->right = floats(s->l, s->l);
    s->value = floats(s->l, 1);
    s->last = floats(s->l, 1);
    bool ok = s->q && s->z && s->r && s->copy && s->left && s->right && s->value && s->last;
    return ok ? 0 : no_memory(err);
}

static void release(struct rsvd *s)
{
    free(s->q);
    free(s->z);
    free(s->r);
    free(s->copy);
    free(s->left);
    free(s->right);
    free(s->value);
    free(s->last);
}

/* Q = orth(A X), X [n,l] in z. */
static int there(struct rsvd *s, struct mc_err *err)
{
    if (s->gpu)
        return mc_linalg_sketch_there(s->gpu, err);
    int rc = mc_linalg_gemm(s->la, 'n', 'n', s->m, s->l, s->n, 1, s->a, s->lda, s->z, s->l, 0, s->q,
                            s->l, err);
    return rc ? rc : mc_linalg_qr(s->la, s->m, s->l, s->q, s->l, NULL, 0, err);
}

/* Z R = Aᵀ Q, and R = W diag(value) Uᵀ: Qᵀ A = U diag(value) (Z W)ᵀ. */
static int back(struct rsvd *s, struct mc_err *err)
{
    int64_t l = s->l;
    if (s->gpu)
        return mc_linalg_sketch_back(s->gpu, s->r, err);
    int rc =
        mc_linalg_gemm(s->la, 't', 'n', s->n, l, s->m, 1, s->a, s->lda, s->q, l, 0, s->z, l, err);
    return rc ? rc : mc_linalg_qr(s->la, s->n, l, s->z, l, s->r, l, err);
}

static int small(struct rsvd *s, struct mc_err *err)
{
    int64_t l = s->l;
    memcpy(s->copy, s->r, (size_t)(l * l) * sizeof *s->r);
    memcpy(s->last, s->value, (size_t)l * sizeof *s->value);
    return mc_linalg_svd(s->la, l, l, s->copy, l, s->left, l, s->value, s->right, l, err);
}

/* By how much values are too small after iteration i, told by what it changed. Where values lie close together they come
 * nearer like 1 / i, so that what is left is i / 2 of the last change; a little more is on the safe side for Gaussian
 * noise, square and 4:1, and values like i^-1/2 and 0.99^i, up to 9 iterations. */
static double estimate(const struct rsvd *s, int i)
{
    double most = 0;
    for (int64_t j = 0; j < s->k; j++)
        if (s->value[j] > 1e-6f * s->value[0])
            most = fmax(most, fabs((double)s->value[j] - s->last[j]) / s->value[j]);
    return most * (1 + 0.5 * i);
}

static int iterate(struct rsvd *s, struct mc_err *err)
{
    int rc;
    s->off = INFINITY;
    for (int i = 0;; i++) {
        if ((rc = there(s, err)) || (rc = back(s, err)))
            return rc;
        if (s->tolerance > 0 || i == s->power)
            if ((rc = small(s, err)))
                return rc;
        if (s->tolerance > 0 && i > 0)
            s->off = estimate(s, i);
        if (i == s->power || s->off <= s->tolerance)
            return mc_interrupt_check(err);
    }
}

static int rsvd(struct rsvd *s, float *u, int64_t ldu, float *value, float *vt, int64_t ldvt,
                struct mc_err *err)
{
    int64_t m = s->m, n = s->n, k = s->k, l = s->l;
    int rc = alloc(s, err);
    if (!rc) {
        mc_rng_fill_normal(s->seed, 0, 0, s->z, (size_t)(n * l));
        int there = mc_linalg_sketch_open(s->la, m, n, l, s->a, s->lda, s->z, &s->gpu, err);
        rc = there < 0 ? there : iterate(s, err);
        if (!rc && s->gpu)
            rc = mc_linalg_sketch_get(s->gpu, s->q, s->z, err);
        mc_linalg_sketch_close(s->gpu);
        s->gpu = NULL;
    }
    if (!rc)
        rc = mc_linalg_gemm(s->la, 'n', 't', m, k, l, 1, s->q, l, s->right, l, 0, u, ldu, err);
    if (!rc)
        rc = mc_linalg_gemm(s->la, 't', 't', k, n, l, 1, s->left, l, s->z, l, 0, vt, ldvt, err);
    if (!rc)
        memcpy(value, s->value, (size_t)k * sizeof *value);
    release(s);
    return rc;
}

static int check(const struct rsvd *s, struct mc_err *err)
{
    int64_t r = s->m < s->n ? s->m : s->n;
    if (s->k < 0 || s->k > r)
        return mc_fail(err, MC_ESHAPE, "randomised singular values: rank %lld of a %lld x %lld",
                       (long long)s->k, (long long)s->m, (long long)s->n);
    return 0;
}

/* What is infinite later comes of products that overflow. */
static int run(struct rsvd *s, float *u, int64_t ldu, float *value, float *vt, int64_t ldvt,
               struct mc_err *err)
{
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < s->n; j++)
            if (!isfinite(s->a[i * s->lda + j]))
                return mc_fail(
                    err, MC_EDATA,
                    "randomised singular values: element (%lld, %lld) of the matrix is %s",
                    (long long)i, (long long)j, isnan(s->a[i * s->lda + j]) ? "NaN" : "infinite");
    int rc = check(s, err);
    if (rc || s->k == 0)
        return rc;
    rc = rsvd(s, u, ldu, value, vt, ldvt, err);
    if (rc == MC_EDATA)
        rc = mc_fail(err, MC_EFAIL, "randomised singular values: the elements are too large");
    return rc;
}

static int64_t sketch(int64_t m, int64_t n, int64_t l)
{
    int64_t r = m < n ? m : n;
    return l < r ? l : r;
}

int mc_linalg_rsvd(struct mc_linalg *la, int64_t m, int64_t n, int64_t k, int power, uint64_t seed,
                   const float *a, int64_t lda, float *u, int64_t ldu, float *s, float *vt,
                   int64_t ldvt, struct mc_err *err)
{
    struct rsvd job = {.la = la, .m = m, .n = n, .k = k, .a = a, .lda = lda};
    job.l = sketch(m, n, k + OVERSAMPLE);
    job.power = power;
    job.seed = seed;
    return run(&job, u, ldu, s, vt, ldvt, err);
}

int mc_linalg_rsvd_to(struct mc_linalg *la, int64_t m, int64_t n, int64_t k, double tolerance,
                      int power, uint64_t seed, const float *a, int64_t lda, float *u, int64_t ldu,
                      float *s, float *vt, int64_t ldvt, double *ret_off, struct mc_err *err)
{
    struct rsvd job = {.la = la, .m = m, .n = n, .k = k, .a = a, .lda = lda};
    job.l = sketch(m, n, k + k / 2 + OVERSAMPLE);
    job.tolerance = tolerance;
    job.power = power;
    job.seed = seed;
    int rc = run(&job, u, ldu, s, vt, ldvt, err);
    if (!rc)
        *ret_off = k == 0 || job.l == (m < n ? m : n) ? 0 : job.off;
    return rc;
}
