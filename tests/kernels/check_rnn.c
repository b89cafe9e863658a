#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"
#include "tol.h"

/* Some units, through slopes of at most 1: a handful of roundings. */
#define TOL (64 * TOL_U)

static double *room(struct check *c, int64_t n)
{
    return check_alloc(c, (size_t)n * sizeof(double), sizeof(double));
}

static float *space(struct check *c, int64_t n)
{
    return check_alloc(c, (size_t)n * sizeof(float), sizeof(float));
}

/* n numbers in (0, 1), as most activations have them. */
static float *shares(struct check *c, int64_t n)
{
    float *x = check_floats(c, n, false);
    for (int64_t i = 0; i < n; i++)
        x[i] = 1 / (1 + expf(-x[i]));
    return x;
}

static const uint8_t *draw_active(struct check *c, int64_t batch)
{
    uint8_t *active = check_alloc(c, (size_t)batch, 1);
    for (int64_t i = 0; i < batch; i++)
        active[i] = check_below(c, 4) != 0;
    return check_coin(c) ? active : NULL;
}

static struct mc_rnn_fn draw_fn(struct check *c, enum mc_rnn_act usual)
{
    return (struct mc_rnn_fn){check_coin(c) ? usual : check_below(c, MC_RNN_COUNT), 0.5, 0.25};
}

static void *copy(struct check *c, const float *x, int64_t n)
{
    return memcpy(space(c, n), x, (size_t)n * sizeof *x);
}

/* What a step changes or makes: the same with every number of threads, close to the reference. */
struct result {
    const char *what;
    const float *got;
    const double *want;
    int64_t n;
};

static void compare(struct check *c, int pool, struct result *now, struct result *first, int n)
{
    for (int i = 0; i < n; i++) {
        if (pool)
            check_same(c, now[i].what, now[i].got, first[i].got, (size_t)now[i].n * sizeof(float));
        else
            check_close(c, now[i].what, now[i].got, now[i].want, NULL, 0, TOL, now[i].n);
        first[i] = now[i];
    }
}

/* ---- states elsewhere, activations kept ---- */

static void test_lstm_kept(struct check *c)
{
    struct mc_lstm_cell l = {.batch = check_size(c, 4, 20), .hidden = check_size(c, 16, 70)};
    for (int i = 0; i < 3; i++)
        l.f[i] = (struct mc_rnn_fn){i ? MC_RNN_TANH : MC_RNN_SIGMOID, 0, 0};
    int64_t n = l.batch * l.hidden;
    l.active = draw_active(c, l.batch);
    l.input_forget = check_below(c, 4) == 0;
    const float *gates = check_floats(c, 4 * n, false);
    l.gates = gates;
    l.c_before = check_floats(c, n, false);
    l.h_before = check_floats(c, n, false);
    check_describe(c, "kept cell of %d rows of %d%s", (int)l.batch, (int)l.hidden,
                   l.active ? ", lengths" : "");
    struct mc_lstm_cell ref = l;
    ref.gates = check_widen(c, gates, 4 * n);
    ref.c_before = check_widen(c, l.c_before, n);
    ref.h_before = check_widen(c, l.h_before, n);
    double *want[3] = {room(c, n), room(c, n), memcpy(room(c, 4 * n), ref.gates, (size_t)n * 32)};
    ref.c = want[0];
    ref.h = want[1];
    ref.acts = want[2];
    c->ref->nn.lstm_cell(&ref, NULL);
    struct result first[3];
    for (int p = 0; p < CHECK_POOLS; p++) {
        l.c = space(c, n);
        l.h = space(c, n);
        l.acts = copy(c, gates, 4 * n);
        l.gates = check_coin(c) ? l.acts : gates;
        c->k->nn.lstm_cell(&l, c->pool[p]);
        struct result now[] = {
            {"C", l.c, want[0], n}, {"H", l.h, want[1], n}, {"gates", l.acts, want[2], 4 * n}};
        compare(c, p, now, first, 3);
    }
}

static void test_gru_kept(struct check *c)
{
    struct mc_gru_cell g = {.batch = check_size(c, 4, 20), .hidden = check_size(c, 16, 70)};
    g.f[0] = (struct mc_rnn_fn){MC_RNN_SIGMOID, 0, 0};
    g.f[1] = (struct mc_rnn_fn){MC_RNN_TANH, 0, 0};
    int64_t n = g.batch * g.hidden;
    g.active = draw_active(c, g.batch);
    const float *gates = check_floats(c, 3 * n, false);
    const float *product = check_coin(c) ? check_floats(c, n, false) : NULL;
    g.gates = gates;
    g.product = product;
    g.h_before = check_floats(c, n, false);
    check_describe(c, "kept gru of %d rows of %d%s%s", (int)g.batch, (int)g.hidden,
                   g.active ? ", lengths" : "", product ? ", product" : "");
    struct mc_gru_cell ref = g;
    ref.gates = check_widen(c, gates, 3 * n);
    ref.product = check_widen(c, product, n);
    ref.h_before = check_widen(c, g.h_before, n);
    double *want[3] = {room(c, n), room(c, n), memcpy(room(c, 3 * n), ref.gates, (size_t)n * 24)};
    ref.h = want[0];
    ref.reset = want[1];
    ref.acts = want[2];
    c->ref->nn.gru_reset(&ref, NULL);
    c->ref->nn.gru_cell(&ref, NULL);
    struct result first[3];
    for (int p = 0; p < CHECK_POOLS; p++) {
        g.h = space(c, n);
        g.reset = space(c, n);
        g.acts = copy(c, gates, 3 * n);
        g.gates = check_coin(c) ? g.acts : gates;
        c->k->nn.gru_reset(&g, c->pool[p]);
        c->k->nn.gru_cell(&g, c->pool[p]);
        struct result now[] = {{"H", g.h, want[0], n},
                               {"reset", g.reset, want[1], n},
                               {"gates", g.acts, want[2], 3 * n}};
        compare(c, p, now, first, 3);
    }
}

/* ---- gradients ---- */

static void test_lstm(struct check *c)
{
    struct mc_lstm_grad g = {.batch = check_size(c, 4, 20), .hidden = check_size(c, 16, 70)};
    static const enum mc_rnn_act usual[3] = {MC_RNN_SIGMOID, MC_RNN_TANH, MC_RNN_TANH};
    for (int i = 0; i < 3; i++)
        g.f[i] = draw_fn(c, usual[i]);
    if (g.f[2].act == MC_RNN_THRESHOLDED) /* jumps */
        g.f[2].act = MC_RNN_RELU;
    int64_t n = g.batch * g.hidden;
    g.input_forget = check_below(c, 4) == 0;
    g.active = draw_active(c, g.batch);
    g.dy_row = g.hidden + check_below(c, 3);
    const float *acts = shares(c, 4 * n), *before = check_floats(c, n, false);
    const float *after = check_floats(c, n, false), *dh = check_floats(c, n, false);
    const float *dc = check_floats(c, n, false), *peep = NULL, *dy = NULL;
    if (check_coin(c))
        peep = check_floats(c, 3 * g.hidden, false);
    if (check_coin(c))
        dy = check_floats(c, g.batch * g.dy_row, false);
    check_describe(c, "gradient of a cell of %d rows of %d, activations %d %d %d%s%s", (int)g.batch,
                   (int)g.hidden, (int)g.f[0].act, (int)g.f[1].act, (int)g.f[2].act,
                   peep ? ", peepholes" : "", g.active ? ", lengths" : "");
    struct mc_lstm_grad ref = g;
    ref.acts = check_widen(c, acts, 4 * n);
    ref.c_before = check_widen(c, before, n);
    ref.c = check_widen(c, after, n);
    ref.peephole = check_widen(c, peep, 3 * g.hidden);
    ref.dy = check_widen(c, dy, g.batch * g.dy_row);
    ref.dh = check_widen(c, dh, n);
    ref.dc = check_widen(c, dc, n);
    ref.dgates = room(c, 4 * n);
    c->ref->rnn.lstm_grad(&ref, NULL);
    g.acts = acts;
    g.c_before = before;
    g.c = after;
    g.peephole = peep;
    g.dy = dy;
    struct result first[3];
    for (int p = 0; p < CHECK_POOLS; p++) {
        g.dh = copy(c, dh, n);
        g.dc = copy(c, dc, n);
        g.dgates = copy(c, acts, 4 * n);
        g.acts = check_coin(c) ? g.dgates : acts;
        c->k->rnn.lstm_grad(&g, c->pool[p]);
        struct result now[] = {{"dgates", g.dgates, ref.dgates, 4 * n},
                               {"dh", g.dh, ref.dh, n},
                               {"dc", g.dc, ref.dc, n}};
        compare(c, p, now, first, 3);
    }
}

static void test_gru(struct check *c)
{
    struct mc_gru_grad g = {.batch = check_size(c, 4, 20), .hidden = check_size(c, 16, 70)};
    g.f[0] = draw_fn(c, MC_RNN_SIGMOID);
    g.f[1] = draw_fn(c, MC_RNN_TANH);
    int64_t n = g.batch * g.hidden;
    bool product = check_coin(c);
    g.active = draw_active(c, g.batch);
    g.dy_row = g.hidden + check_below(c, 3);
    const float *acts = shares(c, 3 * n), *before = check_floats(c, n, false);
    const float *dh = check_floats(c, n, false), *other = check_floats(c, n, false), *dy = NULL;
    if (check_coin(c))
        dy = check_floats(c, g.batch * g.dy_row, false);
    check_describe(c, "gradient of a gru of %d rows of %d, activations %d %d%s%s", (int)g.batch,
                   (int)g.hidden, (int)g.f[0].act, (int)g.f[1].act, product ? ", product" : "",
                   g.active ? ", lengths" : "");
    struct mc_gru_grad ref = g;
    ref.acts = check_widen(c, acts, 3 * n);
    ref.h_before = check_widen(c, before, n);
    ref.product = product ? check_widen(c, other, n) : NULL;
    ref.dreset = check_widen(c, other, n);
    ref.dy = check_widen(c, dy, g.batch * g.dy_row);
    ref.dh = check_widen(c, dh, n);
    ref.dgates = room(c, 3 * n);
    ref.dproduct = ref.reset = room(c, n);
    c->ref->rnn.gru_grad(&ref, NULL);
    if (!product)
        c->ref->rnn.gru_reset_grad(&ref, NULL);
    g.acts = acts;
    g.h_before = before;
    g.product = product ? other : NULL;
    g.dreset = other;
    g.dy = dy;
    struct result first[3];
    for (int p = 0; p < CHECK_POOLS; p++) {
        g.dh = copy(c, dh, n);
        g.dgates = copy(c, acts, 3 * n);
        g.acts = check_coin(c) ? g.dgates : acts;
        g.dproduct = g.reset = space(c, n);
        c->k->rnn.gru_grad(&g, c->pool[p]);
        if (!product)
            c->k->rnn.gru_reset_grad(&g, c->pool[p]);
        struct result now[] = {{"dgates", g.dgates, ref.dgates, 3 * n},
                               {"dh", g.dh, ref.dh, n},
                               {product ? "dproduct" : "reset", g.reset, ref.reset, n}};
        compare(c, p, now, first, 3);
    }
}

static void test_rnn(struct check *c)
{
    struct mc_rnn_grad g = {.batch = check_size(c, 4, 20), .hidden = check_size(c, 16, 70)};
    g.f = draw_fn(c, MC_RNN_TANH);
    int64_t n = g.batch * g.hidden;
    g.active = draw_active(c, g.batch);
    g.dy_row = g.hidden;
    const float *h = shares(c, n), *dh = check_floats(c, n, false), *dy = NULL;
    if (check_coin(c))
        dy = check_floats(c, n, false);
    check_describe(c, "gradient of an rnn of %d rows of %d, activation %d%s", (int)g.batch,
                   (int)g.hidden, (int)g.f.act, g.active ? ", lengths" : "");
    struct mc_rnn_grad ref = g;
    ref.h = check_widen(c, h, n);
    ref.dy = check_widen(c, dy, n);
    ref.dh = check_widen(c, dh, n);
    ref.dgates = room(c, n);
    c->ref->rnn.rnn_grad(&ref, NULL);
    g.h = h;
    g.dy = dy;
    struct result first[2];
    for (int p = 0; p < CHECK_POOLS; p++) {
        g.dh = copy(c, dh, n);
        g.dgates = space(c, n);
        c->k->rnn.rnn_grad(&g, c->pool[p]);
        struct result now[] = {{"dgates", g.dgates, ref.dgates, n}, {"dh", g.dh, ref.dh, n}};
        compare(c, p, now, first, 2);
    }
}

static void test_sum(struct check *c)
{
    struct mc_column_sum s = {.rows = 1 + check_below(c, 400), .n = check_size(c, 64, 150)};
    s.a_row = s.n + check_below(c, 5);
    s.b_row = s.n + check_below(c, 5);
    const float *a = check_floats(c, s.rows * s.a_row, false), *b = NULL;
    if (check_coin(c))
        b = check_floats(c, s.rows * s.b_row, false);
    check_describe(c, "sums of %d columns of %d rows%s", (int)s.n, (int)s.rows,
                   b ? ", products" : "");
    struct mc_column_sum ref = s;
    double *want = room(c, s.n), *scale = room(c, s.n);
    ref.a = check_widen(c, a, s.rows * s.a_row);
    ref.b = check_widen(c, b, s.rows * s.b_row);
    ref.sum = want;
    c->ref->rnn.column_sum(&ref, NULL);
    ref.a = check_abs(c, a, s.rows * s.a_row);
    ref.b = b ? check_abs(c, b, s.rows * s.b_row) : NULL;
    ref.sum = scale;
    c->ref->rnn.column_sum(&ref, NULL);
    s.a = a;
    s.b = b;
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *sum = s.sum = space(c, s.n);
        c->k->rnn.column_sum(&s, c->pool[p]);
        if (first)
            check_same(c, "another number of threads", sum, first, (size_t)s.n * sizeof *sum);
        else
            check_close(c, "sums", sum, want, scale, tol_sum((double)s.rows), 0, s.n);
        first = sum;
    }
}

static void test_spread(struct check *c)
{
    struct mc_gate_spread s = {.rows = 1 + check_below(c, 9),
                               .hidden = check_size(c, 16, 70),
                               .gates = 1 + check_below(c, 4),
                               .add = check_coin(c)};
    int64_t n = s.gates * s.hidden;
    s.to_row = n + check_below(c, 5);
    const float *z = check_floats(c, s.rows * s.hidden, false), *a = check_floats(c, n, false);
    const float *b = check_coin(c) ? check_floats(c, n, false) : NULL;
    const float *was = check_floats(c, s.rows * s.to_row, false);
    check_describe(c, "%d gates of %d units from one product, %d rows%s%s", (int)s.gates,
                   (int)s.hidden, (int)s.rows, b ? ", bias" : "", s.add ? ", added" : "");
    struct mc_gate_spread ref = s;
    double *want = check_widen(c, was, s.rows * s.to_row);
    double *scale = check_abs(c, was, s.rows * s.to_row);
    ref.z = check_widen(c, z, s.rows * s.hidden);
    ref.scale = check_widen(c, a, n);
    ref.bias = b ? check_widen(c, b, n) : NULL;
    ref.to = want;
    c->ref->rnn.gate_spread(&ref, NULL);
    ref.z = check_abs(c, z, s.rows * s.hidden);
    ref.scale = check_abs(c, a, n);
    ref.bias = b ? check_abs(c, b, n) : NULL;
    ref.to = scale;
    ref.add = true; /* what lies between rows counts by its size as well */
    c->ref->rnn.gate_spread(&ref, NULL);
    s.z = z;
    s.scale = a;
    s.bias = b;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *to = s.to = copy(c, was, s.rows * s.to_row);
        c->k->rnn.gate_spread(&s, c->pool[p]);
        check_close(c, "gates", to, want, scale, tol_sum(3), 0, s.rows * s.to_row);
    }
}

/* Of devices: which rows are active in which step. */
static void test_lengths(struct check *c)
{
    struct mc_rnn_lengths l = {.steps = check_size(c, 16, 90), .batch = check_size(c, 16, 70)};
    l.hidden = check_size(c, 16, 70);
    int64_t n = l.steps * l.batch, m = l.batch * l.hidden;
    int32_t *lens = check_alloc(c, (size_t)l.batch * 4, 4);
    for (int64_t i = 0; i < l.batch; i++)
        lens[i] = check_below(c, 4) ? (int32_t)check_below(c, (uint32_t)l.steps + 1) : 0;
    const float *was = check_floats(c, m, false);
    float *state = copy(c, was, m), *want = copy(c, was, m);
    uint8_t *active = check_alloc(c, (size_t)n, 1), *marks = check_alloc(c, (size_t)n, 1);
    check_describe(c, "lengths of %d rows, %d steps, %d units", (int)l.batch, (int)l.steps,
                   (int)l.hidden);
    for (int64_t i = 0; i < n; i++)
        marks[i] = i / l.batch < lens[i % l.batch];
    for (int64_t i = 0; i < m; i++)
        want[i] = lens[i / l.hidden] ? was[i] : 0;
    l.lens = lens;
    l.active = check_below(c, 4) ? active : NULL;
    l.state = check_below(c, 4) ? state : NULL;
    c->k->rnn.lengths(&l, NULL);
    if (l.active)
        check_same(c, "active rows", active, marks, (size_t)n);
    check_same(c, "state", state, l.state ? want : was, (size_t)m * 4);
}

const struct check_row check_rnn_all = {"rnn_all", 100, test_lengths, NULL};

static void test(struct check *c)
{
    static void (*const tests[])(struct check *) = {
        test_lstm_kept, test_gru_kept, test_lstm, test_gru, test_rnn, test_sum, test_spread};
    tests[c->round % (sizeof tests / sizeof tests[0])](c);
}

/* ---- speed ---- */

struct timing {
    const struct mc_rnn_kernels *k;
    struct mc_lstm_grad g;
};

static void time_lstm(void *ctx)
{
    struct timing *t = ctx;
    t->k->lstm_grad(&t->g, NULL);
}

static void bench(struct check *c)
{
    enum { ROWS = 128, HIDDEN = 128, N = ROWS * HIDDEN };
    struct timing t = {
        .k = &c->k->rnn,
        .g = {.batch = ROWS,
              .hidden = HIDDEN,
              .f = {{MC_RNN_SIGMOID, 0, 0}, {MC_RNN_TANH, 0, 0}, {MC_RNN_TANH, 0, 0}},
              .acts = shares(c, 4 * N),
              .c_before = check_floats(c, N, false),
              .c = check_floats(c, N, false),
              .dh = check_floats(c, N, false),
              .dc = check_floats(c, N, false),
              .dgates = space(c, 4 * N)}};
    struct bench b = {.bytes = N * 4.0 * 14, .fn = time_lstm, .ctx = &t};
    bench_line(&b, "gradient of an LSTM cell, 128 rows of 128 %s", c->k->name);
}

const struct check_row check_rnn = {"rnn", 1200, test, bench};
