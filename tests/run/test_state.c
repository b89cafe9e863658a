/* States: inputs and outputs that are one memory of the session. */
#include "run_util.h"

#include "graph/run/plan.h"

enum { N = 16 };

static struct mc_session *stateful(struct mc_model *m, struct mc_session_state pair, unsigned flags)
{
    return session_of(m, &(struct mc_session_opts){.state = &pair, .n_state = 1, .flags = flags});
}

static struct mc_value *named(struct mc_value *v)
{
    build_output(v->graph, v);
    return v;
}

static void store(struct mc_session *s, const char *name, const float *x, size_t n)
{
    struct mc_err err;
    build_ok(mc_session_store(s, name, x, n * sizeof *x, &err), &err);
}

static void expect_state(const struct mc_session *s, const char *name, const float *want, size_t n)
{
    struct mc_err err;
    float got[N];
    build_ok(mc_session_fetch(s, name, got, n * sizeof *got, &err), &err);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-6f))
            fail_msg("%s[%zu] is %.9g, not %.9g", name, i, (double)got[i], (double)want[i]);
}

/* The first step that runs this operator. */
static const struct mc_step *step_of(const struct mc_session *s, const char *op)
{
    for (int i = 0; i < s->last->n_steps; i++)
        if (mc_node_is(s->last->steps[i].call.node, op))
            return &s->last->steps[i];
    fail_msg("no step runs %s", op);
    return NULL;
}

static bool in_state(const struct mc_session *s, const void *p)
{
    const char *from = s->states[0].buf.data, *at = p;
    return at >= from && at < from + s->states[0].bytes;
}

/* y = x + w, then w' = w * half. */
static struct mc_model *halving(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, 4));
    struct mc_value *w = build_input(g, "w", MC_DTYPE_F32, 1, DIMS(4));
    struct mc_value *half = f32_const(g, "half", 1, DIMS(1), F(0.5f));
    named(build_binary(g, "Add", "y", x, w));
    named(build_binary(g, "Mul", "w_new", w, half));
    return m;
}

static void made_in_place(void **unused)
{
    (void)unused;
    struct mc_model *m = halving();
    struct mc_session *s = stateful(m, (struct mc_session_state){"w", "w_new"}, 0);
    assert_int_equal(mc_session_n_inputs(s), 1);
    store(s, "w", F(8, 16, 24, 32), 4);
    /* Three signatures; the second and the last are short batches. */
    const int64_t batch[] = {3, 2, 3, 1};
    float w = 8;
    for (int k = 0; k < 4; k++, w /= 2) {
        float x[12] = {0};
        run_x(s, 2, DIMS(batch[k], 4), x);
        const struct mc_array *y = mc_session_value(s, "y"), *made = mc_session_value(s, "w_new");
        expect_f32(made, 1, DIMS(4), F(w / 2, w, 3 * w / 2, 2 * w), 0);
        assert_int_equal(y->shape.dim[0], batch[k]);
        for (int i = 0; i < (int)batch[k] * 4; i++)
            assert_true(((const float *)y->data)[i] == (float)(i % 4 + 1) * w);
        assert_ptr_equal(made->data, s->states[0].buf.data);
        assert_ptr_equal(mc_session_output(s, 1)->data, made->data);
        const struct mc_step *mul = step_of(s, "Mul");
        assert_ptr_equal(mul->call.in[0].data, s->states[0].buf.data);
        assert_ptr_equal(mul->call.out[0].data, s->states[0].buf.data);
        expect_state(s, "w", made->data, 4);
    }
    mc_session_free(s);
    mc_model_free(m);
}

static void without_reuse_it_is_copied(void **unused)
{
    (void)unused;
    struct mc_model *m = halving();
    struct mc_session *s =
        stateful(m, (struct mc_session_state){"w", "w_new"}, MC_SESSION_NO_REUSE);
    store(s, "w", F(8, 16, 24, 32), 4);
    for (int k = 0; k < 2; k++)
        run_x(s, 2, DIMS(1, 4), F(0, 0, 0, 0));
    assert_false(in_state(s, step_of(s, "Mul")->call.out[0].data));
    expect_state(s, "w", F(2, 4, 6, 8), 4);
    mc_session_free(s);
    mc_model_free(m);
}

/* w' is made before the last node that reads w, or a view of it. */
static void not_under_a_reader(void **unused)
{
    (void)unused;
    for (int by_view = 0; by_view < 2; by_view++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, 4));
        struct mc_value *w = build_input(g, "w", MC_DTYPE_F32, 1, DIMS(4));
        struct mc_value *row = build_const(g, "row", MC_DTYPE_I64, 1, DIMS(2), DIMS(1, 4));
        struct mc_value *read = by_view ? build_binary(g, "Reshape", "view", w, row) : w;
        named(build_unary(g, "Neg", "w_new", w));
        named(build_binary(g, "Add", "y", x, read));
        struct mc_session *s = stateful(m, (struct mc_session_state){"w", "w_new"}, 0);
        store(s, "w", F(1, 2, 3, 4), 4);
        for (int k = 0; k < 3; k++) {
            float f = k % 2 ? -1 : 1;
            run_x(s, 2, DIMS(1, 4), F(10, 10, 10, 10));
            expect_f32(mc_session_value(s, "y"), 2, DIMS(1, 4),
                       F(10 + f, 10 + 2 * f, 10 + 3 * f, 10 + 4 * f), 0);
            assert_false(in_state(s, step_of(s, "Neg")->call.out[0].data));
            expect_state(s, "w", F(-f, -2 * f, -3 * f, -4 * f), 4);
        }
        mc_session_free(s);
        mc_model_free(m);
    }
}

/* A view of the old state is read before the new one is made; what is made there is itself a view. */
static void views_in_and_out(void **unused)
{
    (void)unused;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, 2));
    struct mc_value *w = build_input(g, "w", MC_DTYPE_F32, 1, DIMS(4));
    struct mc_value *square = build_const(g, "square", MC_DTYPE_I64, 1, DIMS(2), DIMS(2, 2));
    struct mc_value *flat = build_const(g, "flat", MC_DTYPE_I64, 1, DIMS(1), DIMS(4));
    struct mc_value *matrix = build_binary(g, "Reshape", "matrix", w, square);
    named(build_binary(g, "MatMul", "y", x, matrix));
    named(build_binary(g, "Reshape", "w_new", build_unary(g, "Exp", "e", matrix), flat));
    struct mc_session *s = stateful(m, (struct mc_session_state){"w", "w_new"}, 0);
    store(s, "w", F(0, 1, 2, 3), 4);
    run_x(s, 2, DIMS(1, 2), F(1, 1));
    expect_f32(mc_session_value(s, "y"), 2, DIMS(1, 2), F(2, 4), 0);
    assert_true(in_state(s, step_of(s, "Exp")->call.out[0].data));
    assert_true(step_of(s, "MatMul")->call.in[1].data == s->states[0].buf.data);
    const float e1 = expf(1), e2 = expf(2), e3 = expf(3);
    float got[4];
    assert_int_equal(mc_session_fetch(s, "w", got, sizeof got, NULL), 0);
    assert_true(fabsf(got[0] - 1) < 1e-6f && fabsf(got[1] - e1) < 1e-5f &&
                fabsf(got[2] - e2) < 1e-5f && fabsf(got[3] - e3) < 1e-4f);
    mc_session_free(s);
    mc_model_free(m);
}

/* What is handed out of the old state stays as it was, though the new one is there now. */
static void handed_out_views_stay(void **unused)
{
    (void)unused;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, 4));
    struct mc_value *w = build_input(g, "w", MC_DTYPE_F32, 1, DIMS(4));
    named(build_unary(g, "Identity", "old", w));
    named(build_unary(g, "Relu", "other", w));
    named(build_unary(g, "Neg", "w_new", w));
    struct mc_session *s = stateful(m, (struct mc_session_state){"w", "w_new"}, 0);
    store(s, "w", F(1, 2, 3, 4), 4);
    run_ok(s, NULL, 0);
    expect_f32(mc_session_value(s, "old"), 1, DIMS(4), F(1, 2, 3, 4), 0);
    expect_f32(mc_session_value(s, "other"), 1, DIMS(4), F(1, 2, 3, 4), 0);
    expect_f32(mc_session_value(s, "w_new"), 1, DIMS(4), F(-1, -2, -3, -4), 0);
    mc_session_free(s);
    mc_model_free(m);
}

static void two_states_change_places(void **unused)
{
    (void)unused;
    for (int views = 0; views < 2; views++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_value *a = build_input(g, "a", MC_DTYPE_F32, 1, DIMS(2));
        struct mc_value *b = build_input(g, "b", MC_DTYPE_F32, 1, DIMS(2));
        const char *op = views ? "Identity" : "Neg";
        named(build_unary(g, op, "a_new", build_unary(g, op, "t", b)));
        named(build_unary(g, op, "b_new", build_unary(g, op, "u", a)));
        const struct mc_session_state pair[] = {{"a", "a_new"}, {"b", "b_new"}};
        struct mc_session *s =
            session_of(m, &(struct mc_session_opts){.state = pair, .n_state = 2});
        store(s, "a", F(1, 2), 2);
        store(s, "b", F(3, 4), 2);
        run_ok(s, NULL, 0);
        expect_state(s, "a", F(3, 4), 2);
        expect_state(s, "b", F(1, 2), 2);
        run_ok(s, NULL, 0);
        expect_state(s, "a", F(1, 2), 2);
        mc_session_free(s);
        mc_model_free(m);
    }
}

/* The last reader of the old state comes before the new one is made of something else: no copy either. */
static void made_straight_in_memory_that_is_free(void **unused)
{
    (void)unused;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 2));
    struct mc_value *w = build_input(g, "w", MC_DTYPE_F32, 2, DIMS(2, 2));
    struct mc_value *y = build_binary(g, "MatMul", "y", x, w);
    named(build_binary(g, "MatMul", "w_new", y, x));
    struct mc_session *s = stateful(m, (struct mc_session_state){"w", "w_new"}, 0);
    store(s, "w", F(1, 2, 3, 4), 4);
    run_x(s, 2, DIMS(2, 2), F(0, 1, 1, 0));
    expect_state(s, "w", F(4, 3, 2, 1), 4);
    const struct mc_plan *p = s->last;
    assert_ptr_equal(p->steps[p->n_steps - 1].call.out[0].data, s->states[0].buf.data);
    mc_session_free(s);
    mc_model_free(m);
}

/* The plan is cut where a size depends on data; the state is read on both sides. */
static void across_segments(void **unused)
{
    (void)unused;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, DIMS(-1));
    struct mc_value *a = build_input(g, "a", MC_DTYPE_F32, 1, DIMS(1));
    struct mc_value *b = build_input(g, "b", MC_DTYPE_F32, 1, DIMS(1));
    struct mc_value *flat = build_const(g, "flat", MC_DTYPE_I64, 1, DIMS(1), DIMS(-1));
    struct mc_value *where = build_unary(g, "NonZero", "where", build_binary(g, "Add", "z", x, a));
    struct mc_value *index = build_binary(g, "Reshape", "index", where, flat);
    struct mc_value *some = build_binary(g, "Gather", "some", x, index);
    struct mc_value *sum = build_unary(g, "ReduceSum", "sum", some);
    named(build_binary(g, "Add", "a_new", build_unary(g, "Identity", "v", b), sum));
    /* A view of the other state whose shape the second segment knows first. */
    struct mc_value *count = build_unary(g, "Shape", "count", some);
    named(build_binary(g, "Reshape", "b_new", a, build_binary(g, "Div", "one", count, count)));
    const struct mc_session_state pair[] = {{"a", "a_new"}, {"b", "b_new"}};
    struct mc_session *s = session_of(m, &(struct mc_session_opts){.state = pair, .n_state = 2});
    store(s, "a", F(-1), 1);
    store(s, "b", F(10), 1);
    const float xs[] = {1, 2, 3};
    for (int k = 0; k < 2; k++) {
        struct mc_array in = array_of("x", MC_DTYPE_F32, 1, DIMS(3 - k), xs);
        run_ok(s, &in, 1);
        /* a = -1: 2 + 3 + 10; then a = 15: 1 + 2 - 1 */
        expect_state(s, "a", k ? F(2) : F(15), 1);
        expect_state(s, "b", k ? F(15) : F(-1), 1);
    }
    mc_session_free(s);
    mc_model_free(m);
}

static void doubles_and_halves(void **unused)
{
    (void)unused;
    struct mc_model *m = halving();
    const struct mc_session_state pair = {"w", "w_new"};
    struct mc_session *s = session_of(
        m, &(struct mc_session_opts){.state = &pair, .n_state = 1, .precision = MC_PRECISION_F64});
    double w[4] = {1, 2, 3, 1.0 / 3};
    struct mc_err err;
    assert_int_equal(mc_session_store(s, "w", w, 16, &err), MC_EUSAGE);
    build_ok(mc_session_store(s, "w", w, sizeof w, &err), &err);
    run_x(s, 2, DIMS(1, 4), F(0, 0, 0, 0));
    build_ok(mc_session_fetch(s, "w", w, sizeof w, &err), &err);
    assert_true(w[3] == 0.5 / 3);
    mc_session_free(s);
    mc_model_free(m);

    m = build_model(17);
    struct mc_value *half = build_input(m->graph, "w", MC_DTYPE_F16, 1, DIMS(2));
    named(build_binary(m->graph, "Add", "w_new", half, half));
    s = stateful(m, pair, 0);
    store(s, "w", F(1, 0.1f), 2);
    run_ok(s, NULL, 0);
    expect_state(s, "w", F(2, 0.199951171875f), 2); /* rounded as an output is */
    mc_session_free(s);
    mc_model_free(m);
}

static void refuse(const char *in, const char *out, const char *text)
{
    struct mc_model *m = halving();
    struct mc_graph *g = m->graph;
    struct mc_value *free_axis = build_input(g, "free", MC_DTYPE_F32, 1, DIMS(-1));
    named(build_unary(g, "Relu", "free_new", free_axis));
    const struct mc_session_state pair[] = {{"w", "w_new"}, {in, out}};
    struct mc_session *s;
    struct mc_err err;
    assert_int_equal(
        mc_session_new(m->graph, &(struct mc_session_opts){.state = pair, .n_state = 2}, &s, &err),
        MC_EUSAGE);
    if (!strstr(err.msg, text))
        fail_msg("'%s' does not say '%s'", err.msg, text);
    mc_model_free(m);
}

static void refused(void **unused)
{
    (void)unused;
    refuse("nobody", "y", "'nobody' is no input");
    refuse("half", "y", "'half' is no input");
    refuse("x", "half", "'x' has no output 'half'");
    refuse("free", "free_new", "'free' has no fixed shape");
    refuse("w", "y", "in two pairs");

    struct mc_model *m = halving();
    struct mc_session *s = stateful(m, (struct mc_session_state){"w", "y"}, 0);
    struct mc_err err;
    float x[4] = {0};
    struct mc_array in[] = {array_of("x", MC_DTYPE_F32, 2, DIMS(1, 4), x),
                            array_of("w", MC_DTYPE_F32, 1, DIMS(4), x)};
    assert_int_equal(mc_session_run(s, in, 1, &err), MC_ESHAPE);
    assert_non_null(strstr(err.msg, "its output 'y'"));
    assert_int_equal(mc_session_run(s, in, 2, &err), MC_EDATA);
    assert_non_null(strstr(err.msg, "'w' is a state"));
    assert_int_equal(mc_session_fetch(s, "v", x, 16, &err), MC_EUSAGE);
    assert_int_equal(mc_session_fetch(s, "w", x, 12, &err), MC_EUSAGE);
    mc_session_free(s);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_in_place),
        cmocka_unit_test(without_reuse_it_is_copied),
        cmocka_unit_test(not_under_a_reader),
        cmocka_unit_test(views_in_and_out),
        cmocka_unit_test(handed_out_views_stay),
        cmocka_unit_test(two_states_change_places),
        cmocka_unit_test(made_straight_in_memory_that_is_free),
        cmocka_unit_test(across_segments),
        cmocka_unit_test(doubles_and_halves),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
