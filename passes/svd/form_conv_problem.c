#include "passes/svd/form_conv_problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int mc_conv_no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the factors of a convolution");
}

float *mc_conv_floats(int64_t rows, int64_t cols)
{
    size_t n, bytes;
    if (!mc_size_mul((size_t)rows, (size_t)cols, &n) || !mc_size_mul(n, sizeof(float), &bytes))
        return NULL;
    return mc_alloc_aligned(bytes);
}

double mc_conv_dot(const float *x, const float *y, int64_t n)
{
    enum { RUN = 1024 }; /* floats, whose sum is then added in double precision */
    double sum = 0;
    for (int64_t i = 0; i < n; i += RUN) {
        int64_t end = i + RUN < n ? i + RUN : n;
        double part = 0;
        for (int64_t j = i; j < end; j++)
            part += (double)x[j] * y[j];
        sum += part;
    }
    return sum;
}

/* ---- small systems ---- */

/* Rounding can leave a matrix that is not positive definite, and a factor of too high a rank leaves one that
 * is not: then with more. */
int mc_conv_cholesky(struct mc_linalg *la, int64_t n, float *a, double ridge, struct mc_err *err)
{
    enum { TRIES = 5 };
    double trace = 0;
    for (int64_t i = 0; i < n; i++)
        trace += a[i * n + i];
    float *keep = mc_conv_floats(n, n);
    if (!keep)
        return mc_conv_no_memory(err);
    memcpy(keep, a, (size_t)(n * n) * sizeof *a);
    int rc = MC_EFAIL;
    for (int k = 0; k < TRIES && rc == MC_EFAIL; k++, ridge *= 30) {
        float more = trace > 0 ? (float)(ridge * trace / (double)n) : 1;
        memcpy(a, keep, (size_t)(n * n) * sizeof *a);
        for (int64_t i = 0; i < n; i++)
            a[i * n + i] += more;
        rc = mc_linalg_cholesky(la, n, a, n, err);
    }
    free(keep);
    return rc;
}

int mc_conv_solve(struct mc_linalg *la, char side, int64_t m, int64_t n, const float *l, float *x,
                  struct mc_err *err)
{
    bool left = side == 'l';
    int64_t ldl = left ? m : n;
    int rc = mc_linalg_trsm(la, side, left ? 'n' : 't', left ? n : m, ldl, l, ldl, x, n, err);
    return rc ? rc
              : mc_linalg_trsm(la, side, left ? 't' : 'n', left ? n : m, ldl, l, ldl, x, n, err);
}

int mc_conv_descend(const struct mc_conv_system *s, float *x, float *rhs, struct mc_err *err)
{
    enum { STEPS = 2 };
    float *z = mc_conv_floats(s->n, 1), *d = mc_conv_floats(s->n, 1), *y = mc_conv_floats(s->n, 1);
    double old = 0;
    int rc = z && d && y ? s->apply(s->ctx, x, y, err) : mc_conv_no_memory(err);
    for (int64_t i = 0; !rc && i < s->n; i++)
        rhs[i] -= y[i];
    for (int step = 0; !rc && step < STEPS; step++) {
        rc = s->precondition(s->ctx, rhs, z, err);
        double now = rc ? 0 : mc_conv_dot(rhs, z, s->n);
        if (!(now > 0))
            break;
        for (int64_t i = 0; i < s->n; i++)
            d[i] = z[i] + (step ? (float)(now / old) * d[i] : 0);
        rc = s->apply(s->ctx, d, y, err);
        double curve = rc ? 0 : mc_conv_dot(d, y, s->n);
        if (!(curve > 0))
            break;
        for (int64_t i = 0; i < s->n; i++) {
            x[i] += (float)(now / curve) * d[i];
            rhs[i] -= (float)(now / curve) * y[i];
        }
        old = now;
    }
    free(z);
    free(d);
    free(y);
    return rc;
}

/* ---- the problem ---- */

/* C = K Kᵀ, block by block: K is lower triangular, so a block of rows ends at its diagonal. */
static int square(struct mc_linalg *la, int64_t n, const float *k, float *c, struct mc_err *err)
{
    enum { BLOCK = 256 };
    int rc = 0;
    for (int64_t i = 0; !rc && i < n; i += BLOCK) {
        int64_t rows = n - i < BLOCK ? n - i : BLOCK;
        for (int64_t j = 0; !rc && j <= i; j += BLOCK) {
            int64_t cols = n - j < BLOCK ? n - j : BLOCK;
            rc = mc_linalg_gemm(la, 'n', 't', rows, cols, j + cols, 1, k + i * n, n, k + j * n, n,
                                0, c + i * n + j, n, err);
        }
    }
    for (int64_t i = 0; !rc && i < n; i++)
        for (int64_t j = 0; j < i; j++)
            c[j * n + i] = c[i * n + j];
    return rc;
}

static int fill(struct mc_linalg *la, const struct mc_svd_norm *norm, struct mc_conv_problem *p,
                struct mc_err *err)
{
    int64_t m = p->m, n = p->n;
    p->x = mc_conv_floats(m, n);
    if (!p->x)
        return mc_conv_no_memory(err);
    int rc = 0;
    if (norm->out)
        rc = mc_linalg_gemm(la, 't', 'n', m, n, m, 1, norm->out, m, p->w, n, 0, p->x, n, err);
    else
        memcpy(p->x, p->w, (size_t)(m * n) * sizeof *p->x);
    p->xc = p->x;
    if (rc || !norm->in)
        return rc;
    p->cov = mc_conv_floats(n, n);
    p->xc = mc_conv_floats(m, n);
    if (!p->cov || !p->xc)
        return mc_conv_no_memory(err);
    rc = square(la, n, norm->in, p->cov, err);
    return rc ? rc : mc_linalg_gemm(la, 'n', 'n', m, n, n, 1, p->x, n, p->cov, n, 0, p->xc, n, err);
}

int mc_conv_problem_make(struct mc_linalg *la, float *w, int64_t m, int64_t n,
                         const struct mc_svd_norm *norm, struct mc_conv_problem *ret,
                         struct mc_err *err)
{
    struct mc_conv_problem p = {.m = m, .n = n, .w = w, .out = norm->out};
    int rc = fill(la, norm, &p, err);
    if (rc) {
        mc_conv_problem_free(&p);
        return rc;
    }
    for (int64_t i = 0; i < m; i++)
        p.total += mc_conv_dot(p.x + i * n, p.xc + i * n, n);
    *ret = p;
    return 0;
}

void mc_conv_problem_free(struct mc_conv_problem *p)
{
    if (p->xc != p->x)
        free(p->xc);
    free(p->x);
    free(p->w);
    free(p->cov);
    *p = (struct mc_conv_problem){0};
}

int mc_conv_unweigh(struct mc_linalg *la, const struct mc_conv_problem *p, int64_t k, float *x,
                    struct mc_err *err)
{
    return p->out ? mc_linalg_trsm(la, 'l', 't', k, p->m, p->out, p->m, x, k, err) : 0;
}

/* ---- ranks ---- */

size_t mc_conv_ranks(int64_t max, int64_t ret[MC_CONV_RANKS])
{
    enum { ALL_UP_TO = 8, SHARE = 6 };
    size_t n = 0;
    for (int64_t r = 1; r < max && n + 1 < MC_CONV_RANKS; n++) {
        ret[n] = r;
        r += r < ALL_UP_TO ? 1 : r / SHARE;
    }
    if (max >= 1)
        ret[n++] = max;
    return n;
}
