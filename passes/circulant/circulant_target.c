#include "passes/circulant/circulant_target.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for fitting circulant blocks");
}

void mc_circulant_target_free(struct mc_circulant_target *t)
{
    free(t->w);
    free(t->second);
    free(t->cross);
    free(t->mean_x);
    free(t->mean_lack);
}

int mc_circulant_target_make(const struct mc_refit *f, struct mc_linalg *la,
                             struct mc_circulant_target *t, struct mc_err *err)
{
    const struct mc_refit_sums *u = &f->sums[0];
    int64_t m = f->m, n = f->n;
    double rows = (double)u->rows;
    t->second = mc_calloc((size_t)n, (size_t)n * sizeof *t->second);
    t->cross = mc_calloc((size_t)m, (size_t)n * sizeof *t->cross);
    t->mean_x = mc_calloc((size_t)n, sizeof *t->mean_x);
    t->mean_lack = mc_calloc((size_t)m, sizeof *t->mean_lack);
    if (!t->second || !t->cross || !t->mean_x || !t->mean_lack)
        return no_memory(err);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double mean = f->bias ? u->t[i] / rows * (u->t[j] / rows) : 0;
            t->second[i * n + j] = t->second[j * n + i] =
                (float)(u->second[i * n + j] / rows - mean);
        }
    t->total = 0;
    for (int64_t i = 0; i < m; i++) {
        double lack = u->e[i] / rows;
        t->mean_lack[i] = lack;
        t->total += u->square[i] / rows - (f->bias ? lack * lack : 0);
        for (int64_t j = 0; j < n; j++) {
            double mean = f->bias ? lack * u->t[j] / rows : 0;
            t->cross[i * n + j] = (float)(u->cross[i * n + j] / rows - mean);
            t->total += 2 * (double)t->w[i * n + j] * t->cross[i * n + j];
        }
    }
    for (int64_t j = 0; j < n; j++)
        t->mean_x[j] = u->t[j] / rows + f->shift[j];
    /* e x + W x x: of y and x */
    float *ws = mc_calloc((size_t)m, (size_t)n * sizeof *ws);
    if (!ws)
        return no_memory(err);
    int rc = mc_linalg_gemm(la, 'n', 'n', m, n, n, 1, t->w, n, t->second, n, 0, ws, n, err);
    for (int64_t i = 0; !rc && i < m * n; i++) {
        t->total += (double)t->w[i] * ws[i];
        t->cross[i] += ws[i];
    }
    free(ws);
    return rc;
}

/* to[i, j] = from[i, order[j]]. */
static void take_columns(const float *from, int64_t rows, int64_t n, const int64_t *order,
                         float *to)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            to[i * n + j] = from[i * n + order[j]];
}

int mc_circulant_target_turn(struct mc_circulant_target *t, const int64_t *order,
                             struct mc_err *err)
{
    int64_t most = t->n > t->m ? t->n : t->m;
    float *x = mc_calloc((size_t)most, (size_t)t->n * sizeof *x);
    double *mean = mc_calloc((size_t)t->n, sizeof *mean);
    if (!x || !mean) {
        free(x);
        free(mean);
        return no_memory(err);
    }
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t j = 0; j < t->n; j++)
            x[i * t->n + j] = t->second[order[i] * t->n + order[j]];
    memcpy(t->second, x, (size_t)(t->n * t->n) * sizeof *x);
    take_columns(t->cross, t->m, t->n, order, x);
    memcpy(t->cross, x, (size_t)(t->m * t->n) * sizeof *x);
    take_columns(t->w, t->m, t->n, order, x);
    memcpy(t->w, x, (size_t)(t->m * t->n) * sizeof *x);
    for (int64_t j = 0; j < t->n; j++)
        mean[j] = t->mean_x[order[j]];
    memcpy(t->mean_x, mean, (size_t)t->n * sizeof *mean);
    free(x);
    free(mean);
    return 0;
}

int mc_circulant_target_rows(struct mc_circulant_target *t, const int64_t *order,
                             struct mc_err *err)
{
    float *x = mc_calloc((size_t)t->m, (size_t)t->n * sizeof *x);
    double *lack = mc_calloc((size_t)t->m, sizeof *lack);
    int rc = x && lack ? 0 : no_memory(err);
    size_t row = (size_t)t->n * sizeof *x;
    for (int64_t i = 0; !rc && i < t->m; i++) {
        memcpy(x + i * t->n, t->cross + order[i] * t->n, row);
        lack[i] = t->mean_lack[order[i]];
    }
    if (!rc) {
        memcpy(t->cross, x, (size_t)t->m * row);
        memcpy(t->mean_lack, lack, (size_t)t->m * sizeof *lack);
    }
    for (int64_t i = 0; !rc && i < t->m; i++)
        memcpy(x + i * t->n, t->w + order[i] * t->n, row);
    if (!rc)
        memcpy(t->w, x, (size_t)t->m * row);
    free(x);
    free(lack);
    return rc;
}
