#include "passes/share/share_code.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { ROUNDS = 3 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for a codebook");
}

void mc_share_code_free(struct mc_share_code *c)
{
    free(c->scale);
    free(c->index);
    c->scale = NULL;
    c->index = NULL;
}

void mc_share_decode(const struct mc_share_matrix *x, const struct mc_share_code *c, float *q)
{
    for (int64_t i = 0; i < x->m; i++)
        for (int64_t j = 0; j < x->n; j++) {
            float e = c->entry[c->index[i * x->n + j]];
            q[i * x->n + j] = c->scale ? c->scale[i] * e : e;
        }
}

/* ---- entries without K's other columns ---- */

/* C[j,j] of a part. */
static void diagonal(const struct mc_share_matrix *x, int64_t part, float *d)
{
    for (int64_t j = 0; j < x->n; j++) {
        const float *k = x->k ? x->k[part] + j * x->n : NULL;
        d[j] = x->k_diagonal ? x->k_diagonal[j] * x->k_diagonal[j] : k ? 0 : 1;
        for (int64_t l = 0; k && l <= j; l++)
            d[j] += k[l] * k[l];
    }
}

/* cost [m,n]: g_i C[j,j]. */
static void costs(const struct mc_share_matrix *x, float *cost)
{
    int64_t rows = x->m / x->parts, n = x->n;
    for (int64_t p = 0; p < x->parts; p++) {
        float *last = cost + ((p + 1) * rows - 1) * n;
        diagonal(x, p, last);
        for (int64_t i = p * rows; i < (p + 1) * rows; i++)
            for (int64_t j = 0; j < n; j++)
                cost[i * n + j] = last[j] * (x->g ? x->g[i] : 1);
    }
}

/* Root mean square of each row, as its weights count; 0 for a row of zeros. */
static void measure_scales(const struct mc_share_matrix *x, const float *cost, float *scale)
{
    for (int64_t i = 0; i < x->m; i++) {
        double sum = 0, all = 0;
        for (int64_t j = 0; j < x->n; j++) {
            double c = (double)cost[i * x->n + j], w = (double)x->w[i * x->n + j];
            sum += c * w * w;
            all += c;
        }
        scale[i] = all > 0 ? (float)sqrt(sum / all) : 0;
    }
}

static int start(const struct mc_share_matrix *x, struct mc_share_code *c, struct mc_err *err)
{
    size_t count = (size_t)x->m * (size_t)x->n;
    float *cost = mc_calloc(2 * count + 1, sizeof *cost), *v = cost + count;
    if (!cost)
        return no_memory(err);
    costs(x, cost);
    for (size_t i = 0; i < count; i++)
        c->total += (double)cost[i] * (double)x->w[i] * (double)x->w[i];
    if (c->scale)
        measure_scales(x, cost, c->scale);
    for (int64_t i = 0; i < x->m; i++) {
        float s = c->scale ? c->scale[i] : 1;
        for (int64_t j = 0; j < x->n; j++) {
            int64_t at = i * x->n + j;
            v[at] = s > 0 ? x->w[at] / s : 0;
            cost[at] *= s * s;
        }
    }
    int rc = mc_codebook_fit(v, cost, (int64_t)count, 1 << c->bits, c->entry, err);
    if (!rc) {
        mc_codebook_nearest(v, (int64_t)count, c->entry, 1 << c->bits, c->index);
        c->error = mc_codebook_error(v, cost, (int64_t)count, c->entry, c->index);
    }
    free(cost);
    return rc;
}

/* ---- with K ---- */

/* The best scale of a row for its indices: (w K)(q K)ᵀ / ‖q K‖², q without it. */
static int fit_scales(const struct mc_share_matrix *x, struct mc_share_code *c, struct mc_err *err)
{
    int64_t n = x->n;
    float *row = mc_calloc(2 * (size_t)n + 1, sizeof *row);
    if (!row)
        return no_memory(err);
    for (int64_t i = 0; i < x->m; i++) {
        const float *k = x->k[i / (x->m / x->parts)];
        double wq = 0, qq = 0;
        memset(row, 0, 2 * (size_t)n * sizeof *row);
        for (int64_t j = 0; j < n; j++) {
            float w = x->w[i * n + j], q = c->entry[c->index[i * n + j]];
            for (int64_t l = 0; l <= j; l++) {
                row[l] += w * k[j * n + l];
                row[n + l] += q * k[j * n + l];
            }
        }
        for (int64_t l = 0; l < n; l++) {
            wq += (double)row[l] * (double)row[n + l];
            qq += (double)row[n + l] * (double)row[n + l];
        }
        if (qq > 0 && wq > 0)
            c->scale[i] = (float)(wq / qq);
    }
    free(row);
    return 0;
}

static void copy(const struct mc_share_matrix *x, const struct mc_share_code *from,
                 struct mc_share_code *to)
{
    memcpy(to->entry, from->entry, sizeof to->entry);
    memcpy(to->index, from->index, (size_t)x->m * (size_t)x->n);
    if (from->scale)
        memcpy(to->scale, from->scale, (size_t)x->m * sizeof *to->scale);
    to->error = from->error;
}

static int reserve(const struct mc_share_matrix *x, bool scaled, struct mc_share_code *c,
                   struct mc_err *err)
{
    c->index = mc_calloc((size_t)x->m + 1, (size_t)x->n);
    c->scale = scaled ? mc_calloc((size_t)x->m + 1, sizeof *c->scale) : NULL;
    return c->index && (c->scale || !scaled) ? 0 : no_memory(err);
}

static int improve(struct mc_linalg *la, const struct mc_share_matrix *x,
                   struct mc_share_code *best, struct mc_err *err)
{
    struct mc_share_code now = {.bits = best->bits};
    bool more = true;
    int rc = reserve(x, best->scale, &now, err);
    if (!rc) /* all of its entries are 0 yet */
        rc = mc_share_assign(la, x, false, &now, &best->total, err);
    if (!rc)
        rc = mc_share_assign(la, x, false, best, &best->error, err);
    if (!rc)
        copy(x, best, &now);
    for (int round = 0; !rc && more && best->error > 0 && round < ROUNDS; round++) {
        double error = best->error;
        rc = mc_share_assign(la, x, true, &now, &now.error, err);
        if (!rc && now.error > best->error) /* too far off the ends of the codebook */
            copy(x, best, &now);
        if (!rc)
            rc = mc_share_descend(la, x, &now, err);
        if (!rc && now.scale)
            rc = fit_scales(x, &now, err);
        if (!rc)
            rc = mc_share_entries(x, &now, &more, err);
        if (!rc)
            rc = mc_share_assign(la, x, false, &now, &now.error, err);
        if (!rc && now.error < best->error)
            copy(x, &now, best);
        more = more && best->error < 0.99 * error;
    }
    mc_share_code_free(&now);
    return rc;
}

int mc_share_encode(struct mc_linalg *la, const struct mc_share_matrix *x, int bits, bool scaled,
                    bool quick, struct mc_share_code *ret, struct mc_err *err)
{
    struct mc_share_code c = {.bits = bits};
    int rc = reserve(x, scaled, &c, err);
    if (!rc)
        rc = start(x, &c, err);
    if (!rc && x->k && !quick)
        rc = improve(la, x, &c, err);
    if (rc)
        mc_share_code_free(&c);
    else
        *ret = c;
    return rc;
}
