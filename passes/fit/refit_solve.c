#include "passes/fit/refit_solve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Shares of the mean square that are tried, the strongest first; INFINITY: the bias alone. */
static const double RIDGES[] = {INFINITY, 1, 0.1, 1e-2, 1e-3, 1e-4, 1e-5};
enum { N_RIDGES = sizeof RIDGES / sizeof *RIDGES };

struct solver {
    const struct mc_refit *f;
    struct mc_linalg *la;
    float *second, *product; /* [n,n], [m,n] */
    double *mean_t, *mean_e;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for fitting a product");
}

/* As svd_norm.c has it for the same samples. */
double mc_refit_ridge(int64_t n, int64_t rows)
{
    return fmin(1, fmax(1e-3, (double)n / (5 * (double)rows)));
}

/* ---- one group ---- */

/* Sums of the folds from `from` on, as means about the mean (with a bias) or about 0. Returns the trace of second. */
static double means(struct solver *s, int from, int to, int64_t g, float *cross)
{
    const struct mc_refit *f = s->f;
    int64_t n = f->n, m = f->m;
    double rows = 0, trace = 0;
    for (int k = from; k < to; k++)
        rows += (double)f->sums[k].rows;
    for (int64_t j = 0; j < n; j++) {
        s->mean_t[j] = 0;
        for (int k = from; k < to; k++)
            s->mean_t[j] += f->sums[k].t[g * n + j] / rows;
    }
    for (int64_t i = 0; i < m; i++) {
        s->mean_e[i] = 0;
        for (int k = from; k < to; k++)
            s->mean_e[i] += f->sums[k].e[g * m + i] / rows;
    }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j <= i; j++) {
            double sum = f->bias ? -s->mean_t[i] * s->mean_t[j] : 0;
            for (int k = from; k < to; k++)
                sum += f->sums[k].second[(g * n + i) * n + j] / rows;
            s->second[i * n + j] = (float)sum;
        }
        trace += s->second[i * n + i];
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = f->bias ? -s->mean_e[i] * s->mean_t[j] : 0;
            for (int k = from; k < to; k++)
                sum += f->sums[k].cross[(g * m + i) * n + j] / rows;
            cross[i * n + j] = (float)sum;
        }
    return trace;
}

/* d [m,n], more [m] over t - shift. *ret_blind: t is always the same, d is 0. ridge INFINITY: only `more`. */
static int solve_group(struct solver *s, int from, int to, int64_t g, double ridge, float *d,
                       double *more, bool *ret_blind, struct mc_err *err)
{
    const struct mc_refit *f = s->f;
    int64_t n = f->n, m = f->m;
    double trace = means(s, from, to, g, d);
    int rc = 0;
    *ret_blind = !(trace > 0);
    if (*ret_blind || ridge > 1e30) {
        memset(d, 0, (size_t)(m * n) * sizeof *d);
    } else {
        for (int64_t i = 0; i < n; i++)
            s->second[i * n + i] += (float)(ridge * trace / (double)n);
        rc = mc_linalg_cholesky(s->la, n, s->second, n, err);
        if (!rc)
            rc = mc_linalg_trsm(s->la, 'r', 't', m, n, s->second, n, d, n, err);
        if (!rc)
            rc = mc_linalg_trsm(s->la, 'r', 'n', m, n, s->second, n, d, n, err);
    }
    for (int64_t i = 0; !rc && i < m; i++) {
        more[i] = f->bias ? s->mean_e[i] : 0;
        for (int64_t j = 0; f->bias && j < n; j++)
            more[i] -= d[i * n + j] * s->mean_t[j];
    }
    return rc;
}

/* Mean over a fold of |e - d (t - shift) - more|². */
static int error_group(struct solver *s, int fold, int64_t g, const float *d, const double *more,
                       double *ret, struct mc_err *err)
{
    const struct mc_refit *f = s->f;
    const struct mc_refit_sums *u = &f->sums[fold];
    int64_t n = f->n, m = f->m;
    const float *second = u->second + g * n * n, *cross = u->cross + g * m * n;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++)
            s->second[i * n + j] = s->second[j * n + i] = second[i * n + j];
    int rc = mc_linalg_gemm(s->la, 'n', 'n', m, n, n, 1, d, n, s->second, n, 0, s->product, n, err);
    double sum = 0;
    for (int64_t i = 0; !rc && i < m; i++) {
        double dm = more[i], mean = 0;
        sum += u->square[g * m + i] - 2 * dm * u->e[g * m + i] + (double)u->rows * dm * dm;
        for (int64_t j = 0; j < n; j++) {
            sum += d[i * n + j] * ((double)s->product[i * n + j] - 2.0 * cross[i * n + j]);
            mean += d[i * n + j] * u->t[g * n + j];
        }
        sum += 2 * dm * mean;
    }
    *ret = sum / (double)u->rows;
    return rc;
}

/* ---- all ---- */

static int solve_all(struct solver *s, int from, int to, double ridge, struct mc_refit_answer *a,
                     bool *ret_blind, struct mc_err *err)
{
    const struct mc_refit *f = s->f;
    int rc = 0;
    *ret_blind = true;
    for (int64_t g = 0; !rc && g < f->groups; g++) {
        bool blind;
        rc = solve_group(s, from, to, g, ridge, a->d + g * f->m * f->n, a->more + g * f->m, &blind,
                         err);
        *ret_blind = *ret_blind && blind;
    }
    return rc;
}

/* Mean square that is left on either half after a fit to the other. INFINITY: no solution. */
static int held_out(struct solver *s, double ridge, struct mc_refit_answer *a, double *ret,
                    struct mc_err *err)
{
    const struct mc_refit *f = s->f;
    *ret = 0;
    for (int k = 0; k < 2; k++) {
        bool blind;
        int rc = solve_all(s, k, k + 1, ridge, a, &blind, err);
        for (int64_t g = 0; !rc && g < f->groups; g++) {
            double e;
            rc = error_group(s, 1 - k, g, a->d + g * f->m * f->n, a->more + g * f->m, &e, err);
            *ret += e / 2;
        }
        if (rc == MC_EFAIL) {
            *ret = INFINITY;
            return 0;
        }
        if (rc)
            return rc;
    }
    return 0;
}

static void take(struct mc_refit *f, double e, double ridge, double *ret_ridge, int *since)
{
    ++*since;
    if (e < f->is) {
        f->is = e;
        *ret_ridge = ridge;
        *since = 0;
    }
}

static int choose(struct solver *s, struct mc_refit *f, struct mc_refit_answer *a,
                  double *ret_ridge, struct mc_err *err)
{
    double e[N_RIDGES];
    int rc = 0, since = 0;
    f->was = 0;
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < f->groups * f->m; i++)
            f->was += f->sums[k].square[i] / (double)f->sums[k].rows / 2;
    f->is = f->was;
    *ret_ridge = NAN;
    if (f->few)
        rc = mc_refit_few_errors(f, s->la, RIDGES, N_RIDGES, e, err);
    for (int i = f->bias ? 0 : 1; !rc && i < N_RIDGES && since < 2; i++) {
        if (!f->few)
            rc = held_out(s, RIDGES[i], a, &e[i], err);
        if (!rc)
            take(f, e[i], RIDGES[i], ret_ridge, &since);
    }
    return rc;
}

static int fit(struct mc_refit *f, struct mc_linalg *la, struct mc_refit_answer *a,
               struct mc_err *err)
{
    size_t n = (size_t)f->n, m = (size_t)f->m, wide = f->few ? 0 : n;
    struct solver s = {.f = f, .la = la};
    s.second = mc_calloc(wide + 1, wide * sizeof *s.second + 1);
    s.product = mc_calloc(f->few ? 1 : m, n * sizeof *s.product);
    s.mean_t = mc_calloc(n, sizeof *s.mean_t);
    s.mean_e = mc_calloc(m, sizeof *s.mean_e);
    int rc = s.second && s.product && s.mean_t && s.mean_e ? 0 : no_memory(err);
    double ridge = mc_refit_ridge(f->n, f->sums[0].rows + f->sums[1].rows);
    bool blind = false;
    if (!rc && f->folds > 1 && f->sums[0].rows && f->sums[1].rows)
        rc = choose(&s, f, a, &ridge, err);
    a->better = !rc && !isnan(ridge);
    if (a->better && f->few)
        rc = mc_refit_few_solve(f, la, ridge, a->d, a->more, err);
    else if (a->better)
        rc = solve_all(&s, 0, f->folds, ridge, a, &blind, err);
    if (!rc && blind && f->folds == 1)
        rc = mc_fail(err, MC_EDATA, "its input is 0 on all samples");
    free(s.second);
    free(s.product);
    free(s.mean_t);
    free(s.mean_e);
    return rc;
}

int mc_refit_answer(struct mc_refit *f, struct mc_linalg *la, struct mc_refit_answer *ret,
                    struct mc_err *err)
{
    size_t n = (size_t)f->n, m = (size_t)(f->m * f->groups);
    if (!f->shift || f->sums[0].rows + f->sums[1].rows == 0)
        return mc_fail(err, MC_EDATA, "there are no rows to fit to");
    ret->d = mc_calloc(m, n * sizeof *ret->d);
    ret->more = mc_calloc(m, sizeof *ret->more);
    int rc = ret->d && ret->more ? fit(f, la, ret, err) : no_memory(err);
    for (int64_t i = 0; !rc && i < f->groups * f->m; i++)
        for (int64_t j = 0; f->bias && j < f->n; j++)
            ret->more[i] -= ret->d[i * f->n + j] * f->shift[i / f->m * f->n + j];
    return rc;
}
