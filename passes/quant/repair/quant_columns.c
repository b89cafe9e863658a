#include "passes/quant/repair/quant_columns.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { BLOCK = 64 }; /* inputs whose errors are handed on at once */

struct work { /* inputs in ascending order of H[j,j]: row k is input order[k] */
    struct mc_linalg *la;
    struct mc_quant_columns *c;
    int64_t *order;
    float *h; /* [n,n] in that order, both triangles */
    float *l; /* its Cholesky factor */
    float *e; /* [n,m] errors w - scale (q - zero) */
    float *t; /* [n,m] sums of errors so far */
    float *q; /* [n,m] */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for rounding");
}

/* ---- the grid ---- */

static const float *row(const struct work *x, const float *of, int64_t k)
{
    return of + (x->c->each ? x->order[k] * x->c->m : 0);
}

static float clip(const struct mc_quant_columns *c, float q)
{
    return q < c->low ? c->low : q > c->high ? c->high : q;
}

static void errors_of(struct work *x, int64_t k)
{
    const struct mc_quant_columns *c = x->c;
    const float *w = c->w + x->order[k] * c->m, *s = row(x, c->scale, k);
    const float *z = c->zero ? row(x, c->zero, k) : NULL;
    for (int64_t i = 0; i < c->m; i++)
        x->e[k * c->m + i] = w[i] - s[i] * (x->q[k * c->m + i] - (z ? z[i] : 0));
}

/* ---- GPTQ ---- */

/* |e L|² = sum over j of (e[j] L[j,j] + sum over k > j of e[k] L[k,j])²: from the last j on, each term is made as small as
 * the grid allows. t[j] is the sum over those k that are behind. */
static void round_input(struct work *x, int64_t j)
{
    const struct mc_quant_columns *c = x->c;
    const float *w = c->w + x->order[j] * c->m, *s = row(x, c->scale, j);
    const float *z = c->zero ? row(x, c->zero, j) : NULL, *t = x->t + j * c->m;
    float d = 1 / x->l[j * c->n + j];
    for (int64_t i = 0; i < c->m; i++)
        x->q[j * c->m + i] = clip(c, rintf((w[i] + t[i] * d) / s[i] + (z ? z[i] : 0)));
    errors_of(x, j);
}

static int round_all(struct work *x, struct mc_err *err)
{
    int64_t n = x->c->n, m = x->c->m;
    int rc = 0;
    memset(x->t, 0, (size_t)(n * m) * sizeof *x->t);
    for (int64_t end = n; !rc && end > 0; end -= BLOCK) {
        int64_t first = end > BLOCK ? end - BLOCK : 0;
        for (int64_t j = end - 1; j >= first; j--) {
            round_input(x, j);
            for (int64_t k = first; k < j; k++) {
                float a = x->l[j * n + k], *t = x->t + k * m;
                const float *e = x->e + j * m;
                for (int64_t i = 0; i < m; i++)
                    t[i] += a * e[i];
            }
        }
        if (first > 0)
            rc = mc_linalg_gemm(x->la, 't', 'n', first, m, end - first, 1, x->l + first * n, n,
                                x->e + first * m, m, 1, x->t, m, err);
    }
    return rc;
}

/* ---- one by one ---- */

/* t = H e */
static int products(struct work *x, struct mc_err *err)
{
    int64_t n = x->c->n, m = x->c->m;
    return mc_linalg_gemm(x->la, 'n', 'n', n, m, n, 1, x->h, n, x->e, m, 0, x->t, m, err);
}

static double total(const struct work *x)
{
    double sum = 0;
    for (int64_t k = 0; k < x->c->n; k++) {
        double part = 0;
        for (int64_t i = 0; i < x->c->m; i++)
            part += (double)x->e[k * x->c->m + i] * (double)x->t[k * x->c->m + i];
        sum += part;
    }
    return sum;
}

/* d: what e[j] loses, element by element. */
static bool move_input(struct work *x, int64_t j, float *d)
{
    const struct mc_quant_columns *c = x->c;
    const float *s = row(x, c->scale, j), *t = x->t + j * c->m;
    float *q = x->q + j * c->m, *e = x->e + j * c->m, h = 1 / x->h[j * c->n + j];
    bool any = false;
    for (int64_t i = 0; i < c->m; i++) {
        float to = clip(c, q[i] + rintf(t[i] * h / s[i]));
        d[i] = s[i] * (to - q[i]);
        any |= to != q[i];
        q[i] = to;
        e[i] -= d[i];
    }
    return any;
}

static int sweep(struct work *x, float *d, bool *moved, struct mc_err *err)
{
    int64_t n = x->c->n, m = x->c->m;
    int rc = 0;
    *moved = false;
    for (int64_t first = 0; !rc && first < n; first += BLOCK) {
        int64_t end = n - first > BLOCK ? first + BLOCK : n;
        bool any = false;
        memset(d, 0, (size_t)(BLOCK * m) * sizeof *d);
        for (int64_t j = first; j < end; j++) {
            float *mine = d + (j - first) * m;
            if (!move_input(x, j, mine))
                continue;
            any = true;
            for (int64_t k = first; k < end; k++) {
                float a = x->h[k * n + j], *t = x->t + k * m;
                for (int64_t i = 0; i < m; i++)
                    t[i] -= a * mine[i];
            }
        }
        *moved |= any;
        if (any && first > 0)
            rc = mc_linalg_gemm(x->la, 'n', 'n', first, m, end - first, -1, x->h + first, n, d, m,
                                1, x->t, m, err);
        if (!rc && any && end < n)
            rc = mc_linalg_gemm(x->la, 'n', 'n', n - end, m, end - first, -1,
                                x->h + end * n + first, n, d, m, 1, x->t + end * m, m, err);
    }
    return rc;
}

static int improve(struct work *x, int sweeps, struct mc_err *err)
{
    float *d = mc_calloc((size_t)BLOCK, (size_t)x->c->m * sizeof *d);
    int rc = d ? products(x, err) : no_memory(err);
    bool moved = true;
    for (int i = 0; !rc && moved && i < sweeps; i++)
        rc = sweep(x, d, &moved, err);
    free(d);
    return rc ? rc : products(x, err);
}

/* ---- */

struct key {
    float h;
    int64_t j;
};

static int ascending(const void *a, const void *b)
{
    const struct key *p = a, *q = b;
    return p->h < q->h ? -1 : p->h > q->h ? 1 : p->j < q->j ? -1 : p->j > q->j;
}

static int put_in_order(struct work *x, const float *h, double damping, struct mc_err *err)
{
    int64_t n = x->c->n;
    double mean = 0;
    struct key *key = mc_calloc((size_t)n, sizeof *key);
    if (!key)
        return no_memory(err);
    for (int64_t j = 0; j < n; j++) {
        key[j] = (struct key){h[j * n + j], j};
        mean += (double)h[j * n + j] / (double)n;
    }
    qsort(key, (size_t)n, sizeof *key, ascending);
    for (int64_t j = 0; j < n; j++)
        x->order[j] = key[j].j;
    free(key);
    if (!(mean > 0) || !isfinite(mean))
        return mc_fail(err, MC_EDATA, "the layer's input is always 0, or not finite");
    for (int64_t j = 0; j < n; j++)
        for (int64_t k = 0; k <= j; k++) {
            int64_t a = x->order[j], b = x->order[k];
            float v = a > b ? h[a * n + b] : h[b * n + a];
            v += j == k ? (float)(damping * mean) : 0;
            x->h[j * n + k] = x->h[k * n + j] = v;
        }
    return 0;
}

static int solve(struct work *x, int sweeps, struct mc_err *err)
{
    struct mc_quant_columns *c = x->c;

    for (int64_t k = 0; k < c->n; k++) {
        memcpy(x->q + k * c->m, c->q + x->order[k] * c->m, (size_t)c->m * sizeof *x->q);
        errors_of(x, k);
    }
    int rc = products(x, err);
    if (rc)
        return rc;
    c->before = c->after = total(x);
    memcpy(x->l, x->h, (size_t)(c->n * c->n) * sizeof *x->l);
    rc = mc_linalg_cholesky(x->la, c->n, x->l, c->n, err);
    if (!rc)
        rc = round_all(x, err);
    if (!rc)
        rc = improve(x, sweeps, err);
    if (rc || !(total(x) < c->before))
        return rc;
    c->after = total(x);
    for (int64_t k = 0; k < c->n; k++)
        memcpy(c->q + x->order[k] * c->m, x->q + k * c->m, (size_t)c->m * sizeof *x->q);
    return 0;
}

int mc_quant_round_columns(struct mc_linalg *la, const float *h, double damping, int sweeps,
                           struct mc_quant_columns *c, struct mc_err *err)
{
    size_t n = (size_t)c->n, m = (size_t)c->m;
    struct work x = {.la = la, .c = c};
    x.order = mc_calloc(n + 1, sizeof *x.order);
    x.h = mc_calloc(n * n + 1, sizeof *x.h);
    x.l = mc_calloc(n * n + 1, sizeof *x.l);
    x.e = mc_calloc(n + 1, m * sizeof *x.e);
    x.t = mc_calloc(n + 1, m * sizeof *x.t);
    x.q = mc_calloc(n + 1, m * sizeof *x.q);
    int rc = x.order && x.h && x.l && x.e && x.t && x.q ? 0 : no_memory(err);
    if (!rc)
        rc = put_in_order(&x, h, damping, err);
    if (!rc)
        rc = solve(&x, sweeps, err);
    free(x.order);
    free(x.h);
    free(x.l);
    free(x.e);
    free(x.t);
    free(x.q);
    return rc;
}
