#include "run_util.h"

#include "graph/constant.h"
#include "graph/run/fold.h"
#include "graph/verify.h"

static struct mc_value *ints(struct mc_graph *g, const char *name, int n, const int64_t *v)
{
    return build_const(g, name, MC_DTYPE_I64, 1, DIMS(n), v);
}

static struct mc_fold_stats prepare(struct mc_model *m)
{
    struct mc_fold_stats st = {0};
    struct mc_err err;
    build_ok(mc_prepare(m, &st, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    return st;
}

static struct mc_value *transpose(struct mc_graph *g, const char *name, struct mc_value *x)
{
    return build_unary(g, "Transpose", name, x);
}

/* What only a transposed weight uses is folded into it; a shared one stays, since the file would grow. */
static void folds_where_the_file_does_not_grow(void **state)
{
    (void)state;
    enum { N = 40 }; /* 6400 bytes */
    for (int shared = 0; shared < 2; shared++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, N));
        struct mc_value *w = random_const(g, "w", 2, DIMS(N, N), 1);
        struct mc_value *y = build_binary(g, "MatMul", "y", x, transpose(g, "t", w));
        build_output(g, y);
        if (shared)
            build_output(g, build_binary(g, "MatMul", "z", x, w));
        struct mc_session *s = session_of(m, NULL);
        float data[N];
        mc_rng_fill_normal(1, 0, 0, data, N);
        run_x(s, 2, DIMS(1, N), data);
        float before[N];
        memcpy(before, mc_session_output(s, 0)->data, sizeof before);
        mc_session_free(s);

        struct mc_fold_stats st = prepare(m);
        assert_int_equal(st.folded_nodes, !shared);
        assert_int_equal(g->n_nodes, shared ? 3 : 1);
        assert_int_equal(g->n_inits, 1);
        if (!shared) { /* the name stays, the source goes */
            const float *t = (const float *)(const void *)mc_constant(mc_graph_value(g, "t"))->data;
            assert_null(mc_graph_value(g, "w"));
            assert_non_null(t);
        }
        s = session_of(m, NULL);
        run_x(s, 2, DIMS(1, N), data);
        expect_f32(mc_session_output(s, 0), 2, DIMS(1, N), before, 0);
        mc_session_free(s);
        mc_model_free(m);
    }
}

/* Reshape(x, Concat(Shape(x)[0:1], [-1])): the constant parts go, what hangs on the batch stays. */
static void folds_small_shape_arithmetic(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-2, 2, 3));
    struct mc_node *n;
    struct mc_value *six =
        build_binary(g, "Mul", "six", ints(g, "two", 1, DIMS(2)), ints(g, "three", 1, DIMS(3)));
    struct mc_value *batch = build_binary(g, "Gather", "batch", build_unary(g, "Shape", "shape", x),
                                          ints(g, "zero", 1, DIMS(0)));
    struct mc_value *shape =
        build_node(g, "Concat", "cat", 2, (struct mc_value *[]){batch, six}, &n);
    assert_int_equal(mc_edit_attr_int(n, "axis", 0, NULL), 0);
    build_output(g, build_binary(g, "Reshape", "y", x, shape));
    assert_int_equal(prepare(m).folded_nodes, 1);
    assert_int_equal(g->n_nodes, 4);
    int64_t v;
    assert_int_equal(mc_constant_ints(mc_graph_value(g, "six"), &v, 1), 1);
    assert_int_equal(v, 6);
    struct mc_session *s = session_of(m, NULL);
    float data[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    run_x(s, 3, DIMS(2, 2, 3), data);
    expect_f32(mc_session_output(s, 0), 2, DIMS(2, 6), data, 0);
    struct mc_session_stats st;
    mc_session_stats(s, &st);
    assert_int_equal(st.nodes, 1); /* for one batch size all of it is constant */
    mc_session_free(s);
    mc_model_free(m);
}

static void leaves_outputs_random_and_quantized_alone(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, DIMS(4));
    struct mc_value *q = build_const(g, "q", MC_DTYPE_I8, 1, DIMS(4), (int8_t[]){1, 2, 3, -4});
    struct mc_value *scale = f32_const(g, "scale", 0, DIMS(0), F(0.5f));
    struct mc_value *dq = build_binary(g, "DequantizeLinear", "dq", q, scale);
    build_output(g, build_binary(g, "Add", "y", x, dq));
    build_output(g, build_unary(g, "Neg", "constant", f32_const(g, "c", 1, DIMS(2), F(1, 2))));
    struct mc_fold_stats st = prepare(m);
    assert_int_equal(st.folded_nodes, 0);
    assert_int_equal(g->n_nodes, 3);
    mc_model_free(m);
}

static void merges_equal_constants(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 2));
    struct mc_value *y = x;
    const float same[] = {1, 2, 3, 4}, other[] = {1, 2, 3, -0.0f};
    y = build_binary(g, "Add", "y1", y, f32_const(g, "a", 2, DIMS(2, 2), same));
    y = build_binary(g, "Mul", "y2", y, f32_const(g, "b", 2, DIMS(2, 2), same));
    y = build_binary(g, "Add", "y3", y, f32_const(g, "c", 2, DIMS(1, 2), same));
    y = build_binary(g, "Mul", "y4", y, f32_const(g, "d", 2, DIMS(2, 2), other));
    struct mc_node *n;
    struct mc_value *k = build_node(g, "Constant", "k", 0, NULL, &n);
    assert_int_equal(mc_edit_attr_tensor(n, "value", mc_graph_value(g, "a")->tensor, NULL), 0);
    y = build_binary(g, "Sub", "y5", y, k);
    y = build_binary(g, "Add", "y6", y, f32_const(g, "bias1", 1, DIMS(2), F(0, 0)));
    y = build_binary(g, "Add", "y7", y, f32_const(g, "bias2", 1, DIMS(2), F(0, 0)));
    build_output(g, y);
    assert_int_equal(prepare(m).merged_constants, 2);
    assert_non_null(mc_graph_value(g, "bias1"));
    assert_non_null(mc_graph_value(g, "bias2"));
    assert_ptr_equal(mc_graph_value(g, "y2")->producer->in[1], mc_graph_value(g, "a"));
    assert_ptr_equal(mc_graph_value(g, "y5")->producer->in[1], mc_graph_value(g, "a"));
    assert_null(mc_graph_value(g, "b"));
    assert_null(mc_graph_value(g, "k"));
    assert_non_null(mc_graph_value(g, "c"));
    assert_non_null(mc_graph_value(g, "d"));
    assert_int_equal(g->n_nodes, 7);
    mc_model_free(m);
}

/* Constants of float16 and double are computed in float32 and double, and keep their type. */
static void folds_in_the_declared_type(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *h = build_const(g, "h", MC_DTYPE_F16, 1, DIMS(1), (uint16_t[]){0x3555});
    struct mc_value *h2 = build_binary(g, "Mul", "h2", h, h); /* 0.333251953125² = 0.1110568642 */
    struct mc_value *d = build_const(g, "d", MC_DTYPE_F64, 1, DIMS(1), (double[]){1e-9});
    struct mc_value *one = build_const(g, "one", MC_DTYPE_F64, 1, DIMS(1), (double[]){1});
    struct mc_value *d2 = build_binary(g, "Add", "d2", d, one);
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F16, 1, DIMS(1));
    struct mc_value *z = build_input(g, "z", MC_DTYPE_F64, 1, DIMS(1));
    build_output(g, build_binary(g, "Mul", "y", x, h2));
    build_output(g, build_binary(g, "Mul", "w", z, d2));
    assert_int_equal(prepare(m).folded_nodes, 2);
    const struct mc_tensor *t = mc_constant(mc_graph_value(g, "h2"));
    assert_int_equal(t->dtype, MC_DTYPE_F16);
    assert_int_equal(*(const uint16_t *)(const void *)t->data, 0x2f1c); /* numpy */
    t = mc_constant(mc_graph_value(g, "d2"));
    assert_int_equal(t->dtype, MC_DTYPE_F64);
    assert_true(*(const double *)(const void *)t->data == 1 + 1e-9);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_where_the_file_does_not_grow),
        cmocka_unit_test(folds_small_shape_arithmetic),
        cmocka_unit_test(leaves_outputs_random_and_quantized_alone),
        cmocka_unit_test(merges_equal_constants),
        cmocka_unit_test(folds_in_the_declared_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
