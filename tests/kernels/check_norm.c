#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"
#include "tol.h"

/* Large against the rounding of x - mean, so that a row with next to no spread does not magnify it. */
static const double eps = 0.01;

static double *room(struct check *c, int64_t n)
{
    return check_alloc(c, (size_t)n * sizeof(double), sizeof(double));
}

static float *space(struct check *c, int64_t n)
{
    return check_alloc(c, (size_t)n * sizeof(float), sizeof(float));
}

/* Normal numbers around one far from 0, of which now and then one is NaN. */
static float *values(struct check *c, int64_t n)
{
    float *x = check_floats(c, n, false), shift = check_below(c, 3) == 0 ? 5 : 0;
    for (int64_t i = 0; i < n; i++)
        x[i] += shift;
    if (check_below(c, 8) == 0)
        x[check_below(c, (uint32_t)n)] = NAN;
    return x;
}

static void draw_shape(struct check *c, int64_t *outer, int64_t *channels, int64_t *inner)
{
    bool columns = check_coin(c);
    *outer = 1 + check_below(c, columns ? 200 : 9);
    *channels = check_size(c, 16, 40);
    *inner = columns ? 1 : check_size(c, 16, 150);
}

/* ---- forward ---- */

static void batch_ref(struct check *c, struct mc_batch_norm b, const struct mc_epilogue *e,
                      double *y[3])
{
    int64_t n = b.outer * b.channels * b.inner;
    struct mc_epilogue wide = *e;
    wide.residual = check_widen(c, e->residual, n);
    b.x = check_widen(c, b.x, n);
    b.scale = check_widen(c, b.scale, b.channels);
    b.bias = check_widen(c, b.bias, b.channels);
    b.y = y[0] = room(c, n);
    b.mean = y[1] = room(c, b.channels);
    b.var = y[2] = room(c, b.channels);
    b.epilogue = b.epilogue ? &wide : NULL;
    c->ref->norm.batch(&b, NULL);
}

static void test_batch(struct check *c)
{
    static const enum mc_act acts[] = {MC_ACT_NONE, MC_ACT_CLAMP, MC_ACT_LEAKY, MC_ACT_SILU};
    struct mc_batch_norm b = {.eps = eps};
    draw_shape(c, &b.outer, &b.channels, &b.inner);
    int64_t n = b.outer * b.channels * b.inner;
    struct mc_epilogue e = {.act = acts[check_below(c, 4)], .lo = 0, .hi = INFINITY};
    e.lo = e.act == MC_ACT_LEAKY ? 0.1 : 0;
    e.residual = check_coin(c) ? check_floats(c, n, false) : NULL;
    b.epilogue = check_coin(c) ? &e : NULL;
    const float *x = b.x = values(c, n);
    b.scale = check_floats(c, b.channels, false);
    b.bias = check_floats(c, b.channels, false);
    check_describe(c, "batch norm %dx%dx%d, activation %d", (int)b.outer, (int)b.channels,
                   (int)b.inner, b.epilogue ? (int)e.act : -1);
    double *want[3], tol = 64 * tol_sum((double)(b.outer * b.inner));
    batch_ref(c, b, &e, want);
    float *first[3] = {NULL};
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *y[3] = {space(c, n), space(c, b.channels), space(c, b.channels)};
        b.x = check_coin(c) ? memcpy(y[0], x, (size_t)n * sizeof(float)) : x;
        b.y = y[0];
        b.mean = y[1];
        b.var = y[2];
        c->k->norm.batch(&b, c->pool[p]);
        static const char *const what[] = {"y", "mean", "variance"};
        for (int i = 0; i < 3; i++) {
            int64_t count = i ? b.channels : n;
            if (p)
                check_same(c, what[i], y[i], first[i], (size_t)count * sizeof(float));
            else
                check_close(c, what[i], y[i], want[i], NULL, 0, tol, count);
            first[i] = y[i];
        }
    }
}

/* Of devices: mean and variance that are given, as after training. */
static void test_given(struct check *c)
{
    struct mc_batch_norm b = {.given = true, .eps = 1e-5};
    draw_shape(c, &b.outer, &b.channels, &b.inner);
    int64_t n = b.outer * b.channels * b.inner, m = b.channels;
    const float *x = values(c, n), *scale = check_floats(c, m, false);
    const float *bias = check_floats(c, m, false), *mean = check_floats(c, m, false);
    const float *residual = check_coin(c) ? check_floats(c, n, false) : NULL;
    float *var = check_floats(c, m, false), *kept = space(c, m), *y = space(c, n);
    struct mc_epilogue e = {.act = MC_ACT_CLAMP, .lo = 0, .hi = INFINITY, .residual = residual};
    for (int64_t i = 0; i < m; i++)
        kept[i] = var[i] = fabsf(var[i]) + 0.1f;
    double *want = check_alloc(c, (size_t)n * sizeof *want, sizeof *want);
    double *size = check_alloc(c, (size_t)n * sizeof *size, sizeof *size);
    bool clamps = check_coin(c);
    check_describe(c, "given statistics %dx%dx%d%s%s", (int)b.outer, (int)m, (int)b.inner,
                   residual ? ", residual" : "", clamps ? ", clamp" : "");
    for (int64_t i = 0; i < n; i++) {
        int64_t k = i / b.inner % m;
        double by = (double)scale[k] / sqrt((double)var[k] + b.eps);
        double add = clamps && residual ? (double)residual[i] : 0;
        want[i] = ((double)x[i] - (double)mean[k]) * by + (double)bias[k] + add;
        size[i] = 1 + (fabs((double)x[i]) + fabs((double)mean[k])) * fabs(by) +
                  fabs((double)bias[k]) + fabs(add);
        want[i] = clamps && want[i] < 0 ? 0 : want[i];
    }
    b.x = check_coin(c) ? memcpy(y, x, (size_t)n * sizeof *y) : x;
    b.scale = scale;
    b.bias = bias;
    b.mean = memcpy(space(c, m), mean, (size_t)m * sizeof *mean);
    b.var = var;
    b.y = y;
    b.epilogue = clamps ? &e : NULL;
    c->k->norm.batch(&b, NULL);
    check_close(c, "y", y, want, size, 8 * TOL_U, 0, n);
    check_same(c, "the mean", b.mean, mean, (size_t)m * sizeof *mean);
    check_same(c, "the variance", var, kept, (size_t)m * sizeof *var);
}

/* ---- gradients ---- */

/* Run for every pool, in place of dy or not: dx against want[0], what else is wanted against the rest. */
static void compare_grad(struct check *c, void (*run)(struct check *, int, void *), void *args,
                         const void **dy, void *out[3], double *const want[3], int64_t n,
                         int64_t params, double tol)
{
    static const char *const what[] = {"dx", "dscale", "dbias"};
    float *first[3] = {NULL};
    const float *given = *dy;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *y[3] = {space(c, n), space(c, params), space(c, params)};
        *dy = check_coin(c) ? memcpy(y[0], given, (size_t)n * sizeof(float)) : given;
        for (int i = 0; i < 3; i++)
            out[i] = want[i] ? y[i] : NULL;
        run(c, p, args);
        for (int i = 0; i < 3; i++) {
            int64_t count = i ? params : n;
            if (want[i] && p)
                check_same(c, what[i], y[i], first[i], (size_t)count * sizeof(float));
            else if (want[i])
                check_close(c, what[i], y[i], want[i], NULL, 0, tol, count);
            first[i] = y[i];
        }
    }
}

struct batch_case {
    struct mc_batch_grad b;
    const void *dy;
    void *out[3];
};

static void run_batch_grad(struct check *c, int pool, void *ctx)
{
    struct batch_case *t = ctx;
    t->b.dy = t->dy;
    t->b.dx = t->out[0];
    t->b.dscale = t->out[1];
    t->b.dbias = t->out[2];
    c->k->norm.batch_grad(&t->b, c->pool[pool]);
}

static void test_batch_grad(struct check *c)
{
    struct batch_case t = {.b = {.frozen = check_coin(c), .eps = eps}};
    struct mc_batch_grad *b = &t.b;
    draw_shape(c, &b->outer, &b->channels, &b->inner);
    int64_t n = b->outer * b->channels * b->inner, k = b->channels;
    float *var = check_floats(c, k, false);
    for (int64_t i = 0; i < k; i++)
        var[i] = fabsf(var[i]);
    t.dy = check_floats(c, n, false);
    b->x = values(c, n);
    b->scale = check_floats(c, k, false);
    b->mean = check_floats(c, k, false);
    b->var = var;
    check_describe(c, "gradient of %s batch norm %dx%dx%d", b->frozen ? "frozen" : "trained",
                   (int)b->outer, (int)k, (int)b->inner);
    double *want[3] = {room(c, n), room(c, k), room(c, k)};
    struct mc_batch_grad ref = *b;
    ref.dy = check_widen(c, t.dy, n);
    ref.x = check_widen(c, b->x, n);
    ref.scale = check_widen(c, b->scale, k);
    ref.mean = check_widen(c, b->mean, k);
    ref.var = check_widen(c, b->var, k);
    ref.dx = want[0];
    ref.dscale = want[1];
    ref.dbias = want[2];
    c->ref->norm.batch_grad(&ref, NULL);
    for (int i = 0; i < 3; i++)
        want[i] = check_below(c, 5) ? want[i] : NULL;
    double m = (double)(b->outer * b->inner);
    compare_grad(c, run_batch_grad, &t, &t.dy, t.out, want, n, k, 64 * sqrt(m) * tol_sum(m));
}

struct norm_case {
    struct mc_norm_grad g;
    const void *dy;
    void *out[3];
};

static void run_norm_grad(struct check *c, int pool, void *ctx)
{
    struct norm_case *t = ctx;
    t->g.dy = t->dy;
    t->g.dx = t->out[0];
    t->g.dscale = t->out[1];
    t->g.dbias = t->out[2];
    size_t bytes = c->k->norm.norm_grad_scratch(&t->g);
    c->k->norm.norm_grad(&t->g, check_alloc(c, bytes, MC_ALIGN), c->pool[pool]);
}

static void test_norm_grad(struct check *c)
{
    struct norm_case t = {.g = {.rms = check_coin(c), .eps = eps}};
    struct mc_norm_grad *g = &t.g;
    int64_t parts = check_coin(c) ? 1 : 1 + check_below(c, 5);
    g->groups = check_coin(c) ? 1 : 1 + check_below(c, 5);
    g->rows = g->groups * (1 + check_below(c, check_coin(c) ? 8 : 300));
    g->inner = check_coin(c) ? 1 : check_size(c, 16, 100);
    g->n = g->inner * (g->inner == 1 ? check_size(c, 16, 150) : parts);
    int64_t n = g->rows * g->n, k = g->groups * (g->n / g->inner);
    t.dy = check_floats(c, n, false);
    g->x = values(c, n);
    g->scale = check_coin(c) ? check_floats(c, k, false) : NULL;
    check_describe(c, "gradient of %s of %d rows of %d, %d groups, parts of %d",
                   g->rms ? "rms norm" : "norm", (int)g->rows, (int)g->n, (int)g->groups,
                   (int)g->inner);
    double *want[3] = {room(c, n), room(c, k), room(c, k)};
    struct mc_norm_grad ref = *g;
    ref.dy = check_widen(c, t.dy, n);
    ref.x = check_widen(c, g->x, n);
    ref.scale = check_widen(c, g->scale, k);
    ref.dx = want[0];
    ref.dscale = want[1];
    ref.dbias = want[2];
    c->ref->norm.norm_grad(&ref, NULL, NULL);
    for (int i = 0; i < 3; i++)
        want[i] = check_below(c, 5) ? want[i] : NULL;
    double m = (double)(g->n + n / k);
    compare_grad(c, run_norm_grad, &t, &t.dy, t.out, want, n, k, 64 * sqrt(m) * tol_sum(m));
}

static void test(struct check *c)
{
    static void (*const tests[])(struct check *) = {test_batch, test_batch_grad, test_norm_grad};
    tests[c->round % (sizeof tests / sizeof tests[0])](c);
}

/* ---- speed ---- */

struct timing {
    const struct mc_norm_kernels *k;
    struct mc_batch_norm forward;
    struct mc_batch_grad backward;
    struct mc_norm_grad rows;
    void *scratch;
};

static void time_batch(void *ctx)
{
    struct timing *t = ctx;
    t->k->batch(&t->forward, NULL);
}

static void time_batch_grad(void *ctx)
{
    struct timing *t = ctx;
    t->k->batch_grad(&t->backward, NULL);
}

static void time_norm_grad(void *ctx)
{
    struct timing *t = ctx;
    t->k->norm_grad(&t->rows, t->scratch, NULL);
}

static void bench(struct check *c)
{
    enum { OUTER = 128, C = 32, INNER = 14 * 14, N = OUTER * C * INNER, D = 64 };
    float *x = check_floats(c, N, false), *dy = check_floats(c, N, false), *y = space(c, N);
    float *par = check_floats(c, 6 * C, false);
    struct timing t = {.k = &c->k->norm};
    for (int i = 0; i < C; i++)
        par[3 * C + i] = 1;
    t.forward = (struct mc_batch_norm){false, OUTER,   C, INNER,       1e-5,        x,
                                       par,   par + C, y, par + 4 * C, par + 5 * C, NULL};
    t.backward =
        (struct mc_batch_grad){false, OUTER,       C,           INNER, 1e-5,        dy,         x,
                               par,   par + C * 2, par + 3 * C, y,     par + 4 * C, par + 5 * C};
    struct bench b = {.bytes = N * 8.0, .fn = time_batch, .ctx = &t};
    bench_line(&b, "batch norm 128x32x14x14 %s", c->k->name);
    b = (struct bench){.bytes = N * 12.0, .fn = time_batch_grad, .ctx = &t};
    bench_line(&b, "its gradient %s", c->k->name);
    float *params = check_floats(c, 3 * D, false);
    t.rows = (struct mc_norm_grad){.rows = N / D,
                                   .n = D,
                                   .groups = 1,
                                   .inner = 1,
                                   .eps = 1e-5,
                                   .dy = dy,
                                   .x = x,
                                   .scale = params,
                                   .dx = y,
                                   .dscale = params + D,
                                   .dbias = params + 2 * D};
    t.scratch = check_alloc(c, t.k->norm_grad_scratch(&t.rows), MC_ALIGN);
    b = (struct bench){.bytes = N * 12.0, .fn = time_norm_grad, .ctx = &t};
    bench_line(&b, "gradient of layer norm over 64 %s", c->k->name);
}

const struct check_row check_norm_all = {"norm_all", 100, test_given, NULL};
const struct check_row check_norm = {"norm", 900, test, bench};
