/* Importance of units by gradients: against differences of a gate at what reads them, and of single weights. */
#include "importance_net.h"

enum { IN = 4, HIDDEN = 5, WIDE = 7, CLASSES = 3 };

/* h = relu(x w1);  r = h + relu(h wa) wb;  z = r wc */
static void open_residual(struct net *n)
{
    *n = (struct net){.m = build_model(17)};
    struct mc_graph *g = n->m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *y =
        build_binary(g, "MatMul", "y", x, random_const(g, "w1", 2, DIMS(IN, HIDDEN), 1));
    struct mc_value *h = build_unary(g, "Relu", "h", y);
    struct mc_value *a =
        build_binary(g, "MatMul", "a", h, random_const(g, "wa", 2, DIMS(HIDDEN, WIDE), 2));
    struct mc_value *t = build_unary(g, "Tanh", "t", a);
    struct mc_value *b =
        build_binary(g, "MatMul", "b", t, random_const(g, "wb", 2, DIMS(WIDE, HIDDEN), 3));
    struct mc_value *r = build_binary(g, "Add", "r", h, b);
    struct mc_value *z =
        build_binary(g, "MatMul", "z", r, random_const(g, "wc", 2, DIMS(HIDDEN, CLASSES), 4));
    net_close_graph(n, z, CLASSES, 1, DIMS(IN));
}

/* Convolution whose channels become runs of columns. */
static void open_conv(struct net *n)
{
    *n = (struct net){.m = build_model(17)};
    struct mc_graph *g = n->m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, 2, 5, 5));
    struct mc_value *c =
        build_binary(g, "Conv", "c", x, random_const(g, "k", 4, DIMS(HIDDEN, 2, 3, 3), 1));
    struct mc_value *h = build_unary(g, "Relu", "h", c);
    struct mc_value *d =
        build_binary(g, "Conv", "d", h, random_const(g, "k2", 4, DIMS(WIDE, HIDDEN, 2, 2), 2));
    struct mc_value *f = build_unary(g, "Flatten", "f", build_unary(g, "Sigmoid", "s", d));
    struct mc_value *z =
        build_binary(g, "MatMul", "z", f, random_const(g, "w2", 2, DIMS(WIDE * 4, CLASSES), 3));
    net_close_graph(n, z, CLASSES, 3, DIMS(2, 5, 5));
}

/* x [samples, 6, IN] by steps through an LSTM; the last state is classified. */
static void open_lstm(struct net *n)
{
    *n = (struct net){.m = build_model(17)};
    struct mc_graph *g = n->m->graph;
    struct mc_err err;
    struct mc_node *node;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, 6, IN));
    struct mc_value *t = build_node(g, "Transpose", "t", 1, &x, &node);
    build_ok(mc_edit_attr_ints(node, "perm", DIMS(1, 0, 2), 3, &err), &err);
    struct mc_value *in[3] = {t, random_const(g, "w", 3, DIMS(1, 4 * HIDDEN, IN), 1),
                              random_const(g, "r", 3, DIMS(1, 4 * HIDDEN, HIDDEN), 2)};
    struct mc_value *out[2] = {mc_edit_fresh(g, "ys"), mc_edit_fresh(g, "yh")};
    build_ok(mc_edit_node(g, g->n_nodes, "LSTM", "", 0, "cell", in, 3, out, 2, &node, &err), &err);
    build_ok(mc_edit_attr_int(node, "hidden_size", HIDDEN, &err), &err);
    struct mc_value *axis = build_const(g, "axis", MC_DTYPE_I64, 1, DIMS(1), DIMS(0));
    struct mc_value *h = build_binary(g, "Squeeze", "h", out[1], axis);
    struct mc_value *z =
        build_binary(g, "MatMul", "z", h, random_const(g, "w2", 2, DIMS(HIDDEN, CLASSES), 3));
    net_close_graph(n, z, CLASSES, 2, DIMS(6, IN));
}

/* q kᵀ x, summed over tokens: units of queries and keys end in their product, where they count once. */
static void open_attention(struct net *n)
{
    *n = (struct net){.m = build_model(17), .gate = "wq"};
    struct mc_graph *g = n->m->graph;
    struct mc_node *node;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, 6, CLASSES));
    struct mc_value *q =
        build_binary(g, "MatMul", "q", x, random_const(g, "wq", 2, DIMS(CLASSES, HIDDEN), 1));
    struct mc_value *k =
        build_binary(g, "MatMul", "k", x, random_const(g, "wk", 2, DIMS(CLASSES, HIDDEN), 2));
    struct mc_value *t = build_node(g, "Transpose", "t", 1, &k, &node);
    build_ok(mc_edit_attr_ints(node, "perm", DIMS(0, 2, 1), 3, &n->err), &n->err);
    struct mc_value *s = build_unary(g, "Softmax", "s", build_binary(g, "MatMul", "qk", q, t));
    struct mc_value *y = build_binary(g, "MatMul", "y", s, x);
    struct mc_value *z = build_node(g, "ReduceMean", "z", 1, &y, &node);
    build_ok(mc_edit_attr_ints(node, "axes", DIMS(1), 1, &n->err), &n->err);
    build_ok(mc_edit_attr_int(node, "keepdims", 0, &n->err), &n->err);
    net_close_graph(n, z, CLASSES, 2, DIMS(6, CLASSES));
}

/* Half the mean square of the loss's slope along the gate. */
static double by_labels(const struct net *n, int32_t unit, int samples)
{
    double *z = net_scores(n, -1, 1), *slope = net_slope(n, unit), sum = 0;
    for (int s = 0; s < samples; s++) {
        double p[8], d = 0;
        net_softmax(z + s * n->classes, n->classes, p);
        for (int64_t k = 0; k < n->classes; k++)
            d += (p[k] - (k == n->labels[s])) * slope[s * n->classes + k];
        sum += d * d / 2 / samples;
    }
    free(z);
    free(slope);
    return sum;
}

/* The same with the Fisher information of the model's own outputs and its even part (influence_score.h). */
static double by_outputs(const struct net *n, int32_t unit)
{
    double *z = net_scores(n, -1, 1), *slope = net_slope(n, unit), sum = 0, even = 0;
    int64_t c = n->classes;
    for (int s = 0; s < 64; s++) {
        double p[8];
        net_softmax(z + s * c, c, p);
        for (int64_t k = 0; k < c; k++)
            even += 0.1 * (p[k] - p[k] * p[k]) / (64.0 * (double)c);
    }
    for (int s = 0; s < NET_SAMPLES; s++) {
        double p[8], mean = 0, square = 0;
        net_softmax(z + s * c, c, p);
        for (int64_t k = 0; k < c; k++) {
            double d = slope[s * c + k];
            mean += p[k] * d;
            square += (p[k] + even) * d * d;
        }
        sum += (square - mean * mean) / 2 / NET_SAMPLES;
    }
    free(z);
    free(slope);
    return sum;
}

static void expect_taylor(struct net *n, double tolerance)
{
    struct mc_importance i = net_measure(n, MC_IMPORTANCE_TAYLOR, false);
    assert_true(i.nats);
    assert_int_equal(i.samples, n->ctx.calib_count);
    for (int32_t u = 0; u < n->c->n_units; u++) {
        bool labels = n->data.d.has_labels;
        double want = labels ? by_labels(n, u, (int)n->ctx.calib_count) : by_outputs(n, u);
        assert_true(want > 0);
        expect_score(i.score[u], want, tolerance, labels ? "taylor by labels" : "taylor");
    }
    mc_importance_free(&i);
}

static void gates(void **state)
{
    (void)state;
    static void (*const open[])(struct net * n) = {open_residual, open_conv};
    for (size_t k = 0; k < sizeof open / sizeof *open; k++) {
        struct net n;
        open[k](&n);
        assert_int_equal(n.c->n_units, HIDDEN + WIDE);
        expect_taylor(&n, 1e-3);
        net_label(&n);
        expect_taylor(&n, 1e-3);
        net_free(&n);
    }
}

static void products(void **state)
{
    (void)state;
    struct net n;
    open_attention(&n);
    assert_int_equal(n.c->n_units, HIDDEN);
    expect_taylor(&n, 1e-3);
    net_free(&n);
}

/* What the states feed back counts as well; exact for a sample alone, on the average for a batch. */
static void cells(void **state)
{
    (void)state;
    struct net n;
    open_lstm(&n);
    assert_int_equal(n.c->n_units, HIDDEN);
    net_label(&n);
    n.ctx.calib_count = 1;
    expect_taylor(&n, 1e-3);
    net_free(&n);
}

/* Loss of one sample where one weight is changed. */
static double loss_with(const struct net *n, const char *name, int64_t at, float by)
{
    struct mc_model *m;
    struct mc_tensor *t;
    void *content;
    const struct mc_tensor *was = mc_graph_value(n->m->graph, name)->tensor;
    build_ok(mc_model_clone(n->m, &m, NULL), NULL);
    build_ok(mc_tensor_new(was->dtype, &was->shape, NULL, &t, &content, NULL), NULL);
    memcpy(content, was->data, was->bytes);
    ((float *)content)[at] += by;
    build_ok(mc_constant_replace(mc_graph_value(m->graph, name), t, NULL), NULL);
    mc_tensor_unref(t);
    struct mc_session *s = session_of(m, &(struct mc_session_opts){.precision = MC_PRECISION_F64});
    run_x(s, 2, DIMS(1, IN), n->x);
    double p[CLASSES];
    net_softmax(mc_session_output(s, 0)->data, CLASSES, p);
    mc_session_free(s);
    mc_model_free(m);
    return -log(p[n->labels[0]]);
}

/* Sum of w² g² over column or row u of a weight [rows, columns]. */
static double information(const struct net *n, const char *name, int rows, int columns, int u,
                          bool column)
{
    static const float step = 0x1p-10f;
    const float *w = net_weights(n, name);
    double sum = 0;
    for (int i = 0; i < (column ? rows : columns); i++) {
        int64_t at = column ? i * columns + u : u * columns + i;
        double up = loss_with(n, name, at, step), down = loss_with(n, name, at, -step);
        double g = (up - down) / (2 * (double)step);
        sum += g * g * w[at] * w[at];
    }
    return sum;
}

static void fisher(void **state)
{
    (void)state;
    struct net n;
    open_residual(&n);
    net_label(&n);
    n.ctx.calib_count = 1;
    struct mc_importance i = net_measure(&n, MC_IMPORTANCE_FISHER, false);
    assert_true(i.nats);
    for (int u = 0; u < HIDDEN; u++) {
        double want = information(&n, "w1", IN, HIDDEN, u, true) +
                      information(&n, "wb", WIDE, HIDDEN, u, true) +
                      information(&n, "wa", HIDDEN, WIDE, u, false) +
                      information(&n, "wc", HIDDEN, CLASSES, u, false);
        if (!(fabs(i.score[net_unit(&n, "w1", 1, u)] - want / 2) <= 1e-3 * want + 1e-9))
            fail_msg("fisher of %d is %g, not %g", u, i.score[net_unit(&n, "w1", 1, u)], want / 2);
    }
    mc_importance_free(&i);
    net_free(&n);
}

/* An operator without a gradient: activation stands in, and says why. */
static void no_rule(void **state)
{
    (void)state;
    struct net n = {.m = build_model(26)};
    struct mc_graph *g = n.m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *y =
        build_binary(g, "MatMul", "y", x, random_const(g, "w1", 2, DIMS(IN, HIDDEN), 1));
    struct mc_value *h = build_unary(g, "Relu", "h", y);
    struct mc_value *z =
        build_binary(g, "MatMul", "z", h, random_const(g, "w2", 2, DIMS(HIDDEN, CLASSES), 2));
    struct mc_value *axis = build_const(g, "axis", MC_DTYPE_I64, 0, NULL, DIMS(1));
    net_close_graph(&n, build_binary(g, "CumProd", "p", z, axis), CLASSES, 1, DIMS(IN));
    struct mc_importance i, a = net_measure(&n, MC_IMPORTANCE_ACTIVATION, false);
    build_ok(mc_importance_measure(&n.ctx, n.m, n.c, MC_IMPORTANCE_TAYLOR, false, &i, &n.err),
             &n.err);
    assert_int_equal(i.kind, MC_IMPORTANCE_ACTIVATION);
    assert_non_null(strstr(i.why, "CumProd"));
    assert_memory_equal(i.score, a.score, HIDDEN * sizeof *i.score);
    mc_importance_free(&i);
    mc_importance_free(&a);
    net_free(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates),  cmocka_unit_test(products), cmocka_unit_test(cells),
        cmocka_unit_test(fisher), cmocka_unit_test(no_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
