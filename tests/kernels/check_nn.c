#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"
#include "tol.h"

/* A kernel of this family as one function over a struct, so that every test has the same frame. */
union args {
    struct mc_window window;
    struct mc_softmax softmax;
    struct mc_norm norm;
    struct mc_affine affine;
    struct mc_reduce reduce;
    struct mc_lstm_cell cell;
};

static float *floats(struct check *c, int64_t n)
{
    return check_floats(c, n, check_below(c, 6) == 0);
}

static double *room(struct check *c, int64_t n)
{
    return check_alloc(c, (size_t)n * sizeof(double), sizeof(double));
}

/* Run fn for every pool on fresh outputs *y of n floats; the first against want, the others against it. */
static void compare_all(struct check *c, const char *what, void (*fn)(struct check *, int, void *),
                        void *ctx, void **y, const double *want, const double *scale,
                        double relative, double absolute, int64_t n)
{
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        *y = check_alloc(c, (size_t)n * sizeof(float), sizeof(float));
        fn(c, p, ctx);
        if (first)
            check_same(c, "another number of threads", *y, first, (size_t)n * sizeof(float));
        else
            check_close(c, what, *y, want, scale, relative, absolute, n);
        first = *y;
    }
}

/* ---- pooling ---- */

static void run_window(struct check *c, int pool, void *ctx)
{
    c->k->nn.window(ctx, c->pool[pool]);
}

static void draw_window(struct check *c, struct mc_window *w)
{
    int dims = 1 + (int)check_below(c, 3);
    *w = (struct mc_window){.average = check_coin(c), .count_pad = check_coin(c)};
    w->planes = 1 + check_below(c, 5);
    for (int d = 0; d < 3; d++) {
        bool used = d >= 3 - dims;
        w->kernel[d] = used ? 1 + check_below(c, 4) : 1;
        w->stride[d] = used ? 1 + check_below(c, 3) : 1;
        w->dilation[d] = used && check_below(c, 4) == 0 ? 2 : 1;
        int64_t extent = (w->kernel[d] - 1) * w->dilation[d] + 1;
        w->pad[d] = used ? check_below(c, (uint32_t)extent) : 0;
        w->end[d] = used ? check_below(c, (uint32_t)extent) : 0;
        int64_t most = d == 2 ? 60 : 9, need = extent - w->pad[d] - w->end[d];
        w->in[d] = used ? check_size(c, 16, most) : 1;
        w->in[d] = w->in[d] < need ? need : w->in[d];
        int64_t room_left = w->in[d] + w->pad[d] + w->end[d] - extent;
        bool ceil = used && check_below(c, 4) == 0 && room_left % w->stride[d];
        w->out[d] = room_left / w->stride[d] + 1 + ceil;
        if ((w->out[d] - 1) * w->stride[d] >= w->in[d] + w->pad[d])
            w->out[d]--;
    }
}

static void test_window(struct check *c)
{
    struct mc_window w;
    draw_window(c, &w);
    int64_t in = w.planes * w.in[0] * w.in[1] * w.in[2];
    int64_t out = w.planes * w.out[0] * w.out[1] * w.out[2];
    bool positions = !w.average && check_coin(c);
    const float *x = floats(c, in);
    check_describe(c, "%s pool %dx%dx%d to %dx%dx%d, kernel %dx%dx%d stride %d",
                   w.average ? "average" : "max", (int)w.in[0], (int)w.in[1], (int)w.in[2],
                   (int)w.out[0], (int)w.out[1], (int)w.out[2], (int)w.kernel[0], (int)w.kernel[1],
                   (int)w.kernel[2], (int)w.stride[2]);
    struct mc_window ref = w;
    int64_t *want_arg = check_alloc(c, (size_t)out * sizeof *want_arg, sizeof *want_arg);
    int64_t *arg = check_alloc(c, (size_t)out * sizeof *arg, sizeof *arg);
    ref.x = check_widen(c, x, in);
    double *want = ref.y = room(c, out);
    ref.arg = positions ? want_arg : NULL;
    c->ref->nn.window(&ref, NULL);
    double *scale = NULL;
    if (w.average) {
        ref.x = check_abs(c, x, in);
        scale = ref.y = room(c, out);
        c->ref->nn.window(&ref, NULL);
    }
    w.x = x;
    w.arg = positions ? arg : NULL;
    double k = (double)(w.kernel[0] * w.kernel[1] * w.kernel[2]);
    compare_all(c, "pool", run_window, &w, &w.y, want, scale, w.average ? tol_sum(k) : 0, 0, out);
    if (positions)
        check_same(c, "positions", arg, want_arg, (size_t)out * sizeof *arg);
}

/* ---- softmax ---- */

static void run_softmax(struct check *c, int pool, void *ctx)
{
    c->k->nn.softmax(ctx, c->pool[pool]);
}

static void test_softmax(struct check *c)
{
    struct mc_softmax s = {.log = check_coin(c),
                           .inner = check_coin(c) ? 1 : check_size(c, 16, 40)};
    s.outer = 1 + check_below(c, 8);
    s.n = check_size(c, 16, check_below(c, 5) ? 70 : 3000);
    int64_t n = s.outer * s.n * s.inner;
    float *x = floats(c, n);
    for (int64_t i = 0; i < n && check_below(c, 9) == 0; i++)
        x[i] *= 50;
    check_describe(c, "%ssoftmax %dx%dx%d", s.log ? "log " : "", (int)s.outer, (int)s.n,
                   (int)s.inner);
    struct mc_softmax ref = s;
    ref.x = check_widen(c, x, n);
    double *want = ref.y = room(c, n);
    c->ref->nn.softmax(&ref, NULL);
    s.x = x;
    /* exp turns the rounding of x - max, up to 2^-24 |x - max|, into a relative error. */
    double range = s.log ? 8 + sqrt((double)s.n) : 40 + (double)s.n / 16;
    compare_all(c, "softmax", run_softmax, &s, &s.y, want, NULL, s.log ? 8 * TOL_U : 0,
                range * TOL_U, n);
}

/* ---- norm and affine ---- */

static void run_norm(struct check *c, int pool, void *ctx)
{
    c->k->nn.norm(ctx, c->pool[pool]);
}

static void test_norm(struct check *c)
{
    struct mc_norm m = {.rows = 1 + check_below(c, 20), .eps = 1e-5};
    m.n = check_size(c, 16, 300);
    m.channels = check_coin(c) ? 0 : 1 + check_below(c, 5);
    int64_t params = m.channels ? m.channels : m.n, n = m.rows * m.n;
    const float *x = floats(c, n), *scale = check_coin(c) ? check_floats(c, params, false) : NULL;
    const float *bias = check_coin(c) ? check_floats(c, params, false) : NULL;
    check_describe(c, "norm of %d rows of %d, %d channels", (int)m.rows, (int)m.n, (int)m.channels);
    struct mc_norm ref = m;
    ref.x = check_widen(c, x, n);
    ref.scale = check_widen(c, scale, params);
    ref.bias = check_widen(c, bias, params);
    double *want = ref.y = room(c, n), *mean = ref.mean = room(c, m.rows);
    double *inv = ref.inv_std = room(c, m.rows);
    c->ref->nn.norm(&ref, NULL);
    m.x = x;
    m.scale = scale;
    m.bias = bias;
    m.mean = check_alloc(c, (size_t)m.rows * sizeof(float), sizeof(float));
    m.inv_std = check_alloc(c, (size_t)m.rows * sizeof(float), sizeof(float));
    /* One element per row has no spread: 0 / sqrt(eps) magnifies the rounding of the mean 316 times. */
    double loss = m.n < 4 ? 400 : 16;
    compare_all(c, "norm", run_norm, &m, &m.y, want, NULL, 0, loss * tol_sum((double)m.n), n);
    check_close(c, "mean", m.mean, mean, NULL, 0, tol_sum((double)m.n), m.rows);
    check_close(c, "1/deviation", m.inv_std, inv, NULL, loss * tol_sum((double)m.n), 0, m.rows);
}

static void run_affine(struct check *c, int pool, void *ctx)
{
    c->k->nn.affine(ctx, c->pool[pool]);
}

static void test_affine(struct check *c)
{
    struct mc_affine a = {.outer = 1 + check_below(c, 6), .channels = check_size(c, 16, 40)};
    a.inner = check_coin(c) ? 1 : check_size(c, 16, 60);
    int64_t n = a.outer * a.channels * a.inner;
    const float *x = floats(c, n), *scale = check_floats(c, a.channels, false);
    const float *shift = check_floats(c, a.channels, false);
    check_describe(c, "affine %dx%dx%d", (int)a.outer, (int)a.channels, (int)a.inner);
    struct mc_affine ref = a;
    ref.x = check_widen(c, x, n);
    ref.scale = check_widen(c, scale, a.channels);
    ref.shift = check_widen(c, shift, a.channels);
    double *want = ref.y = room(c, n);
    c->ref->nn.affine(&ref, NULL);
    ref.x = check_abs(c, x, n);
    ref.scale = check_abs(c, scale, a.channels);
    ref.shift = check_abs(c, shift, a.channels);
    double *sum = ref.y = room(c, n);
    c->ref->nn.affine(&ref, NULL);
    a.x = x;
    a.scale = scale;
    a.shift = shift;
    compare_all(c, "affine", run_affine, &a, &a.y, want, sum, 2 * TOL_U, 0, n);
}

/* ---- reductions ---- */

static void run_reduce(struct check *c, int pool, void *ctx)
{
    c->k->nn.reduce(ctx, c->pool[pool]);
}

/* A dense tensor of up to 4 dimensions, of which some are reduced. */
static int64_t draw_reduce(struct check *c, struct mc_reduce *r)
{
    bool far =
        check_below(c, c->k->device ? 2 : 12) == 0; /* a device cuts few long sums into parts */
    int rank = 1 + (int)check_below(c, far ? 2 : 4), far_at = (int)check_below(c, (uint32_t)rank);
    int64_t stride = 1;
    *r = (struct mc_reduce){.fn = check_below(c, MC_REDUCE_COUNT)};
    for (int d = 0; d < rank; d++) { /* from the innermost out; turned round below */
        int64_t n = d == 0 ? check_size(c, 16, 90) : check_size(c, 4, 9);
        n = !far          ? n
            : d == far_at ? (check_coin(c) ? 4000 : 33000) + check_below(c, 2000)
                          : 1 + check_below(c, 5);
        if (far ? d != far_at : check_coin(c)) {
            r->keep[r->keep_rank] = n;
            r->keep_stride[r->keep_rank++] = stride;
        } else {
            r->over[r->over_rank] = n;
            r->over_stride[r->over_rank++] = stride;
        }
        stride *= n;
    }
    for (int side = 0; side < 2; side++) {
        int n = side ? r->over_rank : r->keep_rank;
        int64_t *dim = side ? r->over : r->keep, *by = side ? r->over_stride : r->keep_stride;
        for (int i = 0; i < n / 2; i++) {
            int64_t a = dim[i], b = by[i];
            dim[i] = dim[n - 1 - i];
            by[i] = by[n - 1 - i];
            dim[n - 1 - i] = a;
            by[n - 1 - i] = b;
        }
        if (n == 0) {
            dim[0] = by[0] = 1;
            *(side ? &r->over_rank : &r->keep_rank) = 1;
        }
    }
    return stride;
}

static void test_reduce(struct check *c)
{
    struct mc_reduce r;
    int64_t in = draw_reduce(c, &r), out = 1, over = 1;
    for (int d = 0; d < r.keep_rank; d++)
        out *= r.keep[d];
    for (int d = 0; d < r.over_rank; d++)
        over *= r.over[d];
    float *x = floats(c, in);
    for (int64_t i = 0; i < in; i++) /* sums that have a logarithm, products that stay in range */
        x[i] = r.fn == MC_REDUCE_LOG_SUM ? fabsf(x[i])
               : r.fn == MC_REDUCE_PROD  ? 1 + x[i] / 64
                                         : x[i];
    check_describe(c, "reduction %d of %d elements to %d", (int)r.fn, (int)in, (int)out);
    struct mc_reduce ref = r;
    ref.x = check_widen(c, x, in);
    double *want = ref.y = room(c, out), *scale = NULL;
    c->ref->nn.reduce(&ref, NULL);
    bool sum = r.fn == MC_REDUCE_SUM || r.fn == MC_REDUCE_MEAN;
    if (sum) {
        ref.x = check_abs(c, x, in);
        scale = ref.y = room(c, out);
        c->ref->nn.reduce(&ref, NULL);
    }
    bool exact = r.fn == MC_REDUCE_MAX || r.fn == MC_REDUCE_MIN;
    bool log = r.fn == MC_REDUCE_LOG_SUM || r.fn == MC_REDUCE_LOG_SUM_EXP;
    double tol = exact ? 0 : r.fn == MC_REDUCE_PROD ? TOL_U * (double)over : tol_sum((double)over);
    r.x = x;
    compare_all(c, "reduction", run_reduce, &r, &r.y, want, scale, log ? 0 : tol, log ? tol : 0,
                out);
}

static void test_argext(struct check *c)
{
    struct mc_argext a = {.smallest = check_coin(c), .last = check_coin(c)};
    a.outer = 1 + check_below(c, 6);
    a.n = check_size(c, 16, 200);
    a.inner = check_coin(c) ? 1 : check_size(c, 8, 20);
    int64_t n = a.outer * a.n * a.inner, out = a.outer * a.inner;
    float *x = floats(c, n);
    for (int64_t i = 0; i < n; i++)
        x[i] = roundf(x[i] * 4); /* many are equal */
    check_describe(c, "arg ext %dx%dx%d", (int)a.outer, (int)a.n, (int)a.inner);
    int64_t *want = check_alloc(c, (size_t)out * sizeof *want, sizeof *want);
    int64_t *got = check_alloc(c, (size_t)out * sizeof *got, sizeof *got);
    a.x = check_widen(c, x, n);
    a.y = want;
    c->ref->nn.argext(&a, NULL);
    a.x = x;
    a.y = got;
    for (int p = 0; p < CHECK_POOLS; p++) {
        c->k->nn.argext(&a, c->pool[p]);
        check_same(c, "positions", got, want, (size_t)out * sizeof *got);
    }
}

/* ---- LSTM cell ---- */

struct cell_case {
    struct mc_lstm_cell l;
    const float *c, *h; /* before the step */
    void *y;
};

static void run_cell(struct check *c, int pool, void *ctx)
{
    struct cell_case *t = ctx;
    size_t bytes = (size_t)(t->l.batch * t->l.hidden) * sizeof(float);
    t->l.c = memcpy(check_alloc(c, bytes, sizeof(float)), t->c, bytes);
    t->l.h = memcpy(check_alloc(c, bytes, sizeof(float)), t->h, bytes);
    t->l.y = t->y;
    c->k->nn.lstm_cell(&t->l, c->pool[pool]);
}

static void test_cell(struct check *c)
{
    struct cell_case t = {.l = {.batch = check_size(c, 4, 20), .hidden = check_size(c, 16, 70)}};
    struct mc_lstm_cell *l = &t.l;
    bool usual = check_coin(c);
    static const enum mc_rnn_act lstm[3] = {MC_RNN_SIGMOID, MC_RNN_TANH, MC_RNN_TANH};
    for (int i = 0; i < 3; i++) {
        l->f[i] = (struct mc_rnn_fn){usual ? lstm[i] : check_below(c, MC_RNN_COUNT), 0.5, 0.25};
        if (l->f[i].act == MC_RNN_THRESHOLDED &&
            i != 1) /* jumps where a sum is rounded across it */
            l->f[i].act = MC_RNN_RELU;
    }
    l->clip = check_coin(c) ? 0 : 1.5;
    l->input_forget = check_below(c, 4) == 0;
    l->y_row = l->hidden;
    int64_t n = l->batch * l->hidden;
    uint8_t *active = check_alloc(c, (size_t)l->batch, 1);
    for (int64_t i = 0; i < l->batch; i++)
        active[i] = check_below(c, 4) != 0;
    l->active = check_coin(c) ? active : NULL;
    const float *gates = floats(c, 4 * n);
    const float *peep = check_coin(c) ? check_floats(c, 3 * l->hidden, false) : NULL;
    t.c = check_floats(c, n, false);
    t.h = check_floats(c, n, false);
    check_describe(c, "cell of %d rows of %d, activations %d %d %d%s%s", (int)l->batch,
                   (int)l->hidden, (int)l->f[0].act, (int)l->f[1].act, (int)l->f[2].act,
                   peep ? ", peepholes" : "", l->active ? ", lengths" : "");
    struct mc_lstm_cell ref = *l;
    ref.gates = check_widen(c, gates, 4 * n);
    ref.peephole = check_widen(c, peep, 3 * l->hidden);
    ref.c = check_widen(c, t.c, n);
    ref.h = check_widen(c, t.h, n);
    double *want = ref.y = room(c, n);
    c->ref->nn.lstm_cell(&ref, NULL);
    l->gates = gates;
    l->peephole = peep;
    /* A handful of roundings of values of some units, through slopes of at most 1. */
    compare_all(c, "h", run_cell, &t, &t.y, want, NULL, 0, 64 * TOL_U, n);
    check_close(c, "C", l->c, ref.c, NULL, 0, 64 * TOL_U, n);
}

static void test(struct check *c)
{
    static void (*const tests[])(struct check *) = {
        test_window, test_softmax, test_norm, test_affine, test_reduce, test_argext, test_cell};
    tests[c->round % (sizeof tests / sizeof tests[0])](c);
}

/* ---- speed ---- */

struct timing {
    const struct mc_nn_kernels *k;
    union args a;
};

static void time_window(void *ctx)
{
    struct timing *t = ctx;
    t->k->window(&t->a.window, NULL);
}

static void time_softmax(void *ctx)
{
    struct timing *t = ctx;
    t->k->softmax(&t->a.softmax, NULL);
}

static void time_norm(void *ctx)
{
    struct timing *t = ctx;
    t->k->norm(&t->a.norm, NULL);
}

static void time_reduce(void *ctx)
{
    struct timing *t = ctx;
    t->k->reduce(&t->a.reduce, NULL);
}

static void time_cell(void *ctx)
{
    struct timing *t = ctx;
    t->k->lstm_cell(&t->a.cell, NULL);
}

static void bench(struct check *c)
{
    enum { N = 64 * 32 * 28 * 28 };
    float *x = check_floats(c, N, false), *y = check_alloc(c, N * sizeof *y, MC_ALIGN);
    struct timing t = {.k = &c->k->nn};
    t.a.window = (struct mc_window){.planes = 64 * 32,
                                    .in = {1, 28, 28},
                                    .out = {1, 14, 14},
                                    .kernel = {1, 2, 2},
                                    .stride = {1, 2, 2},
                                    .dilation = {1, 1, 1},
                                    .x = x,
                                    .y = y};
    struct bench b = {.bytes = N * 5.0, .fn = time_window, .ctx = &t};
    bench_line(&b, "maxpool 2x2 of 28x28 %s", c->k->name);
    t.a.window = (struct mc_window){.planes = 64 * 32,
                                    .in = {1, 28, 28},
                                    .out = {1, 14, 14},
                                    .kernel = {1, 3, 3},
                                    .stride = {1, 2, 2},
                                    .dilation = {1, 1, 1},
                                    .pad = {0, 1, 1},
                                    .x = x,
                                    .y = y};
    bench_line(&b, "maxpool 3x3/2 of 28x28 %s", c->k->name);
    t.a.softmax = (struct mc_softmax){.outer = N / 49, .n = 49, .inner = 1, .x = x, .y = y};
    b = (struct bench){.bytes = N * 8.0, .fn = time_softmax, .ctx = &t};
    bench_line(&b, "softmax of 49 %s", c->k->name);
    t.a.norm = (struct mc_norm){.rows = N / 64, .n = 64, .eps = 1e-5, .x = x, .y = y};
    t.a.norm.scale = t.a.norm.bias = x;
    b.fn = time_norm;
    bench_line(&b, "layer norm of 64 %s", c->k->name);
    t.a.reduce = (struct mc_reduce){.fn = MC_REDUCE_MEAN,
                                    .keep_rank = 1,
                                    .over_rank = 1,
                                    .keep = {N / 49},
                                    .over = {49},
                                    .keep_stride = {49},
                                    .over_stride = {1},
                                    .x = x,
                                    .y = y};
    b = (struct bench){.bytes = N * 4.0, .fn = time_reduce, .ctx = &t};
    bench_line(&b, "mean of 7x7 %s", c->k->name);
    t.a.reduce = (struct mc_reduce){.fn = MC_REDUCE_SUM, /* the gradient of a bias of columns */
                                    .keep_rank = 1,
                                    .over_rank = 1,
                                    .keep = {256},
                                    .over = {N / 256},
                                    .keep_stride = {1},
                                    .over_stride = {256},
                                    .x = x,
                                    .y = y};
    bench_line(&b, "sum of rows of 256 %s", c->k->name);
    t.a.reduce = (struct mc_reduce){.fn = MC_REDUCE_SUM, /* and of channels */
                                    .keep_rank = 1,
                                    .over_rank = 2,
                                    .keep = {64},
                                    .over = {N / 64 / 196, 196},
                                    .keep_stride = {196},
                                    .over_stride = {64 * 196, 1},
                                    .x = x,
                                    .y = y};
    bench_line(&b, "sum of 64 channels of 14x14 %s", c->k->name);
    t.a.cell = (struct mc_lstm_cell){
        .batch = 64,
        .hidden = 128,
        .f = {{MC_RNN_SIGMOID, 0, 0}, {MC_RNN_TANH, 0, 0}, {MC_RNN_TANH, 0, 0}},
        .gates = x,
        .c = y,
        .h = y + 64 * 128};
    b = (struct bench){.bytes = 64 * 128 * 36.0, .fn = time_cell, .ctx = &t};
    bench_line(&b, "LSTM cell 64x128 %s", c->k->name);
}

const struct check_row check_nn = {"nn", 2100, test, bench};
