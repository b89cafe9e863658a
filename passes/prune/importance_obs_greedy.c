#include "passes/prune/importance_obs_greedy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/mem.h"

/* Of more units than this one in so many goes at once. */
enum { AT_ONCE = 48 };

struct greedy {
    struct mc_linalg *la;
    struct mc_obs_reader *reader;
    size_t n_readers;
    int64_t units;  /* that are left, in the order they came in */
    int32_t *name;  /* [units] their numbers */
    double *each;   /* [units] what the next to go would cost */
    int64_t *gone;  /* [take] positions of those that go now, cheapest first */
    double *joint;  /* [take] what each adds */
    bool *leaves;   /* [units] */
    int64_t *stays; /* [n] columns */
    const float *pairs;
    int64_t all; /* units there were */
    double *own; /* [all] by number: what pairs say of one more */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

static float *floats(int64_t rows, int64_t cols)
{
    size_t count;
    return mc_size_mul((size_t)rows, (size_t)cols, &count) ? mc_calloc(count + 1, sizeof(float))
                                                           : NULL;
}

int mc_obs_invert(struct mc_linalg *la, int64_t n, float *a, struct mc_err *err)
{
    int rc = mc_linalg_cholesky(la, n, a, n, err);
    float *x = rc ? NULL : floats(n, n);
    if (!rc && !x)
        rc = no_memory(err);
    for (int64_t i = 0; !rc && i < n; i++)
        x[i * n + i] = 1;
    if (!rc)
        rc = mc_linalg_trsm(la, 'l', 'n', n, n, a, n, x, n, err);
    if (!rc)
        rc = mc_linalg_syrk(la, n, n, 1, x, n, 0, a, n, err);
    free(x);
    return rc;
}

/* ---- what one unit costs ---- */

/* P = L Lᵀ in place, lower triangle. Where rounding has left a diagonal that is not positive, what was there counts. */
static void cholesky(double *p, int64_t b)
{
    for (int64_t j = 0; j < b; j++) {
        double d = p[j * b + j];
        for (int64_t k = 0; k < j; k++)
            d -= p[j * b + k] * p[j * b + k];
        d = d > 1e-6 * p[j * b + j] ? d : p[j * b + j];
        p[j * b + j] = d > 0 ? sqrt(d) : 1e-18;
        for (int64_t i = j + 1; i < b; i++) {
            for (int64_t k = 0; k < j; k++)
                p[i * b + j] -= p[i * b + k] * p[j * b + k];
            p[i * b + j] /= p[j * b + j];
        }
    }
}

/* tr(P⁻¹ G) = Σ x G xᵀ over the rows x of L⁻¹; P, G lower triangles, P is destroyed, x [b,b]. */
static double trace_of_solve(double *p, const float *g, int64_t b, double *x)
{
    double sum = 0;
    cholesky(p, b);
    for (int64_t i = 0; i < b; i++) {
        double *row = x + i * b;
        memset(row, 0, (size_t)b * sizeof *row);
        row[i] = 1;
        for (int64_t k = 0; k < i; k++)
            for (int64_t j = 0; j <= k; j++)
                row[j] -= p[i * b + k] * x[k * b + j];
        for (int64_t r = 0; r <= i; r++) {
            row[r] /= p[i * b + i];
            for (int64_t c = 0; c < r; c++)
                sum += 2 * row[r] * row[c] * (double)g[r * b + c];
            sum += row[r] * row[r] * (double)g[r * b + r];
        }
    }
    return sum;
}

/* Units of one column: squares of all columns at once, row by row. */
static int single(const struct mc_obs_reader *r, int64_t units, double *each, struct mc_err *err)
{
    double *square = mc_calloc((size_t)units + 1, sizeof *square);
    if (!square)
        return no_memory(err);
    for (int64_t i = 0; i < r->m; i++)
        for (int64_t u = 0; u < units; u++)
            square[u] += (double)r->w[i * r->n + u] * (double)r->w[i * r->n + u];
    for (int64_t u = 0; u < units; u++) {
        double p = (double)r->inverse[u * r->n + u];
        each[u] += p > 0 ? square[u] / p : INFINITY;
    }
    free(square);
    return 0;
}

static int block(const struct greedy *g, const struct mc_obs_reader *r, int64_t from, int64_t b,
                 double *each, struct mc_err *err)
{
    float *gram = floats(b, b);
    double *p = mc_calloc((size_t)(2 * b * b) + 1, sizeof *p);
    int rc = gram && p ? mc_linalg_syrk(g->la, b, r->m, 1, r->w + from, r->n, 0, gram, b, err)
                       : no_memory(err);
    for (int64_t i = 0; !rc && i < b; i++)
        for (int64_t j = 0; j <= i; j++)
            p[i * b + j] = (double)r->inverse[(from + i) * r->n + from + j];
    if (!rc)
        *each += trace_of_solve(p, gram, b, p + b * b);
    free(gram);
    free(p);
    return rc;
}

static bool singles(const struct mc_obs_reader *r, int64_t units)
{
    for (int64_t u = 0; u <= units; u++)
        if (r->start[u] != u)
            return false;
    return true;
}

static int weigh(struct greedy *g, struct mc_err *err)
{
    int rc = mc_interrupt_check(err);
    for (int64_t u = 0; u < g->units; u++)
        g->each[u] = g->own[g->name[u]];
    for (size_t k = 0; k < g->n_readers && !rc; k++) {
        const struct mc_obs_reader *r = &g->reader[k];
        bool one = singles(r, g->units);
        if (one)
            rc = single(r, g->units, g->each, err);
        for (int64_t u = 0; !rc && !one && u < g->units; u++)
            if (r->start[u + 1] > r->start[u])
                rc = block(g, r, r->start[u], r->start[u + 1] - r->start[u], &g->each[u], err);
    }
    return rc;
}

/* ---- removing ---- */

static float at(const struct mc_obs_reader *r, int64_t i, int64_t j)
{
    return i >= j ? r->inverse[i * r->n + j] : r->inverse[j * r->n + i];
}

/* Its Cholesky factor; where rounding has made P_SS indefinite, with more on the diagonal. */
static int factorise(struct greedy *g, const struct mc_obs_reader *r, const int64_t *s, int64_t k,
                     float *l, struct mc_err *err)
{
    int rc = MC_EFAIL;
    for (float more = 0; rc == MC_EFAIL && more<2; more = more> 0 ? more * 10 : 1e-6f) {
        for (int64_t i = 0; i < k; i++)
            for (int64_t j = 0; j <= i; j++)
                l[i * k + j] = at(r, s[i], s[j]) * (i == j ? 1 + more : 1);
        rc = mc_linalg_cholesky(g->la, k, l, k, err);
    }
    return rc;
}

/* The columns s, in this order, leave: Z = V_S L⁻ᵀ, Y = L⁻¹ P_S,:, V -= Z Y, P -= YᵀY with P_SS = L Lᵀ. */
static int eliminate(struct greedy *g, struct mc_obs_reader *r, const int64_t *s, int64_t k,
                     double *square, struct mc_err *err)
{
    float *l = floats(k, k), *z = floats(r->m, k), *y = floats(k, r->n);
    int rc = l && z && y ? factorise(g, r, s, k, l, err) : no_memory(err);
    for (int64_t i = 0; !rc && i < k; i++) {
        for (int64_t j = 0; j < r->m; j++)
            z[j * k + i] = r->w[j * r->n + s[i]];
        for (int64_t j = 0; j < r->n; j++)
            y[i * r->n + j] = at(r, s[i], j);
    }
    if (!rc)
        rc = mc_linalg_trsm(g->la, 'r', 't', r->m, k, l, k, z, k, err);
    if (!rc)
        rc = mc_linalg_trsm(g->la, 'l', 'n', r->n, k, l, k, y, r->n, err);
    for (int64_t j = 0; !rc && j < r->m; j++)
        for (int64_t i = 0; i < k; i++)
            square[i] += (double)z[j * k + i] * (double)z[j * k + i];
    if (!rc)
        rc = mc_linalg_gemm(g->la, 'n', 'n', r->m, r->n, k, -1, z, k, y, r->n, 1, r->w, r->n, err);
    if (!rc)
        rc = mc_linalg_syrk(g->la, r->n, k, -1, y, r->n, 1, r->inverse, r->n, err);
    free(l);
    free(z);
    free(y);
    return rc;
}

/* Close the gaps. Every element moves up or left, so it is read before it is overwritten. */
static void compact(struct greedy *g, struct mc_obs_reader *r)
{
    int64_t n = 0, u = 0, old = r->n;
    for (int64_t i = 0; i < g->units; i++) {
        int64_t from = r->start[i], to = r->start[i + 1];
        if (g->leaves[i])
            continue;
        r->start[u++] = n;
        for (int64_t j = from; j < to; j++)
            g->stays[n++] = j;
    }
    int64_t rest = r->start[g->units];
    r->start[u] = n;
    for (int64_t j = rest; j < old; j++)
        g->stays[n++] = j;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++)
            r->inverse[i * n + j] = r->inverse[g->stays[i] * old + g->stays[j]];
    for (int64_t i = 0; i < r->m; i++)
        for (int64_t j = 0; j < n; j++)
            r->w[i * n + j] = r->w[i * old + g->stays[j]];
    r->n = n;
}

static int leave(struct greedy *g, struct mc_obs_reader *r, int64_t take, struct mc_err *err)
{
    int64_t k = 0;
    for (int64_t i = 0; i < take; i++)
        k += r->start[g->gone[i] + 1] - r->start[g->gone[i]];
    if (k == 0) {
        compact(g, r);
        return 0;
    }
    int64_t *s = mc_calloc((size_t)k, sizeof *s);
    double *square = mc_calloc((size_t)k, sizeof *square);
    int rc = s && square ? 0 : no_memory(err);
    k = 0;
    for (int64_t i = 0; !rc && i < take; i++)
        for (int64_t j = r->start[g->gone[i]]; j < r->start[g->gone[i] + 1]; j++)
            s[k++] = j;
    if (!rc)
        rc = eliminate(g, r, s, k, square, err);
    k = 0;
    for (int64_t i = 0; !rc && i < take; i++)
        for (int64_t j = r->start[g->gone[i]]; j < r->start[g->gone[i] + 1]; j++)
            g->joint[i] += square[k++];
    if (!rc)
        compact(g, r);
    free(s);
    free(square);
    return rc;
}

/* ---- all ---- */

/* The `take` cheapest, by cost; ties: the higher position goes, as in mc_coupling_choose. */
static void choose(struct greedy *g, int64_t take)
{
    int64_t n = 0;
    for (int64_t u = 0; u < g->units; u++) {
        g->leaves[u] = false;
        int64_t at_ = n;
        while (at_ > 0 && g->each[u] <= g->each[g->gone[at_ - 1]])
            at_--;
        if (at_ == take)
            continue;
        int64_t last = n < take ? n++ : take - 1;
        memmove(g->gone + at_ + 1, g->gone + at_, (size_t)(last - at_) * sizeof *g->gone);
        g->gone[at_] = u;
    }
    for (int64_t i = 0; i < take; i++)
        g->leaves[g->gone[i]] = true;
}

static void goes(struct greedy *g, int32_t unit)
{
    for (int64_t u = 0; g->pairs && u < g->all; u++)
        g->own[u] += 2 * (double)g->pairs[unit * g->all + u];
}

static int step(struct greedy *g, int64_t done, int32_t *order, double *cost, struct mc_err *err)
{
    int64_t take = g->units > AT_ONCE ? g->units / AT_ONCE : 1;
    int rc = weigh(g, err);
    if (rc)
        return rc;
    choose(g, take);
    memset(g->joint, 0, (size_t)take * sizeof *g->joint);
    for (size_t k = 0; k < g->n_readers && !rc; k++)
        rc = leave(g, &g->reader[k], take, err);
    double sum = done ? cost[done - 1] : 0;
    for (int64_t i = 0; i < take && !rc; i++) {
        order[done + i] = g->name[g->gone[i]];
        cost[done + i] = sum += g->joint[i] + g->own[order[done + i]];
        goes(g, order[done + i]);
    }
    int64_t left = 0;
    for (int64_t u = 0; u < g->units; u++)
        if (!g->leaves[u])
            g->name[left++] = g->name[u];
    g->units = left;
    return rc;
}

int mc_obs_greedy(struct mc_linalg *la, struct mc_obs_reader *reader, size_t n_readers,
                  const float *pairs, int64_t units, int32_t *order, double *cost,
                  struct mc_err *err)
{
    struct greedy g = {.la = la,
                       .reader = reader,
                       .n_readers = n_readers,
                       .units = units,
                       .all = units,
                       .pairs = pairs};
    int64_t n = 0;
    for (size_t k = 0; k < n_readers; k++)
        n = reader[k].n > n ? reader[k].n : n;
    size_t count = (size_t)units + 1;
    g.name = mc_calloc(count, sizeof *g.name);
    g.own = mc_calloc(count, sizeof *g.own);
    g.each = mc_calloc(count, sizeof *g.each);
    g.gone = mc_calloc(count, sizeof *g.gone);
    g.joint = mc_calloc(count, sizeof *g.joint);
    g.leaves = mc_calloc(count, sizeof *g.leaves);
    g.stays = mc_calloc((size_t)n + 1, sizeof *g.stays);
    int rc =
        g.name && g.own && g.each && g.gone && g.joint && g.leaves && g.stays ? 0 : no_memory(err);
    for (int64_t u = 0; !rc && u < units; u++)
        g.name[u] = (int32_t)u;
    for (int64_t u = 0; !rc && pairs && u < units; u++)
        g.own[u] = (double)pairs[u * units + u];
    while (!rc && g.units > 0)
        rc = step(&g, units - g.units, order, cost, err);
    free(g.name);
    free(g.own);
    free(g.each);
    free(g.gone);
    free(g.joint);
    free(g.leaves);
    free(g.stays);
    return rc;
}
