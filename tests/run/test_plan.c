/* A plan against itself without memory reuse and without fusing; what it allocates. */
#include "alloc_hook.h"
#include "run_util.h"

#include "base/mem.h"

/* ---- random graphs ---- */

enum { ROWS = 6, COLS = 16, POOL = 40 };

static uint64_t seed;

static uint32_t below(uint64_t *draw, uint32_t n)
{
    return mc_rng_below(seed, 9, (*draw)++, n);
}

/* 30 nodes over matrices [6,16] and their views [2,3,16]: elementwise, products, reshapes, transposes. */
static struct mc_model *random_model(void)
{
    static const char *const unary[] = {"Relu", "Sigmoid", "Tanh", "Neg", "Identity"};
    static const char *const binary[] = {"Add", "Mul", "Sub", "Max"};
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *v[POOL];
    uint64_t draw = 0;
    int n = 0;
    v[n++] = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(ROWS, COLS));
    v[n++] = random_const(g, "c", 2, DIMS(ROWS, COLS), seed);
    struct mc_value *w = random_const(g, "w", 2, DIMS(COLS, COLS), seed + 1);
    struct mc_value *b = random_const(g, "b", 1, DIMS(COLS), seed + 2);
    struct mc_value *three = build_const(g, "three", MC_DTYPE_I64, 1, DIMS(3), DIMS(2, 3, COLS));
    struct mc_value *two = build_const(g, "two", MC_DTYPE_I64, 1, DIMS(2), DIMS(ROWS, COLS));
    struct mc_value *flip = build_const(g, "flip", MC_DTYPE_I64, 1, DIMS(2), DIMS(COLS, ROWS));
    while (n < 32) {
        struct mc_value *a = v[below(&draw, (uint32_t)n)], *c = v[below(&draw, (uint32_t)n)];
        if (below(&draw, 2))
            a = v[n - 1]; /* chains are what is fused and overwritten */
        switch (below(&draw, 6)) {
        case 0:
        case 1: v[n++] = build_unary(g, unary[below(&draw, 5)], "u", a); break;
        case 2:
        case 3: v[n++] = build_binary(g, binary[below(&draw, 4)], "e", a, c); break;
        case 4:
            a = build_binary(g, "MatMul", "m", a, w);
            if (below(&draw, 3) == 0)
                v[n++] = a; /* and so perhaps read by others */
            if (below(&draw, 2))
                a = build_binary(g, "Add", "mb", b, a);
            if (below(&draw, 2))
                a = build_binary(g, "Add", "mr", a, c);
            v[n++] = build_unary(g, unary[below(&draw, 5)], "mu", a);
            break;
        default:
            a = build_binary(g, "Reshape", "p", a, three);
            a = build_binary(g, "Add", "pb", a, b);
            if (below(&draw, 2))
                a = build_unary(g, "Transpose", "t", build_binary(g, "Reshape", "f", a, flip));
            v[n++] = build_binary(g, "Reshape", "q", a, two);
        }
    }
    build_output(g, v[n - 1]);
    build_output(g, v[2 + below(&draw, (uint32_t)n - 3)]);
    return m;
}

static void compare(struct mc_session *a, struct mc_session *b, const struct mc_array *in,
                    double tolerance)
{
    run_ok(a, in, 1);
    run_ok(b, in, 1);
    for (int i = 0; i < 2; i++) {
        const struct mc_array *x = mc_session_output(a, i), *y = mc_session_output(b, i);
        assert_true(mc_shape_equal(&x->shape, &y->shape));
        const float *p = x->data, *q = y->data;
        for (int64_t k = 0; k < mc_shape_count(&x->shape); k++)
            if (!(fabs((double)p[k] - (double)q[k]) <= tolerance * fmax(1, fabs((double)q[k]))))
                fail_msg("seed %llu: output %d element %lld is %.9g, not %.9g",
                         (unsigned long long)seed, i, (long long)k, (double)p[k], (double)q[k]);
    }
}

/* Memory that is reused too early, a view that is overwritten, a value fused away that somebody reads: all
 * of them change numbers in some of these graphs. */
static void reuse_and_fusing_change_nothing(void **state)
{
    (void)state;
    const char *given = getenv("MC_TEST_SEED");
    uint64_t first = given ? strtoull(given, NULL, 10) : 1, last = given ? first : 200;
    size_t reused = 0, separate = 0, fused = 0;
    for (seed = first; seed <= last; seed++) {
        struct mc_model *m = random_model();
        struct mc_session *plan = session_of(m, NULL);
        struct mc_session *apart =
            session_of(m, &(struct mc_session_opts){.flags = MC_SESSION_NO_REUSE});
        struct mc_session *plain = session_of(
            m, &(struct mc_session_opts){.flags = MC_SESSION_NO_REUSE | MC_SESSION_NO_FUSE});
        float x[ROWS * COLS];
        for (uint64_t round = 0; round < 2; round++) {
            mc_rng_fill_normal(seed, round, 0, x, ROWS * COLS);
            struct mc_array in = array_of("x", MC_DTYPE_F32, 2, DIMS(ROWS, COLS), x);
            compare(plan, apart, &in, 0);
            /* An epilogue may contract nothing, but kernels differ in how they round a function. */
            compare(plan, plain, &in, 1e-5);
        }
        struct mc_session_stats a, b;
        mc_session_stats(plan, &a);
        mc_session_stats(apart, &b);
        reused += a.arena_bytes;
        separate += b.arena_bytes;
        fused += a.fused_nodes;
        mc_session_free(plan);
        mc_session_free(apart);
        mc_session_free(plain);
        mc_model_free(m);
    }
    assert_true(reused < separate);
    assert_true(fused > 0);
}

/* ---- convolutions with everything behind them ---- */

static struct mc_value *conv(struct mc_graph *g, const char *name, struct mc_value *x, uint64_t s)
{
    struct mc_node *n;
    struct mc_value *w = random_const(g, name, 4, DIMS(8, 8, 3, 3), s);
    struct mc_value *b = random_const(g, name, 1, DIMS(8), s + 1);
    struct mc_value *y = build_node(g, "Conv", name, 3, (struct mc_value *[]){x, w, b}, &n);
    assert_int_equal(mc_edit_attr_ints(n, "pads", DIMS(1, 1, 1, 1), 4, NULL), 0);
    return y;
}

/* A residual block whose shortcut is a convolution made after the main branch, and one that is not. */
static void residual_blocks_are_fused(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-2, 8, 5, 7));
    struct mc_value *a = conv(g, "a", build_unary(g, "Relu", "ar", conv(g, "a0", x, 10)), 20);
    struct mc_value *sum = build_binary(g, "Add", "s", a, conv(g, "b", x, 30));
    struct mc_value *r = build_unary(g, "Relu", "sr", sum);
    struct mc_value *c =
        build_unary(g, "Relu", "r", build_binary(g, "Add", "s2", conv(g, "c", r, 40), r));
    build_output(g, c);
    build_output(g, r);
    struct mc_session *plan = session_of(m, NULL);
    struct mc_session *plain =
        session_of(m, &(struct mc_session_opts){.flags = MC_SESSION_NO_FUSE});
    float data[3 * 8 * 5 * 7];
    mc_rng_fill_normal(5, 0, 0, data, sizeof data / sizeof *data);
    struct mc_array in = array_of("x", MC_DTYPE_F32, 4, DIMS(3, 8, 5, 7), data);
    seed = 0;
    compare(plan, plain, &in, 1e-5);
    struct mc_session_stats st;
    mc_session_stats(plan, &st);
    assert_int_equal(st.nodes, 4);
    assert_int_equal(st.fused_nodes, 5);
    mc_session_free(plan);
    mc_session_free(plain);
    mc_model_free(m);
}

/* A value that is an output, kept, or read twice stays. */
static void values_in_use_are_not_fused_away(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 4));
    struct mc_value *w = random_const(g, "w", 2, DIMS(4, 4), 1);
    struct mc_value *h = build_binary(g, "MatMul", "h", x, w);
    build_output(g, build_unary(g, "Relu", "y", h));
    const char *const keep[] = {"h"};
    struct mc_session *s = session_of(m, NULL);
    struct mc_session *k = session_of(m, &(struct mc_session_opts){.keep = keep, .n_keep = 1});
    run_x(s, 2, DIMS(1, 4), F(1, -2, 3, -4));
    run_x(k, 2, DIMS(1, 4), F(1, -2, 3, -4));
    struct mc_session_stats st;
    mc_session_stats(s, &st);
    assert_int_equal(st.fused_nodes, 1);
    mc_session_stats(k, &st);
    assert_int_equal(st.fused_nodes, 0);
    const float *y = mc_session_output(s, 0)->data, *v = mc_session_value(k, "h")->data;
    for (int i = 0; i < 4; i++)
        assert_true(y[i] == (v[i] > 0 ? v[i] : 0));
    mc_session_free(s);
    mc_session_free(k);

    build_output(g, build_unary(g, "Sigmoid", "z", h));
    s = session_of(m, NULL);
    run_x(s, 2, DIMS(1, 4), F(1, -2, 3, -4));
    mc_session_stats(s, &st);
    assert_int_equal(st.fused_nodes, 0);
    y = mc_session_output(s, 0)->data;
    const float *z = mc_session_output(s, 1)->data;
    for (int i = 0; i < 4; i++)
        assert_true(z[i] > 0 && z[i] < 1 && (z[i] > 0.5f) == (y[i] > 0));
    mc_session_free(s);
    mc_model_free(m);
}

static void a_second_run_allocates_nothing(void **state)
{
    (void)state;
    seed = 3;
    struct mc_model *m = random_model();
    struct mc_session *s = session_of(m, NULL);
    float x[ROWS * COLS];
    mc_rng_fill_normal(1, 0, 0, x, ROWS * COLS);
    struct mc_array in = array_of("x", MC_DTYPE_F32, 2, DIMS(ROWS, COLS), x);
    long before = allocations;
    int rc = mc_session_run(s, &in, 1, NULL);
    long first = allocations;
    rc |= mc_session_run(s, &in, 1, NULL);
    long second = allocations;
    assert_int_equal(rc, 0);
    assert_true(first > before); /* the hook counts */
    assert_int_equal(second, first);
    mc_session_free(s);
    mc_model_free(m);
}

/* A chain of n equal steps needs memory for two values, whatever n is. */
static void a_chain_needs_two_values(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *v = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(256, 64));
    for (int i = 0; i < 10; i++)
        v = build_unary(g, "Transpose", "t", v);
    build_output(g, v);
    struct mc_session *s = session_of(m, NULL);
    float *x = mc_calloc(256 * 64, sizeof *x);
    for (int i = 0; i < 256 * 64; i++)
        x[i] = (float)i;
    run_x(s, 2, DIMS(256, 64), x);
    expect_f32(mc_session_output(s, 0), 2, DIMS(256, 64), x, 0);
    struct mc_session_stats st;
    mc_session_stats(s, &st);
    assert_int_equal(st.arena_bytes, 2 * 256 * 64 * sizeof(float));
    free(x);
    mc_session_free(s);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reuse_and_fusing_change_nothing),
        cmocka_unit_test(residual_blocks_are_fused),
        cmocka_unit_test(values_in_use_are_not_fused_away),
        cmocka_unit_test(a_second_run_allocates_nothing),
        cmocka_unit_test(a_chain_needs_two_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
