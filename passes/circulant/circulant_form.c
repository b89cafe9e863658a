#include "passes/circulant/circulant_form.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for fitting circulant blocks");
}

int64_t mc_circulant_form_p(const struct mc_circulant_form *f)
{
    return (f->m + f->b - 1) / f->b;
}

int64_t mc_circulant_form_q(const struct mc_circulant_form *f)
{
    return (f->channels + f->b - 1) / f->b;
}

int64_t mc_circulant_form_count(const struct mc_circulant_form *f)
{
    return mc_circulant_form_p(f) * mc_circulant_form_q(f) * f->b * f->taps;
}

/* Where element r of a block of rows, channel c of the whole, has its number (tap 0). */
static int64_t place(const struct mc_circulant_form *f, int64_t row, int64_t channel)
{
    int64_t b = f->b, k = (row % b - channel % b + b) % b;
    return ((row / b * mc_circulant_form_q(f) + channel / b) * b + k) * f->taps;
}

void mc_circulant_form_nearest(const struct mc_circulant_form *f, const float *w, float *col)
{
    int64_t count = mc_circulant_form_count(f), b = f->b;
    for (int64_t i = 0; i < count; i++)
        col[i] = 0;
    for (int64_t i = 0; i < f->m; i++)
        for (int64_t c = 0; c < f->channels; c++)
            for (int64_t t = 0; t < f->taps; t++)
                col[place(f, i, c) + t] += w[(i * f->channels + c) * f->taps + t];
    for (int64_t i = 0; i < f->m; i += b)
        for (int64_t c = 0; c < f->channels; c += b) {
            int64_t rows = f->m - i < b ? f->m - i : b;
            int64_t cols = f->channels - c < b ? f->channels - c : b;
            float *block = col + place(f, i, c);
            for (int64_t k = 0; k < b; k++) {
                int64_t there = 0; /* places of diagonal k in w: r = (k + c) mod b */
                for (int64_t j = 0; j < cols; j++)
                    there += (k + j) % b < rows;
                for (int64_t t = 0; there && t < f->taps; t++)
                    block[k * f->taps + t] /= (float)there;
            }
        }
}

double mc_circulant_form_energy(const struct mc_circulant_form *f, const float *w, const float *col)
{
    double all = 0, kept = 0;
    for (int64_t i = 0; i < f->m; i++)
        for (int64_t c = 0; c < f->channels; c++) {
            const float *x = w + (i * f->channels + c) * f->taps, *y = col + place(f, i, c);
            for (int64_t t = 0; t < f->taps; t++) {
                all += (double)x[t] * x[t];
                kept += (double)y[t] * y[t];
            }
        }
    return all > 0 ? kept / all : 1;
}

void mc_circulant_form_dense(const struct mc_circulant_form *f, const float *col, float *w)
{
    for (int64_t i = 0; i < f->m; i++)
        for (int64_t c = 0; c < f->channels; c++)
            memcpy(w + (i * f->channels + c) * f->taps, col + place(f, i, c),
                   (size_t)f->taps * sizeof *w);
}

/* ---- the fit ---- */

/* Channel (c + r) mod b of its block; -1: there is none. */
static int64_t turned(const struct mc_circulant_form *f, int64_t channel, int64_t r)
{
    int64_t at = channel / f->b * f->b + (channel % f->b + r) % f->b;
    return at < f->channels ? at : -1;
}

void mc_circulant_fit_rotate(const struct mc_circulant_form *f, const float *k, int64_t r,
                             float *out)
{
    int64_t channels = mc_circulant_form_q(f) * f->b;
    for (int64_t c = 0; c < channels; c++) {
        int64_t from = turned(f, c, r);
        for (int64_t t = 0; t < f->taps; t++)
            out[c * f->taps + t] = from < 0 ? 0 : k[from * f->taps + t];
    }
}

/* Lower triangle of sum_r R_r S R_rᵀ, for rotations 0 … rows - 1. */
static void rotated_sum(const struct mc_circulant_form *f, const float *second, int64_t rows,
                        struct mc_circulant_fit *s)
{
    int64_t taps = f->taps, n = s->n, have = f->channels * taps;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            int64_t from = turned(f, i / taps, r), row = from * taps + i % taps;
            float *to = s->l + i * n;
            for (int64_t j = 0; from >= 0 && j <= i; j += taps) {
                int64_t c = turned(f, j / taps, r), last = i - j < taps ? i - j + 1 : taps;
                if (c < 0)
                    continue;
                for (int64_t t = 0; t < last; t++) {
                    int64_t col = c * taps + t;
                    to[j + t] += row >= col ? second[row * have + col] : second[col * have + row];
                }
            }
        }
}

/* Of blocks p and q, sum [b, taps, taps]: by how far their channels are apart, modulo b. */
static void diagonals(const struct mc_circulant_form *f, const float *second, int64_t p, int64_t q,
                      double *sum)
{
    int64_t taps = f->taps, b = f->b, have = f->channels * taps;
    memset(sum, 0, (size_t)(b * taps * taps) * sizeof *sum);
    for (int64_t i = 0; i < b && p * b + i < f->channels; i++)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t j = 0; j < b && q * b + j < f->channels; j++) {
                double *to = sum + ((j - i + b) % b * taps + t) * taps;
                int64_t row = (p * b + i) * taps + t, col = (q * b + j) * taps;
                for (int64_t u = 0; u < taps; u++, col++)
                    to[u] +=
                        (double)(row >= col ? second[row * have + col] : second[col * have + row]);
            }
}

/* rotated_sum for all b rotations: between two blocks only the distance of channels counts then, and sums along wrapped
 * diagonals do in n² what takes b n² otherwise (a search over blocks up to 512 spent most of its time there). */
static int rotated_whole(const struct mc_circulant_form *f, const float *second,
                         struct mc_circulant_fit *s, struct mc_err *err)
{
    int64_t taps = f->taps, b = f->b, blocks = mc_circulant_form_q(f);
    double *sum = mc_calloc((size_t)b, (size_t)(taps * taps) * sizeof *sum);
    for (int64_t p = 0; sum && p < blocks; p++)
        for (int64_t q = 0; q <= p; q++) {
            diagonals(f, second, p, q, sum);
            for (int64_t i = 0; i < b * taps; i++) {
                float *to = s->l + (p * b * taps + i) * s->n + q * b * taps;
                int64_t n = p == q ? i + 1 : b * taps;
                for (int64_t j = 0; j < n; j++) {
                    int64_t apart = (j / taps - i / taps + b) % b;
                    to[j] = (float)sum[(apart * taps + i % taps) * taps + j % taps];
                }
            }
        }
    if (!sum)
        return no_memory(err);
    free(sum);
    return 0;
}

int mc_circulant_fit_begin(const struct mc_circulant_form *f, struct mc_linalg *la,
                           const float *second, double ridge, int64_t rows,
                           struct mc_circulant_fit *ret, struct mc_err *err)
{
    struct mc_circulant_fit s = {
        .form = *f, .la = la, .n = mc_circulant_form_q(f) * f->b * f->taps};
    s.l = mc_calloc((size_t)s.n, (size_t)s.n * sizeof *s.l);
    if (!s.l)
        return no_memory(err);
    int rc = 0;
    if (rows == f->b)
        rc = rotated_whole(f, second, &s, err);
    else
        rotated_sum(f, second, rows, &s);
    double trace = 0;
    for (int64_t i = 0; i < s.n; i++)
        trace += s.l[i * s.n + i];
    s.ridge = (float)(ridge * trace / (double)s.n);
    if (!(s.ridge > 0)) /* inputs that are always the same: any answer will do */
        s.ridge = 1;
    for (int64_t i = 0; i < s.n; i++)
        s.l[i * s.n + i] += s.ridge;
    if (!rc)
        rc = mc_linalg_cholesky(la, s.n, s.l, s.n, err);
    if (rc)
        free(s.l);
    else
        *ret = s;
    return rc;
}

void mc_circulant_fit_end(struct mc_circulant_fit *s)
{
    free(s->l);
    s->l = NULL;
}

/* Blocks [first, first + count), all with as many rows: right sides, solutions, and columns from them. */
static int solve(const struct mc_circulant_fit *s, const float *cross, int64_t first, int64_t count,
                 int64_t rows, float *col, double *kept, struct mc_err *err)
{
    const struct mc_circulant_form *f = &s->form;
    int64_t n = s->n, b = f->b, have = f->channels * f->taps, q = mc_circulant_form_q(f);
    float *right = mc_calloc((size_t)count, (size_t)n * sizeof *right);
    float *w = mc_calloc((size_t)count, (size_t)n * sizeof *w);
    float *one = mc_calloc((size_t)n, sizeof *one);
    int rc = right && w && one ? 0 : no_memory(err);
    for (int64_t i = 0; !rc && i < count; i++)
        for (int64_t r = 0; r < rows; r++) {
            mc_circulant_fit_rotate(f, cross + ((first + i) * b + r) * have, r, one);
            for (int64_t j = 0; j < n; j++)
                right[i * n + j] += one[j];
        }
    if (!rc)
        memcpy(w, right, (size_t)(count * n) * sizeof *w);
    if (!rc)
        rc = mc_linalg_trsm(s->la, 'r', 't', count, n, s->l, n, w, n, err);
    if (!rc)
        rc = mc_linalg_trsm(s->la, 'r', 'n', count, n, s->l, n, w, n, err);
    for (int64_t i = 0; !rc && i < count; i++) {
        for (int64_t j = 0; j < n; j++) /* |y|² less |y - W x|² */
            *kept += (double)w[i * n + j] * right[i * n + j] +
                     (double)s->ridge * w[i * n + j] * w[i * n + j];
        for (int64_t c = 0; c < q * b; c++) /* row 0: channel c of its block holds col[-c mod b] */
            memcpy(col + (((first + i) * q + c / b) * b + (b - c % b) % b) * f->taps,
                   w + i * n + c * f->taps, (size_t)f->taps * sizeof *col);
    }
    free(right);
    free(w);
    free(one);
    return rc;
}

int mc_circulant_form_fit(const struct mc_circulant_form *f, struct mc_linalg *la,
                          const float *second, const float *cross, double ridge, float *col,
                          double *ret_kept, struct mc_err *err)
{
    int64_t whole = f->m / f->b, left = f->m % f->b;
    double kept = 0;
    struct mc_circulant_fit s;
    int rc = 0;
    if (whole) {
        rc = mc_circulant_fit_begin(f, la, second, ridge, f->b, &s, err);
        if (!rc) {
            rc = solve(&s, cross, 0, whole, f->b, col, &kept, err);
            mc_circulant_fit_end(&s);
        }
    }
    if (!rc && left) {
        rc = mc_circulant_fit_begin(f, la, second, ridge, left, &s, err);
        if (!rc) {
            rc = solve(&s, cross, whole, 1, left, col, &kept, err);
            mc_circulant_fit_end(&s);
        }
    }
    if (!rc && ret_kept)
        *ret_kept = kept;
    return rc;
}
