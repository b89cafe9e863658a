#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "passes/fit/refit_solve.h"

/* Fewer rows than unknowns: D = Eᵀ (T Tᵀ + r ridge I)⁻¹ T over the r rows themselves, T and E less their means where there is a
 * bias, which is the same as over the sums. One group. */

struct few {
    const struct mc_refit *f;
    struct mc_linalg *la;
    double *mean_t, *mean_e; /* of t - shift, of e */
    float *t, *e, *gram, *a,
        *solved; /* [r,n], [r,m], [r,r]; with the ridge, and its factor; [r,m] */
    int64_t rows;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for fitting a product");
}

static void release(struct few *w)
{
    free(w->mean_t);
    free(w->mean_e);
    free(w->t);
    free(w->e);
    free(w->gram);
    free(w->a);
    free(w->solved);
    *w = (struct few){0};
}

/* Rows of a fold less the means of w. */
static void centre(const struct few *w, int fold, bool clipped, float *t, float *e)
{
    const struct mc_refit *f = w->f;
    const struct mc_refit_kept *k = &f->kept[fold];
    for (int64_t r = 0; r < f->sums[fold].rows; r++) {
        for (int64_t j = 0; j < f->n; j++)
            t[r * f->n + j] = (float)(k->t[r * f->n + j] - w->mean_t[j]);
        for (int64_t j = 0; j < f->m; j++) {
            int64_t at = r * f->m + j;
            e[at] = (float)(mc_refit_lack(f, clipped, k->should[at], k->is[at]) - w->mean_e[j]);
        }
    }
}

static int begin(struct few *w, const struct mc_refit *f, struct mc_linalg *la, int from, int to,
                 struct mc_err *err)
{
    size_t n = (size_t)f->n, m = (size_t)f->m;
    *w = (struct few){.f = f, .la = la};
    for (int i = from; i < to; i++)
        w->rows += f->sums[i].rows;
    size_t r = (size_t)w->rows;
    w->mean_t = mc_calloc(n, sizeof *w->mean_t);
    w->mean_e = mc_calloc(m, sizeof *w->mean_e);
    w->t = mc_calloc(r, n * sizeof *w->t);
    w->e = mc_calloc(r, m * sizeof *w->e);
    w->gram = mc_calloc(r, r * sizeof *w->gram);
    w->a = mc_calloc(r, r * sizeof *w->a);
    w->solved = mc_calloc(r, m * sizeof *w->solved);
    if (!w->mean_t || !w->mean_e || !w->t || !w->e || !w->gram || !w->a || !w->solved)
        return no_memory(err);
    for (int i = from; f->bias && i < to; i++) {
        for (size_t j = 0; j < n; j++)
            w->mean_t[j] += f->sums[i].t[j] / (double)w->rows;
        for (size_t j = 0; j < m; j++)
            w->mean_e[j] += f->sums[i].e[j] / (double)w->rows;
    }
    int64_t at = 0;
    for (int i = from; i < to; at += f->sums[i++].rows)
        centre(w, i, f->clipped_now, w->t + at * f->n, w->e + at * f->m);
    return mc_linalg_gemm(la, 'n', 't', w->rows, w->rows, f->n, 1, w->t, f->n, w->t, f->n, 0,
                          w->gram, w->rows, err);
}

/* w->solved = (gram + ridge)⁻¹ e; 0 for INFINITY. */
static int solve(struct few *w, double ridge, struct mc_err *err)
{
    int64_t r = w->rows, m = w->f->m;
    double trace = 0;
    for (int64_t i = 0; i < r; i++)
        trace += w->gram[i * r + i];
    memset(w->solved, 0, (size_t)(r * m) * sizeof *w->solved);
    if (!(trace > 0) || ridge > 1e30)
        return 0;
    memcpy(w->a, w->gram, (size_t)(r * r) * sizeof *w->a);
    for (int64_t i = 0; i < r; i++)
        w->a[i * r + i] += (float)(ridge * trace / (double)w->f->n);
    memcpy(w->solved, w->e, (size_t)(r * m) * sizeof *w->solved);
    int rc = mc_linalg_cholesky(w->la, r, w->a, r, err);
    if (!rc)
        rc = mc_linalg_trsm(w->la, 'l', 'n', m, r, w->a, r, w->solved, m, err);
    if (!rc)
        rc = mc_linalg_trsm(w->la, 'l', 't', m, r, w->a, r, w->solved, m, err);
    return rc;
}

/* Mean square that solutions of one fold leave on the other, ridge by ridge. */
static int held_out(const struct mc_refit *f, struct mc_linalg *la, int fold, const double *ridges,
                    int count, double *sums, struct mc_err *err)
{
    struct few w;
    int64_t n = f->n, m = f->m, others = f->sums[1 - fold].rows;
    int rc = begin(&w, f, la, fold, fold + 1, err);
    float *t = mc_calloc((size_t)others, (size_t)n * sizeof *t);
    float *e = mc_calloc((size_t)others, (size_t)m * sizeof *e);
    float *left = mc_calloc((size_t)others, (size_t)m * sizeof *left);
    float *gram = mc_calloc((size_t)others, (size_t)w.rows * sizeof *gram);
    if (!rc && (!t || !e || !left || !gram))
        rc = no_memory(err);
    if (!rc) {
        centre(&w, 1 - fold, f->clipped_now, t, e);
        rc = mc_linalg_gemm(la, 'n', 't', others, w.rows, n, 1, t, n, w.t, n, 0, gram, w.rows, err);
    }
    for (int i = 0; !rc && i < count; i++) {
        rc = solve(&w, ridges[i], err);
        if (rc == MC_EFAIL) {
            sums[i] = INFINITY;
            rc = 0;
            continue;
        }
        if (!rc) {
            memcpy(left, e, (size_t)(others * m) * sizeof *left);
            rc = mc_linalg_gemm(la, 'n', 'n', others, m, w.rows, -1, gram, w.rows, w.solved, m, 1,
                                left, m, err);
        }
        for (int64_t k = 0; !rc && k < others * m; k++)
            sums[i] += (double)left[k] * left[k] / (double)others / 2;
    }
    free(t);
    free(e);
    free(left);
    free(gram);
    release(&w);
    return rc;
}

int mc_refit_few_errors(struct mc_refit *f, struct mc_linalg *la, const double *ridges, int count,
                        double *ret, struct mc_err *err)
{
    memset(ret, 0, (size_t)count * sizeof *ret);
    int rc = held_out(f, la, 0, ridges, count, ret, err);
    return rc ? rc : held_out(f, la, 1, ridges, count, ret, err);
}

int mc_refit_few_solve(struct mc_refit *f, struct mc_linalg *la, double ridge, float *d,
                       double *more, struct mc_err *err)
{
    struct few w;
    int64_t n = f->n, m = f->m;
    int rc = begin(&w, f, la, 0, f->folds, err);
    if (!rc)
        rc = solve(&w, ridge, err);
    if (!rc)
        rc = mc_linalg_gemm(la, 't', 'n', m, n, w.rows, 1, w.solved, m, w.t, n, 0, d, n, err);
    for (int64_t i = 0; !rc && i < m; i++) {
        more[i] = f->bias ? w.mean_e[i] : 0;
        for (int64_t j = 0; f->bias && j < n; j++)
            more[i] -= d[i * n + j] * w.mean_t[j];
    }
    release(&w);
    return rc;
}
