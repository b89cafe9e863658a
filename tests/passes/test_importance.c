/* Importance of units by weights and by what they are on samples: closed forms on small networks. */
#include "importance_net.h"

enum { IN = 4, HIDDEN = 5, CLASSES = 3 };

/* x -> w1 + b1 -> Relu "h" -> w2 -> z */
static void open_mlp(struct net *n, const float *w1)
{
    *n = (struct net){.m = build_model(17)};
    struct mc_graph *g = n->m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *w = w1 ? f32_const(g, "w1", 2, DIMS(IN, HIDDEN), w1)
                            : random_const(g, "w1", 2, DIMS(IN, HIDDEN), 1);
    struct mc_value *y = build_binary(g, "MatMul", "y", x, w);
    struct mc_value *b = build_binary(g, "Add", "b", y, random_const(g, "b1", 1, DIMS(HIDDEN), 2));
    struct mc_value *h = build_unary(g, "Relu", "h", b);
    struct mc_value *z =
        build_binary(g, "MatMul", "z", h, random_const(g, "w2", 2, DIMS(HIDDEN, CLASSES), 3));
    net_close_graph(n, z, CLASSES, 1, DIMS(IN));
}

/* Sum of |w| or w² of w1's column u, or of w2's row. */
static double sum_in(const struct net *n, int u, bool square)
{
    const float *w = net_weights(n, "w1");
    double s = 0;
    for (int i = 0; i < IN; i++)
        s += square ? (double)w[i * HIDDEN + u] * w[i * HIDDEN + u] : fabs(w[i * HIDDEN + u]);
    return s;
}

static double sum_out(const struct net *n, int u, bool square)
{
    const float *w = net_weights(n, "w2");
    double s = 0;
    for (int i = 0; i < CLASSES; i++)
        s += square ? (double)w[u * CLASSES + i] * w[u * CLASSES + i] : fabs(w[u * CLASSES + i]);
    return s;
}

static void expect_mlp(struct net *n, enum mc_importance_kind kind, bool raw, const double *want,
                       double tolerance)
{
    double sum = 0;
    struct mc_importance i = net_measure(n, kind, raw);
    for (int u = 0; u < HIDDEN; u++)
        sum += raw ? 0 : want[u];
    for (int u = 0; u < HIDDEN; u++)
        expect_score(i.score[net_unit(n, "w1", 1, u)], want[u] / (raw ? 1 : sum), tolerance,
                     mc_importance_names[kind]);
    assert_false(i.nats);
    mc_importance_free(&i);
}

static void norms(void **state)
{
    (void)state;
    struct net n;
    double l1[HIDDEN], l2[HIDDEN], node[HIDDEN], in[2] = {0}, out[2] = {0};
    open_mlp(&n, NULL);
    assert_int_equal(n.c->n_units, HIDDEN);
    for (int u = 0; u < HIDDEN; u++) {
        l1[u] = sum_in(&n, u, false) + sum_out(&n, u, false);
        l2[u] = sqrt(sum_in(&n, u, true) + sum_out(&n, u, true));
        node[u] = sqrt(sum_in(&n, u, true)) * sqrt(sum_out(&n, u, true));
        for (int k = 0; k < 2; k++) {
            in[k] += sum_in(&n, u, k);
            out[k] += sum_out(&n, u, k);
        }
    }
    expect_mlp(&n, MC_IMPORTANCE_L1, true, l1, 1e-6);
    expect_mlp(&n, MC_IMPORTANCE_L2, true, l2, 1e-6);
    expect_mlp(&n, MC_IMPORTANCE_NODE, true, node, 1e-6);
    for (int u = 0; u < HIDDEN; u++) { /* each tensor by its share */
        l1[u] = sum_in(&n, u, false) / in[0] + sum_out(&n, u, false) / out[0];
        l2[u] = sum_in(&n, u, true) / in[1] + sum_out(&n, u, true) / out[1]; /* squares */
        node[u] *= node[u];
    }
    expect_mlp(&n, MC_IMPORTANCE_L1, false, l1, 1e-6);
    expect_mlp(&n, MC_IMPORTANCE_L2, false, l2, 1e-6);
    expect_mlp(&n, MC_IMPORTANCE_NODE, false, node, 1e-6);
    net_free(&n);
}

/* Four points around a fifth, which is their geometric median. */
static void median(void **state)
{
    (void)state;
    struct net n;
    open_mlp(&n, F(3, 1, 2, 2, 2, /**/ 5, 5, 8, 2, 5, /**/ 0, 0, 0, 0, 0, /**/ 1, 1, 1, 1, 1));
    struct mc_importance i = net_measure(&n, MC_IMPORTANCE_FPGM, true);
    static const double want[HIDDEN] = {1, 1, 3, 3, 0};
    for (int u = 0; u < HIDDEN; u++)
        if (!(fabs(i.score[net_unit(&n, "w1", 1, u)] - want[u]) <= 1e-3))
            fail_msg("distance %d is %g, not %g", u, i.score[net_unit(&n, "w1", 1, u)], want[u]);
    mc_importance_free(&i);
    net_free(&n);
}

static void activations(void **state)
{
    (void)state;
    struct net n;
    double square[HIDDEN] = {0}, on[HIDDEN] = {0}, root[HIDDEN], entropy[HIDDEN];
    open_mlp(&n, NULL);
    const float *w1 = net_weights(&n, "w1"), *b1 = net_weights(&n, "b1");
    for (int s = 0; s < NET_SAMPLES; s++)
        for (int u = 0; u < HIDDEN; u++) {
            double y = b1[u];
            for (int i = 0; i < IN; i++)
                y += (double)n.x[s * IN + i] * w1[i * HIDDEN + u];
            square[u] += y > 0 ? y * y / NET_SAMPLES : 0;
            on[u] += y > 0 ? 1.0 / NET_SAMPLES : 0;
        }
    for (int u = 0; u < HIDDEN; u++) {
        root[u] = sqrt(square[u] * sum_out(&n, u, true));
        entropy[u] = -on[u] * log(on[u]) - (1 - on[u]) * log(1 - on[u]);
        assert_true(on[u] > 0 && on[u] < 1);
    }
    expect_mlp(&n, MC_IMPORTANCE_ACTIVATION, true, root, 1e-5);
    for (int u = 0; u < HIDDEN; u++)
        root[u] *= root[u];
    expect_mlp(&n, MC_IMPORTANCE_ACTIVATION, false, root, 1e-5);
    expect_mlp(&n, MC_IMPORTANCE_ENTROPY, true, entropy, 1e-6);
    net_free(&n);
}

/* h = relu(x w1);  r = h + relu(h wa) wb;  z = r wc: what is added is one group of four weights. */
static void open_residual(struct net *n)
{
    *n = (struct net){.m = build_model(17)};
    struct mc_graph *g = n->m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *y =
        build_binary(g, "MatMul", "y", x, random_const(g, "w1", 2, DIMS(IN, HIDDEN), 1));
    struct mc_value *h = build_unary(g, "Relu", "h", y);
    struct mc_value *a =
        build_binary(g, "MatMul", "a", h, random_const(g, "wa", 2, DIMS(HIDDEN, 7), 2));
    struct mc_value *t = build_unary(g, "Relu", "t", a);
    struct mc_value *b =
        build_binary(g, "MatMul", "b", t, random_const(g, "wb", 2, DIMS(7, HIDDEN), 3));
    struct mc_value *r = build_binary(g, "Add", "r", h, b);
    struct mc_value *z =
        build_binary(g, "MatMul", "z", r, random_const(g, "wc", 2, DIMS(HIDDEN, CLASSES), 4));
    net_close_graph(n, z, CLASSES, 1, DIMS(IN));
}

static double column_squares(const struct net *n, const char *name, int rows, int columns, int at)
{
    const float *w = net_weights(n, name);
    double s = 0;
    for (int i = 0; i < rows; i++)
        s += (double)w[i * columns + at] * w[i * columns + at];
    return s;
}

static double row_squares(const struct net *n, const char *name, int columns, int at)
{
    const float *w = net_weights(n, name);
    double s = 0;
    for (int i = 0; i < columns; i++)
        s += (double)w[at * columns + i] * w[at * columns + i];
    return s;
}

static void coupled(void **state)
{
    (void)state;
    struct net n;
    open_residual(&n);
    assert_int_equal(n.c->n_units, HIDDEN + 7);
    struct mc_importance i = net_measure(&n, MC_IMPORTANCE_L2, true);
    for (int u = 0; u < HIDDEN; u++) {
        double all = column_squares(&n, "w1", IN, HIDDEN, u) +
                     column_squares(&n, "wb", 7, HIDDEN, u) + row_squares(&n, "wa", 7, u) +
                     row_squares(&n, "wc", CLASSES, u);
        assert_int_equal(net_unit(&n, "w1", 1, u), net_unit(&n, "wc", 0, u));
        expect_score(i.score[net_unit(&n, "w1", 1, u)], sqrt(all), 1e-6, "l2 of four weights");
    }
    mc_importance_free(&i);
    i = net_measure(&n, MC_IMPORTANCE_L2, false);
    for (size_t g = 0; g < n.c->n_groups; g++) {
        double sum = 0;
        if (n.c->group[g].first < 0)
            continue;
        for (int64_t k = 0; k < n.c->group[g].n; k++)
            sum += i.score[n.c->group[g].first + k];
        bool added = n.c->group[g].first == net_unit(&n, "w1", 1, 0);
        expect_score(sum, added ? 2 : 1, 1e-9, "sum of a group, by what reads it");
    }
    mc_importance_free(&i);
    net_free(&n);
}

/* x -> Conv "k" -> BatchNormalization -> Relu -> pool -> w2 -> z */
static void by_scale(void **state)
{
    (void)state;
    struct net n = {.m = build_model(17)};
    struct mc_graph *g = n.m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, 2, 5, 5));
    struct mc_value *c =
        build_binary(g, "Conv", "c", x, random_const(g, "k", 4, DIMS(HIDDEN, 2, 3, 3), 1));
    struct mc_value *in[5] = {c, random_const(g, "scale", 1, DIMS(HIDDEN), 2),
                              random_const(g, "shift", 1, DIMS(HIDDEN), 3),
                              random_const(g, "mean", 1, DIMS(HIDDEN), 4),
                              f32_const(g, "var", 1, DIMS(HIDDEN), F(1, 2, 3, 4, 5))};
    struct mc_value *y = build_node(g, "BatchNormalization", "y", 5, in, NULL);
    struct mc_value *p = build_unary(g, "GlobalAveragePool", "p", build_unary(g, "Relu", "h", y));
    struct mc_value *f = build_unary(g, "Flatten", "f", p);
    struct mc_value *z =
        build_binary(g, "MatMul", "z", f, random_const(g, "w2", 2, DIMS(HIDDEN, CLASSES), 5));
    net_close_graph(&n, z, CLASSES, 3, DIMS(2, 5, 5));
    struct mc_importance i = net_measure(&n, MC_IMPORTANCE_BN, true);
    for (int u = 0; u < HIDDEN; u++)
        expect_score(i.score[net_unit(&n, "k", 0, u)], fabs(net_weights(&n, "scale")[u]), 1e-6,
                     "bn");
    mc_importance_free(&i);
    net_free(&n);
}

/* What is read are integers whose zero is 90: their spread counts, not how far they are from 0. */
static void integers(void **state)
{
    (void)state;
    struct net n = {.m = build_model(17)};
    struct mc_graph *g = n.m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *y =
        build_binary(g, "MatMul", "y", x, random_const(g, "w1", 2, DIMS(IN, HIDDEN), 1));
    struct mc_value *scale = f32_const(g, "s", 0, NULL, F(0x1p-5f));
    struct mc_value *zero = build_const(g, "zero", MC_DTYPE_U8, 0, NULL, (uint8_t[]){90});
    struct mc_value *even = build_const(g, "even", MC_DTYPE_I8, 0, NULL, (int8_t[]){0});
    int8_t w[HIDDEN * CLASSES];
    for (int i = 0; i < HIDDEN * CLASSES; i++)
        w[i] = (int8_t)(i * 7 % 11 - 5);
    struct mc_value *h[3] = {y, scale, zero};
    struct mc_value *q = build_node(g, "QuantizeLinear", "q", 3, h, NULL);
    struct mc_value *in[8] = {
        q,     scale, zero,  build_const(g, "w2", MC_DTYPE_I8, 2, DIMS(HIDDEN, CLASSES), w),
        scale, even,  scale, zero};
    struct mc_value *p[3] = {build_node(g, "QLinearMatMul", "p", 8, in, NULL), scale, zero};
    net_close_graph(&n, build_node(g, "DequantizeLinear", "z", 3, p, NULL), CLASSES, 1, DIMS(IN));
    const float *w1 = net_weights(&n, "w1");
    struct mc_importance i = net_measure(&n, MC_IMPORTANCE_ACTIVATION, true);
    for (int u = 0; u < HIDDEN; u++) {
        double sum = 0, square = 0, out = 0;
        for (int s = 0; s < NET_SAMPLES; s++) {
            double a = 0;
            for (int k = 0; k < IN; k++)
                a += (double)n.x[s * IN + k] * w1[k * HIDDEN + u];
            a = nearbyint(fmin(fmax(nearbyint(a * 32) + 90, 0), 255)) - 90;
            sum += a / NET_SAMPLES;
            square += a * a / NET_SAMPLES;
        }
        for (int k = 0; k < CLASSES; k++)
            out += w[u * CLASSES + k] * w[u * CLASSES + k];
        expect_score(i.score[net_unit(&n, "w1", 1, u)], sqrt((square - sum * sum) * out), 1e-3,
                     "activation of integers");
    }
    mc_importance_free(&i);
    net_free(&n);
}

static void expect_error(struct net *n, enum mc_importance_kind kind, int code, const char *text)
{
    struct mc_importance i;
    int rc = mc_importance_measure(&n->ctx, n->m, n->c, kind, false, &i, &n->err);
    assert_int_equal(rc, code);
    if (!strstr(n->err.msg, text))
        fail_msg("'%s' does not say '%s'", n->err.msg, text);
}

static void errors(void **state)
{
    (void)state;
    struct net n;
    open_mlp(&n, NULL);
    expect_error(&n, MC_IMPORTANCE_BN, MC_EUSAGE, "BatchNormalization");
    n.ctx.calib = NULL;
    expect_error(&n, MC_IMPORTANCE_ACTIVATION, MC_EUSAGE, "--calib");
    expect_error(&n, MC_IMPORTANCE_ENTROPY, MC_EUSAGE, "--calib");
    expect_error(&n, MC_IMPORTANCE_TAYLOR, MC_EUSAGE, "--calib");
    expect_error(&n, MC_IMPORTANCE_FISHER, MC_EUSAGE, "--calib");
    net_free(&n);
    float w1[IN * HIDDEN] = {1, 2, NAN};
    open_mlp(&n, w1);
    expect_error(&n, MC_IMPORTANCE_L2, MC_EDATA, "w1");
    expect_error(&n, MC_IMPORTANCE_ACTIVATION, MC_EDATA, "NaN");
    expect_error(&n, MC_IMPORTANCE_TAYLOR, MC_EDATA, "NaN");
    net_free(&n);
}

static void random_control(void **state)
{
    (void)state;
    struct net n;
    open_mlp(&n, NULL);
    struct mc_importance a = net_measure(&n, MC_IMPORTANCE_RANDOM, true);
    n.ctx.seed = 8;
    struct mc_importance b = net_measure(&n, MC_IMPORTANCE_RANDOM, true);
    bool same = true, level = true;
    for (int u = 0; u < HIDDEN; u++) {
        same &= a.score[u] == b.score[u];
        level &= a.score[u] == a.score[0];
    }
    assert_false(same || level);
    mc_importance_free(&a);
    mc_importance_free(&b);
    net_free(&n);
}

static void expect_auto(struct net *n, enum mc_importance_kind kind, const char *why)
{
    struct mc_importance i;
    build_ok(mc_importance_measure(&n->ctx, n->m, n->c, MC_IMPORTANCE_AUTO, false, &i, &n->err),
             &n->err);
    assert_string_equal(mc_importance_names[i.kind], mc_importance_names[kind]);
    if (!strstr(i.why, why))
        fail_msg("'%s' does not say '%s'", i.why, why);
    mc_importance_free(&i);
}

static void best_of_the_data(void **state)
{
    (void)state;
    struct net n;
    open_mlp(&n, NULL);
    expect_auto(&n, MC_IMPORTANCE_OBS, "inputs");
    n.ctx.calib = NULL;
    expect_auto(&n, MC_IMPORTANCE_L2, "no samples");
    n.ctx.train = &n.data.d;
    expect_auto(&n, MC_IMPORTANCE_ACTIVATION, "no labels");
    net_label(&n);
    expect_auto(&n, MC_IMPORTANCE_TAYLOR, "labels");
    net_free(&n);
}

static void any_threads(void **state)
{
    (void)state;
    struct net n;
    struct mc_pool *pool;
    open_residual(&n);
    net_label(&n);
    build_ok(mc_pool_new(3, &pool, &n.err), &n.err);
    for (int k = MC_IMPORTANCE_L1; k <= MC_IMPORTANCE_RANDOM; k++) {
        if (k == MC_IMPORTANCE_BN)
            continue;
        n.ctx.pool = NULL;
        struct mc_importance a = net_measure(&n, (enum mc_importance_kind)k, false);
        n.ctx.pool = pool;
        struct mc_importance b = net_measure(&n, (enum mc_importance_kind)k, false);
        if (memcmp(a.score, b.score, (size_t)n.c->n_units * sizeof *a.score))
            fail_msg("%s depends on threads", mc_importance_names[k]);
        mc_importance_free(&a);
        mc_importance_free(&b);
    }
    mc_pool_free(pool);
    net_free(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms),
        cmocka_unit_test(median),
        cmocka_unit_test(activations),
        cmocka_unit_test(coupled),
        cmocka_unit_test(by_scale),
        cmocka_unit_test(integers),
        cmocka_unit_test(errors),
        cmocka_unit_test(random_control),
        cmocka_unit_test(best_of_the_data),
        cmocka_unit_test(any_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
