/* Clamped first, a value is so small that adding and taking away 1.5 * 2^23 rounds it, half to even; ranges wider than
 * that (biases of 32 bits, which are few) go by rintf. */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/vec.h"
#include "kernels/fill.h"

enum { SUM_OVER = 64 * LANES }; /* elements summed in float before they are added in double */

static const double NARROW = 0x1p22;

static bool is_narrow(const struct mc_fake_row *r)
{
    return r->hi - r->lo < NARROW && r->hi < NARROW && r->lo > -NARROW;
}

/* ---- any row, an element at a time ---- */

struct place { /* of an element on the grid */
    float scale, v, clamped;
};

static inline struct place place_of(const struct mc_fake_row *r, int64_t i, float x)
{
    const float *scale = r->scale, *zero = r->zero;
    float z = zero ? zero[i * r->step] : 0, lo = (float)r->lo - z, hi = (float)r->hi - z;
    struct place p = {.scale = scale[i * r->step]};
    p.v = x / p.scale;
    p.clamped = p.v > lo ? p.v : lo;
    p.clamped = p.clamped < hi ? p.clamped : hi;
    return p;
}

static void round_any(const struct mc_fake_row *r, int64_t from, const float *x, float *y)
{
    for (int64_t i = from; i < r->n; i++) {
        struct place p = place_of(r, i, x[i]);
        y[i] = rintf(p.clamped) * p.scale;
    }
}

static void grad_any(const struct mc_fake_row *r, int64_t from, const float *dy, const float *x,
                     float *dx, double *ds)
{
    for (int64_t i = from; i < r->n; i++) {
        struct place p = place_of(r, i, x[i]);
        float d = dy[i];
        bool inside = p.clamped == p.v;
        if (ds)
            ds[i * r->step] += (double)(d * (rintf(p.clamped) - (inside ? p.v : 0)));
        if (dx)
            dx[i] = inside ? d : 0;
    }
}

/* ---- vectors ---- */

struct grid { /* of LANES elements */
    vf scale, lo, hi;
};

static inline struct grid grid_at(const struct mc_fake_row *r, int64_t i)
{
    const float *scale = r->scale, *zero = r->zero;
    vf s = r->step ? vf_load(scale + i) : vf_set1(scale[0]);
    vf z = !zero ? (vf){0} : r->step ? vf_load(zero + i) : vf_set1(zero[0]);
    return (struct grid){s, vf_set1((float)r->lo) - z, vf_set1((float)r->hi) - z};
}

static inline vf whole(vf v)
{
    vf big = vf_set1(0x1.8p23f);
    return (v + big) - big;
}

/* NaN becomes lo. */
static inline vf clamp(const struct grid *g, vf v)
{
    v = vf_select(vf_lt(g->lo, v), v, g->lo);
    return vf_select(vf_lt(v, g->hi), v, g->hi);
}

static void round_row(const struct mc_fake_row *r, const void *from, void *to)
{
    const float *x = from;
    float *y = to;
    int64_t i = 0;
    if (is_narrow(r) && r->n >= LANES) {
        struct grid g = grid_at(r, 0);
        for (; i + LANES <= r->n; i += LANES) {
            if (r->step)
                g = grid_at(r, i);
            vf_store(y + i, whole(clamp(&g, vf_load(x + i) / g.scale)) * g.scale);
        }
    }
    round_any(r, i, x, y);
}

/* The gradient of x, and what it adds to that of the scale. */
static inline vf grad_at(const struct grid *g, vf dy, vf x, vf *ds)
{
    vf v = x / g->scale, clamped = clamp(g, v);
    vi inside = clamped == v;
    *ds = dy * (whole(clamped) - (vf)((vi)v & inside));
    return (vf)((vi)dy & inside);
}

static double sum_of(vf v)
{
    double sum = 0;
    for (int k = 0; k < LANES; k++)
        sum += (double)v[k];
    return sum;
}

static void grad_row(const struct mc_fake_row *r, const void *d, const void *from, void *to,
                     double *ds)
{
    const float *dy = d, *x = from;
    float *dx = to;
    int64_t i = 0, n = is_narrow(r) ? r->n / LANES * LANES : 0;
    struct grid g = n ? grid_at(r, 0) : (struct grid){0};
    while (i < n) {
        vf sum = {0}, part;
        for (int64_t end = min64(i + SUM_OVER, n); i < end; i += LANES) {
            if (r->step)
                g = grid_at(r, i);
            vf dv = grad_at(&g, vf_load(dy + i), vf_load(x + i), &part);
            if (dx)
                vf_store(dx + i, dv);
            for (int k = 0; ds && r->step && k < LANES; k++)
                ds[i + k] += (double)part[k];
            sum += part;
        }
        if (ds && !r->step)
            ds[0] += sum_of(sum);
    }
    grad_any(r, i, dy, x, dx, ds);
}

void MC_CPU(mc_fake_quant_fill)(struct mc_fake_quant_kernels *k)
{
    k->round = round_row;
    k->grad = grad_row;
}
