#include "passes/svd/form_conv_split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT_UP_TO = 512, POWER_ITERATIONS = 2 }; /* as in svd_factor.c */

/* On what is estimated from samples there is a ridge already; this one is against rounding. */
static const double RIDGE = 1e-6;

/* ---- laying out ---- */

static void reorder(const float *x, int64_t rows, int64_t n, const int64_t *column, float *dst)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            dst[i * n + j] = x[i * n + column[j]];
}

static int lay_out(struct mc_conv_split *s, struct mc_err *err)
{
    const struct mc_conv_problem *p = s->p;
    int64_t n = s->n;
    s->x = mc_conv_floats(s->m, n);
    if (!s->x)
        return mc_conv_no_memory(err);
    reorder(p->x, s->m, n, s->column, s->x);
    s->xc = s->x;
    if (!p->cov)
        return 0;
    s->xc = mc_conv_floats(s->m, n);
    s->cov = mc_conv_floats(n, n);
    if (!s->xc || !s->cov)
        return mc_conv_no_memory(err);
    reorder(p->xc, s->m, n, s->column, s->xc);
    for (int64_t i = 0; i < n; i++)
        reorder(p->cov + s->column[i] * n, 1, n, s->column, s->cov + i * n);
    return 0;
}

/* C_inner is the mean of C's blocks on the diagonal, C_outer what their traces are beside it. */
static int approximate(struct mc_linalg *la, struct mc_conv_split *s, struct mc_err *err)
{
    int64_t a = s->a, b = s->b, n = s->n;
    if (!s->cov)
        return 0;
    s->inner = mc_conv_floats(a, a);
    s->outer = mc_conv_floats(b, b);
    if (!s->inner || !s->outer)
        return mc_conv_no_memory(err);
    double all = 0;
    for (int64_t k = 0; k < n; k++)
        all += s->cov[k * n + k];
    for (int64_t i = 0; i < b; i++)
        for (int64_t j = 0; j < b; j++) {
            double trace = 0;
            for (int64_t k = 0; k < a; k++)
                trace += s->cov[(i * a + k) * n + j * a + k];
            s->outer[i * b + j] = all > 0 ? (float)(trace * (double)b / all) : i == j;
        }
    for (int64_t i = 0; i < a; i++)
        for (int64_t j = 0; j < a; j++) {
            double sum = 0;
            for (int64_t k = 0; k < b; k++)
                sum += s->cov[(k * a + i) * n + k * a + j];
            s->inner[i * a + j] = (float)(sum / (double)b);
        }
    return mc_conv_cholesky(la, a, s->inner, RIDGE, err);
}

/* ---- first directions ---- */

/* X [m b, a] with what C is approximated by on both sides: new. */
static int unfold(struct mc_linalg *la, const struct mc_conv_split *s, float **ret,
                  struct mc_err *err)
{
    int64_t a = s->a, b = s->b, m = s->m;
    float *f = mc_conv_floats(m * b, a), *g = mc_conv_floats(m * b, a), *k = mc_conv_floats(b, b);
    int rc = f && g && k ? 0 : mc_conv_no_memory(err);
    if (!rc && s->cov) {
        memcpy(k, s->outer, (size_t)(b * b) * sizeof *k);
        rc = mc_conv_cholesky(la, b, k, RIDGE, err);
        for (int64_t o = 0; !rc && o < m; o++)
            rc = mc_linalg_gemm(la, 't', 'n', b, a, b, 1, k, b, s->x + o * s->n, a, 0, g + o * s->n,
                                a, err);
        if (!rc)
            rc = mc_linalg_gemm(la, 'n', 'n', m * b, a, a, 1, g, a, s->inner, a, 0, f, a, err);
    } else if (!rc) {
        memcpy(f, s->x, (size_t)(m * s->n) * sizeof *f);
    }
    free(g);
    free(k);
    if (rc)
        free(f);
    else
        *ret = f;
    return rc;
}

/* The right singular vectors V of the unfolded X: T = Vᵀ K_inner⁻¹. */
static int find_start(struct mc_linalg *la, struct mc_conv_split *s, int64_t want, uint64_t seed,
                      struct mc_err *err)
{
    int64_t a = s->a, rows = s->m * s->b, side = rows < a ? rows : a;
    bool exact = side <= EXACT_UP_TO || want > side / 2;
    int64_t r = exact || want > side ? side : want;
    float *f = NULL, *u = mc_conv_floats(rows, r), *value = mc_conv_floats(r, 1);
    s->start = mc_conv_floats(r, a);
    s->known = r;
    int rc = u && value && s->start ? unfold(la, s, &f, err) : mc_conv_no_memory(err);
    if (!rc && exact)
        rc = mc_linalg_svd(la, rows, a, f, a, u, r, value, s->start, a, err);
    else if (!rc)
        rc = mc_linalg_rsvd(la, rows, a, r, POWER_ITERATIONS, seed, f, a, u, r, value, s->start, a,
                            err);
    if (!rc && s->inner)
        rc = mc_linalg_trsm(la, 'r', 'n', r, a, s->inner, a, s->start, a, err);
    free(f);
    free(u);
    free(value);
    return rc;
}

int mc_conv_split_make(struct mc_linalg *la, const struct mc_conv_problem *p, const int64_t *column,
                       int64_t a, int64_t b, int64_t want, uint64_t seed, struct mc_conv_split *ret,
                       struct mc_err *err)
{
    struct mc_conv_split s = {.p = p, .column = column, .m = p->m, .n = p->n, .a = a, .b = b};
    int rc = lay_out(&s, err);
    if (!rc)
        rc = approximate(la, &s, err);
    if (!rc)
        rc = find_start(la, &s, want, seed, err);
    if (rc)
        mc_conv_split_free(&s);
    else
        *ret = s;
    return rc;
}

void mc_conv_split_free(struct mc_conv_split *s)
{
    if (s->xc != s->x)
        free(s->xc);
    free(s->x);
    free(s->cov);
    free(s->inner);
    free(s->outer);
    free(s->start);
    *s = (struct mc_conv_split){0};
}

/* ---- P for given T ---- */

/* B = X C Qᵀ [m, br] and N = Q C Qᵀ [br, br], lower, where Q = I_b ⊗ T. */
static int normal_equations(struct mc_linalg *la, const struct mc_conv_split *s, const float *t,
                            int64_t r, float *rhs, float *gram, struct mc_err *err)
{
    int64_t a = s->a, n = s->n, q = s->b * r;
    float *tc = mc_conv_floats(r, n);
    int rc = tc ? 0 : mc_conv_no_memory(err);
    for (int64_t i = 0; !rc && i < s->b; i++)
        rc = mc_linalg_gemm(la, 'n', 't', s->m, r, a, 1, s->xc + i * a, n, t, a, 0, rhs + i * r, q,
                            err);
    for (int64_t i = 0; !rc && s->cov && i < s->b; i++) {
        rc = mc_linalg_gemm(la, 'n', 'n', r, (i + 1) * a, a, 1, t, a, s->cov + i * a * n, n, 0, tc,
                            n, err);
        for (int64_t j = 0; !rc && j <= i; j++)
            rc = mc_linalg_gemm(la, 'n', 't', r, r, a, 1, tc + j * a, n, t, a, 0,
                                gram + i * r * q + j * r, q, err);
    }
    free(tc);
    return rc;
}

/* Directions of the output by their share of the error that P takes away: eigenvectors of z zᵀ [m,m], where the
 * error is total - ‖z‖². Keeps the first s of them. */
static int truncate(struct mc_linalg *la, const struct mc_conv_split *s, const float *z,
                    int64_t rank_p, struct mc_conv_fit *f, struct mc_err *err)
{
    int64_t m = s->m, q = s->b * f->r;
    float *g = mc_conv_floats(m, m), *value = mc_conv_floats(m, 1);
    int rc = g && value ? 0 : mc_conv_no_memory(err);
    if (!rc)
        rc = mc_linalg_gemm(la, 'n', 't', m, m, q, 1, z, q, z, q, 0, g, m, err);
    if (!rc)
        rc = mc_linalg_eigh(la, m, g, m, value, err);
    if (!rc && f->tail) {
        f->tail[m] = f->error;
        for (int64_t i = 0; i < m; i++)
            f->tail[m - 1 - i] = f->tail[m - i] + fmax(value[i], 0);
    }
    for (int64_t i = 0; !rc && rank_p && i < m; i++)
        for (int64_t j = 0; j < rank_p; j++)
            f->left[i * rank_p + j] = g[i * m + m - 1 - j];
    for (int64_t i = 0; !rc && rank_p && i < m - rank_p; i++)
        f->error += fmax(value[i], 0);
    if (!rc && rank_p)
        rc = mc_linalg_gemm(la, 't', 'n', rank_p, q, m, 1, f->left, rank_p, f->p, q, 0, f->core, q,
                            err);
    if (!rc && rank_p)
        rc = mc_linalg_gemm(la, 'n', 'n', m, q, rank_p, 1, f->left, rank_p, f->core, q, 0, f->p, q,
                            err);
    free(g);
    free(value);
    return rc;
}

/* P = B N⁻¹; with N = R Rᵀ and z = B R⁻ᵀ the error is total - ‖z‖². Below a part in a million that difference is
 * rounding. */
static int regress(struct mc_linalg *la, const struct mc_conv_split *s, int64_t rank_p,
                   struct mc_conv_fit *f, struct mc_err *err)
{
    int64_t m = s->m, q = s->b * f->r;
    float *gram = mc_conv_floats(q, q), *z = mc_conv_floats(m, q);
    int rc = gram && z ? 0 : mc_conv_no_memory(err);
    if (!rc)
        rc = normal_equations(la, s, f->t, f->r, z, gram, err);
    if (!rc && s->cov) {
        rc = mc_conv_cholesky(la, q, gram, RIDGE, err);
        if (!rc)
            rc = mc_linalg_trsm(la, 'r', 't', m, q, gram, q, z, q, err);
    }
    if (!rc) {
        memcpy(f->p, z, (size_t)(m * q) * sizeof *z);
        if (s->cov)
            rc = mc_linalg_trsm(la, 'r', 'n', m, q, gram, q, f->p, q, err);
    }
    if (!rc) {
        f->error = fmax(s->p->total - mc_conv_dot(z, z, m * q), 1e-7 * s->p->total);
        if (rank_p || f->tail)
            rc = truncate(la, s, z, rank_p, f, err);
    }
    free(gram);
    free(z);
    return rc;
}

/* ---- T for given P ---- */

struct step { /* the linear system of T */
    struct mc_linalg *la;
    const struct mc_conv_split *s;
    int64_t r;
    float *pp;    /* PᵀP [br, br] */
    float *outer; /* Cholesky factor of sum of C_outer[β,β'] PP[β,β'] [r,r] */
    float *work;  /* [r,n] */
};

/* y [r,a] = sum over β, β' of PP[β,β'] t C[β',β] */
static int apply(const void *ctx, const float *t, float *y, struct mc_err *err)
{
    const struct step *e = ctx;
    const struct mc_conv_split *s = e->s;
    int64_t a = s->a, b = s->b, n = s->n, r = e->r, q = b * r;
    int rc = 0;
    for (int64_t j = 0; !rc && j < b; j++) {
        rc = mc_linalg_gemm(e->la, 'n', 'n', r, n, a, 1, t, a, s->cov + j * a * n, n, 0, e->work, n,
                            err);
        for (int64_t i = 0; !rc && i < b; i++)
            rc = mc_linalg_gemm(e->la, 'n', 'n', r, a, r, 1, e->pp + i * r * q + j * r, q,
                                e->work + i * a, n, i + j > 0, y, a, err);
    }
    return rc;
}

static int precondition(const void *ctx, const float *x, float *y, struct mc_err *err)
{
    const struct step *e = ctx;
    memcpy(y, x, (size_t)(e->r * e->s->a) * sizeof *y);
    int rc = mc_conv_solve(e->la, 'l', e->r, e->s->a, e->outer, y, err);
    return rc ? rc : mc_conv_solve(e->la, 'r', e->r, e->s->a, e->s->inner, y, err);
}

/* T C_inner Tᵀ = I again: well conditioned, and the same product with the P that is found next. */
static int orthonormalise(struct mc_linalg *la, const struct mc_conv_split *s, int64_t r, float *t,
                          struct mc_err *err)
{
    float *z = mc_conv_floats(r, s->a), *g = mc_conv_floats(r, r);
    int rc = z && g ? 0 : mc_conv_no_memory(err);
    if (!rc)
        rc = mc_linalg_gemm(la, 'n', 'n', r, s->a, s->a, 1, t, s->a, s->inner, s->a, 0, z, s->a,
                            err);
    if (!rc)
        rc = mc_linalg_gemm(la, 'n', 't', r, r, s->a, 1, z, s->a, z, s->a, 0, g, r, err);
    if (!rc)
        rc = mc_conv_cholesky(la, r, g, 1e-7, err);
    if (!rc)
        rc = mc_linalg_trsm(la, 'l', 'n', s->a, r, g, r, t, s->a, err);
    free(z);
    free(g);
    return rc;
}

static int fill_step(struct step *e, const float *p, struct mc_err *err)
{
    const struct mc_conv_split *s = e->s;
    int64_t b = s->b, r = e->r, q = b * r;
    int rc = mc_linalg_gemm(e->la, 't', 'n', q, q, s->m, 1, p, q, p, q, 0, e->pp, q, err);
    memset(e->outer, 0, (size_t)(r * r) * sizeof *e->outer);
    for (int64_t i = 0; i < b; i++)
        for (int64_t j = 0; j < b; j++)
            for (int64_t k = 0; k < r * r; k++)
                e->outer[k] += s->outer[i * b + j] * e->pp[(i * r + k / r) * q + j * r + k % r];
    return rc ? rc : mc_conv_cholesky(e->la, r, e->outer, 1e-5, err);
}

static int improve(struct mc_linalg *la, const struct mc_conv_split *s, struct mc_conv_fit *f,
                   struct mc_err *err)
{
    int64_t r = f->r, a = s->a, q = s->b * r;
    struct step e = {.la = la, .s = s, .r = r};
    float *res = mc_conv_floats(r, a);
    e.pp = mc_conv_floats(q, q);
    e.outer = mc_conv_floats(r, r);
    e.work = mc_conv_floats(r, s->n);
    int rc = res && e.pp && e.outer && e.work ? fill_step(&e, f->p, err) : mc_conv_no_memory(err);
    for (int64_t i = 0; !rc && i < s->b; i++)
        rc = mc_linalg_gemm(la, 't', 'n', r, a, s->m, 1, f->p + i * r, q, s->xc + i * a, s->n,
                            i > 0, res, a, err);
    if (!rc)
        rc = mc_conv_descend(&(struct mc_conv_system){r * a, apply, precondition, &e}, f->t, res,
                             err);
    if (!rc)
        rc = orthonormalise(la, s, r, f->t, err);
    free(res);
    free(e.pp);
    free(e.outer);
    free(e.work);
    return rc;
}

/* ---- both ---- */

int mc_conv_fit(struct mc_linalg *la, const struct mc_conv_split *s, int64_t r, int64_t rank_p,
                int sweeps, bool tail, struct mc_conv_fit *ret, struct mc_err *err)
{
    struct mc_conv_fit f = {.r = r, .s = rank_p};
    int64_t q = s->b * r;
    f.t = mc_conv_floats(r, s->a);
    f.p = mc_conv_floats(s->m, q);
    f.left = rank_p ? mc_conv_floats(s->m, rank_p) : NULL;
    f.core = rank_p ? mc_conv_floats(rank_p, q) : NULL;
    f.tail = tail ? mc_calloc((size_t)s->m + 1, sizeof *f.tail) : NULL;
    bool ok = f.t && f.p && (!rank_p || (f.left && f.core)) && (!tail || f.tail);
    int rc = ok ? 0 : mc_conv_no_memory(err);
    if (!rc) {
        memcpy(f.t, s->start, (size_t)(r * s->a) * sizeof *f.t);
        rc = regress(la, s, rank_p, &f, err);
    }
    /* Without C and at full rank_p the first T is the best already. */
    for (int k = 0; !rc && s->cov && k < sweeps; k++) {
        rc = improve(la, s, &f, err);
        if (!rc)
            rc = regress(la, s, rank_p, &f, err);
    }
    if (rc)
        mc_conv_fit_free(&f);
    else
        *ret = f;
    return rc;
}

void mc_conv_fit_free(struct mc_conv_fit *f)
{
    free(f->t);
    free(f->p);
    free(f->left);
    free(f->core);
    free(f->tail);
    *f = (struct mc_conv_fit){0};
}

int mc_conv_fit_dense(struct mc_linalg *la, const struct mc_conv_split *s,
                      const struct mc_conv_fit *f, float **ret, struct mc_err *err)
{
    int64_t a = s->a, n = s->n, q = s->b * f->r;
    float *y = mc_conv_floats(s->m, n), *x = mc_conv_floats(s->m, n);
    int rc = y && x ? 0 : mc_conv_no_memory(err);
    for (int64_t i = 0; !rc && i < s->b; i++)
        rc = mc_linalg_gemm(la, 'n', 'n', s->m, a, f->r, 1, f->p + i * f->r, q, f->t, a, 0,
                            y + i * a, n, err);
    for (int64_t o = 0; !rc && o < s->m; o++)
        for (int64_t j = 0; j < n; j++)
            x[o * n + s->column[j]] = y[o * n + j];
    free(y);
    if (rc)
        free(x);
    else
        *ret = x;
    return rc;
}

double mc_conv_fit_work(const struct mc_conv_split *s, int64_t r, int sweeps)
{
    double n = (double)s->n, m = (double)s->m, b = (double)s->b, q = b * (double)r;
    double once = 2 * m * (double)r * n + q * q * q / 3 + 2 * m * q * q;
    if (s->cov)
        once += (double)r * n * n + q * q * (double)s->a;
    double again = s->cov ? 4 * (2 * (double)r * n * n + 2 * q * q * (double)s->a) + once : 0;
    return once + sweeps * again;
}
