/* The search for the least squared error. For fixed integers k the error is a parabola of the scale, so that each
 * scale that is tried also gives the best one for the integers that it rounds to:
 *     with u = x / s and d = u - k:  s* = s (1 + sum(d k) / sum(k k)),  E* = s² (sum(d d) - sum(d k)² / sum(k k)).
 * Rounding again at s* can only lessen it. Units of s keep huge and tiny weights within floats. */
#include "passes/quant/range/quant_scale.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "passes/quant/range/quant_wide.h"

enum {
    LANES = MC_QUANT_LANES,
    RUN = 1024, /* rows summed in floats before doubles take over */
};
#define ROUND 0x1.8p23f /* adding and taking it away rounds a float to even */

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef int8_t vb __attribute__((vector_size(LANES)));
typedef double vd __attribute__((vector_size(8 * LANES)));

static inline void load(const float *x, vf *ret)
{
    memcpy(ret, x, sizeof *ret);
}

/* k = u rounded, within [lo, hi]. */
static inline void round_within(const vf *u, const vf *lo, const vf *hi, vf *k)
{
    vi under = *u<*lo, over = *u> * hi;
    *k = (vf)((under & (vi)*lo) | (~under & (vi)*u));
    *k = (vf)((over & (vi)*hi) | (~over & (vi)*k));
    *k = (*k + ROUND) - ROUND;
}

MC_WIDE bool mc_quant_strip_finite(const struct mc_quant_strip *s)
{
    const vi exponent = 0x7f800000 - (vi){0};
    vi odd = {0}, none = {0};
    for (int64_t i = 0; i < s->rows; i++) {
        vi v;
        memcpy(&v, s->x + i * LANES, sizeof v);
        odd |= (v & exponent) == exponent;
    }
    return memcmp(&odd, &none, sizeof odd) == 0;
}

MC_WIDE static void extremes(const struct mc_quant_strip *s, float *ret_lo, float *ret_hi)
{
    vf lo = {0}, hi = {0};
    for (int64_t i = 0; i < s->rows; i++) {
        vf v;
        load(s->x + i * LANES, &v);
        vi less = v<lo, more = v> hi;
        lo = (vf)((less & (vi)v) | (~less & (vi)lo));
        hi = (vf)((more & (vi)v) | (~more & (vi)hi));
    }
    memcpy(ret_lo, &lo, sizeof lo);
    memcpy(ret_hi, &hi, sizeof hi);
    for (int j = 1; j < LANES && s->wide; j++) {
        ret_lo[0] = fminf(ret_lo[0], ret_lo[j]);
        ret_hi[0] = fmaxf(ret_hi[0], ret_hi[j]);
    }
}

struct sums { /* of each lane, in units of its scale */
    double dd[LANES], dk[LANES], kk[LANES];
};

struct grid { /* of each lane */
    float inverse[LANES], lo[LANES], hi[LANES];
};

MC_WIDE static void add_up(const struct mc_quant_strip *s, const struct grid *g, struct sums *ret)
{
    vf inverse, lo, hi;
    vd dd = {0}, dk = {0}, kk = {0};
    load(g->inverse, &inverse);
    load(g->lo, &lo);
    load(g->hi, &hi);
    for (int64_t i = 0; i < s->rows; i += RUN) {
        int64_t end = s->rows - i < RUN ? s->rows : i + RUN;
        vf a = {0}, b = {0}, c = {0};
        for (int64_t r = i; r < end; r++) {
            vf u, k;
            load(s->x + r * LANES, &u);
            u *= inverse;
            round_within(&u, &lo, &hi, &k);
            u -= k;
            a += u * u;
            b += u * k;
            c += k * k;
        }
        dd += __builtin_convertvector(a, vd);
        dk += __builtin_convertvector(b, vd);
        kk += __builtin_convertvector(c, vd);
    }
    memcpy(ret->dd, &dd, sizeof dd);
    memcpy(ret->dk, &dk, sizeof dk);
    memcpy(ret->kk, &kk, sizeof kk);
}

struct search {
    const struct mc_quant_strip *s;
    const struct mc_quant_type *t;
    int32_t least, most; /* of the type */
    float lo[LANES], hi[LANES];
    double error[LANES], shrink_lo[LANES], shrink_hi[LANES]; /* of the best so far */
    struct mc_quant_param best[LANES];
};

static void set_lane(const struct search *h, const struct mc_quant_param *p, int lane,
                     struct grid *g)
{
    int from = h->s->wide ? 0 : lane, to = h->s->wide ? LANES : lane + 1;
    for (int j = from; j < to; j++) {
        g->inverse[j] = 1 / p->scale;
        g->lo[j] = (float)(h->least - p->zero);
        g->hi[j] = (float)(h->most - p->zero);
    }
}

/* Sums of parts under p [parts]; lanes without a part hold zeros. */
static void trial(const struct search *h, const struct mc_quant_param *p, struct sums *ret)
{
    struct grid g = {0};
    for (int j = 0; j < h->s->parts; j++)
        set_lane(h, &p[j], j, &g);
    add_up(h->s, &g, ret);
    for (int j = 1; j < LANES && h->s->wide; j++) {
        ret->dd[0] += ret->dd[j];
        ret->dk[0] += ret->dk[j];
        ret->kk[0] += ret->kk[j];
    }
}

/* Keep for each part what is better than its best; returns for how many this is not hopeless. */
static int keep(struct search *h, const struct mc_quant_param *p, const double *shrink_lo,
                const double *shrink_hi)
{
    struct sums s;
    int open = 0;
    trial(h, p, &s);
    for (int j = 0; j < h->s->parts; j++) {
        double scale = (double)p[j].scale, gain = 0, at = scale;
        if (s.kk[j] > 0) {
            gain = s.dk[j] * s.dk[j] / s.kk[j];
            at = scale * (1 + s.dk[j] / s.kk[j]);
        }
        double e = fmax(s.dd[j] - gain, 0) * scale * scale;
        open += e <= 3 * h->error[j];
        if (e < h->error[j] && at >= (double)FLT_MIN &&
            at <= (double)FLT_MAX / (h->most - h->least)) {
            h->error[j] = e;
            h->best[j] = (struct mc_quant_param){(float)at, p[j].zero};
            h->shrink_lo[j] = shrink_lo[j];
            h->shrink_hi[j] = shrink_hi[j];
        }
    }
    return open;
}

/* Try the ends of the range moved in by 2^(-i / per) for i in [from, to): the lower (1), the upper (2), or both (3),
 * until that has become hopeless for all parts. */
static void shrink(struct search *h, int ends, int per, int from, int to)
{
    double lo[LANES], hi[LANES];
    memcpy(lo, h->shrink_lo, sizeof lo);
    memcpy(hi, h->shrink_hi, sizeof hi);
    for (int i = from; i < to; i++) {
        struct mc_quant_param p[LANES];
        double r = exp2(-i / (double)per), a[LANES], b[LANES];
        for (int j = 0; j < h->s->parts; j++) {
            a[j] = ends & 1 ? lo[j] * r : lo[j];
            b[j] = ends & 2 ? hi[j] * r : hi[j];
            mc_quant_param_of((double)h->lo[j] * a[j], (double)h->hi[j] * b[j], h->t, &p[j]);
        }
        if (!keep(h, p, a, b) && i > 0 && ends == 3)
            break;
    }
}

/* Few values make an error of many narrow valleys, many a smooth one, and coarse integers a flat one. */
static void search(struct search *h)
{
    enum { ROUNDS = 2, FINE = 6 };
    int64_t n = h->s->wide ? h->s->rows * LANES : h->s->rows;
    int per = n <= 16 ? 64 : n <= 64 ? 12 : 8, octaves = h->t->bits > 4 ? 3 : 2;
    for (int j = 0; j < LANES; j++) {
        h->error[j] = INFINITY;
        h->shrink_lo[j] = h->shrink_hi[j] = 1;
    }
    shrink(h, 3, per, 0, octaves * per);
    shrink(h, 3, per * FINE, -FINE, FINE);
    if (!h->t->symmetric) {
        shrink(h, 1, per, -per / 2, per / 2);
        shrink(h, 2, per, -per / 2, per / 2);
    }
    for (int i = 0; i < ROUNDS; i++) {
        struct mc_quant_param p[LANES];
        memcpy(p, h->best, sizeof p);
        keep(h, p, h->shrink_lo, h->shrink_hi);
    }
}

/* The nearest scale of the type that is not 0. */
static float scale_as(float scale, enum mc_dtype type)
{
    uint64_t bits = 0;
    float f = 0;
    double most = type == MC_DTYPE_F16 ? 65504 : (double)FLT_MAX;
    double least = type == MC_DTYPE_F16 ? 0x1p-24 : (double)FLT_MIN;
    if (type == MC_DTYPE_F32)
        return scale;
    f = (float)fmin(fmax((double)scale, least), most);
    mc_dtype_from_f32(type, &f, &bits, 1, NULL);
    mc_dtype_to_f32(type, &bits, &f, 1, NULL);
    return isfinite(f) ? f : scale_as(scale / 2, type); /* BF16 rounds the largest floats up */
}

void mc_quant_strip_params(const struct mc_quant_strip *s, const struct mc_quant_type *t,
                           enum mc_quant_range_method method, enum mc_dtype scale_type,
                           struct mc_quant_param *ret)
{
    struct search h = {.s = s, .t = t};
    mc_quant_type_limits(t, &h.least, &h.most);
    extremes(s, h.lo, h.hi);
    for (int j = 0; j < LANES; j++)
        mc_quant_param_of((double)h.lo[j], (double)h.hi[j], t, &h.best[j]);
    if (method != MC_QUANT_MINMAX)
        search(&h);
    for (int j = 0; j < s->parts; j++) {
        bool zeros = h.lo[j] == 0 && h.hi[j] == 0;
        ret[j] = h.best[j];
        ret[j].scale = zeros ? 1 : scale_as(ret[j].scale, scale_type);
    }
}

MC_WIDE void mc_quant_strip_round(const struct mc_quant_strip *s, const struct mc_quant_type *t,
                                  const struct mc_quant_param *p, uint8_t *q, double *error,
                                  double *square)
{
    float scale[LANES], zero[LANES], from[LANES], to[LANES];
    int32_t least, most;
    mc_quant_type_limits(t, &least, &most);
    for (int j = 0; j < LANES; j++) {
        const struct mc_quant_param *of = &p[s->wide ? 0 : j < s->parts ? j : 0];
        scale[j] = of->scale;
        zero[j] = (float)of->zero;
        from[j] = (float)(least - of->zero);
        to[j] = (float)(most - of->zero);
    }
    vf v, k, u, by, z, lo, hi;
    vd lost = {0}, all = {0};
    load(scale, &by);
    load(zero, &z);
    load(from, &lo);
    load(to, &hi);
    for (int64_t i = 0; i < s->rows; i++) {
        load(s->x + i * LANES, &v);
        u = v / by;
        round_within(&u, &lo, &hi, &k);
        vb bytes = __builtin_convertvector(__builtin_convertvector(k + z, vi), vb);
        memcpy(q + i * LANES, &bytes, sizeof bytes);
        vd d = __builtin_convertvector(v - k * by, vd), w = __builtin_convertvector(v, vd);
        lost += d * d;
        all += w * w;
    }
    for (int j = 0; j < LANES; j++) {
        *error += lost[j];
        *square += all[j];
    }
}
