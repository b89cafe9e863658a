#include "passes/share/share_gate.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

enum { GATES_MAX = 8, POWER_MAX = 200 };

/* y [m] = sqrt(weight) w K. */
static void transform(const struct mc_share_matrix *x, int64_t row, float *y)
{
    int64_t m = x->n;
    const float *w = x->w + row * m, *k = x->k ? x->k[row / (x->m / x->parts)] : NULL;
    float weight = x->g ? sqrtf(x->g[row]) : 1;
    for (int64_t l = 0; l < m; l++)
        y[l] = k ? 0 : weight * w[l] * (x->k_diagonal ? x->k_diagonal[l] : 1);
    for (int64_t j = 0; k && j < m; j++)
        for (int64_t l = 0; l <= j; l++)
            y[l] += weight * w[j] * k[j * m + l];
}

/* First eigenvector of p [g,g], positive semidefinite, in v; its eigenvalue. The power method on p itself: what it mixes in of the
 * second direction where both are as strong does no harm. */
static double first_direction(int64_t g, const double *p, double *v)
{
    double value = 0;
    for (int64_t i = 0; i < g;
         i++) /* no start is orthogonal to the first direction: the largest column */
        value = fmax(value, p[i * g + i]);
    for (int64_t i = 0; i < g; i++)
        if (p[i * g + i] == value)
            for (int64_t j = 0; j < g; j++)
                v[j] = p[i * g + j];
    for (int round = 0; round < POWER_MAX; round++) {
        double next[GATES_MAX], norm = 0, change = 0;
        for (int64_t i = 0; i < g; i++) {
            next[i] = 0;
            for (int64_t j = 0; j < g; j++)
                next[i] += p[i * g + j] * v[j];
            norm += next[i] * next[i];
        }
        norm = sqrt(norm);
        if (norm == 0)
            break;
        for (int64_t i = 0; i < g; i++) {
            change = fmax(change, fabs(next[i] / norm - v[i]));
            v[i] = next[i] / norm;
        }
        value = norm;
        if (change < 1e-12)
            break;
    }
    return value;
}

/* One unit: its rows are first + i * n. */
static void fit_unit(const struct mc_share_matrix *x, int64_t g, int64_t first, int64_t n, float *y,
                     float *w0, float *a, double *error, double *total)
{
    double p[GATES_MAX * GATES_MAX], v[GATES_MAX] = {0}, all = 0;
    int64_t m = x->n;
    for (int64_t i = 0; i < g; i++)
        transform(x, first + i * n, y + i * m);
    for (int64_t i = 0; i < g; i++)
        for (int64_t j = 0; j < g; j++) {
            double sum = 0;
            for (int64_t l = 0; l < m; l++)
                sum += (double)y[i * m + l] * (double)y[j * m + l];
            p[i * g + j] = sum;
            all += i == j ? sum : 0;
        }
    double value = all > 0 ? first_direction(g, p, v) : 0, square = 0, sum = 0;
    double root[GATES_MAX];
    for (int64_t i = 0; i < g; i++) {
        root[i] = x->g ? sqrt((double)x->g[first + i * n]) : 1;
        v[i] = root[i] > 0 ? v[i] / root[i] : 0;
        square += v[i] * v[i];
        sum += v[i];
    }
    double size = sqrt(square / (double)g) * (sum < 0 ? -1 : 1);
    for (int64_t i = 0; i < g; i++)
        a[i * n] = (float)(size != 0 ? v[i] / size : 1);
    for (int64_t l = 0; l < m; l++) {
        double w = 0;
        for (int64_t i = 0; i < g; i++)
            w += v[i] * root[i] * root[i] * (double)x->w[(first + i * n) * m + l];
        w0[l] = (float)(w * size);
    }
    *error += fmax(0, all - value);
    *total += all;
}

int mc_share_gate_fit(const struct mc_share_matrix *x, int64_t d, int64_t g, float *w0, float *a,
                      double *ret_error, double *ret_total, struct mc_err *err)
{
    int64_t n = x->m / (d * g), m = x->n;
    if (g < 1 || g > GATES_MAX || n * d * g != x->m)
        return mc_fail(err, MC_ESHAPE, "%lld rows are no %lld gates", (long long)x->m,
                       (long long)g);
    for (int64_t i = 0; i < x->m * m; i++)
        if (!isfinite(x->w[i]))
            return mc_fail(err, MC_EDATA, "weight %lld is %g: gates cannot share it", (long long)i,
                           (double)x->w[i]);
    float *y = mc_calloc((size_t)g, ((size_t)m + 1) * sizeof *y);
    if (!y)
        return mc_fail(err, MC_ENOMEM, "out of memory for gates");
    *ret_error = *ret_total = 0;
    for (int64_t k = 0; k < d; k++)
        for (int64_t u = 0; u < n; u++)
            fit_unit(x, g, k * g * n + u, n, y, w0 + (k * n + u) * m, a + k * g * n + u, ret_error,
                     ret_total);
    free(y);
    return 0;
}
