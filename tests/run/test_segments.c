/* Shapes that hang on data: closed forms, what is kept between segments, and what happens without memory. */
#include "alloc_hook.h"
#include "run_util.h"

/* y[k] = exp(x[i]) + 0.5 for every i with x[i] > 0, in order. Two boundaries: NonZero, and a Reshape to a shape
 * that is computed. */
static struct mc_model *positives(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, DIMS(-2));
    struct mc_value *at = build_unary(g, "NonZero", "at", build_unary(g, "Relu", "r", x));
    struct mc_value *flat = build_const(g, "flat", MC_DTYPE_I64, 1, DIMS(1), DIMS(-1));
    struct mc_value *picked =
        build_binary(g, "Gather", "g", x, build_binary(g, "Reshape", "line", at, flat));
    struct mc_value *n = build_unary(g, "Shape", "n", picked);
    struct mc_value *one = build_const(g, "one", MC_DTYPE_I64, 1, DIMS(1), DIMS(1));
    struct mc_node *node;
    struct mc_value *parts[] = {n, one};
    struct mc_value *to = build_node(g, "Concat", "to", 2, parts, &node);
    assert_int_equal(mc_edit_attr_int(node, "axis", 0, NULL), 0);
    struct mc_value *y =
        build_binary(g, "Reshape", "column", build_unary(g, "Exp", "e", picked), to);
    build_output(g, build_binary(g, "Add", "y", y, f32_const(g, "half", 0, DIMS(0), F(0.5f))));
    return m;
}

static void expect_positives(const struct mc_array *y, const float *x, int n)
{
    int k = 0;
    const float *got = y->data;
    for (int i = 0; i < n; i++) {
        if (!(x[i] > 0))
            continue;
        double want = exp((double)x[i]) + 0.5;
        assert_true(k < y->shape.dim[0]);
        if (!(fabs((double)got[k] - want) <= 1e-5 * want))
            fail_msg("element %d is %.9g, not %.9g", k, (double)got[k], want);
        k++;
    }
    assert_int_equal(y->shape.rank, 2);
    assert_int_equal(y->shape.dim[0], k);
    assert_int_equal(y->shape.dim[1], 1);
}

static void every_content_has_its_shape(void **state)
{
    (void)state;
    enum { N = 3000 };
    struct mc_model *m = positives();
    struct mc_pool *pool;
    assert_int_equal(mc_pool_new(2, &pool, NULL), 0);
    struct mc_session *one = session_of(m, NULL);
    struct mc_session *two = session_of(m, &(struct mc_session_opts){.pool = pool});
    float x[N];
    for (uint64_t round = 0; round < 60; round++) {
        int n = 1 + (int)mc_rng_below(1, 2, round, N - 1);
        mc_rng_fill_normal(5, round, 0, x, (size_t)n);
        if (round % 7 == 0)
            for (int i = 0; i < n; i++)
                x[i] = -1;
        run_x(one, 1, DIMS(n), x);
        run_x(two, 1, DIMS(n), x);
        const struct mc_array *a = mc_session_output(one, 0), *b = mc_session_output(two, 0);
        expect_positives(a, x, n);
        assert_int_equal(a->bytes, b->bytes);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
    struct mc_session_stats st;
    mc_session_stats(one, &st);
    assert_true(st.plans > 4 && st.plans <= 36);
    mc_session_free(one);
    mc_session_free(two);
    mc_pool_free(pool);
    mc_model_free(m);
}

static void the_same_sizes_again_allocate_nothing(void **state)
{
    (void)state;
    struct mc_model *m = positives();
    struct mc_session *s = session_of(m, NULL);
    float x[] = {1, -2, 3, -4, 5};
    struct mc_array in = array_of("x", MC_DTYPE_F32, 1, DIMS(5), x);
    int rc = mc_session_run(s, &in, 1, NULL);
    long first = allocations;
    x[0] = 7;
    rc |= mc_session_run(s, &in, 1, NULL);
    long second = allocations;
    assert_int_equal(rc, 0);
    assert_int_equal(second, first);
    expect_positives(mc_session_output(s, 0), x, 5);
    mc_session_free(s);
    mc_model_free(m);
}

/* Whichever allocation fails, the run says so, and the next one works. */
static void no_memory_is_an_error(void **state)
{
    (void)state;
    struct mc_model *m = positives();
    const float x[] = {1, -2, 3, -4, 5};
    struct mc_array in = array_of("x", MC_DTYPE_F32, 1, DIMS(5), x);
    bool failed = true;
    for (long n = 0; failed; n++) {
        struct mc_session *s = NULL;
        struct mc_err err = {0};
        allocations_left = n;
        int rc = mc_session_new(m->graph, NULL, &s, &err);
        rc = rc ? rc : mc_session_run(s, &in, 1, &err);
        failed = allocations_left < 0;
        allocations_left = -1;
        assert_int_equal(rc, failed ? MC_ENOMEM : 0);
        if (s) {
            run_ok(s, &in, 1);
            expect_positives(mc_session_output(s, 0), x, 5);
        }
        mc_session_free(s);
        assert_true(n < 100000);
    }
    mc_model_free(m);
}

/* A chain of segments with one value of `bytes` each needs memory for a few of them. */
static void values_go_after_their_last_reader(void **state)
{
    (void)state;
    enum { N = 1 << 16, LINKS = 12 };
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *v = build_input(g, "x", MC_DTYPE_F32, 1, DIMS(-2));
    struct mc_value *flat = build_const(g, "flat", MC_DTYPE_I64, 1, DIMS(1), DIMS(-1));
    for (int i = 0; i < LINKS; i++) {
        struct mc_value *at = build_unary(g, "NonZero", "at", v);
        v = build_binary(g, "Gather", "v", v, build_binary(g, "Reshape", "l", at, flat));
    }
    build_output(g, v);
    struct mc_session *s = session_of(m, NULL);
    float *x = mc_calloc(N, sizeof *x);
    for (int i = 0; i < N; i++)
        x[i] = (float)(i + 1);
    for (int round = 0; round < 2; round++) {
        run_x(s, 1, DIMS(N), x);
        expect_f32(mc_session_output(s, 0), 1, DIMS(N), x, 0);
    }
    struct mc_session_stats st;
    mc_session_stats(s, &st);
    /* The value that goes in and the one that comes out, positions of twice that size before and after, and what
     * the steps of one segment need. All links would be 36. */
    assert_true(st.arena_bytes <= 9 * N * sizeof *x);
    assert_true(st.nodes >= 2 * LINKS);
    free(x);
    mc_session_free(s);
    mc_model_free(m);
}

static void kept_values_of_any_segment(void **state)
{
    (void)state;
    struct mc_model *m = positives();
    const char *const keep[] = {"x", "at", "r", "g", "half", "n"};
    struct mc_session *s = session_of(m, &(struct mc_session_opts){.keep = keep, .n_keep = 6});
    run_x(s, 1, DIMS(4), F(-1, 2, -3, 4));
    run_x(s, 1, DIMS(3), F(1, -2, 3));
    expect_f32(mc_session_value(s, "x"), 1, DIMS(3), F(1, -2, 3), 0);
    expect_f32(mc_session_value(s, "r"), 1, DIMS(3), F(1, 0, 3), 0);
    expect_f32(mc_session_value(s, "g"), 1, DIMS(2), F(1, 3), 0);
    expect_f32(mc_session_value(s, "half"), 0, DIMS(0), F(0.5f), 0);
    const struct mc_array *at = mc_session_value(s, "at"), *n = mc_session_value(s, "n");
    assert_int_equal(at->dtype, MC_DTYPE_I64);
    assert_int_equal(((int64_t *)at->data)[1], 2);
    assert_int_equal(((int64_t *)n->data)[0], 2);
    mc_session_free(s);
    mc_model_free(m);
}

static void a_shape_that_does_not_fit_is_named(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, DIMS(-2));
    struct mc_value *to = build_input(g, "to", MC_DTYPE_I64, 1, DIMS(-3));
    build_output(g, build_binary(g, "Reshape", "y", x, build_unary(g, "Abs", "a", to)));
    struct mc_session *s = session_of(m, NULL);
    const struct mc_array bad[] = {array_of("x", MC_DTYPE_F32, 1, DIMS(3), F(1, 2, 3)),
                                   array_of("to", MC_DTYPE_I64, 1, DIMS(2), DIMS(2, 2))};
    const struct mc_array good[] = {bad[0], array_of("to", MC_DTYPE_I64, 1, DIMS(2), DIMS(-3, 1))};
    for (int i = 0; i < 3; i++) {
        struct mc_err err;
        assert_int_equal(mc_session_run(s, bad, 2, &err), MC_ESHAPE);
        assert_non_null(strstr(err.msg, "Reshape 'y'"));
        assert_null(mc_session_output(s, 0));
        run_ok(s, good, 2);
        expect_f32(mc_session_output(s, 0), 2, DIMS(3, 1), F(1, 2, 3), 0);
    }
    mc_session_free(s);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_content_has_its_shape),
        cmocka_unit_test(the_same_sizes_again_allocate_nothing),
        cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(values_go_after_their_last_reader),
        cmocka_unit_test(kept_values_of_any_segment),
        cmocka_unit_test(a_shape_that_does_not_fit_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
