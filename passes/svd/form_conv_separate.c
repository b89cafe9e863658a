#include "passes/svd/form_conv_separate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double RIDGE = 1e-6; /* against rounding */

/* ---- first filters ---- */

/* Cholesky factors of C's blocks of one channel: [c][k,k], new; NULL in *ret without C. */
static int channel_blocks(struct mc_linalg *la, const struct mc_conv_filters *f, float **ret,
                          struct mc_err *err)
{
    int64_t k = f->k, n = f->p->n;
    *ret = NULL;
    if (!f->p->cov)
        return 0;
    float *b = mc_conv_floats(f->c * k, k);
    int rc = b ? 0 : mc_conv_no_memory(err);
    for (int64_t c = 0; !rc && c < f->c; c++) {
        for (int64_t i = 0; i < k; i++)
            memcpy(b + (c * k + i) * k, f->p->cov + (c * k + i) * n + c * k, (size_t)k * sizeof *b);
        rc = mc_conv_cholesky(la, k, b + c * k * k, RIDGE, err);
    }
    if (rc)
        free(b);
    else
        *ret = b;
    return rc;
}

/* The q first eigenvectors V of (X_c K)ᵀ X_c K: D = Vᵀ K⁻¹. work [m k + k k + k] */
static int first_filter(struct mc_linalg *la, struct mc_conv_filters *f, int64_t c,
                        const float *block, float *work, struct mc_err *err)
{
    int64_t k = f->k, n = f->p->n;
    float *y = work, *g = work + f->m * k, *value = g + k * k, *d = f->d + c * f->q * k;
    int rc = 0;
    if (block)
        rc =
            mc_linalg_gemm(la, 'n', 'n', f->m, k, k, 1, f->p->x + c * k, n, block, k, 0, y, k, err);
    for (int64_t o = 0; !block && o < f->m; o++)
        memcpy(y + o * k, f->p->x + o * n + c * k, (size_t)k * sizeof *y);
    if (!rc)
        rc = mc_linalg_gemm(la, 't', 'n', k, k, f->m, 1, y, k, y, k, 0, g, k, err);
    if (!rc)
        rc = mc_linalg_eigh(la, k, g, k, value, err);
    for (int64_t i = 0; !rc && i < f->q; i++)
        for (int64_t j = 0; j < k; j++)
            d[i * k + j] = g[j * k + k - 1 - i];
    if (!rc && block)
        rc = mc_linalg_trsm(la, 'r', 'n', f->q, k, block, k, d, k, err);
    return rc;
}

static int first_filters(struct mc_linalg *la, struct mc_conv_filters *f, const float *blocks,
                         struct mc_err *err)
{
    int64_t k = f->k;
    float *work = mc_conv_floats(f->m + k + 1, k);
    int rc = work ? 0 : mc_conv_no_memory(err);
    for (int64_t c = 0; !rc && c < f->c; c++)
        rc = first_filter(la, f, c, blocks ? blocks + c * k * k : NULL, work, err);
    free(work);
    return rc;
}

/* ---- P for given D ---- */

/* D C [cq, n], of each channel's rows the first `cols` channels' columns, or all. */
static int times_cov(struct mc_linalg *la, const struct mc_conv_filters *f, const float *d,
                     bool lower, float *dc, struct mc_err *err)
{
    int64_t k = f->k, n = f->p->n, q = f->q;
    int rc = 0;
    for (int64_t c = 0; !rc && c < f->c; c++)
        rc = mc_linalg_gemm(la, 'n', 'n', q, lower ? (c + 1) * k : n, k, 1, d + c * q * k, k,
                            f->p->cov + c * k * n, n, 0, dc + c * q * n, n, err);
    return rc;
}

static int normal_equations(struct mc_linalg *la, const struct mc_conv_filters *f, float *dc,
                            float *gram, struct mc_err *err)
{
    int64_t k = f->k, n = f->p->n, q = f->q, all = f->c * q;
    int rc = times_cov(la, f, f->d, true, dc, err);
    /* column block by column block: D C restricted to channel j's columns, times its filters */
    for (int64_t j = 0; !rc && j < f->c; j++)
        rc = mc_linalg_gemm(la, 'n', 't', all - j * q, q, k, 1, dc + j * q * n + j * k, n,
                            f->d + j * q * k, k, 0, gram + j * q * all + j * q, all, err);
    return rc;
}

static int regress(struct mc_linalg *la, struct mc_conv_filters *f, float *dc, struct mc_err *err)
{
    int64_t k = f->k, n = f->p->n, q = f->q, all = f->c * q;
    float *gram = mc_conv_floats(all, all);
    int rc = gram ? 0 : mc_conv_no_memory(err);
    for (int64_t c = 0; !rc && c < f->c; c++)
        rc = mc_linalg_gemm(la, 'n', 't', f->m, q, k, 1, f->p->xc + c * k, n, f->d + c * q * k, k,
                            0, f->w + c * q, all, err);
    if (!rc && f->p->cov) {
        rc = normal_equations(la, f, dc, gram, err);
        if (!rc)
            rc = mc_conv_cholesky(la, all, gram, RIDGE, err);
        if (!rc)
            rc = mc_linalg_trsm(la, 'r', 't', f->m, all, gram, all, f->w, all, err);
    }
    if (!rc)
        f->error = fmax(f->p->total - mc_conv_dot(f->w, f->w, f->m * all), 1e-7 * f->p->total);
    if (!rc && f->p->cov)
        rc = mc_linalg_trsm(la, 'r', 'n', f->m, all, gram, all, f->w, all, err);
    free(gram);
    return rc;
}

/* ---- D for given P ---- */

struct step {
    struct mc_linalg *la;
    const struct mc_conv_filters *f;
    const float *blocks;
    float *pp;    /* PᵀP [cq, cq] */
    float *outer; /* Cholesky factors of its blocks of one channel [c][q,q] */
    float *dc;    /* [cq, n] */
};

static int apply(const void *ctx, const float *d, float *y, struct mc_err *err)
{
    const struct step *e = ctx;
    const struct mc_conv_filters *f = e->f;
    int64_t k = f->k, q = f->q, all = f->c * q;
    int rc = times_cov(e->la, f, d, false, e->dc, err);
    for (int64_t c = 0; !rc && c < f->c; c++)
        rc = mc_linalg_gemm(e->la, 'n', 'n', q, k, all, 1, e->pp + c * q * all, all, e->dc + c * k,
                            f->p->n, 0, y + c * q * k, k, err);
    return rc;
}

static int precondition(const void *ctx, const float *x, float *y, struct mc_err *err)
{
    const struct step *e = ctx;
    int64_t k = e->f->k, q = e->f->q;
    int rc = 0;
    memcpy(y, x, (size_t)(e->f->c * q * k) * sizeof *y);
    for (int64_t c = 0; !rc && c < e->f->c; c++) {
        rc = mc_conv_solve(e->la, 'l', q, k, e->outer + c * q * q, y + c * q * k, err);
        if (!rc)
            rc = mc_conv_solve(e->la, 'r', q, k, e->blocks + c * k * k, y + c * q * k, err);
    }
    return rc;
}

/* D C Dᵀ = I within every channel again. work [q k + q q] */
static int orthonormalise(struct mc_linalg *la, struct mc_conv_filters *f, const float *blocks,
                          float *work, struct mc_err *err)
{
    int64_t k = f->k, q = f->q;
    float *z = work, *g = work + q * k;
    int rc = 0;
    for (int64_t c = 0; !rc && c < f->c; c++) {
        float *d = f->d + c * q * k;
        rc = mc_linalg_gemm(la, 'n', 'n', q, k, k, 1, d, k, blocks + c * k * k, k, 0, z, k, err);
        if (!rc)
            rc = mc_linalg_gemm(la, 'n', 't', q, q, k, 1, z, k, z, k, 0, g, q, err);
        if (!rc)
            rc = mc_conv_cholesky(la, q, g, 1e-7, err);
        if (!rc)
            rc = mc_linalg_trsm(la, 'l', 'n', k, q, g, q, d, k, err);
    }
    return rc;
}

static int fill_step(struct step *e, float *rhs, struct mc_err *err)
{
    const struct mc_conv_filters *f = e->f;
    int64_t k = f->k, q = f->q, all = f->c * q;
    int rc = mc_linalg_gemm(e->la, 't', 'n', all, all, f->m, 1, f->w, all, f->w, all, 0, e->pp, all,
                            err);
    for (int64_t c = 0; !rc && c < f->c; c++) {
        float *o = e->outer + c * q * q;
        for (int64_t i = 0; i < q; i++)
            memcpy(o + i * q, e->pp + (c * q + i) * all + c * q, (size_t)q * sizeof *o);
        rc = mc_conv_cholesky(e->la, q, o, 1e-5, err);
        if (!rc)
            rc = mc_linalg_gemm(e->la, 't', 'n', q, k, f->m, 1, f->w + c * q, all, f->p->xc + c * k,
                                f->p->n, 0, rhs + c * q * k, k, err);
    }
    return rc;
}

static int improve(struct mc_linalg *la, struct mc_conv_filters *f, const float *blocks, float *dc,
                   struct mc_err *err)
{
    int64_t k = f->k, q = f->q, all = f->c * q;
    struct step e = {.la = la, .f = f, .blocks = blocks, .dc = dc};
    float *rhs = mc_conv_floats(all, k), *work = mc_conv_floats(q, k + q);
    e.pp = mc_conv_floats(all, all);
    e.outer = mc_conv_floats(all, q);
    int rc = rhs && work && e.pp && e.outer ? fill_step(&e, rhs, err) : mc_conv_no_memory(err);
    if (!rc)
        rc = mc_conv_descend(&(struct mc_conv_system){all * k, apply, precondition, &e}, f->d, rhs,
                             err);
    if (!rc)
        rc = orthonormalise(la, f, blocks, work, err);
    free(rhs);
    free(work);
    free(e.pp);
    free(e.outer);
    return rc;
}

/* ---- both ---- */

int mc_conv_separate(struct mc_linalg *la, const struct mc_conv_problem *p, int64_t c, int64_t q,
                     int sweeps, struct mc_conv_filters *ret, struct mc_err *err)
{
    struct mc_conv_filters f = {.p = p, .m = p->m, .c = c, .k = p->n / c, .q = q};
    float *blocks = NULL, *dc = p->cov ? mc_conv_floats(c * q, p->n) : NULL;
    f.d = mc_conv_floats(c * q, f.k);
    f.w = mc_conv_floats(p->m, c * q);
    int rc = f.d && f.w && (dc || !p->cov) ? channel_blocks(la, &f, &blocks, err)
                                           : mc_conv_no_memory(err);
    if (!rc)
        rc = first_filters(la, &f, blocks, err);
    if (!rc)
        rc = regress(la, &f, dc, err);
    for (int k = 0; !rc && p->cov && k < sweeps; k++) {
        rc = improve(la, &f, blocks, dc, err);
        if (!rc)
            rc = regress(la, &f, dc, err);
    }
    free(blocks);
    free(dc);
    if (rc)
        mc_conv_filters_free(&f);
    else
        *ret = f;
    return rc;
}

void mc_conv_filters_free(struct mc_conv_filters *f)
{
    free(f->d);
    free(f->w);
    *f = (struct mc_conv_filters){0};
}

int mc_conv_filters_dense(struct mc_linalg *la, const struct mc_conv_filters *f, float **ret,
                          struct mc_err *err)
{
    int64_t k = f->k, q = f->q;
    float *x = mc_conv_floats(f->m, f->p->n);
    int rc = x ? 0 : mc_conv_no_memory(err);
    for (int64_t c = 0; !rc && c < f->c; c++)
        rc = mc_linalg_gemm(la, 'n', 'n', f->m, k, q, 1, f->w + c * q, f->c * q, f->d + c * q * k,
                            k, 0, x + c * k, f->p->n, err);
    if (rc)
        free(x);
    else
        *ret = x;
    return rc;
}

double mc_conv_separate_work(const struct mc_conv_problem *p, int64_t c, int64_t q, int sweeps)
{
    double n = (double)p->n, m = (double)p->m, all = (double)(c * q);
    double once = 2 * m * (double)q * n + all * all * all / 3 + 2 * m * all * all;
    if (p->cov)
        once += (double)q * n * n + all * all * n / (double)c;
    double again = p->cov ? 4 * (2 * (double)q * n * n + 2 * all * (double)q * n) + once : 0;
    return once + sweeps * again;
}
