#include "passes/quant/range/quant_range.h"

#include <float.h>
#include <math.h>

#include "passes/quant/range/quant_entropy.h"
#include "passes/quant/range/quant_wide.h"

enum { BINS = MC_QUANT_BINS };

void mc_quant_type_limits(const struct mc_quant_type *t, int32_t *ret_lo, int32_t *ret_hi)
{
    int32_t all = (int32_t)1 << t->bits;
    *ret_lo = (t->is_signed ? -all / 2 : 0) + t->narrow;
    *ret_hi = (t->is_signed ? all / 2 : all) - 1;
}

void mc_quant_param_of(double lo, double hi, const struct mc_quant_type *t,
                       struct mc_quant_param *ret)
{
    int32_t least, most;
    mc_quant_type_limits(t, &least, &most);
    double middle = t->is_signed ? 0 : (double)((int32_t)1 << (t->bits - 1));
    lo = fmin(lo, 0);
    hi = fmax(hi, 0);
    double scale = t->symmetric ? fmax(-lo, hi) / (most - middle) : (hi - lo) / (most - least);
    *ret = (struct mc_quant_param){1, t->symmetric ? (int32_t)middle : least > 0 ? least : 0};
    if (!(scale > 0))
        return;
    ret->scale = (float)fmin(fmax(scale, (double)FLT_MIN), (double)FLT_MAX);
    if (!t->symmetric)
        ret->zero = (int32_t)fmin(fmax(rint(least - lo / (double)ret->scale), least), most);
    /* No number of the grid is infinite. */
    int32_t far = ret->zero - least > most - ret->zero ? ret->zero - least : most - ret->zero;
    ret->scale = fminf(ret->scale, FLT_MAX / (float)far * 0.999999f);
}

/* ---- percentile ---- */

/* Value that `rank` of all values lie below; those of a bin are spread evenly in it. */
static double value_at(const struct mc_quant_hist *h, double rank, bool folded)
{
    double below = folded ? (double)h->zeros : 0, zeros = folded ? 0 : (double)h->zeros;
    int64_t last = (int64_t)floor(h->max / h->width), lo = folded ? 0 : h->first;
    int64_t hi = folded && -h->first - 1 > last ? -h->first - 1 : last;
    if (folded && (h->first > 0 || last < 0)) /* all on one side, and perhaps far from 0 */
        lo = h->first > 0 ? h->first : -1 - last;
    for (int64_t at = lo; at <= hi; at++) {
        double c = 0;
        int64_t i = at - h->first, mirror = -1 - at - h->first;
        if (at == 0 && zeros > 0) {
            if (below + zeros >= rank)
                return 0;
            below += zeros;
        }
        if (i >= 0 && i < BINS)
            c += (double)h->count[i];
        if (folded && mirror >= 0 && mirror < BINS)
            c += (double)h->count[mirror];
        if (c > 0 && below + c >= rank)
            return ((double)at + fmax(rank - below, 0) / c) * h->width;
        below += c;
    }
    return INFINITY;
}

static void percentile_range(const struct mc_quant_hist *h, double percentile, bool folded,
                             double *lo, double *hi)
{
    double n = (double)h->n, cut = n * (1 - fmin(fmax(percentile, 0), 100) / 100);
    if (folded) {
        *hi = fmin(value_at(h, n - cut, true), fmax(-h->min, h->max));
        *lo = -*hi;
        return;
    }
    *lo = fmax(value_at(h, cut / 2, false), h->min);
    *hi = fmin(value_at(h, n - cut / 2, false), h->max);
}

/* ---- mean squared error ---- */

/* Of values spread evenly over each bin it has a closed form: with u = x / scale and k = u rounded and clamped,
 * the integral of (u - k)² from 0 to u is F(u) = k / 12 + (u - k)³ / 3, also where k is clamped. */
struct spread {
    int n;
    double edge[BINS + 1], density[BINS]; /* values per unit of x */
};

static void spread_of(const struct mc_quant_hist *h, struct spread *s)
{
    double last = floor(h->max / h->width) - (double)h->first;
    s->n = 0;
    for (int i = 0; i < BINS && i <= (int)last && h->width > 0; i++) {
        double a = (double)(h->first + i) * h->width, b = a + h->width;
        a = fmax(a, h->min);
        b = fmax(fmin(b, h->max), a + h->width * 1e-6); /* all values of a bin may be one */
        s->edge[i] = a;
        s->edge[i + 1] = b;
        s->density[i] = (double)h->count[i] / (b - a);
        s->n = i + 1;
    }
}

/* Sum of squared errors. */
MC_WIDE static double spread_error(const struct spread *s, double scale, double least, double most)
{
    const double shift = 0x1.8p52; /* adding and taking it away rounds to even */
    double f[BINS + 1], sum[8] = {0}, inverse = 1 / scale;
    for (int i = 0; i <= s->n; i++) {
        double u = s->edge[i] * inverse, k = u < least ? least : u > most ? most : u;
        k = (k + shift) - shift;
        f[i] = k * (1.0 / 12) + (u - k) * (u - k) * (u - k) * (1.0 / 3);
    }
    int i = 0;
    for (; i + 8 <= s->n; i += 8)
        for (int j = 0; j < 8; j++)
            sum[j] += s->density[i + j] * (f[i + j + 1] - f[i + j]);
    for (; i < s->n; i++)
        sum[0] += s->density[i] * (f[i + 1] - f[i]);
    double all = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
    return fmax(all, 0) * scale * scale * scale;
}

static double error_of(const struct spread *s, const struct mc_quant_type *t,
                       const struct mc_quant_param *p)
{
    int32_t least, most;
    mc_quant_type_limits(t, &least, &most);
    return spread_error(s, (double)p->scale, least - p->zero, most - p->zero);
}

double mc_quant_hist_error(const struct mc_quant_hist *h, const struct mc_quant_type *t,
                           const struct mc_quant_param *p)
{
    struct spread s;
    if (!h->n || !(h->width > 0))
        return 0;
    spread_of(h, &s);
    return error_of(&s, t, p) / (double)h->n;
}

struct hunt {
    const struct spread *s;
    const struct mc_quant_type *t;
    double lo, hi, least; /* the best range so far and its error */
};

static void try_range(struct hunt *h, double lo, double hi)
{
    struct mc_quant_param p;
    mc_quant_param_of(lo, hi, h->t, &p);
    double e = error_of(h->s, h->t, &p);
    if (e < h->least) {
        h->least = e;
        h->lo = lo;
        h->hi = hi;
    }
}

/* Shrink one end (0: lower, 1: upper) or both (2), in eighths of an octave and then in finer steps around the best. */
static void hunt_end(struct hunt *h, int end, double lo, double hi)
{
    enum { COARSE = 64, FINE = 12 };
    double top = end == 0 ? lo : hi, was = h->least, best = 1;
    for (int i = 0; i < COARSE && top != 0; i++) {
        double r = exp2(-i / 8.0);
        try_range(h, end == 1 ? lo : lo * r, end == 0 ? hi : hi * r);
        best = h->least < was ? r : best;
        was = h->least;
    }
    for (int i = -FINE; i <= FINE && top != 0; i++) {
        double r = fmin(best * exp2(i / 8.0 / FINE), 1);
        try_range(h, end == 1 ? lo : lo * r, end == 0 ? hi : hi * r);
    }
}

static void mse_range(const struct mc_quant_hist *of, const struct mc_quant_type *t, double *lo,
                      double *hi)
{
    enum { TURNS = 3 };
    struct spread s;
    struct hunt h = {.s = &s, .t = t, .lo = *lo, .hi = *hi, .least = INFINITY};
    spread_of(of, &s);
    hunt_end(&h, *hi > 0 ? 2 : 0, *lo, *hi);
    for (int i = 0; i < TURNS && !t->symmetric && *lo < 0 && *hi > 0; i++) {
        double before = h.least;
        hunt_end(&h, 1, h.lo, *hi);
        hunt_end(&h, 0, *lo, h.hi);
        if (!(h.least < before))
            break;
    }
    *lo = h.lo;
    *hi = h.hi;
}

void mc_quant_range(const struct mc_quant_hist *h, const struct mc_quant_type *t,
                    enum mc_quant_range_method method, double percentile,
                    struct mc_quant_param *ret)
{
    double lo = fmin(h->min, 0), hi = fmax(h->max, 0);
    int32_t least, most;
    mc_quant_type_limits(t, &least, &most);
    if (t->symmetric) {
        hi = fmax(-lo, hi);
        lo = -hi;
    }
    if (h->n && h->min < h->max && method == MC_QUANT_PERCENTILE)
        percentile_range(h, percentile, t->symmetric, &lo, &hi);
    else if (h->n && h->min < h->max && method == MC_QUANT_ENTROPY)
        mc_quant_entropy(h, t->symmetric ? (most - least + 1) / 2 : most - least + 1, t->symmetric,
                         &lo, &hi);
    else if (h->n && h->min < h->max && method == MC_QUANT_MSE)
        mse_range(h, t, &lo, &hi);
    mc_quant_param_of(lo, hi, t, ret);
}
