/* Entries by least squares: q_i K = entryᵀ U_i with U_i [k,n] the sums of the rows of K that belong to each entry, so
 *     (sum_i g_i U_i U_iᵀ) entry = sum_i g_i U_i (w_i K)ᵀ. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "passes/share/share_code.h"

/* Operations for one layer: about a second. Entries are few, so an even spread of rows says enough. */
static const double WORK = 2e9;
enum { ROWS_MIN = 8 };

struct sums {
    int k;
    double *a, *b; /* [k,k], [k] */
    float *u, *t;  /* [k,n], [n] */
};

static void add_row(const struct mc_share_matrix *x, const struct mc_share_code *c, int64_t i,
                    struct sums *s)
{
    int64_t n = x->n;
    const float *k = x->k[i / (x->m / x->parts)], *w = x->w + i * n;
    float scale = c->scale ? c->scale[i] : 1;
    double g = x->g ? (double)x->g[i] : 1;
    memset(s->u, 0, ((size_t)s->k + 1) * (size_t)n * sizeof *s->u);
    for (int64_t j = 0; j < n; j++) {
        float *u = s->u + c->index[i * n + j] * n;
        const float *row = k + j * n;
        for (int64_t l = 0; l <= j; l++) {
            u[l] += scale * row[l];
            s->t[l] += w[j] * row[l];
        }
    }
    for (int p = 0; p < s->k; p++) {
        const float *u = s->u + p * n;
        for (int q = 0; q <= p; q++) {
            const float *v = s->u + q * n;
            float sum = 0;
            for (int64_t l = 0; l < n; l++)
                sum += u[l] * v[l];
            s->a[p * s->k + q] += g * (double)sum;
        }
        float sum = 0;
        for (int64_t l = 0; l < n; l++)
            sum += u[l] * s->t[l];
        s->b[p] += g * (double)sum;
    }
}

/* a x = b by Cholesky, x in b; false where a is singular in spite of its ridge. */
static bool solve(int k, double *a, double *b)
{
    double trace = 0;
    for (int p = 0; p < k; p++)
        trace += a[p * k + p];
    for (int p = 0; p < k; p++) {
        for (int q = 0; q <= p; q++) {
            double v = a[p * k + q];
            for (int l = 0; l < q; l++)
                v -= a[p * k + l] * a[q * k + l];
            if (p > q)
                a[p * k + q] = v / a[q * k + q];
            else if (v > 1e-9 * trace / k)
                a[p * k + p] = sqrt(v);
            else
                return false;
        }
        for (int l = 0; l < p; l++)
            b[p] -= a[p * k + l] * b[l];
        b[p] /= a[p * k + p];
    }
    for (int p = k; p-- > 0;) {
        for (int l = p + 1; l < k; l++)
            b[p] -= a[l * k + p] * b[l];
        b[p] /= a[p * k + p];
    }
    return true;
}

/* Entries in their order, indices with them. */
static void order(const struct mc_share_matrix *x, struct mc_share_code *c)
{
    int k = 1 << c->bits;
    uint8_t at[MC_CODEBOOK_MAX], to[MC_CODEBOOK_MAX];
    float was[MC_CODEBOOK_MAX];
    memcpy(was, c->entry, sizeof was);
    for (int i = 0; i < k; i++) {
        int j = i;
        for (; j > 0 && was[at[j - 1]] > was[i]; j--)
            at[j] = at[j - 1];
        at[j] = (uint8_t)i;
    }
    for (int i = 0; i < k; i++) {
        c->entry[i] = was[at[i]];
        to[at[i]] = (uint8_t)i;
    }
    for (int64_t i = 0; i < x->m * x->n; i++)
        c->index[i] = to[c->index[i]];
}

int mc_share_entries(const struct mc_share_matrix *x, struct mc_share_code *c, bool *ret_done,
                     struct mc_err *err)
{
    struct sums s = {.k = 1 << c->bits};
    double n = (double)x->n, each = n * n + (double)s.k * s.k * n / 2;
    int64_t rows = each * (double)x->m > WORK ? (int64_t)(WORK / each) : x->m;
    *ret_done = false;
    if (rows < x->m && rows < ROWS_MIN)
        return 0;
    s.a = mc_calloc((size_t)s.k + 1, (size_t)s.k * sizeof *s.a);
    s.u = mc_calloc((size_t)s.k + 1, (size_t)x->n * sizeof *s.u);
    int rc = s.a && s.u ? 0 : mc_fail(err, MC_ENOMEM, "out of memory for a codebook");
    if (!rc) {
        s.b = s.a + s.k * s.k;
        s.t = s.u + s.k * x->n;
        for (int64_t i = 0; i < rows; i++)
            add_row(x, c, i * x->m / rows, &s);
        double trace = 0;
        for (int p = 0; p < s.k; p++)
            trace += s.a[p * s.k + p];
        for (int p = 0; p < s.k; p++) { /* entries that hardly anything uses stay */
            s.a[p * s.k + p] += 1e-6 * trace / s.k;
            s.b[p] += 1e-6 * trace / s.k * (double)c->entry[p];
        }
        *ret_done = solve(s.k, s.a, s.b);
        for (int p = 0; p < s.k && *ret_done; p++)
            c->entry[p] = isfinite((float)s.b[p]) ? (float)s.b[p] : c->entry[p];
        if (*ret_done)
            order(x, c);
    }
    free(s.a);
    free(s.u);
    return rc;
}
