#include <math.h>
#include <string.h>

#include "check.h"
#include "kernels/typed.h"
#include "tol.h"

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

/* ---- whole tensors, of devices ---- */

/* Zero points of a type of integers that holds the range; small ones are several in a byte. */
static void draw_zeros(struct check *c, struct mc_fake_grid *g, float *values)
{
    static const struct {
        enum mc_elem elem;
        int bits, lo;
    } types[] = {{MC_ELEM_I8, 2, -2},   {MC_ELEM_U8, 2, 0},   {MC_ELEM_I8, 4, -8},
                 {MC_ELEM_U8, 4, 0},    {MC_ELEM_I8, 8, -8},  {MC_ELEM_U8, 8, 0},
                 {MC_ELEM_I16, 16, -8}, {MC_ELEM_U16, 16, 0}, {MC_ELEM_I32, 32, -8}};
    uint32_t type = check_below(c, sizeof types / sizeof types[0]);
    int bits = types[type].bits, steps = bits == 2 ? 4 : 16, bytes = bits < 8 ? 1 : bits / 8;
    g->lo = types[type].lo;
    g->hi = g->lo + steps - 1;
    memset(values, 0, (size_t)g->n_scales * sizeof *values);
    if (check_coin(c))
        return;
    g->n_zeros = check_coin(c) ? 1 : g->n_scales;
    g->zero_elem = (int)types[type].elem;
    g->zero_bits = bits;
    size_t size = (size_t)(g->n_zeros * bits + 7) / 8;
    uint8_t *zero = check_alloc(c, size, (size_t)bytes);
    memset(zero, 0, size);
    g->zero = zero;
    for (int64_t i = 0; i < g->n_zeros; i++) {
        int32_t z = types[type].lo + (int32_t)check_below(c, (uint32_t)steps);
        values[i] = (float)z;
        if (bits < 8)
            zero[i * bits / 8] |= (uint8_t)((z & (steps - 1)) << i * bits % 8);
        else /* little endian */
            memcpy(zero + i * bytes, &z, (size_t)bytes);
    }
    for (int64_t i = g->n_zeros; i < g->n_scales; i++)
        values[i] = values[0];
}

static void draw_grid(struct check *c, struct mc_fake_grid *g)
{
    uint32_t way = check_below(c, 3);
    *g = (struct mc_fake_grid){.outer = check_size(c, 2, 6),
                               .axis = check_size(c, 8, 70),
                               .inner = check_coin(c) ? 1 : check_size(c, 16, 90),
                               .block = 1,
                               .n_scales = 1,
                               .count = 1 + check_below(c, 900)};
    if (way == 0 && check_below(c, 4) == 0)
        g->inner = 20000; /* more than one slice */
    if (way == 1) {
        g->a_step = 1;
        g->n_scales = g->axis;
    } else if (way == 2) {
        g->block = 1 + check_below(c, (uint32_t)g->axis);
        int64_t blocks = (g->axis + g->block - 1) / g->block;
        g->o_step = blocks * g->inner;
        g->a_step = g->inner;
        g->i_step = 1;
        g->n_scales = g->outer * g->o_step;
    }
}

static void test_grid(struct check *c)
{
    struct mc_fake_grid g;
    draw_grid(c, &g);
    int64_t n = g.outer * g.axis * g.inner, s_n = g.n_scales;
    float *x = check_floats(c, n, check_below(c, 4) == 0), *dy = check_floats(c, n, false);
    float *scale = check_floats(c, s_n, false), *zero = check_floats(c, s_n, false);
    draw_zeros(c, &g, zero);
    check_describe(c, "grid %d x %d x %d, %d scales, blocks of %d", (int)g.outer, (int)g.axis,
                   (int)g.inner, (int)s_n, (int)g.block);
    for (int64_t i = 0; i < s_n; i++)
        scale[i] = exp2f((float)(int)check_below(c, 8) - 4);
    double *y = check_alloc(c, (size_t)n * 8, 8), *dx = check_alloc(c, (size_t)n * 8, 8);
    double *ds = check_alloc(c, (size_t)s_n * 8, 8), *size = check_alloc(c, (size_t)s_n * 8, 8);
    memset(ds, 0, (size_t)s_n * 8);
    memset(size, 0, (size_t)s_n * 8);
    for (int64_t i = 0; i < n; i++) {
        int64_t o = i / g.inner / g.axis, a = i / g.inner % g.axis, k = i % g.inner;
        int64_t s = o * g.o_step + a / g.block * g.a_step + k * g.i_step;
        x[i] = rintf(x[i] * 16) * scale[s] / 2;
        double v = (double)x[i], d = (double)dy[i], sc = (double)scale[s], z = (double)zero[s];
        struct mc_fake_row r = {.n = 1, .scale = &sc, .zero = &z, .lo = g.lo, .hi = g.hi};
        c->ref->fake_quant.round(&r, &v, &y[i]);
        c->ref->fake_quant.grad(&r, &d, &v, &dx[i], &ds[s]);
        size[s] += fabs(d) * (g.hi - g.lo);
    }
    for (int64_t s = 0; s < s_n; s++) {
        double z = (double)zero[s], q = fmax(g.hi - z, z - g.lo - 1);
        double factor = 1 / sqrt(fmax(g.count, 1) * fmax(q, 1));
        ds[s] *= factor;
        size[s] *= factor;
    }
    float *got = check_alloc(c, (size_t)n * 4, 4), *got_ds = check_alloc(c, (size_t)s_n * 4, 4);
    bool in_place = check_coin(c);
    g.scale = scale;
    g.x = in_place ? memcpy(got, x, (size_t)n * 4) : x;
    g.y = got;
    c->k->fake_quant.grid(&g);
    check_close(c, "y", got, y, NULL, 0, 0, n);
    g.x = x;
    g.dy = in_place ? memcpy(got, dy, (size_t)n * 4) : dy;
    g.y = check_below(c, 4) ? got : NULL;
    g.ds = got_ds;
    c->k->fake_quant.grid(&g);
    if (g.y)
        check_close(c, "dx", got, dx, NULL, 0, 0, n);
    for (int64_t s = 0; s < s_n; s++)
        size[s] += 1e-30;
    check_close(c, "ds", got_ds, ds, size, 1e-6, 0, s_n);
}

static void test_scales(struct check *c)
{
    struct mc_learned_scales s = {.n = check_size(c, 64, 500)};
    float *start = check_floats(c, s.n, false), *growth = check_floats(c, s.n, false);
    float *y = check_alloc(c, (size_t)s.n * 4, 4);
    double *want = check_alloc(c, (size_t)s.n * 8, 8);
    check_describe(c, "%d learned scales", (int)s.n);
    for (int64_t i = 0; i < s.n; i++) {
        start[i] = fabsf(start[i]) + 1e-3f;
        growth[i] *= check_below(c, 8) ? 1 : 60; /* out of the range of floats */
        want[i] = (double)start[i] * exp((double)growth[i]);
        want[i] = fmin(fmax(want[i], 0x1p-126), 0x1.fffffep127);
    }
    s.start = start;
    s.growth = growth;
    s.y = y;
    c->k->fake_quant.scales(&s);
    check_close(c, "scales", y, want, NULL, 2 * TOL_U, 0, s.n);
}

static void test_all(struct check *c)
{
    if (check_below(c, 4))
        test_grid(c);
    else
        test_scales(c);
}

const struct check_row check_fake_quant_all = {"fake_quant_all", 300, test_all, NULL};
