#include <math.h>

#include "check.h"

static void draw(struct check *c, struct mc_fake_row *r)
{
    static const double lows[] = {-128, 0, -7, 0, -2147483648.0},
                        highs[] = {127, 255, 7, 15, 2147483647.0};
    uint32_t type = check_below(c, 5);
    *r = (struct mc_fake_row){.n = check_size(c, 16, 3000), .step = check_below(c, 2)};
    r->lo = lows[type];
    r->hi = highs[type];
    float *scale = check_floats(c, r->n, false), *zero = check_floats(c, r->n, false);
    for (int64_t i = 0; i < r->n;
         i++) { /* powers of two, so that double and float agree on halves */
        scale[i] = exp2f((float)(int)check_below(c, 8) - 4);
        zero[i] = (float)(r->lo > -1e6 ? r->lo + check_below(c, (uint32_t)(r->hi - r->lo) + 1) : 0);
    }
    r->scale = scale;
    r->zero = check_coin(c) ? zero : NULL;
    check_describe(c, "n %d from %g to %g step %d", (int)r->n, r->lo, r->hi, (int)r->step);
}

static void test(struct check *c)
{
    struct mc_fake_row r, wide;
    draw(c, &r);
    size_t n = (size_t)r.n;
    bool all = check_coin(c), in_place = check_coin(c);
    float *x = check_floats(c, r.n, check_below(c, 4) == 0), *dy = check_floats(c, r.n, false);
    float *y = check_alloc(c, n * sizeof *y, sizeof *y), *dx = check_alloc(c, n * sizeof *dx, 4);
    double *want = check_alloc(c, n * sizeof *want, 8), *back = check_alloc(c, n * sizeof *back, 8);
    double *ds = check_alloc(c, n * sizeof *ds, 8), *want_ds = check_alloc(c, n * sizeof *ds, 8);
    const float *scale = r.scale;
    for (int64_t i = 0; i < r.n; i++) {
        x[i] = rintf(x[i] * 16) * scale[i * r.step] / 2; /* many halves, and ends of the range */
        ds[i] = want_ds[i] = 0;
    }
    wide = r;
    wide.scale = check_widen(c, r.scale, r.n);
    wide.zero = check_widen(c, r.zero, r.n);
    const double *x64 = check_widen(c, x, r.n), *dy64 = check_widen(c, dy, r.n);
    c->ref->fake_quant.round(&wide, x64, want);
    c->ref->fake_quant.grad(&wide, dy64, x64, back, want_ds);
    if (in_place)
        for (int64_t i = 0; i < r.n; i++)
            dx[i] = dy[i];
    c->k->fake_quant.grad(&r, in_place ? dx : dy, x, all ? dx : NULL, ds);
    c->k->fake_quant.round(&r, x, y);
    check_close(c, "y", y, want, NULL, 6e-8, 0, r.n); /* the end of 32 bits is no float */
    if (all)
        check_close(c, "dx", dx, back, NULL, 0, 0, r.n);
    for (int64_t i = 0; i < (r.step ? r.n : 1); i++) {
        double size = r.step ? fabs(want_ds[i]) : (r.hi - r.lo) * (double)r.n;
        if (!(fabs(ds[i] - want_ds[i]) <= 1e-6 * (size + 1)) && isfinite(want_ds[i]))
            check_fail(c, "ds[%d] is %g, not %g", (int)i, ds[i], want_ds[i]);
    }
}

const struct check_row check_fake_quant = {"fake_quant", 400, test, NULL};
