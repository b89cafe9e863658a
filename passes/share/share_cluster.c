#include "passes/share/share_cluster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { STARTS = 4, ROUNDS = 40, POWER = 30 };

struct clusters {
    const float *gram;
    int64_t m, k;
    bool scaled;
    int32_t *of;
    double *part, *square; /* [m], [k]: ‖c‖² */
    double *dot;           /* [m,k]: x_i · c_k */
    double *left;          /* [m] what its direction leaves of a row */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for clusters");
}

static double product(const struct clusters *c, int64_t i, int64_t j)
{
    return (double)c->gram[i * c->m + j];
}

/* ---- directions ---- */

/* part of the rows of cluster k: their mean, or the first eigenvector of their products, by the power method from what it was. */
static void centre(struct clusters *c, int32_t k)
{
    int64_t n = 0;
    for (int64_t i = 0; i < c->m; i++)
        n += c->of[i] == k;
    for (int64_t i = 0; i < c->m; i++)
        if (c->of[i] == k && !c->scaled)
            c->part[i] = 1 / (double)n;
    for (int round = 0; c->scaled && round < POWER; round++) {
        double norm = 0;
        for (int64_t i = 0; i < c->m; i++) {
            if (c->of[i] != k)
                continue;
            double sum = 0;
            for (int64_t j = 0; j < c->m; j++)
                sum += c->of[j] == k ? product(c, i, j) * c->part[j] : 0;
            c->left[i] = sum;
            norm += sum * sum;
        }
        for (int64_t i = 0; i < c->m; i++)
            if (c->of[i] == k)
                c->part[i] = norm > 0 ? c->left[i] / sqrt(norm) : n == 1;
    }
}

static void project(struct clusters *c)
{
    memset(c->dot, 0, (size_t)c->m * (size_t)c->k * sizeof *c->dot);
    memset(c->square, 0, (size_t)c->k * sizeof *c->square);
    for (int64_t j = 0; j < c->m; j++)
        for (int64_t i = 0; i < c->m; i++)
            c->dot[i * c->k + c->of[j]] += c->part[j] * product(c, i, j);
    for (int64_t i = 0; i < c->m; i++)
        c->square[c->of[i]] += c->part[i] * c->dot[i * c->k + c->of[i]];
}

static double leaves(const struct clusters *c, int64_t i, int64_t k)
{
    double own = product(c, i, i), dot = c->dot[i * c->k + k], square = c->square[k];
    if (!c->scaled)
        return fmax(0, own - 2 * dot + square);
    return square > 0 ? fmax(0, own - dot * dot / square) : own;
}

/* Every row to the direction that leaves least; true if one moved. */
static bool assign(struct clusters *c, double *ret_error)
{
    bool moved = false;
    *ret_error = 0;
    for (int64_t i = 0; i < c->m; i++) {
        int32_t best = c->of[i];
        double least = leaves(c, i, best);
        for (int32_t k = 0; k < c->k; k++) {
            double e = leaves(c, i, k);
            if (e < least * (1 - 1e-9)) {
                least = e;
                best = k;
            }
        }
        moved = moved || best != c->of[i];
        c->of[i] = best;
        c->left[i] = least;
        *ret_error += least;
    }
    return moved;
}

/* A direction without rows takes the row that fares worst where several are. */
static bool refill(struct clusters *c)
{
    bool any = false;
    for (int32_t k = 0; k < c->k; k++) {
        int64_t n = 0, worst = -1;
        for (int64_t i = 0; i < c->m; i++)
            n += c->of[i] == k;
        for (int64_t i = 0; !n && i < c->m; i++) {
            int64_t mates = 0;
            for (int64_t j = 0; j < c->m; j++)
                mates += c->of[j] == c->of[i];
            if (mates > 1 && (worst < 0 || c->left[i] > c->left[worst]))
                worst = i;
        }
        if (worst >= 0) {
            c->of[worst] = k;
            c->left[worst] = 0;
            any = true;
        }
    }
    return any;
}

/* ---- starts ---- */

/* k rows as directions: the first by size or by chance, each next one what those before leave most of, or by chance as much as they
 * leave (Arthur, Vassilvitskii, k-means++, 2007). */
static void seed_rows(struct clusters *c, uint64_t seed, int start)
{
    for (int64_t i = 0; i < c->m; i++) {
        c->left[i] = product(c, i, i);
        c->of[i] = 0;
        c->part[i] = 0;
    }
    for (int32_t k = 0; k < c->k; k++) {
        double sum = 0, at = 0;
        int64_t pick = -1;
        for (int64_t i = 0; i < c->m; i++)
            sum += c->part[i] > 0 ? 0 : c->left[i];
        at = sum * (double)mc_rng_uniform(seed, (uint64_t)start, (uint64_t)k);
        for (int64_t i = 0; i < c->m; i++) {
            if (c->part[i] > 0)
                continue;
            at -= c->left[i];
            if (pick < 0 || (start ? at + c->left[i] > 0 : c->left[i] > c->left[pick]))
                pick = i;
            if (start && at <= 0)
                break;
        }
        c->part[pick] = 1;
        double own = product(c, pick, pick);
        for (int64_t i = 0; i < c->m; i++) {
            double dot = product(c, i, pick);
            double e = c->scaled ? product(c, i, i) - (own > 0 ? dot * dot / own : 0)
                                 : product(c, i, i) - 2 * dot + own;
            if (i == pick || (e < c->left[i] && c->part[i] == 0)) {
                c->left[i] = fmax(0, e);
                c->of[i] = k;
            }
        }
    }
}

static double descend(struct clusters *c, uint64_t seed, int start)
{
    double error = 0;
    seed_rows(c, seed, start);
    project(c);
    bool moved = assign(c, &error) || true;
    for (int round = 0; moved && round < ROUNDS; round++) {
        bool filled = refill(c);
        for (int64_t i = 0; i < c->m; i++)
            c->part[i] = c->part[i] != 0 ? c->part[i] : 1e-3;
        for (int32_t k = 0; k < c->k; k++)
            centre(c, k);
        project(c);
        moved = assign(c, &error) || filled;
    }
    if (refill(c)) {
        for (int32_t k = 0; k < c->k; k++)
            centre(c, k);
        project(c);
    }
    error =
        0; /* of the rows where they are, which the last assignment may have left without their best */
    for (int64_t i = 0; i < c->m; i++)
        error += leaves(c, i, c->of[i]);
    return error;
}

/* ---- all ---- */

static void put(const struct clusters *c, int32_t *of, float *part, float *scale)
{
    for (int64_t i = 0; i < c->m; i++) {
        double square = c->square[c->of[i]];
        of[i] = c->of[i];
        part[i] = (float)c->part[i];
        scale[i] = !c->scaled ? 1 : square > 0 ? (float)(c->dot[i * c->k + c->of[i]] / square) : 0;
    }
}

int mc_share_cluster(const float *gram, int64_t m, int64_t k, bool scaled, uint64_t seed,
                     int32_t *of, float *part, float *scale, double *ret_error, struct mc_err *err)
{
    struct clusters c = {.gram = gram, .m = m, .k = k, .scaled = scaled};
    for (int64_t i = 0; i < m * m; i++)
        if (!isfinite(gram[i]))
            return mc_fail(err, MC_EDATA, "rows are too large, or no numbers, to be put together");
    *ret_error = k == m ? 0 : INFINITY;
    for (int64_t i = 0; i < m && k == m; i++) {
        of[i] = (int32_t)i;
        part[i] = scale[i] = 1;
    }
    if (k == m)
        return 0;
    c.of = mc_calloc((size_t)m, sizeof *c.of);
    c.part = mc_calloc((size_t)(2 * m + k), sizeof *c.part);
    c.dot = mc_calloc((size_t)m, (size_t)k * sizeof *c.dot);
    int rc = c.of && c.part && c.dot ? 0 : no_memory(err);
    c.left = rc ? NULL : c.part + m;
    c.square = rc ? NULL : c.part + 2 * m;
    for (int start = 0; !rc && start < STARTS; start++) {
        double error = descend(&c, seed, start);
        if (error < *ret_error) {
            *ret_error = error;
            put(&c, of, part, scale);
        }
    }
    free(c.of);
    free(c.part);
    free(c.dot);
    return rc;
}
