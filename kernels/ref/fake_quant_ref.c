#include "kernels/fill.h"
#include "kernels/ref/elem.h"

struct place { /* of an element on the grid */
    elem scale, v, clamped;
};

static struct place place_of(const struct mc_fake_row *r, int64_t i, elem x)
{
    const elem *scale = r->scale, *zero = r->zero;
    elem z = zero ? zero[i * r->step] : 0, lo = (elem)r->lo - z, hi = (elem)r->hi - z;
    struct place p = {.scale = scale[i * r->step]};
    p.v = x / p.scale;
    p.clamped = !(p.v > lo) ? lo : p.v > hi ? hi : p.v;
    return p;
}

static void round_row(const struct mc_fake_row *r, const void *x, void *y)
{
    for (int64_t i = 0; i < r->n; i++) {
        struct place p = place_of(r, i, ((const elem *)x)[i]);
        ((elem *)y)[i] = rint(p.clamped) * p.scale;
    }
}

static void grad_row(const struct mc_fake_row *r, const void *dy, const void *x, void *dx,
                     double *ds)
{
    for (int64_t i = 0; i < r->n; i++) {
        struct place p = place_of(r, i, ((const elem *)x)[i]);
        elem d = ((const elem *)dy)[i];
        bool inside = p.clamped == p.v;
        if (ds)
            ds[i * r->step] += (double)(d * (rint(p.clamped) - (inside ? p.v : 0)));
        if (dx)
            ((elem *)dx)[i] = inside ? d : 0;
    }
}

void MC_REF(mc_fake_quant_fill)(struct mc_fake_quant_kernels *k)
{
    k->round = round_row;
    k->grad = grad_row;
}
