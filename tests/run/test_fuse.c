/* What joins a convolution or a product, against the plan in which every node runs by itself. */
#include "run_util.h"

enum { CHANNELS = 5, SIZE = 6 };

static const char *const norm_inputs[] = {"gamma", "beta", "mean", "variance"};

/* x [n,2,6,6] through a convolution to 5 channels. */
static struct mc_model *conv_model(bool bias, struct mc_value **ret)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *in[3] = {
        build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-2, 2, SIZE, SIZE)),
        random_const(g, "w", 4, DIMS(CHANNELS, 2, 1, 1), 1),
        bias ? random_const(g, "b", 1, DIMS(CHANNELS), 2) : NULL,
    };
    *ret = build_node(g, "Conv", "conv", bias ? 3 : 2, in, NULL);
    return m;
}

static struct mc_value *norm(struct mc_graph *g, const char *name, struct mc_value *x)
{
    struct mc_value *in[5] = {x};
    for (int i = 0; i < 4; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s_%s", name, norm_inputs[i]);
        const float positive[CHANNELS] = {0.5F, 1, 2, 0.25F, 1.5F};
        in[i + 1] = i == 3 ? f32_const(g, text, 1, DIMS(CHANNELS), positive)
                           : random_const(g, text, 1, DIMS(CHANNELS), (uint64_t)(3 + i));
    }
    return build_node(g, "BatchNormalization", name, 5, in, NULL);
}

static struct mc_value *per_channel(struct mc_graph *g, const char *name, uint64_t s)
{
    return random_const(g, name, 3, DIMS(CHANNELS, 1, 1), s);
}

/* The same numbers with and without; `joined` nodes are gone. */
static void expect_joined(struct mc_model *m, size_t joined)
{
    float x[3 * 2 * SIZE * SIZE];
    mc_rng_fill_normal(7, 0, 0, x, sizeof x / sizeof *x);
    struct mc_session *a = session_of(m, NULL);
    struct mc_session *b = session_of(m, &(struct mc_session_opts){.flags = MC_SESSION_NO_FUSE});
    run_x(a, 4, DIMS(3, 2, SIZE, SIZE), x);
    run_x(b, 4, DIMS(3, 2, SIZE, SIZE), x);
    const struct mc_array *want = mc_session_output(b, 0);
    expect_f32(mc_session_output(a, 0), want->shape.rank, want->shape.dim, want->data, 1e-5);
    struct mc_session_stats st;
    mc_session_stats(a, &st);
    assert_int_equal(st.fused_nodes, joined);
    mc_session_free(a);
    mc_session_free(b);
    mc_model_free(m);
}

static void norms_and_channels_join(void **state)
{
    (void)state;
    for (int bias = 0; bias < 2; bias++) {
        struct mc_value *v;
        struct mc_model *m = conv_model(bias, &v);
        struct mc_graph *g = m->graph;
        v = norm(g, "norm", v);
        v = build_binary(g, "Mul", "mul", per_channel(g, "m", 11), v);
        v = build_binary(g, "Sub", "sub", v, per_channel(g, "s", 12));
        v = build_binary(g, "Div", "div", v, f32_const(g, "d", 0, NULL, F(3)));
        v = build_binary(g, "Add", "add", v, per_channel(g, "a", 13));
        build_output(g, build_unary(g, "Relu", "relu", v));
        expect_joined(m, 6);
    }
}

static void residual_follows_the_norm(void **state)
{
    (void)state;
    struct mc_value *v;
    struct mc_model *m = conv_model(true, &v);
    struct mc_graph *g = m->graph;
    struct mc_value *in[] = {mc_graph_value(g, "x"),
                             random_const(g, "w2", 4, DIMS(CHANNELS, 2, 1, 1), 21)};
    struct mc_value *sum[] = {v, norm(g, "norm", build_node(g, "Conv", "last", 2, in, NULL))};
    v = build_node(g, "Sum", "sum", 2, sum, NULL);
    build_output(g, build_unary(g, "Relu", "relu", v));
    expect_joined(m, 3);
}

static struct mc_value *one(struct mc_graph *g, const char *name, float v)
{
    return f32_const(g, name, 0, NULL, F(v));
}

/* Activations of several nodes, in the forms that exporters write. */
static void gates_join(void **state)
{
    (void)state;
    for (int form = 0; form < 4; form++) {
        struct mc_value *v, *t;
        struct mc_model *m = conv_model(true, &v);
        struct mc_graph *g = m->graph;
        size_t joined = 4;
        if (form == 0) {
            t = build_unary(g, "Sigmoid", "s", v);
            t = build_binary(g, "Mul", "y", v, t);
            joined = 2;
        } else if (form < 3) {
            struct mc_value *in[3] = {build_binary(g, "Add", "a", v, one(g, "c3", 3)),
                                      one(g, "c0", 0), one(g, "c6", 6)};
            t = build_node(g, "Clip", "c", 3, in, NULL);
            if (form == 1) {
                t = build_binary(g, "Mul", "m", v, t);
                t = build_binary(g, "Div", "y", t, in[2]);
            } else {
                t = build_binary(g, "Mul", "m", t, one(g, "sixth", 1.0F / 6));
                t = build_binary(g, "Mul", "y", t, v);
            }
        } else {
            t = build_binary(g, "Div", "d", v, one(g, "root", 1.41421356F));
            t = build_binary(g, "Add", "a", build_unary(g, "Erf", "e", t), one(g, "c1", 1));
            t = build_binary(g, "Mul", "m", v, t);
            t = build_binary(g, "Mul", "y", t, one(g, "half", 0.5F));
            joined = 5;
        }
        build_output(g, t);
        expect_joined(m, joined);
    }
}

/* Another constant, and a part that somebody else reads. */
static void near_gates_stay(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        struct mc_value *v;
        struct mc_model *m = conv_model(true, &v);
        struct mc_graph *g = m->graph;
        struct mc_value *in[3] = {build_binary(g, "Add", "a", v, one(g, "c3", form ? 3 : 2)),
                                  one(g, "c0", 0), one(g, "c6", 6)};
        struct mc_value *c = build_node(g, "Clip", "c", 3, in, NULL);
        struct mc_value *mul = build_binary(g, "Mul", "m", v, c);
        build_output(g, build_binary(g, "Div", "y", mul, in[2]));
        if (form)
            build_output(g, c);
        expect_joined(m,
                      form ? 2 : 3); /* with each other: chains, of which the product is no part */
    }
}

/* What is no constant per channel, or comes after a residual, stays a node. */
static void others_stay(void **state)
{
    (void)state;
    struct mc_value *v;
    struct mc_model *m = conv_model(true, &v);
    struct mc_graph *g = m->graph;
    v = build_binary(g, "Mul", "along", v, random_const(g, "row", 1, DIMS(SIZE), 31));
    v = build_binary(g, "Sub", "turned", per_channel(g, "s", 32), v);
    build_output(g, v);
    expect_joined(m, 1); /* as a chain without the product */

    m = conv_model(false, &v);
    g = m->graph;
    v = build_binary(g, "Div", "turned", per_channel(g, "s", 33), v);
    build_output(g, v);
    expect_joined(m, 0);
}

/* The bias of a product may be a value of the run: here it is made by a node before it. */
static void bias_of_the_run_joins(void **state)
{
    (void)state;
    enum { K = 7, N = 19, ROWS = 5 };
    float x[2 * ROWS * K], b[N], plain[2 * ROWS * N];
    mc_rng_fill_normal(8, 0, 0, x, sizeof x / sizeof *x);
    mc_rng_fill_normal(8, 1, 0, b, N);
    for (int fused = 0; fused < 2; fused++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_value *vx = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-2, ROWS, K));
        struct mc_value *vb = build_input(g, "b", MC_DTYPE_F32, 1, DIMS(N));
        struct mc_value *half =
            build_binary(g, "Mul", "half", vb, f32_const(g, "h", 0, NULL, F(0.5F)));
        struct mc_value *in[] = {vx, random_const(g, "w", 2, DIMS(K, N), 9)};
        struct mc_value *v = build_node(g, "MatMul", "product", 2, in, NULL);
        v = build_binary(g, "Add", "add", v, half);
        build_output(g, build_unary(g, "Relu", "relu", v));
        struct mc_session_opts o = {.flags = fused ? 0 : MC_SESSION_NO_FUSE};
        struct mc_session *s = session_of(m, &o);
        const struct mc_array feed[] = {array_of("x", MC_DTYPE_F32, 3, DIMS(2, ROWS, K), x),
                                        array_of("b", MC_DTYPE_F32, 1, DIMS(N), b)};
        run_ok(s, feed, 2);
        const struct mc_array *y = mc_session_output(s, 0);
        if (fused)
            expect_f32(y, 3, DIMS(2, ROWS, N), plain, 1e-6);
        else
            memcpy(plain, y->data, sizeof plain);
        struct mc_session_stats st;
        mc_session_stats(s, &st);
        assert_int_equal(st.fused_nodes, fused ? 2 : 0);
        mc_session_free(s);
        mc_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_and_channels_join),
        cmocka_unit_test(residual_follows_the_norm),
        cmocka_unit_test(gates_join),
        cmocka_unit_test(near_gates_stay),
        cmocka_unit_test(others_stay),
        cmocka_unit_test(bias_of_the_run_joins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
