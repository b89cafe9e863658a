/* test_width MODEL…: networks made thinner. */
#include "../run/run_util.h"

#include "formats/onnx.h"
#include "graph/run/fold.h"
#include "graph/verify.h"
#include "passes/width.h"

static int n_models;
static char **models;

/* Weights whose first `live` of n rows are random, the others zero, spread over odd and even rows. */
static struct mc_value *half_dead(struct mc_graph *g, const char *name, int rank,
                                  const int64_t *dims, uint64_t seed)
{
    struct mc_value *v = random_const(g, name, rank, dims, seed);
    float *x = (float *)(uintptr_t)v->tensor->data;
    size_t row = v->tensor->bytes / 4 / (size_t)dims[0];
    for (int64_t i = 0; i < dims[0]; i += 2)
        memset(x + (size_t)i * row, 0, row * sizeof *x);
    return v;
}

static struct mc_node *with_ints(struct mc_node *n, const char *name, const int64_t *v,
                                 size_t count)
{
    assert_int_equal(mc_edit_attr_ints(n, name, v, count, NULL), 0);
    return n;
}

/* Convolution, depthwise convolution, norm, pool, flattened into a dense layer by a Reshape with its
 * length written in; every second channel is dead. */
static struct mc_model *dead_network(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-2, 2, 8, 8));
    struct mc_value *in[5] = {x, half_dead(g, "w1", 4, DIMS(8, 2, 3, 3), 1),
                              half_dead(g, "b1", 1, DIMS(8), 2)};
    struct mc_value *y = build_node(g, "Conv", "c1", 3, in, &n);
    with_ints(n, "pads", DIMS(1, 1, 1, 1), 4);
    in[0] = build_unary(g, "Relu", "r1", y);
    in[1] = half_dead(g, "w2", 4, DIMS(8, 1, 3, 3), 3);
    y = build_node(g, "Conv", "c2", 2, in, &n);
    with_ints(n, "pads", DIMS(1, 1, 1, 1), 4);
    assert_int_equal(mc_edit_attr_int(n, "group", 8, NULL), 0);
    in[0] = build_binary(g, "Add", "sum", y, in[0]);
    in[1] = half_dead(g, "scale", 1, DIMS(8), 4);
    in[2] = half_dead(g, "shift", 1, DIMS(8), 5);
    in[3] = f32_const(g, "mean", 1, DIMS(8), F(0, 0, 0, 0, 0, 0, 0, 0));
    in[4] = f32_const(g, "var", 1, DIMS(8), F(1, 1, 1, 1, 1, 1, 1, 1));
    y = build_node(g, "BatchNormalization", "bn", 5, in, NULL);
    y = build_node(g, "MaxPool", "pool", 1, &y, &n);
    with_ints(n, "kernel_shape", DIMS(2, 2), 2);
    with_ints(n, "strides", DIMS(2, 2), 2);
    y = build_binary(g, "Reshape", "flat", y,
                     build_const(g, "to", MC_DTYPE_I64, 1, DIMS(2), DIMS(-1, 8 * 4 * 4)));
    in[0] = y;
    in[1] = random_const(g, "w3", 2, DIMS(8 * 4 * 4, 6), 6);
    in[2] = random_const(g, "b3", 1, DIMS(6), 7);
    build_output(g, build_node(g, "Gemm", "y", 3, in, NULL));
    return m;
}

static void dead_channels_are_the_ones_to_go(void **state)
{
    (void)state;
    struct mc_model *m = dead_network(), *thin;
    struct mc_err err;
    json_t *report;
    float x[3 * 2 * 64];
    mc_rng_fill_uniform(9, 0, 0, x, 3 * 2 * 64);
    build_ok(mc_model_clone(m, &thin, &err), &err);
    build_ok(mc_width_reduce(thin, 0.5, &report, &err), &err);
    build_ok(mc_verify(thin, &err), &err);
    assert_int_equal(json_array_size(json_object_get(report, "classes")), 1);
    json_decref(report);
    struct mc_value *w3 = mc_graph_value(thin->graph, "w3");
    assert_int_equal(w3->tensor->shape.dim[0], 4 * 4 * 4);
    assert_int_equal(mc_graph_value(thin->graph, "w2")->tensor->shape.dim[0], 4);
    struct mc_session *a = session_of(m, NULL), *b = session_of(thin, NULL);
    struct mc_array in = array_of("x", MC_DTYPE_F32, 4, DIMS(3, 2, 8, 8), x);
    run_ok(a, &in, 1);
    run_ok(b, &in, 1);
    const float *ya = mc_session_output(a, 0)->data, *yb = mc_session_output(b, 0)->data;
    for (int i = 0; i < 3 * 6; i++)
        assert_true(fabsf(ya[i] - yb[i]) <= 1e-5f);
    mc_session_free(a);
    mc_session_free(b);
    mc_model_free(m);
    mc_model_free(thin);
}

static void ratio_one_changes_nothing(void **state)
{
    (void)state;
    struct mc_model *m = dead_network();
    struct mc_err err;
    json_t *report;
    build_ok(mc_width_reduce(m, 1, &report, &err), &err);
    assert_int_equal(json_integer_value(json_object_get(report, "parameters_before")),
                     json_integer_value(json_object_get(report, "parameters_after")));
    json_decref(report);
    mc_model_free(m);
}

static void nothing_to_cut_is_an_error(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-2, 4));
    build_output(m->graph, build_binary(m->graph, "MatMul", "y", x,
                                        random_const(m->graph, "w", 2, DIMS(4, 3), 1)));
    struct mc_err err;
    json_t *report;
    assert_int_equal(mc_width_reduce(m, 0.5, &report, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "an axis of an "));
    mc_model_free(m);
}

/* Of h [batch, rows, 24] the products to q, k and v, in heads of 4, and the one behind them. */
static struct mc_value *attention(struct mc_graph *g, struct mc_value *h)
{
    struct mc_value *part[3];
    struct mc_value *to = build_const(g, "heads", MC_DTYPE_I64, 1, DIMS(4), DIMS(0, 0, 6, 4));
    static const char *const names[] = {"q", "k", "v"};
    for (int i = 0; i < 3; i++) {
        struct mc_node *n;
        struct mc_value *y = build_binary(g, "MatMul", names[i], h,
                                          random_const(g, "w", 2, DIMS(24, 24), 10 + (uint64_t)i));
        y = build_binary(g, "Reshape", "apart", y, to);
        part[i] = build_node(g, "Transpose", "turn", 1, &y, &n);
        with_ints(n, "perm", i == 1 ? DIMS(0, 2, 3, 1) : DIMS(0, 2, 1, 3), 4);
    }
    struct mc_node *n;
    struct mc_value *y = build_binary(g, "MatMul", "scores", part[0], part[1]);
    y = build_binary(g, "MatMul", "mix", build_unary(g, "Softmax", "soft", y), part[2]);
    y = build_node(g, "Transpose", "back", 1, &y, &n);
    with_ints(n, "perm", DIMS(0, 2, 1, 3), 4);
    y = build_binary(g, "Reshape", "join", y,
                     build_const(g, "columns", MC_DTYPE_I64, 1, DIMS(3), DIMS(0, 0, 24)));
    return build_binary(g, "MatMul", "o", y, random_const(g, "w", 2, DIMS(24, 24), 20));
}

/* Heads go whole, and a convolution in groups keeps as many channels in each. */
static void heads_and_groups(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    json_t *report;
    float x[2 * 8 * 5];
    struct mc_value *in[2] = {build_input(g, "x", MC_DTYPE_F32, 3, DIMS(2, 8, 5)),
                              random_const(g, "front.w", 3, DIMS(16, 8, 1), 1)};
    in[0] = build_node(g, "Conv", "front", 2, in, NULL);
    in[1] = random_const(g, "grouped.w", 3, DIMS(24, 8, 1), 2);
    in[0] = build_node(g, "Conv", "grouped", 2, in, &n);
    assert_int_equal(mc_edit_attr_int(n, "group", 2, NULL), 0);
    in[0] = build_node(g, "Transpose", "rows", 1, in, &n);
    with_ints(n, "perm", DIMS(0, 2, 1), 3);
    in[0] = attention(g, in[0]);
    build_output(
        g, build_binary(g, "MatMul", "y", in[0], random_const(g, "last.w", 2, DIMS(24, 3), 3)));
    build_ok(mc_width_reduce(m, 0.5, &report, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    json_decref(report);
    const struct mc_shape *front = &mc_graph_value(g, "front.w")->tensor->shape;
    const struct mc_shape *grouped = &mc_graph_value(g, "grouped.w")->tensor->shape;
    const struct mc_shape *q = &mc_graph_value(g, "w")->tensor->shape;
    assert_int_equal(front->dim[0], 8);
    assert_int_equal(grouped->dim[0], 12);
    assert_int_equal(grouped->dim[1], 4);
    assert_int_equal(q->dim[0], 12);
    assert_int_equal(q->dim[1], 12); /* 3 heads of 4 */
    mc_rng_fill_uniform(9, 0, 0, x, 2 * 8 * 5);
    struct mc_session *s = session_of(m, NULL);
    run_x(s, 3, DIMS(2, 8, 5), x);
    const struct mc_shape want = mc_shape_of(3, DIMS(2, 5, 3));
    assert_true(mc_shape_equal(&mc_session_output(s, 0)->shape, &want));
    mc_session_free(s);
    mc_model_free(m);
}

static void real_models_run_at_half_width(void **state)
{
    (void)state;
    float x[2 * 784];
    mc_rng_fill_uniform(1, 0, 0, x, 2 * 784);
    assert_true(n_models > 0);
    for (int i = 0; i < n_models; i++) {
        struct mc_model *m;
        struct mc_err err;
        json_t *report;
        build_ok(mc_onnx_read(models[i], &m, &err), &err);
        build_ok(mc_prepare(m, NULL, &err), &err);
        build_ok(mc_width_reduce(m, 0.5, &report, &err), &err);
        build_ok(mc_verify(m, &err), &err);
        int64_t before = json_integer_value(json_object_get(report, "parameters_before"));
        int64_t after = json_integer_value(json_object_get(report, "parameters_after"));
        char *text = json_dumps(json_object_get(report, "classes"), 0);
        print_message("%s: %lld -> %lld parameters %s\n", models[i], (long long)before,
                      (long long)after, text);
        free(text);
        json_decref(report);
        assert_true(after < before * 6 / 10);
        struct mc_session *s = session_of(m, NULL);
        struct mc_array in = array_of("input", MC_DTYPE_F32, 4, DIMS(2, 1, 28, 28), x);
        run_ok(s, &in, 1);
        assert_int_equal(mc_session_output(s, 0)->shape.dim[1], 10);
        mc_session_free(s);
        mc_model_free(m);
    }
}

int main(int argc, char **argv)
{
    n_models = argc - 1;
    models = argv + 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dead_channels_are_the_ones_to_go),
        cmocka_unit_test(ratio_one_changes_nothing),
        cmocka_unit_test(nothing_to_cut_is_an_error),
        cmocka_unit_test(heads_and_groups),
        cmocka_unit_test(real_models_run_at_half_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
