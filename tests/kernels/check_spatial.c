#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"
#include "tol.h"

/* Run one kernel for every pool on fresh outputs of n floats; the first against want, the others against it. */
struct frame {
    void (*run)(struct check *c, int pool, void *ctx, float *y);
    void *ctx;
    const float *before; /* what y holds first, or NULL */
    int64_t n;
};

static void compare_all(struct check *c, const char *what, const struct frame *f,
                        const double *want, const double *scale, double relative, double absolute)
{
    size_t bytes = (size_t)f->n * sizeof(float);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *y = check_alloc(c, bytes, sizeof(float));
        if (f->before)
            memcpy(y, f->before, bytes);
        f->run(c, p, f->ctx, y);
        if (first)
            check_same(c, "another number of threads", y, first, bytes);
        else
            check_close(c, what, y, want, scale, relative, absolute, f->n);
        first = y;
    }
}

static int64_t product(const int64_t size[3])
{
    return size[0] * size[1] * size[2];
}

/* ---- folding ---- */

struct fold_case {
    struct mc_fold f;
    bool in_place; /* the residual is y */
};

static void run_fold(struct check *c, int pool, void *ctx, float *y)
{
    struct fold_case *t = ctx;
    struct mc_fold f = t->f;
    f.y = y;
    if (t->in_place)
        f.epilogue.residual = y;
    c->k->spatial.fold(&f, c->pool[pool]);
}

static void draw_fold(struct check *c, struct mc_fold *f)
{
    int rank = 1 + (int)check_below(c, 3);
    *f = (struct mc_fold){.channels = 1 + check_below(c, 5)};
    for (int d = 0; d < 3; d++) {
        bool used = d >= 3 - rank;
        f->kernel[d] = used ? 1 + check_below(c, 5) : 1;
        f->stride[d] = used ? 1 + check_below(c, 4) : 1;
        f->dilation[d] = used && check_below(c, 3) == 0 ? 2 : 1;
        f->in[d] = used ? check_size(c, 16, d == 2 ? 60 : 6) : 1;
        if (d == 2 && check_below(c, 20) == 0)
            f->in[d] = 1000 + check_below(c, 200); /* more than is summed at a time */
        int64_t all = (f->in[d] - 1) * f->stride[d] + (f->kernel[d] - 1) * f->dilation[d] + 1;
        f->pad[d] = used ? check_below(c, (uint32_t)(all / 2) + 1) % 5 : 0;
        /* Beyond what is reached there is nothing to add. */
        f->out[d] = used ? all - f->pad[d] + check_below(c, 4) - 1 : 1;
        f->out[d] = f->out[d] < 1 ? 1 : f->out[d];
    }
}

static void test_fold(struct check *c)
{
    struct fold_case t = {0};
    struct mc_fold *f = &t.f;
    draw_fold(c, f);
    int64_t in = f->channels * product(f->kernel) * product(f->in);
    int64_t out = f->channels * product(f->out);
    struct mc_epilogue *e = &f->epilogue;
    e->act = check_coin(c) ? MC_ACT_NONE : check_below(c, MC_ACT_GELU + 1);
    e->lo = e->act == MC_ACT_CLAMP ? 0 : 0.1;
    e->hi = 6;
    const float *bias = check_coin(c) ? check_floats(c, f->channels, false) : NULL;
    const float *residual = check_coin(c) ? check_floats(c, out, false) : NULL;
    const float *x = check_floats(c, in, check_below(c, 8) == 0);
    t.in_place = residual && check_coin(c);
    check_describe(c,
                   "fold %d x %d,%d,%d to %d,%d,%d kernel %d,%d,%d stride %d,%d,%d pad %d,%d,%d "
                   "act %d%s%s",
                   (int)f->channels, (int)f->in[0], (int)f->in[1], (int)f->in[2], (int)f->out[0],
                   (int)f->out[1], (int)f->out[2], (int)f->kernel[0], (int)f->kernel[1],
                   (int)f->kernel[2], (int)f->stride[0], (int)f->stride[1], (int)f->stride[2],
                   (int)f->pad[0], (int)f->pad[1], (int)f->pad[2], (int)e->act, bias ? " bias" : "",
                   t.in_place ? " in place"
                   : residual ? " residual"
                              : "");
    struct mc_fold ref = *f;
    ref.x = check_widen(c, x, in);
    ref.epilogue.bias = check_widen(c, bias, f->channels);
    ref.epilogue.residual = check_widen(c, residual, out);
    double *want = ref.y = check_alloc(c, (size_t)out * sizeof(double), sizeof(double));
    c->ref->spatial.fold(&ref, NULL);
    struct mc_fold sums = ref; /* of absolute values: what roundings are relative to */
    sums.x = check_abs(c, x, in);
    sums.epilogue = (struct mc_epilogue){
        .bias = bias ? check_abs(c, bias, f->channels) : NULL,
        .residual = residual ? check_abs(c, residual, out) : NULL,
    };
    double *scale = sums.y = check_alloc(c, (size_t)out * sizeof(double), sizeof(double));
    c->ref->spatial.fold(&sums, NULL);
    f->x = x;
    e->bias = bias;
    e->residual = residual;
    struct frame frame = {run_fold, &t, t.in_place ? residual : NULL, out};
    compare_all(c, "fold", &frame, want, scale, tol_sum((double)product(f->kernel)),
                e->act > MC_ACT_LEAKY ? TOL_ACT : 0);
}

/* ---- resampling ---- */

static void run_resample(struct check *c, int pool, void *ctx, float *y)
{
    struct mc_resample r = *(struct mc_resample *)ctx;
    r.y = y;
    c->k->spatial.resample(&r, c->pool[pool]);
}

static void test_resample(struct check *c)
{
    struct mc_resample r = {.outer = 1 + check_below(c, 5), .taps = 1 + check_below(c, 6)};
    r.n_in = check_size(c, 16, 50);
    r.n_out = check_size(c, 16, 80);
    r.inner = check_coin(c) ? 1 : check_size(c, 16, 40);
    int64_t table = r.taps * r.n_out, in = r.outer * r.n_in * r.inner;
    int64_t out = r.outer * r.n_out * r.inner;
    int32_t *index = check_alloc(c, (size_t)table * sizeof *index, sizeof *index);
    for (int64_t i = 0; i < table; i++)
        index[i] = (int32_t)check_below(c, (uint32_t)r.n_in);
    const float *weight = check_floats(c, table, false), *x = check_floats(c, in, check_coin(c));
    check_describe(c, "resampling %d x %d x %d to %d, %d taps", (int)r.outer, (int)r.n_in,
                   (int)r.inner, (int)r.n_out, (int)r.taps);
    r.index = index;
    struct mc_resample ref = r;
    ref.x = check_widen(c, x, in);
    ref.weight = check_widen(c, weight, table);
    double *want = ref.y = check_alloc(c, (size_t)out * sizeof(double), sizeof(double));
    c->ref->spatial.resample(&ref, NULL);
    ref.x = check_abs(c, x, in);
    ref.weight = check_abs(c, weight, table);
    double *scale = ref.y = check_alloc(c, (size_t)out * sizeof(double), sizeof(double));
    c->ref->spatial.resample(&ref, NULL);
    r.x = x;
    r.weight = weight;
    struct frame frame = {run_resample, &r, NULL, out};
    compare_all(c, "resampling", &frame, want, scale, tol_sum((double)r.taps), 0);
}

/* ---- normalization across channels ---- */

static void run_lrn(struct check *c, int pool, void *ctx, float *y)
{
    struct mc_lrn l = *(struct mc_lrn *)ctx;
    l.y = y;
    c->k->spatial.lrn(&l, c->pool[pool]);
}

static void test_lrn(struct check *c)
{
    struct mc_lrn l = {.outer = 1 + check_below(c, 4),
                       .channels = check_size(c, 8, 20),
                       .inner = check_size(c, 16, 60),
                       .size = 1 + check_below(c, 7),
                       .alpha = 0.1,
                       .beta = check_coin(c) ? 0.75 : 1.25,
                       .bias = 1.5};
    int64_t n = l.outer * l.channels * l.inner;
    const float *x = check_floats(c, n, false);
    check_describe(c, "lrn %d x %d x %d, size %d beta %g", (int)l.outer, (int)l.channels,
                   (int)l.inner, (int)l.size, l.beta);
    struct mc_lrn ref = l;
    ref.x = check_widen(c, x, n);
    double *want = ref.y = check_alloc(c, (size_t)n * sizeof(double), sizeof(double));
    c->ref->spatial.lrn(&ref, NULL);
    l.x = x;
    struct frame frame = {run_lrn, &l, NULL, n};
    compare_all(c, "lrn", &frame, want, NULL, 2 * tol_sum((double)l.size), 0);
}

/* ---- cells of GRU and RNN ---- */

struct gru_case {
    struct mc_gru_cell g;
    const float *h; /* before the step */
    bool reset;
};

static void run_gru(struct check *c, int pool, void *ctx, float *y)
{
    struct gru_case *t = ctx;
    struct mc_gru_cell g = t->g;
    size_t bytes = (size_t)(g.batch * g.hidden) * sizeof(float);
    g.h = memcpy(check_alloc(c, bytes, sizeof(float)), t->h, bytes);
    g.reset = t->reset ? y : NULL;
    g.y = t->reset ? NULL : y;
    (t->reset ? c->k->nn.gru_reset : c->k->nn.gru_cell)(&g, c->pool[pool]);
    if (t->reset)
        check_same(c, "state", g.h, t->h, bytes);
}

static const uint8_t *draw_active(struct check *c, int64_t batch)
{
    uint8_t *active = check_alloc(c, (size_t)batch, 1);
    for (int64_t i = 0; i < batch; i++)
        active[i] = check_below(c, 4) != 0;
    return check_coin(c) ? active : NULL;
}

static struct mc_rnn_fn draw_fn(struct check *c)
{
    struct mc_rnn_fn f = {check_below(c, MC_RNN_COUNT), 0.5, 0.25};
    if (f.act == MC_RNN_THRESHOLDED) /* jumps where a sum is rounded across it */
        f.act = MC_RNN_RELU;
    return f;
}

static void test_gru(struct check *c)
{
    struct gru_case t = {.g = {.batch = check_size(c, 4, 20), .hidden = check_size(c, 16, 70)},
                         .reset = check_below(c, 3) == 0};
    struct mc_gru_cell *g = &t.g;
    int64_t n = g->batch * g->hidden;
    g->f[0] = draw_fn(c);
    g->f[1] = draw_fn(c);
    g->clip = check_coin(c) ? 0 : 1.5;
    g->y_row = g->hidden;
    g->active = draw_active(c, g->batch);
    const float *gates = check_floats(c, 3 * n, check_below(c, 6) == 0);
    const float *product_in = check_coin(c) ? check_floats(c, n, false) : NULL;
    t.h = check_floats(c, n, false);
    check_describe(c, "GRU %s of %d rows of %d, activations %d %d%s%s", t.reset ? "reset" : "cell",
                   (int)g->batch, (int)g->hidden, (int)g->f[0].act, (int)g->f[1].act,
                   product_in ? ", product" : "", g->active ? ", lengths" : "");
    struct mc_gru_cell ref = *g;
    ref.gates = check_widen(c, gates, 3 * n);
    ref.product = check_widen(c, product_in, n);
    ref.h = check_widen(c, t.h, n);
    double *want = check_alloc(c, (size_t)n * sizeof(double), sizeof(double));
    ref.reset = ref.y = want;
    (t.reset ? c->ref->nn.gru_reset : c->ref->nn.gru_cell)(&ref, NULL);
    g->gates = gates;
    g->product = product_in;
    struct frame frame = {run_gru, &t, NULL, n};
    /* A handful of roundings of values of some units, products of up to three of them. */
    compare_all(c, "H", &frame, want, NULL, 0, 128 * TOL_U);
}

struct rnn_case {
    struct mc_rnn_cell r;
    const float *h;
};

static void run_rnn(struct check *c, int pool, void *ctx, float *y)
{
    struct rnn_case *t = ctx;
    struct mc_rnn_cell r = t->r;
    size_t bytes = (size_t)(r.batch * r.hidden) * sizeof(float);
    r.h = memcpy(check_alloc(c, bytes, sizeof(float)), t->h, bytes);
    r.y = y;
    c->k->nn.rnn_cell(&r, c->pool[pool]);
}

static void test_rnn(struct check *c)
{
    struct rnn_case t = {.r = {.batch = check_size(c, 4, 20), .hidden = check_size(c, 16, 70)}};
    struct mc_rnn_cell *r = &t.r;
    int64_t n = r->batch * r->hidden;
    r->f = draw_fn(c);
    r->clip = check_coin(c) ? 0 : 1.5;
    r->y_row = r->hidden;
    r->active = draw_active(c, r->batch);
    const float *gates = check_floats(c, n, check_below(c, 6) == 0);
    t.h = check_floats(c, n, false);
    check_describe(c, "RNN cell of %d rows of %d, activation %d%s", (int)r->batch, (int)r->hidden,
                   (int)r->f.act, r->active ? ", lengths" : "");
    struct mc_rnn_cell ref = *r;
    ref.gates = check_widen(c, gates, n);
    ref.h = check_widen(c, t.h, n);
    double *want = ref.y = check_alloc(c, (size_t)n * sizeof(double), sizeof(double));
    c->ref->nn.rnn_cell(&ref, NULL);
    r->gates = gates;
    struct frame frame = {run_rnn, &t, NULL, n};
    compare_all(c, "H", &frame, want, NULL, 0, 64 * TOL_U);
}

static void test(struct check *c)
{
    static void (*const tests[])(struct check *) = {test_fold, test_resample, test_lrn, test_gru,
                                                    test_rnn};
    tests[c->round % (sizeof tests / sizeof tests[0])](c);
}

/* ---- speed ---- */

struct timing {
    const struct mc_spatial_kernels *k;
    struct mc_fold fold;
    struct mc_resample resample;
    struct mc_lrn lrn;
};

static void time_fold(void *ctx)
{
    struct timing *t = ctx;
    t->k->fold(&t->fold, NULL);
}

static void time_resample(void *ctx)
{
    struct timing *t = ctx;
    t->k->resample(&t->resample, NULL);
}

static void time_lrn(void *ctx)
{
    struct timing *t = ctx;
    t->k->lrn(&t->lrn, NULL);
}

static void bench(struct check *c)
{
    enum { SIDE = 80, PLANES = 32, N = PLANES * 4 * SIDE * SIDE };
    float *x = check_floats(c, N, false), *y = check_alloc(c, N * sizeof *y, MC_ALIGN);
    int32_t *index = check_alloc(c, 4 * SIDE * sizeof *index, sizeof *index);
    for (int i = 0; i < 4 * SIDE; i++) /* two taps */
        index[i] = i % (2 * SIDE) / 2;
    struct timing t = {.k = &c->k->spatial};
    t.fold = (struct mc_fold){.channels = PLANES,
                              .in = {1, SIDE, SIDE},
                              .out = {1, 2 * SIDE, 2 * SIDE},
                              .kernel = {1, 2, 2},
                              .stride = {1, 2, 2},
                              .dilation = {1, 1, 1},
                              .x = x,
                              .y = y};
    struct bench b = {.bytes = N * 8.0, .fn = time_fold, .ctx = &t};
    bench_line(&b, "fold 2x2/2 of 80x80 %s", c->k->name);
    t.resample = (struct mc_resample){.outer = PLANES * SIDE,
                                      .n_in = SIDE,
                                      .n_out = 2 * SIDE,
                                      .inner = 1,
                                      .taps = 2,
                                      .index = index,
                                      .weight = x,
                                      .x = x,
                                      .y = y};
    b = (struct bench){.bytes = N * 6.0, .fn = time_resample, .ctx = &t};
    bench_line(&b, "rows of 80 to 160, 2 taps %s", c->k->name);
    t.resample.outer = PLANES;
    t.resample.inner = SIDE;
    bench_line(&b, "columns of 80 to 160, 2 taps %s", c->k->name);
    t.lrn = (struct mc_lrn){.outer = 1,
                            .channels = PLANES,
                            .inner = 4 * SIDE * SIDE,
                            .size = 5,
                            .alpha = 1e-4,
                            .beta = 0.75,
                            .bias = 1,
                            .x = x,
                            .y = y};
    b = (struct bench){.bytes = N * 8.0, .fn = time_lrn, .ctx = &t};
    bench_line(&b, "lrn of 5 over 32 channels %s", c->k->name);
}

const struct check_row check_spatial = {"spatial", 1500, test, bench};
