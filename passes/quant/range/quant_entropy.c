#include "passes/quant/range/quant_entropy.h"

#include <math.h>
#include <string.h>

enum { BINS = MC_QUANT_BINS, TURNS = 4 };

/* Bins that reach to 0, and sums over those before each, with which a window costs its steps alone. */
struct sums {
    int n, zero;             /* bins; the first that is not negative */
    double width;            /* of a bin */
    double count[BINS + 1];  /* c */
    double before[BINS + 2]; /* sum of c */
    double self[BINS + 2];   /* sum of c log c */
    int filled[BINS + 2];    /* bins with c > 0 */
};

static double c_log_c(double c)
{
    return c > 0 ? c * log(c) : 0;
}

/* Bins as wide as it takes to reach from 0 to all values, in as many as there may be. */
static void gather(const struct mc_quant_hist *h, bool folded, struct sums *s)
{
    int64_t lo = h->first, hi = (int64_t)floor(h->max / h->width) + 1;
    int shift = 0;
    memset(s, 0, sizeof *s);
    if (folded) {
        hi = -lo > hi ? -lo : hi;
        lo = 0;
    }
    lo = lo < 0 ? lo : 0;
    hi = hi > 0 ? hi : 0;
    while (((hi + ((int64_t)1 << shift) - 1) >> shift) - (lo >> shift) > BINS)
        shift++;
    s->width = ldexp(h->width, shift);
    s->zero = (int)-(lo >> shift);
    s->n = (int)((hi + ((int64_t)1 << shift) - 1) >> shift) + s->zero;
    for (int i = 0; i < BINS; i++) {
        int64_t at = h->first + i;
        at = folded && at < 0 ? -1 - at : at;
        if (h->count[i])
            s->count[(at >> shift) + s->zero] += (double)h->count[i];
    }
    for (int i = 0; i < s->n; i++) {
        s->before[i + 1] = s->before[i] + s->count[i];
        s->self[i + 1] = s->self[i] + c_log_c(s->count[i]);
        s->filled[i + 1] = s->filled[i] + (s->count[i] > 0);
    }
}

/* Divergence of the window [a, b), without what is the same for all. */
static double divergence(const struct sums *s, int a, int b, int levels)
{
    double below = s->before[a], above = s->before[s->n] - s->before[b];
    double inside = s->before[b] - s->before[a];
    double self = s->self[b] - s->self[a];
    int bins = b - a;
    if (inside <= 0)
        return INFINITY;
    self += c_log_c(s->count[a] + below) - c_log_c(s->count[a]);
    self += c_log_c(s->count[b - 1] + above) - c_log_c(s->count[b - 1]);
    double cross = 0;
    for (int j = 0, from = a; j < levels; j++) {
        int to = a + (int)((int64_t)(j + 1) * bins / levels);
        double q = s->before[to] - s->before[from], p = q;
        int filled = s->filled[to] - s->filled[from];
        if (j == 0) {
            p += below;
            filled += below > 0 && s->count[a] <= 0;
        }
        if (j == levels - 1) {
            p += above;
            filled += above > 0 && s->count[b - 1] <= 0;
        }
        if (p > 0 && q <= 0)
            return INFINITY;
        if (p > 0)
            cross += p * log(q / filled);
        from = to;
    }
    return (self - cross) / s->before[s->n] + log(inside);
}

/* The best end of a window whose other end stays; of equals the widest. */
static int best_upper(const struct sums *s, int a, int levels)
{
    int best = s->n, least = a + levels > s->zero + 1 ? a + levels : s->zero + 1;
    double found = divergence(s, a, s->n, levels);
    for (int b = s->n - 1; b >= least; b--) {
        double d = divergence(s, a, b, levels);
        if (d < found) {
            found = d;
            best = b;
        }
    }
    return best;
}

static int best_lower(const struct sums *s, int b, int levels)
{
    int best = 0, most = b - levels < s->zero - 1 ? b - levels : s->zero - 1;
    double found = divergence(s, 0, b, levels);
    for (int a = 1; a <= most; a++) {
        double d = divergence(s, a, b, levels);
        if (d < found) {
            found = d;
            best = a;
        }
    }
    return best;
}

void mc_quant_entropy(const struct mc_quant_hist *h, int levels, bool folded, double *ret_lo,
                      double *ret_hi)
{
    struct sums s;
    gather(h, folded, &s);
    int a = 0, b = s.n;
    for (int turn = 0; turn < TURNS && s.n > levels; turn++) {
        int upper = s.n > s.zero ? best_upper(&s, a, levels) : b;
        int lower = s.zero > 0 ? best_lower(&s, upper, levels) : a;
        if (upper == b && lower == a)
            break;
        b = upper;
        a = lower;
    }
    double far = fmax(-h->min, h->max);
    *ret_hi = fmin((b - s.zero) * s.width, folded ? far : fmax(h->max, 0));
    *ret_lo = folded ? -*ret_hi : fmax((a - s.zero) * s.width, fmin(h->min, 0));
}
