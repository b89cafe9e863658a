/* Where the steps of a plan run, and the copies between host and GPU. */
#include "gpu_util.h"

#include "graph/run/profile.h"

#define TOLERANCE 1e-6

/* x -> Relu -> Tanh -> Neg -> y, each by itself. */
static struct mc_model *three(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *v = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 5));
    v = build_unary(g, "Relu", "relu", v);
    v = build_unary(g, "Tanh", "tanh", v);
    build_output(g, build_unary(g, "Neg", "neg", v));
    return m;
}

static void all_on_it(void **state)
{
    struct mc_model *m = three();
    struct mc_session_opts o = {.flags = MC_SESSION_NO_FUSE};
    struct gpu_pool pool = gpu_pool_open();
    struct gpu_pair p = gpu_pair_open(m, &pool, &o, NULL);
    gpu_pair_run_x(&p, 2, DIMS(3, 5), TOLERANCE);
    struct mc_session_stats st = gpu_stats(p.gpu);
    assert_int_equal(st.nodes, 3);
    assert_int_equal(st.fallback_nodes, 0);
    assert_int_equal(st.copies, 0);
    assert_int_equal(st.recorded_nodes, 3);
    assert_true(st.gpu_bytes > 0);
    struct mc_session_fallback f;
    assert_false(mc_session_fallback(p.gpu, 0, &f));
    gpu_pair_free(&p);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

static void between(void **state)
{
    struct mc_model *m = three();
    struct mc_session_opts o = {.flags = MC_SESSION_NO_FUSE};
    struct gpu_pool pool = gpu_pool_open();
    struct gpu_pair p = gpu_pair_open(m, &pool, &o, "Cos, Tanh");
    gpu_pair_run_x(&p, 2, DIMS(3, 5), TOLERANCE);
    struct mc_session_stats st = gpu_stats(p.gpu);
    assert_int_equal(st.fallback_nodes, 1);
    assert_int_equal(st.copies, 2);
    struct mc_session_fallback f;
    assert_true(mc_session_fallback(p.gpu, 0, &f));
    assert_string_equal(f.op_type, "Tanh");
    assert_int_equal(f.nodes, 1);
    assert_false(mc_session_fallback(p.gpu, 1, &f));
    gpu_pair_run_x(&p, 2, DIMS(200, 5), TOLERANCE);
    gpu_pair_run_x(&p, 2, DIMS(1, 5), TOLERANCE);
    gpu_pair_run_x(&p, 2, DIMS(3, 5), TOLERANCE);
    gpu_pair_free(&p);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

/* Words of `all` chosen by the bits of mask. */
static const char *some_of(const char *const *all, int n, int mask, char *text, size_t size)
{
    text[0] = 0;
    for (int i = 0; i < n; i++) {
        size_t at = strlen(text);
        if (mask >> i & 1)
            snprintf(text + at, size - at, "%s ", all[i]);
    }
    return text;
}

static struct mc_node *grad_node(struct mc_graph *g, const char *op, struct mc_value **in,
                                 size_t n_in, struct mc_value **out, size_t n_out,
                                 const int64_t *offsets)
{
    struct mc_node *n;
    struct mc_err err;
    build_ok(
        mc_edit_node(g, g->n_nodes, op, "ai.mcompress.grad", 1, op, in, n_in, out, n_out, &n, &err),
        &err);
    build_ok(mc_edit_attr_ints(n, "offsets", offsets, n_in > n_out ? n_in : n_out, &err), &err);
    return n;
}

/* Parts of a block that is a state, functions of them, and a block of those, which is added to it. One part of each
 * block is where no part can be made, and is copied. Every choice of operators that stay on the CPU. */
static void blocks_of_parts(void **state)
{
    static const char *const all[] = {"Unpack", "Pack", "Tanh", "Neg", "Relu", "Add"};
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    build_ok(mc_edit_opset(m, "ai.mcompress.grad", 1, &err), &err);
    struct mc_value *block = build_input(g, "block", MC_DTYPE_F32, 1, DIMS(26));
    struct mc_value *part[3], *made[3], *sum = mc_edit_fresh(g, "sum");
    for (int i = 0; i < 3; i++)
        part[i] = mc_edit_fresh(g, "part");
    struct mc_node *n = grad_node(g, "Unpack", &block, 1, part, 3, DIMS(0, 16, 21));
    build_ok(mc_edit_attr_ints(n, "ranks", DIMS(2, 1, 1), 3, &err), &err);
    build_ok(mc_edit_attr_ints(n, "dims", DIMS(4, 4, 3, 5), 4, &err), &err);
    made[0] = build_unary(g, "Tanh", "t", part[0]);
    made[1] = build_unary(g, "Neg", "n", part[1]);
    made[2] = build_unary(g, "Relu", "r", part[2]);
    n = grad_node(g, "Pack", made, 3, &sum, 1, DIMS(0, 16, 21));
    build_ok(mc_edit_attr_int(n, "size", 26, &err), &err);
    struct mc_value *next = build_binary(g, "Add", "next", block, sum);
    build_output(g, next);
    build_output(g, made[1]);
    struct mc_session_state pair = {"block", next->name};
    for (int mask = 0; mask < 64; mask++) {
        char leave[64];
        struct gpu_pool pool = gpu_pool_open();
        struct gpu_pair p =
            gpu_pair_open(m, &pool, &(struct mc_session_opts){.state = &pair, .n_state = 1},
                          some_of(all, 6, mask, leave, sizeof leave));
        float x[26], got[26], want[26];
        gpu_draw(x, 26, 3);
        build_ok(mc_session_store(p.cpu, "block", x, sizeof x, &err), &err);
        build_ok(mc_session_store(p.gpu, "block", x, sizeof x, &err), &err);
        for (int run = 0; run < 4; run++) {
            gpu_pair_run(&p, NULL, 0, TOLERANCE);
            build_ok(mc_session_fetch(p.gpu, "block", got, sizeof got, &err), &err);
            build_ok(mc_session_fetch(p.cpu, "block", want, sizeof want, &err), &err);
            for (int i = 0; i < 26; i++)
                if (!(fabsf(got[i] - want[i]) <= 1e-5f))
                    fail_msg("%s: block[%d] is %g, not %g", leave, i, (double)got[i],
                             (double)want[i]);
        }
        gpu_pair_free(&p);
        gpu_pool_close(&pool);
    }
    mc_model_free(m);
    (void)state;
}

/* ---- looking ---- */

struct seen {
    int times[4];
    double sum[4];
};

static int see(void *ctx, size_t i, const struct mc_array *value, struct mc_err *err)
{
    struct seen *seen = ctx;
    seen->times[i]++;
    for (int64_t k = 0; k < mc_shape_count(&value->shape); k++)
        seen->sum[i] += ((const float *)value->data)[k];
    (void)err;
    return 0;
}

/* An input, a value made on the GPU, one made on the CPU, and a view are told while they are there. */
static void watched(void **state)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 4));
    struct mc_value *a = build_unary(g, "Exp", "a", x), *b = build_unary(g, "Tanh", "b", a);
    struct mc_value *shape = build_const(g, "shape", MC_DTYPE_I64, 1, DIMS(1), DIMS(-1));
    struct mc_value *c = build_binary(g, "Reshape", "c", b, shape);
    build_output(g, build_unary(g, "Neg", "y", c));
    const char *const names[] = {x->name, a->name, b->name, c->name};
    struct gpu_pool pool = gpu_pool_open();
    for (int left = 0; left < 3; left++) {
        struct seen seen = {0};
        struct mc_session_watch w = {names, 4, see, &seen};
        struct mc_session *s;
        static const char *const leave[] = {"Tanh", "Exp", ""};
        assert_int_equal(setenv("MCOMPRESS_CPU_OPERATORS", leave[left], 1), 0);
        s = session_of(m, &(struct mc_session_opts){.pool = pool.pool, .watch = &w});
        float in[] = {0, 1, 2, 3, 4, 5, 6, 7};
        double want[4] = {0};
        for (int run = 1; run <= 4; run++) {
            in[0] = (float)run;
            for (int i = 0; i < 8; i++) {
                want[0] += (double)in[i];
                want[1] += exp((double)in[i]);
                want[2] += tanh(exp((double)in[i]));
                want[3] += tanh(exp((double)in[i]));
            }
            run_x(s, 2, DIMS(2, 4), in);
            for (int i = 0; i < 4; i++) {
                assert_int_equal(seen.times[i], run);
                if (!(fabs(seen.sum[i] - want[i]) <= 1e-5 * fabs(want[i])))
                    fail_msg("%s: sum %g, not %g", names[i], seen.sum[i], want[i]);
            }
        }
        mc_session_free(s);
    }
    assert_int_equal(unsetenv("MCOMPRESS_CPU_OPERATORS"), 0);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

/* Results are there after waiting, not before; a run that nobody waits for does not disturb the next. */
static void in_the_background(void **state)
{
    struct mc_model *m = three();
    struct gpu_pool pool = gpu_pool_open();
    struct mc_session *cpu = session_of(m, NULL);
    struct mc_session *s =
        session_of(m, &(struct mc_session_opts){.pool = pool.pool, .flags = MC_SESSION_ASYNC});
    struct mc_err err;
    for (int run = 0; run < 6; run++) {
        float x[15];
        gpu_draw(x, 15, (uint64_t)run);
        run_x(cpu, 2, DIMS(3, 5), x);
        run_x(s, 2, DIMS(3, 5), x);
        memset(x, 0, sizeof x); /* it was taken over */
        assert_null(mc_session_output(s, 0));
        if (run == 1)
            continue;
        build_ok(mc_session_wait(s, &err), &err);
        build_ok(mc_session_wait(s, &err), &err);
        expect_alike(mc_session_output(s, 0), mc_session_output(cpu, 0), TOLERANCE);
    }
    mc_session_free(s);
    mc_session_free(cpu);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

/* Two sessions take turns on one GPU; one of them ends. */
static void two_sessions(void **state)
{
    struct mc_model *m = three();
    struct gpu_pool pool = gpu_pool_open();
    struct gpu_pair a = gpu_pair_open(m, &pool, NULL, NULL);
    struct gpu_pair b = gpu_pair_open(m, &pool, NULL, "Tanh");
    for (int k = 0; k < 3; k++) {
        gpu_pair_run_x(&a, 2, DIMS(2, 5), TOLERANCE);
        gpu_pair_run_x(&b, 2, DIMS(3 + k, 5), TOLERANCE);
    }
    gpu_pair_free(&a);
    gpu_pair_run_x(&b, 2, DIMS(2, 5), TOLERANCE);
    gpu_pair_free(&b);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

/* Every step is measured, and the results are the same. */
static void measured(void **state)
{
    struct mc_model *m = three();
    struct gpu_pool pool = gpu_pool_open();
    struct mc_profile *profile;
    struct mc_err err;
    build_ok(mc_profile_new(&profile, &err), &err);
    struct mc_session_opts o = {.flags = MC_SESSION_NO_FUSE, .profile = profile};
    struct gpu_pair p = gpu_pair_open(m, &pool, &o, "Tanh");
    gpu_pair_run_x(&p, 2, DIMS(4, 5), TOLERANCE);
    assert_int_equal(mc_profile_count(profile), 3);
    assert_int_equal(mc_profile_row(profile, 2)->runs, 6);
    assert_int_equal(gpu_stats(p.gpu).recorded_nodes, 0);
    gpu_pair_free(&p);
    mc_profile_free(profile);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

/* ---- types, constants, lack of kernels ---- */

/* Halves: an input, a result of Cast, an output and a state are rounded, as on the CPU. */
static void halves(void **state)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F16, 1, DIMS(16));
    struct mc_value *w = build_input(g, "w", MC_DTYPE_F16, 1, DIMS(16));
    struct mc_node *cast;
    struct mc_value *e = build_unary(g, "Exp", "e", x);
    struct mc_value *full = build_node(g, "Cast", "full", 1, &e, &cast);
    build_ok(mc_edit_attr_int(cast, "to", 1, &err), &err);
    struct mc_value *t = build_unary(g, "Tanh", "t", full);
    struct mc_value *half = build_node(g, "Cast", "half", 1, &t, &cast);
    build_ok(mc_edit_attr_int(cast, "to", 10, &err), &err);
    build_output(g, build_unary(g, "Neg", "y", half));
    struct mc_value *next = build_binary(g, "Mul", "w_new", w, build_unary(g, "Sigmoid", "s", x));
    build_output(g, next);
    struct mc_session_state pair = {"w", next->name};
    struct gpu_pool pool = gpu_pool_open();
    struct gpu_pair p =
        gpu_pair_open(m, &pool, &(struct mc_session_opts){.state = &pair, .n_state = 1}, NULL);
    float one[16], a[16], b[16];
    for (int i = 0; i < 16; i++)
        one[i] = 1;
    build_ok(mc_session_store(p.cpu, "w", one, sizeof one, &err), &err);
    build_ok(mc_session_store(p.gpu, "w", one, sizeof one, &err), &err);
    for (uint64_t run = 0; run < 4; run++) {
        float v[16];
        struct mc_array in = array_of("x", MC_DTYPE_F32, 1, DIMS(16), v);
        gpu_draw(v, 16, run);
        gpu_pair_run(&p, &in, 1, TOLERANCE);
        build_ok(mc_session_fetch(p.gpu, "w", a, sizeof a, &err), &err);
        build_ok(mc_session_fetch(p.cpu, "w", b, sizeof b, &err), &err);
        assert_memory_equal(a, b, sizeof a);
    }
    gpu_pair_free(&p);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

/* Doubles are computed on the CPU, and so is everything where the caller asks for it. */
static void on_the_cpu(void **state)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F64, 1, DIMS(3));
    build_output(g, build_unary(g, "Neg", "n", build_unary(g, "Exp", "e", x)));
    struct gpu_pool pool = gpu_pool_open();
    struct mc_session *s = session_of(m, &(struct mc_session_opts){.pool = pool.pool});
    double v[] = {0, 1, 2};
    struct mc_array in = array_of("x", MC_DTYPE_F64, 1, DIMS(3), v);
    run_ok(s, &in, 1);
    assert_int_equal(gpu_stats(s).fallback_nodes, 2);
    assert_true(((const double *)mc_session_output(s, 0)->data)[1] == -exp(1.0));
    mc_session_free(s);
    mc_model_free(m);
    m = three();
    struct mc_session_opts asked[] = {{.pool = pool.pool, .kernels = "ref"},
                                      {.pool = pool.pool, .precision = MC_PRECISION_F64}};
    for (int i = 0; i < 2; i++) {
        s = session_of(m, &asked[i]);
        run_x(s, 2, DIMS(1, 5), F(1, 2, 3, 4, 5));
        struct mc_session_stats st = gpu_stats(s);
        struct mc_session_fallback f;
        assert_int_equal(st.gpu_bytes, 0);
        assert_int_equal(st.fallback_nodes, 0);
        assert_false(mc_session_fallback(s, 0, &f));
        mc_session_free(s);
    }
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

/* Of what the GPU could do, the CPU does what is between steps of its own, and integers that it asks for: here all but
 * the product, and the first Exp, which hands to it. */
static void small_islands(void **state)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 4));
    struct mc_value *e = build_unary(g, "Exp", "e", x);
    struct mc_value *xw =
        build_binary(g, "MatMul", "xw", e, random_const(g, "w", 2, DIMS(4, 4), 1));
    struct mc_value *det[2] = {NULL, xw};
    struct mc_value *shape = build_const(g, "shape", MC_DTYPE_I64, 1, DIMS(3), DIMS(-1, 2, 2));
    det[0] = build_unary(g, "Det", "d", build_binary(g, "Reshape", "square", xw, shape));
    det[1] =
        build_unary(g, "Det", "d",
                    build_binary(g, "Reshape", "square", build_unary(g, "Tanh", "t", xw), shape));
    struct mc_value *at = build_unary(g, "NonZero", "at", build_unary(g, "Neg", "n", det[0]));
    struct mc_value *y = build_unary(g, "Shape", "length", at);
    build_output(g, build_unary(g, "Neg", "y", y));
    build_output(g, build_binary(g, "Add", "z", det[0], det[1]));
    struct gpu_pool pool = gpu_pool_open();
    struct gpu_pair p = gpu_pair_open(m, &pool, NULL, NULL);
    gpu_pair_run_x(&p, 2, DIMS(6, 4), TOLERANCE);
    struct mc_session_fallback f;
    size_t between = 0, nodes = 0;
    for (int i = 0; mc_session_fallback(p.gpu, i, &f); i++) {
        between += strstr(f.why, "between") ? f.nodes : 0;
        nodes += f.nodes;
        assert_true(strcmp(f.op_type, "MatMul") && strcmp(f.op_type, "Tanh") &&
                    strcmp(f.op_type, "Exp"));
    }
    assert_true(between >= 2);
    assert_int_equal(nodes, gpu_stats(p.gpu).fallback_nodes);
    assert_true(gpu_stats(p.gpu).nodes - nodes >= 3);
    gpu_pair_free(&p);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

/* Parts that are views, parts that are made where they go, one that cannot be, and what two chains compute each for
 * itself. */
static void parts_and_chains(void **state)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(6, 16));
    struct mc_value *e = build_unary(g, "Exp", "e", x);
    struct mc_value *part[2] = {mc_edit_fresh(g, "a"), mc_edit_fresh(g, "b")};
    struct mc_value *whole = mc_edit_fresh(g, "whole");
    static const char *const all[] = {"Split", "Concat", "Tanh", "Sin"};
    struct mc_err err;
    struct mc_node *n;
    build_ok(mc_edit_node(g, g->n_nodes, "Split", "", 11, "", &e, 1, part, 2, &n, &err), &err);
    build_ok(mc_edit_attr_int(n, "axis", 0, &err), &err);
    struct mc_value *in[3] = {build_unary(g, "Tanh", "tb", part[1]),
                              build_unary(g, "Sin", "sa", part[0]), x};
    build_ok(mc_edit_node(g, g->n_nodes, "Concat", "", 11, "", in, 3, &whole, 1, &n, &err), &err);
    build_ok(mc_edit_attr_int(n, "axis", 0, &err), &err);
    build_output(g, build_unary(g, "Abs", "again", in[1]));
    struct mc_value *s = build_unary(g, "Softmax", "s", whole);
    struct mc_value *half = build_binary(g, "Mul", "half", s, f32_const(g, "h", 0, NULL, F(.5f)));
    struct mc_value *t = build_unary(g, "Tanh", "t", half);
    build_output(g, build_binary(g, "Mul", "y", s, t));
    build_output(g, build_binary(g, "Sub", "z", s, t));
    for (int mask = 0; mask < 16; mask++) {
        char leave[64];
        struct gpu_pool pool = gpu_pool_open();
        struct gpu_pair p =
            gpu_pair_open(m, &pool, NULL, some_of(all, 4, mask, leave, sizeof leave));
        gpu_pair_run_x(&p, 2, DIMS(6, 16), TOLERANCE);
        struct mc_session_stats cpu, gpu;
        mc_session_stats(p.cpu, &cpu);
        mc_session_stats(p.gpu, &gpu);
        assert_int_equal(gpu.fused_nodes, cpu.fused_nodes + 1);
        gpu_pair_free(&p);
        gpu_pool_close(&pool);
    }
    mc_model_free(m);
    (void)state;
}

/* A model with segments, whose sizes the CPU finds out: y = exp(x[i]) for every x[i] > 0. */
static void sizes_of_data(void **state)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, DIMS(-2));
    struct mc_value *e = build_unary(g, "Exp", "e", x);
    struct mc_value *at = build_unary(g, "NonZero", "at", build_unary(g, "Relu", "r", x));
    struct mc_value *flat = build_const(g, "flat", MC_DTYPE_I64, 1, DIMS(1), DIMS(-1));
    struct mc_value *line = build_binary(g, "Reshape", "line", at, flat);
    struct mc_value *picked = build_binary(g, "Gather", "p", e, line);
    build_output(g, build_unary(g, "Tanh", "y", picked));
    build_output(g, build_unary(g, "Neg", "z", e));
    static const char *const all[] = {"Exp", "Relu", "Gather", "Tanh", "Neg"};
    for (int mask = 0; mask < 32; mask++) {
        char leave[64];
        struct gpu_pool pool = gpu_pool_open();
        struct gpu_pair p =
            gpu_pair_open(m, &pool, NULL, some_of(all, 5, mask, leave, sizeof leave));
        for (int64_t n = 1; n < 40; n += 13)
            gpu_pair_run_x(&p, 1, DIMS(n), TOLERANCE);
        gpu_pair_free(&p);
        gpu_pool_close(&pool);
    }
    mc_model_free(m);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_on_it),         cmocka_unit_test(between),
        cmocka_unit_test(blocks_of_parts),   cmocka_unit_test(watched),
        cmocka_unit_test(in_the_background), cmocka_unit_test(two_sessions),
        cmocka_unit_test(measured),          cmocka_unit_test(halves),
        cmocka_unit_test(on_the_cpu),        cmocka_unit_test(sizes_of_data),
        cmocka_unit_test(small_islands),     cmocka_unit_test(parts_and_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
