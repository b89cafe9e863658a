#include "run_util.h"

#include "base/threads.h"

/* y = relu(x W + b) V, x [batch, 2] */
static struct mc_model *small_mlp(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 2));
    struct mc_value *w = f32_const(g, "w", 2, DIMS(2, 3), F(1, -1, 2, 0, 1, 1));
    struct mc_value *b = f32_const(g, "b", 1, DIMS(3), F(0, 1, -4));
    struct mc_value *v = f32_const(g, "v", 2, DIMS(3, 1), F(1, 10, 100));
    struct mc_value *in[] = {x, w, b};
    struct mc_value *h = build_node(g, "Gemm", "h", 3, in, NULL);
    struct mc_value *r = build_unary(g, "Relu", "r", h);
    build_output(g, build_binary(g, "MatMul", "y", r, v));
    return m;
}

static void mlp_has_the_closed_form(void **state)
{
    (void)state;
    struct mc_model *m = small_mlp();
    struct mc_session *s = session_of(m, NULL);
    assert_int_equal(mc_session_n_inputs(s), 1);
    assert_int_equal(mc_session_input(s, 0)->shape.dim[0], MC_DIM_ANY);
    assert_int_equal(mc_session_input(s, 0)->shape.dim[1], 2);
    assert_null(mc_session_output(s, 0));
    /* [1,2]: h = [1, 2, 0]; [3,1]: h = [3, -1, 3] */
    run_x(s, 2, DIMS(2, 2), F(1, 2, 3, 1));
    assert_int_equal(mc_session_n_outputs(s), 1);
    expect_f32(mc_session_output(s, 0), 2, DIMS(2, 1), F(21, 303), 0);
    assert_ptr_equal(mc_session_value(s, "y"), mc_session_output(s, 0));
    assert_null(mc_session_value(s, "h"));
    struct mc_session_stats st;
    mc_session_stats(s, &st);
    assert_int_equal(st.nodes, 2);
    assert_int_equal(st.fused_nodes, 1);
    assert_int_equal(st.plans, 1);
    assert_true(st.packed_bytes >= 9 * sizeof(float));
    mc_session_free(s);
    mc_model_free(m);
}

static void kept_values_and_parts(void **state)
{
    (void)state;
    struct mc_model *m = small_mlp();
    const char *const keep[] = {"h", "b", "x"}, *const only[] = {"r"};
    struct mc_session *s = session_of(m, &(struct mc_session_opts){.keep = keep, .n_keep = 3});
    run_x(s, 2, DIMS(1, 2), F(3, 1));
    expect_f32(mc_session_value(s, "h"), 2, DIMS(1, 3), F(3, -1, 3), 0);
    expect_f32(mc_session_value(s, "b"), 1, DIMS(3), F(0, 1, -4), 0);
    expect_f32(mc_session_value(s, "x"), 2, DIMS(1, 2), F(3, 1), 0);
    expect_f32(mc_session_value(s, "y"), 2, DIMS(1, 1), F(303), 0);
    mc_session_free(s);

    s = session_of(m, &(struct mc_session_opts){.only = only, .n_only = 1});
    run_x(s, 2, DIMS(1, 2), F(3, 1));
    assert_int_equal(mc_session_n_outputs(s), 1);
    expect_f32(mc_session_output(s, 0), 2, DIMS(1, 3), F(3, 0, 3), 0);
    assert_null(mc_session_value(s, "y"));
    mc_session_free(s);
    mc_model_free(m);
}

static void what_a_run_takes_is_known_before_it(void **state)
{
    (void)state;
    struct mc_model *m = small_mlp();
    struct mc_session *s = session_of(m, NULL);
    const struct mc_array x = array_of("x", MC_DTYPE_F32, 2, DIMS(2, 2), F(1, 2, 3, 1));
    struct mc_err err;
    struct mc_session_stats st;
    size_t first, again;
    build_ok(mc_session_peak(s, &x, 1, &first, &err), &err);
    mc_session_stats(s, &st);
    assert_true(st.packed_bytes > 0 && first > st.packed_bytes);
    run_x(s, 2, DIMS(2, 2), F(1, 2, 3, 1));
    build_ok(mc_session_peak(s, &x, 1, &again, &err), &err);
    assert_int_equal(first, again);
    mc_session_free(s);
    mc_model_free(m);
}

static void expect_error(int rc, int code, const struct mc_err *err, const char *part)
{
    assert_int_equal(rc, code);
    if (!strstr(err->msg, part))
        fail_msg("'%s' does not say '%s'", err->msg, part);
}

static void unknown_operators_are_named(void **state)
{
    (void)state;
    struct mc_model *m = small_mlp();
    struct mc_graph *g = m->graph;
    build_output(g, build_unary(g, "Frobnicate", "odd", mc_graph_value(g, "r")));
    struct mc_session *s;
    struct mc_err err;
    expect_error(mc_session_new(g, NULL, &s, &err), MC_EUNSUP, &err,
                 "node 'odd': operator Frobnicate of domain '' version 17 is not known");
    /* What does not need it runs. */
    const char *const only[] = {"y"}, *const none[] = {"z"};
    s = session_of(m, &(struct mc_session_opts){.only = only, .n_only = 1});
    run_x(s, 2, DIMS(1, 2), F(1, 2));
    expect_f32(mc_session_output(s, 0), 2, DIMS(1, 1), F(21), 0);
    mc_session_free(s);
    struct mc_session_opts o = {.only = none, .n_only = 1};
    expect_error(mc_session_new(g, &o, &s, &err), MC_EUSAGE, &err, "no value 'z'");
    o = (struct mc_session_opts){.kernels = "abacus"};
    expect_error(mc_session_new(g, &o, &s, &err), MC_EUSAGE, &err, "'abacus'");
    mc_model_free(m);
}

static void inputs_are_checked(void **state)
{
    (void)state;
    struct mc_model *m = small_mlp();
    struct mc_session *s = session_of(m, NULL);
    struct mc_err err;
    const float x[6] = {0};
    struct mc_array a = array_of("x", MC_DTYPE_F32, 2, DIMS(2, 3), x);
    int rc = mc_session_run(s, &a, 1, &err);
    expect_error(rc, MC_ESHAPE, &err, "input 'x'");
    expect_error(rc, MC_ESHAPE, &err, "[?,2]");
    expect_error(rc, MC_ESHAPE, &err, "[2,3]");
    a = array_of("q", MC_DTYPE_F32, 2, DIMS(2, 2), x);
    expect_error(mc_session_run(s, &a, 1, &err), MC_EDATA, &err, "'q'");
    expect_error(mc_session_run(s, NULL, 0, &err), MC_EDATA, &err, "'x' is missing");
    a = array_of("x", MC_DTYPE_F32, 2, DIMS(2, 2), x);
    a.bytes = 15;
    expect_error(mc_session_run(s, &a, 1, &err), MC_EDATA, &err, "15 bytes");
    a = array_of("x", MC_DTYPE_C64, 2, DIMS(1, 2), x);
    expect_error(mc_session_run(s, &a, 1, &err), MC_EDTYPE, &err, "complex64");
    assert_null(mc_session_output(s, 0));
    mc_session_free(s);
    mc_model_free(m);
}

static void inputs_are_converted(void **state)
{
    (void)state;
    struct mc_model *m = small_mlp();
    struct mc_session *s = session_of(m, NULL);
    const uint8_t u8[] = {3, 1};
    const double f64[] = {3, 1};
    const int64_t i64[] = {3, 1};
    const uint16_t half[] = {0x4200, 0x3c00};
    const struct mc_array in[] = {
        array_of("x", MC_DTYPE_U8, 2, DIMS(1, 2), u8),
        array_of("x", MC_DTYPE_F64, 2, DIMS(1, 2), f64),
        array_of("x", MC_DTYPE_I64, 2, DIMS(1, 2), i64),
        array_of("x", MC_DTYPE_F16, 2, DIMS(1, 2), half),
    };
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        run_ok(s, &in[i], 1);
        expect_f32(mc_session_output(s, 0), 2, DIMS(1, 1), F(303), 0);
    }
    mc_session_free(s);
    mc_model_free(m);
}

static void integers_must_fit(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    build_output(m->graph, build_unary(m->graph, "Identity", "y",
                                       build_input(m->graph, "x", MC_DTYPE_I8, 1, DIMS(-2))));
    struct mc_session *s = session_of(m, NULL);
    int64_t x[] = {-128, 127, 0};
    struct mc_array a = array_of("x", MC_DTYPE_I64, 1, DIMS(3), x);
    run_ok(s, &a, 1);
    const int8_t *y = mc_session_output(s, 0)->data;
    assert_int_equal(mc_session_output(s, 0)->dtype, MC_DTYPE_I8);
    assert_int_equal(y[0], -128);
    assert_int_equal(y[1], 127);
    struct mc_err err;
    x[2] = 128;
    expect_error(mc_session_run(s, &a, 1, &err), MC_EDATA, &err, "element 2 is 128");
    const float f[] = {1};
    a = array_of("x", MC_DTYPE_F32, 1, DIMS(1), f);
    expect_error(mc_session_run(s, &a, 1, &err), MC_EDTYPE, &err, "'x' is int8");
    mc_session_free(s);
    mc_model_free(m);
}

static void plans_are_kept_for_four_signatures(void **state)
{
    (void)state;
    struct mc_model *m = small_mlp();
    struct mc_session *s = session_of(m, NULL);
    float x[2 * 8];
    for (int i = 0; i < 16; i++)
        x[i] = (float)(i % 5);
    struct mc_session *one = session_of(m, NULL);
    for (int round = 0; round < 3; round++)
        for (int64_t n = 1; n <= 8; n++) {
            run_x(s, 2, DIMS(n, 2), x);
            const float *y = mc_session_output(s, 0)->data;
            for (int64_t i = 0; i < n; i++) {
                run_x(one, 2, DIMS(1, 2), x + 2 * i);
                assert_true(y[i] == *(const float *)mc_session_output(one, 0)->data);
            }
            struct mc_session_stats st;
            mc_session_stats(s, &st);
            assert_int_equal(st.plans, round || n > 4 ? 4 : n);
        }
    mc_session_free(one);
    /* A larger plan moves the block; the smaller one follows. */
    enum { LARGE = 1 << 20 };
    float *large = calloc(2 * LARGE, sizeof *large);
    run_x(s, 2, DIMS(3, 2), x);
    const float *at = mc_session_output(s, 0)->data;
    float first = at[2];
    run_x(s, 2, DIMS(LARGE, 2), large);
    run_x(s, 2, DIMS(3, 2), x);
    assert_ptr_not_equal(mc_session_output(s, 0)->data, at);
    assert_true(((const float *)mc_session_output(s, 0)->data)[2] == first);
    free(large);
    mc_session_free(s);
    mc_model_free(m);
}

static void an_initialized_input_has_a_default(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, DIMS(2));
    struct mc_value *k = build_input(g, "k", MC_DTYPE_F32, 1, DIMS(2));
    struct mc_shape shape = mc_shape_of(1, DIMS(2));
    struct mc_tensor *t;
    void *data;
    assert_int_equal(mc_tensor_new(MC_DTYPE_F32, &shape, NULL, &t, &data, NULL), 0);
    memcpy(data, F(10, 20), 8);
    assert_int_equal(mc_edit_tensor(k, t, NULL), 0);
    mc_tensor_unref(t);
    build_output(g, build_binary(g, "Add", "y", x, k));
    struct mc_session *s = session_of(m, NULL);
    assert_int_equal(mc_session_n_inputs(s), 1);
    run_x(s, 1, DIMS(2), F(1, 2));
    expect_f32(mc_session_output(s, 0), 1, DIMS(2), F(11, 22), 0);
    const struct mc_array in[] = {array_of("k", MC_DTYPE_F32, 1, DIMS(2), F(5, 6)),
                                  array_of("x", MC_DTYPE_F32, 1, DIMS(2), F(1, 2))};
    run_ok(s, in, 2);
    expect_f32(mc_session_output(s, 0), 1, DIMS(2), F(6, 8), 0);
    run_x(s, 1, DIMS(2), F(1, 2));
    expect_f32(mc_session_output(s, 0), 1, DIMS(2), F(11, 22), 0);
    mc_session_free(s);
    mc_model_free(m);
}

static void doubles_are_a_definition(void **state)
{
    (void)state;
    struct mc_model *m = small_mlp();
    struct mc_session_opts o = {.precision = MC_PRECISION_F64};
    struct mc_session *s = session_of(m, &o);
    /* 1/3 and 1e-9 are not float32 numbers, and their sum is not 1/3 in one. */
    const double x[] = {1.0 / 3, 1 + 1e-9};
    struct mc_array a = array_of("x", MC_DTYPE_F64, 2, DIMS(1, 2), x);
    run_ok(s, &a, 1);
    const struct mc_array *y = mc_session_output(s, 0);
    assert_int_equal(y->dtype, MC_DTYPE_F64);
    double want = x[0] + 10 * (-x[0] + x[1] + 1);
    assert_true(fabs(*(const double *)y->data - want) <= 1e-14);
    mc_session_free(s);
    mc_model_free(m);
}

static void halves_are_rounded_where_they_are_stored(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F16, 1, DIMS(1));
    struct mc_value *k =
        build_const(g, "k", MC_DTYPE_F16, 1, DIMS(1), (uint16_t[]){0x3555}); /* 0.33325 */
    build_output(g, build_binary(g, "Mul", "y", x, k));
    struct mc_node *n;
    struct mc_value *f = build_node(g, "Cast", "f", 1, &x, &n);
    assert_int_equal(mc_edit_attr_int(n, "to", MC_DTYPE_F32, NULL), 0);
    struct mc_value *third = f32_const(g, "third", 1, DIMS(1), F(1.0f / 3));
    struct mc_value *p = build_binary(g, "Mul", "p", f, third);
    struct mc_value *h = build_node(g, "Cast", "h", 1, &p, &n);
    assert_int_equal(mc_edit_attr_int(n, "to", MC_DTYPE_F16, NULL), 0);
    struct mc_value *back = build_node(g, "Cast", "z", 1, &h, &n);
    assert_int_equal(mc_edit_attr_int(n, "to", MC_DTYPE_F32, NULL), 0);
    build_output(g, back);
    struct mc_session *s = session_of(m, NULL);
    assert_int_equal(mc_session_input(s, 0)->dtype, MC_DTYPE_F16);
    run_x(s, 1, DIMS(1), F(1.3f));
    /* numpy: float16(float32(float16(1.3)) * float32(0x3555)), and the same by float32(1/3). */
    expect_f32(mc_session_output(s, 0), 1, DIMS(1), F(0.43310547f), 0);
    expect_f32(mc_session_output(s, 1), 1, DIMS(1), F(0.4333496f), 0);
    mc_session_free(s);
    mc_model_free(m);
}

/* A shape that an input gives is known once that is there. */
static void a_shape_may_be_an_input(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, DIMS(-2));
    struct mc_value *to = build_input(g, "to", MC_DTYPE_I64, 1, DIMS(2));
    build_output(g, build_binary(g, "Reshape", "y", x, to));
    struct mc_session *s = session_of(m, NULL);
    const struct mc_array in[] = {array_of("x", MC_DTYPE_F32, 1, DIMS(2), F(1, 2)),
                                  array_of("to", MC_DTYPE_I64, 1, DIMS(2), DIMS(2, 1))};
    run_ok(s, in, 2);
    expect_f32(mc_session_output(s, 0), 2, DIMS(2, 1), F(1, 2), 0);
    mc_session_free(s);
    mc_model_free(m);
}

static void nan_and_infinity_pass_through(void **state)
{
    (void)state;
    struct mc_model *m = small_mlp();
    struct mc_session *s = session_of(m, NULL);
    run_x(s, 2, DIMS(2, 2), F(NAN, 1, 3, 1));
    const float *y = mc_session_output(s, 0)->data;
    assert_true(isnan(y[0]));
    assert_true(y[1] == 303);
    mc_session_free(s);
    mc_model_free(m);
}

/* y = x W, W half of the identity and stored in float16, so that the session holds a copy of its own, whose
 * memory it gives up once it is packed; raw: z = x + W reads it as it is. */
static struct mc_model *half_identity(int n, bool raw)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F16, 2, DIMS(-2, n));
    uint16_t *w = calloc((size_t)n * (size_t)n, sizeof *w);
    assert_non_null(w);
    for (int i = 0; i < n; i++)
        w[i * n + i] = 0x3800; /* 0.5 */
    struct mc_value *half = build_const(g, "w", MC_DTYPE_F16, 2, DIMS(n, n), w);
    free(w);
    build_output(g, build_binary(g, "MatMul", "y", x, half));
    if (raw)
        build_output(g, build_binary(g, "Add", "z", x, half));
    return m;
}

static void weights_are_there_for_every_plan(void **state)
{
    (void)state;
    enum { N = 256 };
    static float x[N * N], half[N * N], sum[N * N];
    for (int i = 0; i < N * N; i++) {
        x[i] = (float)(i % 97);
        half[i] = x[i] / 2;
        sum[i] = x[i] + (i / N == i % N ? 0.5f : 0);
    }
    for (int raw = 0; raw < 2; raw++) {
        struct mc_model *m = half_identity(N, raw);
        struct mc_session *s = session_of(m, NULL);
        const int64_t batches[] = {N, 3, 1, N, 7, 5, 4, 3};
        for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
            if (raw && batches[i] != N)
                continue;
            run_x(s, 2, DIMS(batches[i], N), x);
            expect_f32(mc_session_output(s, 0), 2, DIMS(batches[i], N), half, 0);
            if (raw)
                expect_f32(mc_session_output(s, 1), 2, DIMS(N, N), sum, 0);
        }
        mc_session_free(s);
        mc_model_free(m);
    }
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 300));
    struct mc_value *h =
        build_binary(g, "MatMul", "h", x, random_const(g, "w", 2, DIMS(300, 257), 1));
    h = build_unary(g, "Relu", "r",
                    build_binary(g, "Add", "a", h, random_const(g, "b", 1, DIMS(257), 2)));
    build_output(g, build_binary(g, "MatMul", "y", h, random_const(g, "v", 2, DIMS(257, 130), 3)));
    struct mc_pool *pool;
    assert_int_equal(mc_pool_new(3, &pool, NULL), 0);
    struct mc_session *a = session_of(m, NULL);
    struct mc_session *b = session_of(m, &(struct mc_session_opts){.pool = pool});
    float *data = malloc(67 * 300 * sizeof *data);
    mc_rng_fill_normal(7, 0, 0, data, 67 * 300);
    run_x(a, 2, DIMS(67, 300), data);
    run_x(b, 2, DIMS(67, 300), data);
    assert_memory_equal(mc_session_output(a, 0)->data, mc_session_output(b, 0)->data,
                        mc_session_output(a, 0)->bytes);
    free(data);
    mc_session_free(a);
    mc_session_free(b);
    mc_pool_free(pool);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mlp_has_the_closed_form),
        cmocka_unit_test(kept_values_and_parts),
        cmocka_unit_test(what_a_run_takes_is_known_before_it),
        cmocka_unit_test(unknown_operators_are_named),
        cmocka_unit_test(inputs_are_checked),
        cmocka_unit_test(inputs_are_converted),
        cmocka_unit_test(integers_must_fit),
        cmocka_unit_test(plans_are_kept_for_four_signatures),
        cmocka_unit_test(an_initialized_input_has_a_default),
        cmocka_unit_test(doubles_are_a_definition),
        cmocka_unit_test(halves_are_rounded_where_they_are_stored),
        cmocka_unit_test(a_shape_may_be_an_input),
        cmocka_unit_test(nan_and_infinity_pass_through),
        cmocka_unit_test(weights_are_there_for_every_plan),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
