#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"
#include "check_conv.h"
#include "tol.h"

static int64_t product(const int64_t size[3])
{
    return size[0] * size[1] * size[2];
}

/* ---- gradients of a convolution ---- */

struct grad_case {
    struct mc_conv_grad g;
    int64_t x, w, y; /* elements */
    bool in_place;   /* the residual is dx */
};

/* So many positions, or channels, that more than one chunk has some of a sum. */
static void draw_large(struct check *c, struct mc_conv *v)
{
    bool long_rows = check_coin(c), deep = check_coin(c);
    *v = (struct mc_conv){.n = 2,
                          .c = 1 + check_below(c, 3),
                          .oc = 1 + check_below(c, 20),
                          .group = 1,
                          .in = {1, 1, 5000 + check_below(c, 1000)},
                          .kernel = {1, 1, 1 + check_below(c, 3)},
                          .stride = {1, 1, 1},
                          .dilation = {1, 1, 1}};
    if (!long_rows) {
        v->n = 2 + check_below(c, 200);
        v->in[1] = v->in[2] = 11;
        v->kernel[1] = 3;
    }
    if (deep) {
        v->n = 1;
        v->c = 250 + check_below(c, 300);
        v->in[2] = long_rows ? 40 : 11;
    }
    for (int i = 0; i < 3; i++)
        v->out[i] = v->in[i] - v->kernel[i] + 1;
}

static void draw(struct check *c, struct grad_case *t)
{
    *t = (struct grad_case){0};
    struct mc_conv_grad *g = &t->g;
    struct mc_conv *v = &g->c;
    if (check_below(c, 32) == 0)
        draw_large(c, v);
    else
        check_conv_shape(c, v);
    t->x = v->n * v->c * product(v->in);
    t->w = v->oc * (v->c / v->group) * product(v->kernel);
    t->y = v->n * v->oc * product(v->out);
    g->x = check_floats(c, t->x, false);
    g->w = check_floats(c, t->w, false);
    g->dy = check_floats(c, t->y, false);
    struct mc_epilogue *e = &v->epilogue;
    if (check_below(c, 3) == 0)
        e->act = check_below(c, MC_ACT_HARDSWISH + 1);
    e->lo = e->act == MC_ACT_CLAMP ? 0 : 0.1;
    e->hi = check_coin(c) ? INFINITY : 6;
    e->bias = check_below(c, 4) == 0 ? check_floats(c, v->c, false) : NULL;
    e->scale = check_below(c, 4) == 0 ? check_floats(c, v->c, false) : NULL;
    e->residual = check_below(c, 4) == 0 ? check_floats(c, t->x, false) : NULL;
    t->in_place = e->residual && check_coin(c);
    check_describe(c,
                   "n %d c %d oc %d group %d in %d,%d,%d out %d,%d,%d kernel %d,%d,%d "
                   "stride %d,%d,%d dilation %d,%d,%d pad %d,%d,%d act %d%s%s%s",
                   (int)v->n, (int)v->c, (int)v->oc, (int)v->group, (int)v->in[0], (int)v->in[1],
                   (int)v->in[2], (int)v->out[0], (int)v->out[1], (int)v->out[2], (int)v->kernel[0],
                   (int)v->kernel[1], (int)v->kernel[2], (int)v->stride[0], (int)v->stride[1],
                   (int)v->stride[2], (int)v->dilation[0], (int)v->dilation[1], (int)v->dilation[2],
                   (int)v->pad[0], (int)v->pad[1], (int)v->pad[2], (int)e->act,
                   e->scale ? " scale" : "", e->bias ? " bias" : "",
                   t->in_place   ? " in place"
                   : e->residual ? " residual"
                                 : "");
}

static void call(struct check *c, const struct mc_kernels *k, const struct mc_conv_grad *g,
                 struct mc_pool *pool)
{
    int threads = mc_pool_threads(pool);
    void *input = check_alloc(c, k->conv_grad.input_bytes(&g->c, threads), MC_ALIGN);
    void *weight = check_alloc(c, k->conv_grad.weight_bytes(&g->c, threads), MC_ALIGN);
    k->conv_grad.input(g, input, pool);
    k->conv_grad.weight(g, weight, pool);
}

/* Results in f64, or (absolute) sums of |terms|: what rounding errors are measured by. */
static void reference(struct check *c, const struct grad_case *t, bool absolute,
                      struct mc_conv_grad *ret)
{
    double *(*to_f64)(struct check *, const float *, int64_t) = absolute ? check_abs : check_widen;
    struct mc_conv_grad g = t->g;
    g.x = to_f64(c, t->g.x, t->x);
    g.w = to_f64(c, t->g.w, t->w);
    g.dy = to_f64(c, t->g.dy, t->y);
    struct mc_epilogue *e = &g.c.epilogue;
    e->scale = to_f64(c, e->scale, g.c.c);
    e->bias = to_f64(c, e->bias, g.c.c);
    e->residual = to_f64(c, e->residual, t->x);
    if (absolute)
        e->act = MC_ACT_NONE;
    g.dx = check_alloc(c, (size_t)t->x * sizeof(double), sizeof(double));
    g.dw = check_alloc(c, (size_t)t->w * sizeof(double), sizeof(double));
    g.db = check_alloc(c, (size_t)g.c.oc * sizeof(double), sizeof(double));
    call(c, c->ref, &g, c->pool[0]);
    *ret = g;
}

static void test_conv(struct check *c)
{
    struct grad_case t;
    struct mc_conv_grad want, scale, first = {0};
    draw(c, &t);
    reference(c, &t, false, &want);
    reference(c, &t, true, &scale);
    const struct mc_conv *v = &t.g.c;
    double terms = (double)(v->n * product(v->out));
    double k = (double)(v->oc / v->group * product(v->kernel));
    double act = v->epilogue.act > MC_ACT_LEAKY ? TOL_ACT : 0;
    bool bias = check_coin(c);
    for (int p = 0; p < CHECK_POOLS; p++) {
        struct mc_conv_grad g = t.g;
        size_t x = (size_t)t.x * sizeof(float), w = (size_t)t.w * sizeof(float);
        size_t b = (size_t)v->oc * sizeof(float);
        g.dx = check_alloc(c, x, sizeof(float));
        g.dw = check_alloc(c, w, sizeof(float));
        g.db = bias ? check_alloc(c, b, sizeof(float)) : NULL;
        if (t.in_place)
            g.c.epilogue.residual = memcpy(g.dx, v->epilogue.residual, x);
        call(c, c->k, &g, c->pool[p]);
        if (p == 0) {
            check_close(c, "dx", g.dx, want.dx, scale.dx, tol_sum(k), act, t.x);
            check_close(c, "dw", g.dw, want.dw, scale.dw, tol_sum(terms), 0, t.w);
            if (bias)
                check_close(c, "db", g.db, want.db, scale.db, tol_sum(terms), 0, v->oc);
            first = g;
            continue;
        }
        check_same(c, "dx, another number of threads", g.dx, first.dx, x);
        check_same(c, "dw, another number of threads", g.dw, first.dw, w);
        if (bias)
            check_same(c, "db, another number of threads", g.db, first.db, b);
    }
}

/* ---- gradients of pools ---- */

/* Whole numbers, so that maxima are often equal. */
static float *draw_ties(struct check *c, int64_t n)
{
    float *x = check_floats(c, n, check_below(c, 6) == 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = roundf(x[i]);
    return x;
}

static void draw_window(struct check *c, struct mc_window *w)
{
    static const int most[] = {3000, 40, 8};
    int rank = 1 + (int)check_below(c, 3);
    bool halves = check_below(c, 3) == 0; /* 2x2 of stride 2 */
    *w = (struct mc_window){.average = check_coin(c), .planes = 1 + check_below(c, 6)};
    w->count_pad = check_coin(c);
    for (int i = 0; i < 3; i++) {
        bool used = i >= 3 - rank;
        w->kernel[i] = !used ? 1 : halves ? 2 : 1 + check_below(c, 4);
        w->stride[i] = !used ? 1 : halves ? 2 : 1 + check_below(c, 3);
        w->dilation[i] = used && !halves && check_below(c, 4) == 0 ? 2 : 1;
        int64_t span = (w->kernel[i] - 1) * w->dilation[i];
        w->pad[i] = used && !halves ? check_below(c, (uint32_t)span + 1) : 0;
        w->end[i] = used && !halves ? check_below(c, (uint32_t)span + 1) : 0;
        w->in[i] = used ? check_size(c, 2 * 16, most[rank - 1]) : 1;
        if (w->in[i] + w->pad[i] + w->end[i] < span + 1)
            w->in[i] = span + 1;
        w->out[i] = (w->in[i] + w->pad[i] + w->end[i] - span - 1) / w->stride[i] + 1;
    }
    if (check_below(c, 4) == 0) { /* over everything */
        w->in[2] *= w->in[0] * w->in[1];
        *w = (struct mc_window){.average = w->average,
                                .planes = w->planes,
                                .in = {1, 1, w->in[2]},
                                .out = {1, 1, 1},
                                .kernel = {1, 1, w->in[2]},
                                .stride = {1, 1, 1},
                                .dilation = {1, 1, 1}};
    }
}

static void test_window(struct check *c)
{
    struct mc_window_grad g = {0};
    struct mc_window *w = &g.w;
    draw_window(c, w);
    int64_t in = w->planes * product(w->in), out = w->planes * product(w->out);
    check_describe(c,
                   "%s of %d planes %d,%d,%d to %d,%d,%d kernel %d,%d,%d stride %d,%d,%d "
                   "dilation %d,%d,%d pad %d,%d,%d",
                   w->average ? "mean" : "maximum", (int)w->planes, (int)w->in[0], (int)w->in[1],
                   (int)w->in[2], (int)w->out[0], (int)w->out[1], (int)w->out[2], (int)w->kernel[0],
                   (int)w->kernel[1], (int)w->kernel[2], (int)w->stride[0], (int)w->stride[1],
                   (int)w->stride[2], (int)w->dilation[0], (int)w->dilation[1], (int)w->dilation[2],
                   (int)w->pad[0], (int)w->pad[1], (int)w->pad[2]);
    float *x = draw_ties(c, in), *y = check_alloc(c, (size_t)out * sizeof *y, sizeof *y);
    float *dy = check_floats(c, out, false);
    w->x = x;
    w->y = y;
    c->k->nn.window(w, NULL);
    g.dy = dy;
    struct mc_window_grad ref = g;
    ref.w.x = check_widen(c, x, in);
    double *maxima = ref.w.y = check_alloc(c, (size_t)out * sizeof *maxima, sizeof *maxima);
    c->ref->nn.window(&ref.w, NULL);
    if (!w->average)
        check_close(c, "y", y, maxima, NULL, 0, 0, out);
    ref.dy = check_widen(c, dy, out);
    double *want = ref.dx = check_alloc(c, (size_t)in * sizeof *want, sizeof *want);
    c->ref->conv_grad.window(&ref, NULL);
    ref.dy = check_abs(c, dy, out);
    double *scale = ref.dx = check_alloc(c, (size_t)in * sizeof *want, sizeof *want);
    c->ref->conv_grad.window(&ref, NULL);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *dx = g.dx = check_alloc(c, (size_t)in * sizeof *dx, sizeof *dx);
        c->k->conv_grad.window(&g, c->pool[p]);
        if (first)
            check_same(c, "another number of threads", dx, first, (size_t)in * sizeof *dx);
        else
            check_close(c, "dx", dx, want, scale, tol_sum((double)product(w->kernel)), 0, in);
        first = dx;
    }
}

/* The first of equal maxima has it all: 5 5 / 5 5 and 1 7 / 7 0 with NaN and without. */
static void test_first(struct check *c)
{
    static const float given[] = {5, 5, 1, 7, 5, 5, 7, 0, 5, 7, 2, 3};
    const float want[] = {2, 0, 0, 3, 0, 0, 0, 0};
    float *x = check_alloc(c, sizeof given, sizeof *x), *y = x + 8, *dy = x + 10;
    float *dx = check_alloc(c, sizeof want, sizeof *dx);
    memcpy(x, given, sizeof given);
    struct mc_window_grad g = {.w = {.planes = 1,
                                     .in = {1, 2, 4},
                                     .out = {1, 1, 2},
                                     .kernel = {1, 2, 2},
                                     .stride = {1, 2, 2},
                                     .dilation = {1, 1, 1},
                                     .x = x,
                                     .y = y},
                               .dy = dy,
                               .dx = dx};
    check_describe(c, "equal maxima");
    c->k->conv_grad.window(&g, NULL);
    check_same(c, "dx", dx, want, sizeof want);
    x[1] = x[5] = y[0] = NAN;
    const float second[] = {0, 2, 0, 3, 0, 0, 0, 0};
    check_describe(c, "equal maxima, NaN");
    c->k->conv_grad.window(&g, NULL);
    check_same(c, "dx", dx, second, sizeof second);
}

static void test(struct check *c)
{
    if (c->round == 0)
        test_first(c);
    else if (c->round % 3 == 0)
        test_window(c);
    else
        test_conv(c);
}

/* ---- speed ---- */

struct timing {
    const struct mc_kernels *k;
    struct mc_conv_grad g;
    struct mc_window_grad w;
    const void *weights;
    void *packed, *scratch;
};

static void time_forward(void *ctx)
{
    struct timing *t = ctx;
    struct mc_conv v = t->g.c;
    t->k->conv.pack_w(&v, t->g.w, t->packed, NULL);
    v.packed_w = t->packed;
    v.x = t->g.x;
    v.y = (void *)t->g.dy;
    t->k->conv.run(&v, t->scratch, NULL);
}

static void time_input(void *ctx)
{
    struct timing *t = ctx;
    t->k->conv_grad.input(&t->g, t->scratch, NULL);
}

static void time_weight(void *ctx)
{
    struct timing *t = ctx;
    t->k->conv_grad.weight(&t->g, t->scratch, NULL);
}

static void time_window(void *ctx)
{
    struct timing *t = ctx;
    t->k->conv_grad.window(&t->w, NULL);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void bench_conv(struct check *c, int ic, int oc, int group, int size, int kernel, int stride)
{
    struct timing t = {.k = c->k};
    struct mc_conv *v = &t.g.c;
    int out = (size + kernel / 2 * 2 - kernel) / stride + 1;
    *v = (struct mc_conv){.n = 128,
                          .c = ic,
                          .oc = oc,
                          .group = group,
                          .in = {1, size, size},
                          .out = {1, out, out},
                          .kernel = {1, kernel, kernel},
                          .stride = {1, stride, stride},
                          .dilation = {1, 1, 1},
                          .pad = {0, kernel / 2, kernel / 2}};
    int64_t k = v->c / v->group * product(v->kernel), x = v->n * v->c * product(v->in);
    int64_t y = v->n * v->oc * product(v->out);
    t.g.x = check_floats(c, x, false);
    t.g.dy = check_floats(c, y, false);
    t.g.w = check_floats(c, v->oc * k, false);
    t.g.dx = check_alloc(c, (size_t)x * sizeof(float), MC_ALIGN);
    t.g.dw = check_alloc(c, (size_t)(v->oc * k) * sizeof(float), MC_ALIGN);
    t.g.db = check_alloc(c, (size_t)v->oc * sizeof(float), MC_ALIGN);
    t.packed = check_alloc(c, c->k->conv.pack_w_bytes(v), MC_ALIGN);
    size_t bytes = larger(c->k->conv_grad.input_bytes(v, 1), c->k->conv_grad.weight_bytes(v, 1));
    t.scratch = check_alloc(c, larger(bytes, c->k->conv.scratch_bytes(v, 1)), MC_ALIGN);
    bool deep = group > 1;
    struct bench b = {.flops = 2.0 * (double)y * (double)k,
                      .bytes = deep ? (double)(x + y) * 4 : 0,
                      .fn = time_forward,
                      .ctx = &t};
    char what[64];
    snprintf(what, sizeof what, "%d>%d %dx%d k%d s%d g%d", ic, oc, size, size, kernel, stride,
             group);
    bench_line(&b, "y  %s", what);
    b.fn = time_input;
    bench_line(&b, "dx %s", what);
    b.fn = time_weight;
    bench_line(&b, "dw %s", what);
}

static void bench(struct check *c)
{
    static const int shapes[][6] = {
        {1, 32, 1, 28, 5, 1},   {32, 64, 1, 14, 5, 1},  {32, 32, 1, 14, 3, 1},
        {32, 64, 1, 14, 3, 2},  {32, 64, 1, 14, 1, 2},  {64, 64, 1, 7, 3, 1},
        {128, 128, 1, 4, 3, 1}, {16, 64, 1, 14, 1, 1},  {24, 96, 1, 14, 1, 1},
        {96, 24, 1, 14, 1, 1},  {40, 160, 1, 7, 1, 1},  {160, 40, 1, 7, 1, 1},
        {96, 96, 96, 14, 3, 1}, {96, 96, 96, 14, 3, 2}, {160, 160, 160, 7, 3, 1},
        {64, 64, 8, 14, 3, 1},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        bench_conv(c, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], shapes[i][4],
                   shapes[i][5]);
    enum { PLANES = 128 * 32, SIDE = 28, IN = PLANES * SIDE * SIDE };
    struct timing t = {.k = c->k};
    t.w = (struct mc_window_grad){.w = {.planes = PLANES,
                                        .in = {1, SIDE, SIDE},
                                        .out = {1, SIDE / 2, SIDE / 2},
                                        .kernel = {1, 2, 2},
                                        .stride = {1, 2, 2},
                                        .dilation = {1, 1, 1}}};
    float *x = check_floats(c, IN, false);
    float *y = check_alloc(c, IN / 4 * sizeof *y, MC_ALIGN);
    t.w.w.x = x;
    t.w.w.y = y;
    c->k->nn.window(&t.w.w, NULL);
    t.w.dy = check_floats(c, IN / 4, false);
    t.w.dx = check_alloc(c, IN * sizeof(float), MC_ALIGN);
    struct bench b = {.bytes = IN * 10.0, .fn = time_window, .ctx = &t};
    bench_line(&b, "maximum 2x2/2 of 28x28");
    t.w.w.average = true;
    b.bytes = IN * 5.0;
    bench_line(&b, "mean 2x2/2 of 28x28");
}

const struct check_row check_conv_grad = {"conv_grad", 600, test, bench};
