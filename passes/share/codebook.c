#include "passes/share/codebook.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Values that are told apart by the dynamic programme: beyond them entries moved by less than 1e-4 of the error on normal and Laplace
 * distributed weights, and Lloyd's iterations follow anyway. */
enum { GROUPS = 4096, LLOYD_MAX = 200 };

struct point {
    float x, w;
};

/* Sorted, equal values in one; sums of everything before point i. */
struct sorted {
    struct point *p;
    int64_t n;
    double *w, *wx, *wxx; /* [n + 1] */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for a codebook");
}

static int by_value(const void *a, const void *b)
{
    float x = ((const struct point *)a)->x, y = ((const struct point *)b)->x;
    return (x > y) - (x < y);
}

static void release(struct sorted *s)
{
    free(s->p);
    free(s->w);
}

/* All weights zero count as one each: nothing is known then. */
static int sort(const float *x, const float *weight, int64_t n, struct sorted *s,
                struct mc_err *err)
{
    bool any = false;
    *s = (struct sorted){.p = mc_calloc((size_t)n + 1, sizeof *s->p)};
    if (!s->p)
        return no_memory(err);
    for (int64_t i = 0; i < n; i++) {
        float w = weight ? weight[i] : 1;
        if (!isfinite(x[i]) || !isfinite(w) || w < 0)
            return mc_fail(err, MC_EDATA, "weight %lld is %g: there is no codebook for it",
                           (long long)i, (double)x[i]);
        s->p[i] = (struct point){x[i], w};
        any = any || w > 0;
    }
    qsort(s->p, (size_t)n, sizeof *s->p, by_value);
    for (int64_t i = 0; i < n; i++) {
        float w = any ? s->p[i].w : 1;
        if (s->n && s->p[s->n - 1].x == s->p[i].x)
            s->p[s->n - 1].w += w;
        else
            s->p[s->n++] = (struct point){s->p[i].x, w};
    }
    s->w = mc_calloc(3 * ((size_t)s->n + 1), sizeof *s->w);
    return s->w ? 0 : no_memory(err);
}

static void sum_up(struct sorted *s)
{
    s->wx = s->w + s->n + 1;
    s->wxx = s->wx + s->n + 1;
    for (int64_t i = 0; i < s->n; i++) {
        double x = (double)s->p[i].x, w = (double)s->p[i].w;
        s->w[i + 1] = s->w[i] + w;
        s->wx[i + 1] = s->wx[i] + w * x;
        s->wxx[i + 1] = s->wxx[i] + w * x * x;
    }
}

/* ---- groups ---- */

/* Ends of at most GROUPS groups of neighbours: half of them of equal width, for the ends of the distribution, half of equal
 * weight, for its middle. */
static int64_t make_groups(const struct sorted *s, int64_t *end)
{
    double low = (double)s->p[0].x, width = ((double)s->p[s->n - 1].x - low) / (GROUPS / 2);
    double share = s->w[s->n] / (GROUPS / 2);
    int64_t n = 0, at = -1, part = -1;
    for (int64_t i = 0; i < s->n; i++) {
        int64_t a = s->n <= GROUPS ? i : (int64_t)(((double)s->p[i].x - low) / width);
        int64_t b = s->n <= GROUPS ? i : (int64_t)(s->w[i] / share);
        if (i && (a != at || b != part))
            end[n++] = i;
        at = a;
        part = b;
    }
    end[n++] = s->n;
    return n;
}

/* ---- the least error of groups, by splits that move one way ---- */

struct splits {
    const struct sorted *s;
    const int64_t *end; /* of groups */
    int64_t n;
    double *before, *now; /* [n] least error of groups 0..i with one entry less, with this many */
    int32_t *from;        /* [n] first group of the last entry */
};

static int64_t start_of(const struct splits *d, int64_t group)
{
    return group ? d->end[group - 1] : 0;
}

/* Error of groups a..b under one entry. */
static double spread(const struct splits *d, int64_t a, int64_t b)
{
    const struct sorted *s = d->s;
    int64_t i = start_of(d, a), j = d->end[b];
    double w = s->w[j] - s->w[i], wx = s->wx[j] - s->wx[i], wxx = s->wxx[j] - s->wxx[i];
    return w > 0 ? fmax(0, wxx - wx * wx / w) : 0;
}

/* The best first group of the last entry for groups lo..hi, which lies in [a, b]. */
static void divide(struct splits *d, int64_t lo, int64_t hi, int64_t a, int64_t b)
{
    if (lo > hi)
        return;
    int64_t mid = lo + (hi - lo) / 2, best = a;
    double least = INFINITY;
    for (int64_t j = a; j <= b && j <= mid; j++) {
        double e = (j ? d->before[j - 1] : 0) + spread(d, j, mid);
        if (e < least) {
            least = e;
            best = j;
        }
    }
    d->now[mid] = least;
    d->from[mid] = (int32_t)best;
    divide(d, lo, mid - 1, a, best);
    divide(d, mid + 1, hi, best, b);
}

static double mean_of(const struct sorted *s, int64_t i, int64_t j)
{
    double w = s->w[j] - s->w[i];
    return w > 0 ? (s->wx[j] - s->wx[i]) / w : (double)s->p[i + (j - i) / 2].x;
}

/* bound [k + 1]: first point of each entry. */
static int plan(const struct sorted *s, int k, int64_t *bound, struct mc_err *err)
{
    struct splits d = {.s = s};
    size_t most = s->n < 2 * GROUPS ? (size_t)s->n : 2 * GROUPS;
    int64_t *end = mc_calloc(most + 2, sizeof *end);
    double *row = mc_calloc(2 * (most + 2), sizeof *row);
    int32_t *from = mc_calloc((size_t)k, (most + 2) * sizeof *from);
    int rc = end && row && from ? 0 : no_memory(err);
    if (!rc) {
        d.end = end;
        d.n = make_groups(s, end);
        d.before = row;
        d.now = row + most + 2;
        for (int c = 0; c < k; c++) {
            d.from = from + (size_t)c * (most + 2);
            if (c)
                divide(&d, 0, d.n - 1, 0, d.n - 1);
            for (int64_t i = 0; c == 0 && i < d.n; i++)
                d.now[i] = spread(&d, 0, i);
            double *t = d.before;
            d.before = d.now;
            d.now = t;
        }
        int64_t last = d.n - 1;
        bound[k] = s->n;
        for (int c = k - 1; c >= 0; c--) {
            int64_t first = last < 0 ? 0 : from[(size_t)c * (most + 2) + (size_t)last];
            bound[c] = last < 0 ? 0 : start_of(&d, first);
            last = first - 1;
        }
        bound[0] = 0;
    }
    free(end);
    free(row);
    free(from);
    return rc;
}

/* ---- Lloyd ---- */

/* First point that is nearer to the entry above than to the one below. */
static int64_t border(const struct sorted *s, double below, double above)
{
    double middle = (below + above) / 2;
    int64_t lo = 0, hi = s->n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if ((double)s->p[mid].x <= middle)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void centre(const struct sorted *s, int k, const int64_t *bound, double *c)
{
    for (int i = 0; i < k; i++)
        if (bound[i + 1] > bound[i])
            c[i] = mean_of(s, bound[i], bound[i + 1]);
        else
            c[i] = i ? c[i - 1] : (double)s->p[0].x;
}

static void improve(const struct sorted *s, int k, int64_t *bound, double *c)
{
    for (int round = 0; round < LLOYD_MAX; round++) {
        bool moved = false;
        for (int i = 1; i < k; i++) {
            int64_t at = border(s, c[i - 1], c[i]);
            moved = moved || at != bound[i];
            bound[i] = at;
        }
        if (!moved)
            return;
        centre(s, k, bound, c);
    }
}

int mc_codebook_fit(const float *x, const float *weight, int64_t n, int k, float *entry,
                    struct mc_err *err)
{
    struct sorted s;
    int64_t bound[MC_CODEBOOK_MAX + 1];
    double c[MC_CODEBOOK_MAX];
    int rc = sort(x, weight, n, &s, err);
    if (!rc && s.n <= k) { /* as they are: a mean of equal values may be off by a bit */
        for (int i = 0; i < k; i++)
            entry[i] = s.n ? s.p[i < s.n ? i : s.n - 1].x : 0;
    } else if (!rc) {
        sum_up(&s);
        rc = plan(&s, k, bound, err);
        if (!rc) {
            centre(&s, k, bound, c);
            if (s.n > GROUPS)
                improve(&s, k, bound, c);
            for (int i = 0; i < k; i++)
                entry[i] = (float)c[i];
        }
    }
    release(&s);
    return rc;
}

/* ---- using one ---- */

static int nearest(float x, const float *entry, int k)
{
    int lo = 0, hi = k - 1;
    while (lo < hi) { /* the first entry whose border to the next is not below x */
        int mid = lo + (hi - lo) / 2;
        if ((double)x <= ((double)entry[mid] + (double)entry[mid + 1]) / 2)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

void mc_codebook_nearest(const float *x, int64_t n, const float *entry, int k, uint8_t *index)
{
    for (int64_t i = 0; i < n; i++)
        index[i] = (uint8_t)nearest(x[i], entry, k);
}

double mc_codebook_error(const float *x, const float *weight, int64_t n, const float *entry,
                         const uint8_t *index)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double e = (double)x[i] - (double)entry[index[i]];
        sum += (weight ? (double)weight[i] : 1) * e * e;
    }
    return sum;
}
