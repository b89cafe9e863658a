/* If, Loop and Scan against closed forms; what they hold on to, how they stop, what they say. Beside
 * control_ort.py, which compares many more graphs. */
#include "alloc_hook.h"
#include "run_util.h"

#include "base/interrupt.h"

static struct mc_graph *body_of(struct mc_node *n, const char *attr)
{
    struct mc_err err;
    struct mc_graph *b = mc_edit_graph(n->graph->model, n->graph, n, attr);
    assert_non_null(b);
    build_ok(mc_edit_attr_graph(n, attr, b, &err), &err);
    return b;
}

static struct mc_value *number(struct mc_graph *g, const char *name, int64_t v)
{
    return build_const(g, name, MC_DTYPE_I64, 0, DIMS(0), &v);
}

/* v := v + x, trips times; x is captured. Second output: all v, if wanted. */
static struct mc_model *sums(int64_t trips, bool all)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, DIMS(-2));
    struct mc_value *in[] = {number(g, "trips", trips), NULL, x};
    struct mc_value *out[] = {mc_edit_fresh(g, "y"), mc_edit_fresh(g, "all")};
    struct mc_node *n;
    struct mc_err err;
    build_ok(mc_edit_node(g, 0, "Loop", "", 0, "loop", in, 3, out, all ? 2 : 1, &n, &err), &err);
    struct mc_graph *b = body_of(n, "body");
    build_input(b, "i", MC_DTYPE_I64, 0, DIMS(0));
    struct mc_value *c = build_input(b, "c", MC_DTYPE_BOOL, 0, DIMS(0));
    struct mc_value *v = build_input(b, "v", MC_DTYPE_F32, 1, DIMS(-2));
    struct mc_value *w = build_binary(b, "Add", "w", v, mc_edit_resolve(b, "x"));
    build_output(b, build_unary(b, "Identity", "d", c));
    build_output(b, w);
    if (all)
        build_output(b, build_unary(b, "Neg", "r", w));
    build_output(g, out[0]);
    if (all)
        build_output(g, out[1]);
    return m;
}

static void a_loop_multiplies(void **state)
{
    (void)state;
    for (int64_t trips = 0; trips < 5; trips++) {
        struct mc_model *m = sums(trips, true);
        struct mc_session *s = session_of(m, NULL);
        for (int round = 0; round < 2; round++) {
            float k = (float)trips + 1;
            run_x(s, 1, DIMS(2), F(1, -3));
            expect_f32(mc_session_output(s, 0), 1, DIMS(2), F(k, -3 * k), 0);
            const struct mc_array *all = mc_session_output(s, 1);
            assert_int_equal(all->shape.dim[0], trips);
            for (int64_t t = 0; t < trips; t++)
                assert_true(((float *)all->data)[2 * t + 1] == 3 * ((float)t + 2));
            run_x(s, 1, DIMS(1), F(2));
            expect_f32(mc_session_output(s, 0), 1, DIMS(1), F(2 * k), 0);
        }
        mc_session_free(s);
        mc_model_free(m);
    }
}

static size_t peak(int64_t trips)
{
    struct mc_model *m = sums(trips, false);
    struct mc_session *s = session_of(m, NULL);
    float x[1000] = {0};
    run_x(s, 1, DIMS(1000), x);
    struct mc_session_stats st;
    mc_session_stats(s, &st);
    mc_session_free(s);
    mc_model_free(m);
    return st.arena_bytes;
}

static void a_loop_without_end_stays_small_and_can_be_stopped(void **state)
{
    (void)state;
    assert_int_equal(peak(5000), peak(5));
    struct mc_model *m = sums(INT64_MAX, false);
    struct mc_session *s = session_of(m, NULL);
    struct mc_array in = array_of("x", MC_DTYPE_F32, 1, DIMS(1), F(1));
    struct mc_err err;
    mc_interrupt_request();
    int rc = mc_session_run(s, &in, 1, &err);
    mc_interrupt_clear();
    assert_int_equal(rc, MC_EINTR);
    mc_session_free(s);
    mc_model_free(m);
}

static void iterations_allocate_nothing(void **state)
{
    (void)state;
    struct mc_model *few = sums(4, false), *many = sums(400, false);
    struct mc_session *a = session_of(few, NULL), *b = session_of(many, NULL);
    struct mc_array in = array_of("x", MC_DTYPE_F32, 1, DIMS(2), F(1, 2));
    run_ok(a, &in, 1);
    run_ok(b, &in, 1);
    long start = allocations;
    run_ok(a, &in, 1);
    long four = allocations - start;
    run_ok(b, &in, 1);
    assert_int_equal(allocations - start - four, four);
    mc_session_free(a);
    mc_session_free(b);
    mc_model_free(few);
    mc_model_free(many);
}

/* y = cond ? w x : missing(x), where the operator of the other branch does not exist. */
static struct mc_model *choice(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 2));
    struct mc_value *c = build_input(g, "c", MC_DTYPE_BOOL, 0, DIMS(0));
    f32_const(g, "w", 2, DIMS(2, 2), F(1, 2, 3, 4));
    struct mc_node *n;
    build_output(g, build_node(g, "If", "y", 1, &c, &n));
    struct mc_graph *b = body_of(n, "then_branch");
    build_output(b,
                 build_binary(b, "MatMul", "p", mc_edit_resolve(b, "x"), mc_edit_resolve(b, "w")));
    b = body_of(n, "else_branch");
    build_output(b, build_unary(b, "Frobnicate", "odd", mc_edit_resolve(b, "x")));
    return m;
}

static void only_the_branch_taken_runs(void **state)
{
    (void)state;
    struct mc_model *m = choice();
    struct mc_session *s = session_of(m, NULL);
    uint8_t yes = 1, no = 0;
    struct mc_array in[] = {array_of("x", MC_DTYPE_F32, 2, DIMS(1, 2), F(1, 10)),
                            array_of("c", MC_DTYPE_BOOL, 0, DIMS(0), &yes)};
    struct mc_err err;
    for (int i = 0; i < 2; i++) {
        in[1].data = &yes;
        run_ok(s, in, 2);
        expect_f32(mc_session_output(s, 0), 2, DIMS(1, 2), F(31, 42), 0);
        in[1].data = &no;
        assert_int_equal(mc_session_run(s, in, 2, &err), MC_EUNSUP);
        assert_non_null(strstr(err.msg, "Frobnicate"));
    }
    in[0] = array_of("x", MC_DTYPE_F32, 2, DIMS(2, 2), F(1, 0, 0, 1));
    in[1].data = &yes;
    run_ok(s, in, 2);
    expect_f32(mc_session_output(s, 0), 2, DIMS(2, 2), F(1, 2, 3, 4), 0);
    mc_session_free(s);
    mc_model_free(m);
}

/* y = x + (c ? k k : -k) in half precision: what a branch makes of constants is of their type, although it is computed
 * in another. */
static void constants_from_branches_keep_their_type(void **state)
{
    (void)state;
    static const uint16_t k[] = {0x4000, 0xC200}; /* 2, -3 */
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F16, 2, DIMS(-2, 2));
    struct mc_value *c = build_input(g, "c", MC_DTYPE_BOOL, 0, DIMS(0));
    build_const(g, "k", MC_DTYPE_F16, 1, DIMS(2), k);
    struct mc_node *n;
    struct mc_value *r = build_node(g, "If", "r", 1, &c, &n);
    struct mc_graph *b = body_of(n, "then_branch");
    build_output(b, build_binary(b, "Mul", "p", mc_edit_resolve(b, "k"), mc_edit_resolve(b, "k")));
    b = body_of(n, "else_branch");
    build_output(b, build_unary(b, "Neg", "q", mc_edit_resolve(b, "k")));
    build_output(g, build_binary(g, "Add", "y", x, r));
    uint8_t yes;
    const struct mc_array in[] = {array_of("x", MC_DTYPE_F32, 2, DIMS(1, 2), F(1, 10)),
                                  array_of("c", MC_DTYPE_BOOL, 0, DIMS(0), &yes)};
    struct mc_session *s = session_of(m, NULL);
    yes = 1;
    run_ok(s, in, 2);
    expect_f32(mc_session_output(s, 0), 2, DIMS(1, 2), F(5, 19), 0);
    yes = 0;
    run_ok(s, in, 2);
    expect_f32(mc_session_output(s, 0), 2, DIMS(1, 2), F(-1, 13), 0);
    mc_session_free(s);
    s = session_of(m, &(struct mc_session_opts){.precision = MC_PRECISION_F64});
    run_ok(s, in, 2);
    assert_int_equal(mc_session_output(s, 0)->dtype, MC_DTYPE_F64);
    mc_session_free(s);
    mc_model_free(m);
}

/* state := state * k + x[t] from the last t to the first: polynomials by Horner's rule, two side by side. */
static struct mc_model *horner(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 2));
    f32_const(g, "k", 0, DIMS(0), F(2));
    struct mc_value *in[] = {f32_const(g, "zero", 1, DIMS(2), F(0, 1)), x};
    struct mc_value *out[] = {mc_edit_fresh(g, "y"), mc_edit_fresh(g, "parts")};
    struct mc_node *n;
    struct mc_err err;
    build_ok(mc_edit_node(g, 0, "Scan", "", 0, "scan", in, 2, out, 2, &n, &err), &err);
    build_ok(mc_edit_attr_int(n, "num_scan_inputs", 1, &err), &err);
    build_ok(mc_edit_attr_ints(n, "scan_input_directions", DIMS(1), 1, &err), &err);
    struct mc_graph *b = body_of(n, "body");
    struct mc_value *v = build_input(b, "v", MC_DTYPE_F32, 1, DIMS(2));
    struct mc_value *e = build_input(b, "e", MC_DTYPE_F32, 1, DIMS(2));
    struct mc_value *w =
        build_binary(b, "Add", "w", build_binary(b, "Mul", "p", v, mc_edit_resolve(b, "k")), e);
    build_output(b, w);
    build_output(b, build_unary(b, "Identity", "o", w));
    build_output(g, out[0]);
    build_output(g, out[1]);
    return m;
}

static void a_scan_from_the_end(void **state)
{
    (void)state;
    struct mc_model *m = horner();
    struct mc_session *s = session_of(m, NULL);
    run_x(s, 2, DIMS(3, 2), F(1, 0, 2, 1, 3, 0));
    expect_f32(mc_session_output(s, 0), 1, DIMS(2), F(1 + 4 + 12, 2 + 8), 0);
    expect_f32(mc_session_output(s, 1), 2, DIMS(3, 2), F(3, 2, 8, 5, 17, 10), 0);
    run_x(s, 2, DIMS(0, 2), F(0));
    expect_f32(mc_session_output(s, 0), 1, DIMS(2), F(0, 1), 0);
    expect_f32(mc_session_output(s, 1), 2, DIMS(0, 2), F(0), 0);
    mc_session_free(s);
    mc_model_free(m);
}

/* y = x x x, through sequences. */
static struct mc_model *tripled(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, DIMS(-2));
    struct mc_value *both[] = {x, x};
    struct mc_value *s = build_node(g, "SequenceConstruct", "s", 2, both, NULL);
    s = build_binary(g, "SequenceInsert", "t", s, build_unary(g, "Identity", "same", x));
    struct mc_node *n;
    struct mc_value *y = build_node(g, "ConcatFromSequence", "y", 1, &s, &n);
    assert_int_equal(mc_edit_attr_int(n, "axis", 0, NULL), 0);
    build_output(g, y);
    return m;
}

static void no_memory_is_an_error(void **state)
{
    (void)state;
    struct mc_model *models[] = {sums(3, true), horner(), tripled()};
    for (int k = 0; k < 3; k++) {
        struct mc_array in =
            array_of("x", MC_DTYPE_F32, k == 1 ? 2 : 1, k == 1 ? DIMS(1, 2) : DIMS(2), F(1, 2));
        bool failed = true;
        for (long n = 0; failed; n++) {
            struct mc_session *s = NULL;
            struct mc_err err = {0};
            allocations_left = n;
            int rc = mc_session_new(models[k]->graph, NULL, &s, &err);
            rc = rc ? rc : mc_session_run(s, &in, 1, &err);
            failed = allocations_left < 0;
            allocations_left = -1;
            assert_int_equal(rc, failed ? MC_ENOMEM : 0);
            if (s)
                run_ok(s, &in, 1);
            if (s && k == 2)
                expect_f32(mc_session_output(s, 0), 1, DIMS(6), F(1, 2, 1, 2, 1, 2), 0);
            mc_session_free(s);
            assert_true(n < 100000);
        }
        mc_model_free(models[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_multiplies),
        cmocka_unit_test(a_loop_without_end_stays_small_and_can_be_stopped),
        cmocka_unit_test(iterations_allocate_nothing),
        cmocka_unit_test(only_the_branch_taken_runs),
        cmocka_unit_test(constants_from_branches_keep_their_type),
        cmocka_unit_test(a_scan_from_the_end),
        cmocka_unit_test(no_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
