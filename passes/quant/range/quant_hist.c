/* The grid of the bins follows from the smallest and the largest value alone, so that neither the order in which values
 * come nor how they are cut into calls or histograms changes a count: the width is the smallest power of two that
 * fits, and the first bin is the one of the smallest value. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "passes/quant/range/quant_hist.h"
#include "passes/quant/range/quant_wide.h"

enum {
    BINS = MC_QUANT_BINS,
    LANES = 16,
    BLOCK = 4096, /* values that are looked at while they are in the first cache */
    TABLES = 4,   /* neighbours that fall into one bin do not wait for each other */
};
static const double WIDTH_MIN = 0x1p-126; /* its reciprocal is a float, too */

int mc_quant_hist_init(struct mc_quant_hist *h, struct mc_err *err)
{
    *h = (struct mc_quant_hist){0};
    h->count = mc_calloc(BINS, sizeof *h->count);
    return h->count ? 0 : mc_fail(err, MC_ENOMEM, "out of memory for a histogram");
}

void mc_quant_hist_free(struct mc_quant_hist *h)
{
    if (h)
        free(h->count);
}

void mc_quant_hist_clear(struct mc_quant_hist *h)
{
    uint64_t *count = h->count;
    memset(count, 0, BINS * sizeof *count);
    *h = (struct mc_quant_hist){.count = count};
}

/* ---- the grid ---- */

static double fit_width(double lo, double hi)
{
    int e;
    frexp(fmax(-lo, hi), &e);
    double w = fmax(ldexp(1, e - 24), WIDTH_MIN); /* bin numbers are exact in a float */
    while (floor(hi / w) - floor(lo / w) >= BINS)
        w *= 2;
    return w;
}

/* Make h reach from lo to hi, which its own values lie between. */
static void widen(struct mc_quant_hist *h, double lo, double hi)
{
    double w = lo < 0 || hi > 0 ? fit_width(lo, hi) : 0;
    int64_t first = w > 0 ? (int64_t)floor(lo / w) : 0;
    if (h->width > 0 && (w > h->width || first != h->first)) {
        uint64_t old[BINS];
        int shift;
        frexp(w / h->width, &shift);
        memcpy(old, h->count, sizeof old);
        memset(h->count, 0, sizeof old);
        for (int64_t i = 0; i < BINS; i++)
            if (old[i])
                h->count[((h->first + i) >> (shift - 1)) - first] += old[i];
    }
    h->width = w;
    h->first = first;
    h->min = lo;
    h->max = hi;
}

/* ---- adding ---- */

struct span {
    float lo, hi;
    double sum, square;
    bool odd; /* there is NaN or infinity: the rest means nothing */
};

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef double vd __attribute__((vector_size(8 * LANES)));

struct sum {
    vf lo, hi;
    vi odd;
    vd sum, square;
};

/* Lanes behind the last of n values are 0. */
static inline void load(const float *x, int64_t n, vf *ret)
{
    *ret = (vf){0};
    if (n >= LANES)
        memcpy(ret, x, sizeof *ret);
    else
        memcpy(ret, x, (size_t)n * sizeof *x);
}

/* Sums of v, extremes of `here`. */
static inline void look_at(const vf *v, const vf *here, struct sum *s)
{
    const vi exponent = 0x7f800000 - (vi){0};
    vd d = __builtin_convertvector(*v, vd);
    vi less = *here<s->lo, more = *here> s->hi;
    s->lo = (vf)((less & (vi)*here) | (~less & (vi)s->lo));
    s->hi = (vf)((more & (vi)*here) | (~more & (vi)s->hi));
    s->odd |= ((vi)*v & exponent) == exponent;
    s->sum += d;
    s->square += d * d;
}

MC_WIDE static void look(const float *x, int64_t n, struct span *r)
{
    struct sum s = {.lo = x[0] - (vf){0}, .hi = x[0] - (vf){0}};
    vf v;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        load(x + i, LANES, &v);
        look_at(&v, &v, &s);
    }
    if (i < n) {
        load(x + i, n - i, &v);
        vf here = v;
        for (int64_t j = n - i; j < LANES; j++)
            here[j] = x[0]; /* 0 changes no sum, but an extreme */
        look_at(&v, &here, &s);
    }
    *r = (struct span){.lo = s.lo[0], .hi = s.hi[0]};
    for (int j = 0; j < LANES; j++) {
        r->lo = s.lo[j] < r->lo ? s.lo[j] : r->lo;
        r->hi = s.hi[j] > r->hi ? s.hi[j] : r->hi;
        r->sum += s.sum[j];
        r->square += s.square[j];
        r->odd |= s.odd[j] != 0;
    }
}

/* Bin of each value; BINS for zero. Truncation rounds towards 0, so that t * width is exact. */
MC_WIDE static void place(const float *x, int64_t n, float width, int32_t first, int32_t *at)
{
    float inverse = 1 / width;
    for (int64_t i = 0; i < n; i += LANES) {
        vf v;
        load(x + i, n - i, &v);
        vi t = __builtin_convertvector(v * inverse, vi), zero = v == 0;
        t += v < __builtin_convertvector(t, vf) * width; /* true is -1 */
        t = (zero & BINS) | (~zero & (t - first));
        memcpy(at + i, &t, sizeof t);
    }
}

struct tables {
    uint32_t count[TABLES][BINS + LANES];
    uint64_t n; /* counted since they were empty */
};

static void empty_tables(struct mc_quant_hist *h, struct tables *t)
{
    if (!t->n)
        return;
    for (int i = 0; i < BINS; i++)
        for (int k = 0; k < TABLES; k++)
            h->count[i] += t->count[k][i];
    for (int k = 0; k < TABLES; k++)
        h->zeros += t->count[k][BINS];
    memset(t, 0, sizeof *t);
}

static void count(struct tables *t, const int32_t *at, int64_t n)
{
    int64_t i = 0;
    for (; i + TABLES <= n; i += TABLES)
        for (int k = 0; k < TABLES; k++)
            t->count[k][at[i + k]]++;
    for (; i < n; i++)
        t->count[0][at[i]]++;
    t->n += (uint64_t)n;
}

/* Copy the finite of n values; returns how many. */
static int64_t pick_finite(struct mc_quant_hist *h, const float *x, int64_t n, float *ret)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        h->nan += isnan(x[i]) != 0;
        h->infinite += isinf(x[i]) != 0;
        if (isfinite(x[i]))
            ret[kept++] = x[i];
    }
    return kept;
}

static void add_block(struct mc_quant_hist *h, struct tables *t, const float *x, int64_t n)
{
    int32_t at[BLOCK]; /* whole vectors */
    float finite[BLOCK];
    struct span s;
    look(x, n, &s);
    if (s.odd) {
        n = pick_finite(h, x, n, finite);
        x = finite;
        if (!n)
            return;
        look(x, n, &s);
    }
    if (h->n == 0 || s.lo < h->min || s.hi > h->max) {
        empty_tables(h, t);
        widen(h, h->n ? fmin(h->min, s.lo) : s.lo, h->n ? fmax(h->max, s.hi) : s.hi);
    } else if (t->n > UINT32_MAX - BLOCK) {
        empty_tables(h, t);
    }
    h->n += (uint64_t)n;
    h->sum += s.sum;
    h->square += s.square;
    if (h->width == 0) {
        h->zeros += (uint64_t)n;
        return;
    }
    place(x, n, (float)h->width, (int32_t)h->first, at);
    count(t, at, n);
}

void mc_quant_extremes(const float *x, int64_t n, float *lo, float *hi, double *sum)
{
    struct span s = {0};
    if (n > 0)
        look(x, n, &s);
    for (int64_t i = 0; i < n && s.odd; i++)
        if (isfinite(x[i])) {
            *lo = x[i] < *lo ? x[i] : *lo;
            *hi = x[i] > *hi ? x[i] : *hi;
            *sum += (double)x[i];
        }
    if (n <= 0 || s.odd)
        return;
    *lo = s.lo < *lo ? s.lo : *lo;
    *hi = s.hi > *hi ? s.hi : *hi;
    *sum += s.sum;
}

int mc_quant_hist_add(struct mc_quant_hist *h, const float *x, int64_t n, struct mc_err *err)
{
    struct tables *t = mc_calloc(1, sizeof *t);
    if (!t)
        return mc_fail(err, MC_ENOMEM, "out of memory for a histogram");
    for (int64_t i = 0; i < n; i += BLOCK)
        add_block(h, t, x + i, n - i < BLOCK ? n - i : BLOCK);
    empty_tables(h, t);
    free(t);
    return 0;
}

int mc_quant_hist_merge(struct mc_quant_hist *h, const struct mc_quant_hist *of, struct mc_err *err)
{
    struct mc_quant_hist add;
    int rc = mc_quant_hist_init(&add, err);
    if (rc)
        return rc;
    h->nan += of->nan;
    h->infinite += of->infinite;
    if (of->n) {
        double lo = h->n ? fmin(h->min, of->min) : of->min;
        double hi = h->n ? fmax(h->max, of->max) : of->max;
        memcpy(add.count, of->count, BINS * sizeof *add.count);
        add.width = of->width;
        add.first = of->first;
        widen(&add, lo, hi);
        widen(h, lo, hi);
        for (int i = 0; i < BINS; i++)
            h->count[i] += add.count[i];
        h->zeros += of->zeros;
        h->n += of->n;
        h->sum += of->sum;
        h->square += of->square;
    }
    mc_quant_hist_free(&add);
    return 0;
}

/* ---- as JSON: bins that are not empty, as pairs of number and count ---- */

json_t *mc_quant_hist_json(const struct mc_quant_hist *h)
{
    json_t *o = json_object(), *bins = json_array();
    bool ok = true;
    for (int i = 0; i < BINS && h->width > 0; i++)
        if (h->count[i]) {
            mc_json_add(bins, json_integer(i), &ok);
            mc_json_add(bins, mc_json_size(h->count[i]), &ok);
        }
    mc_json_put(o, "count", mc_json_size(h->n), &ok);
    mc_json_put(o, "zeros", mc_json_size(h->zeros), &ok);
    mc_json_put(o, "nan", mc_json_size(h->nan), &ok);
    mc_json_put(o, "infinite", mc_json_size(h->infinite), &ok);
    mc_json_put(o, "min", mc_json_real(h->min), &ok);
    mc_json_put(o, "max", mc_json_real(h->max), &ok);
    mc_json_put(o, "sum", mc_json_real(h->sum), &ok);
    mc_json_put(o, "square", mc_json_real(h->square), &ok);
    mc_json_put(o, "bins", bins, &ok);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

static int read_size(const json_t *o, const char *key, uint64_t *ret, struct mc_err *err)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return mc_fail(err, MC_EDATA, "histogram: '%s' is not a count", key);
    *ret = (uint64_t)json_integer_value(v);
    return 0;
}

static int read_real(const json_t *o, const char *key, double *ret, struct mc_err *err)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v) || !isfinite(json_number_value(v)))
        return mc_fail(err, MC_EDATA, "histogram: '%s' is not a number", key);
    *ret = json_number_value(v);
    return 0;
}

static int read_bins(const json_t *bins, struct mc_quant_hist *h, struct mc_err *err)
{
    uint64_t total = h->zeros;
    int64_t used = h->width > 0 ? (int64_t)floor(h->max / h->width) - h->first + 1 : 0;
    if (!json_is_array(bins) || json_array_size(bins) % 2)
        return mc_fail(err, MC_EDATA, "histogram: 'bins' is not a list of pairs");
    for (size_t i = 0; i < json_array_size(bins); i += 2) {
        const json_t *at = json_array_get(bins, i), *n = json_array_get(bins, i + 1);
        json_int_t k = json_integer_value(at), c = json_integer_value(n);
        if (!json_is_integer(at) || !json_is_integer(n) || k < 0 || k >= used || c < 0)
            return mc_fail(err, MC_EDATA, "histogram: pair %zu of 'bins' is no bin and count",
                           i / 2);
        h->count[k] += (uint64_t)c;
        if (__builtin_add_overflow(total, (uint64_t)c, &total))
            return mc_fail(err, MC_EDATA, "histogram: its counts overflow");
    }
    return total == h->n ? 0
                         : mc_fail(err, MC_EDATA, "histogram: its bins hold %llu values, not %llu",
                                   (unsigned long long)total, (unsigned long long)h->n);
}

static int check_span(const struct mc_quant_hist *h, struct mc_err *err)
{
    const double most = 3.4028234663852886e38; /* FLT_MAX */
    if (!(h->min <= h->max) || h->min < -most || h->max > most || (!h->n && (h->min || h->max)))
        return mc_fail(err, MC_EDATA, "histogram: no values lie between %g and %g", h->min, h->max);
    return 0;
}

int mc_quant_hist_read(const json_t *o, struct mc_quant_hist *ret, struct mc_err *err)
{
    struct mc_quant_hist h;
    int rc = mc_quant_hist_init(&h, err);
    if (rc)
        return rc;
    if (!json_is_object(o))
        rc = mc_fail(err, MC_EDATA, "histogram: not an object");
    rc = rc ? rc : read_size(o, "count", &h.n, err);
    rc = rc ? rc : read_size(o, "zeros", &h.zeros, err);
    rc = rc ? rc : read_size(o, "nan", &h.nan, err);
    rc = rc ? rc : read_size(o, "infinite", &h.infinite, err);
    rc = rc ? rc : read_real(o, "min", &h.min, err);
    rc = rc ? rc : read_real(o, "max", &h.max, err);
    rc = rc ? rc : read_real(o, "sum", &h.sum, err);
    rc = rc ? rc : read_real(o, "square", &h.square, err);
    rc = rc ? rc : check_span(&h, err);
    if (!rc)
        widen(&h, h.min, h.max);
    rc = rc ? rc : read_bins(json_object_get(o, "bins"), &h, err);
    if (rc)
        mc_quant_hist_free(&h);
    else
        *ret = h;
    return rc;
}
