/* What a session takes of a GPU's memory, and what happens where there is none left: whichever allocation fails, of
 * the host or of the (simulated) device, the run says so, nothing is lost, and the next one works. */
#include "alloc_hook.h"
#include "gpu_util.h"

/* y = relu(x w + b) reshaped, state p' = p / 2 + tanh(p); Tanh stays on the CPU. */
static struct mc_model *mixed(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 8));
    struct mc_value *p = build_input(g, "p", MC_DTYPE_F32, 1, DIMS(8));
    struct mc_value *v = build_binary(g, "MatMul", "xw", x, random_const(g, "w", 2, DIMS(8, 8), 1));
    v = build_binary(g, "Add", "xwb", v, random_const(g, "b", 1, DIMS(8), 2));
    v = build_unary(g, "Tanh", "t", build_unary(g, "Relu", "r", v));
    v = build_binary(g, "Mul", "scaled", v, p);
    struct mc_value *shape = build_const(g, "shape", MC_DTYPE_I64, 1, DIMS(3), DIMS(-1, 2, 4));
    build_output(g, build_binary(g, "Reshape", "y", v, shape));
    struct mc_value *half = build_binary(g, "Mul", "h", p, f32_const(g, "c", 0, DIMS(0), F(0.5f)));
    build_output(g, build_binary(g, "Add", "p_new", half, build_unary(g, "Tanh", "tp", p)));
    return m;
}

static const float input[] = {1, -2, 3, -4, 5, -6, 7, -8, 8, 7, 6, 5, 4, 3, 2, 1};

static void run_twice(struct mc_session *s, struct mc_array *in, int *rc, struct mc_err *err)
{
    for (int i = 0; i < 2 && !*rc; i++)
        *rc = mc_session_run(s, in, 1, err);
}

static void every_allocation(void **state)
{
    struct mc_model *m = mixed();
    struct mc_array in = array_of("x", MC_DTYPE_F32, 2, DIMS(2, 8), input);
    struct mc_session_state pair = {"p", "p_new"};
    struct mc_session_opts o = {.state = &pair, .n_state = 1};
    struct gpu_pool pool = gpu_pool_open();
    float p[] = {1, 2, 3, 4, 5, 6, 7, 8};
    bool failed = true;
    struct mc_session *cpu = session_of(m, &o);
    o.pool = pool.pool;
    assert_int_equal(setenv("MCOMPRESS_CPU_OPERATORS", "Tanh", 1), 0);
    long n = 0;
    for (; failed; n++) {
        struct mc_session *s = NULL;
        struct mc_gpu_memory left;
        struct mc_err err = {0};
        allocations_left = n;
        int rc = mc_session_new(m->graph, &o, &s, &err);
        if (!rc)
            run_twice(s, &in, &rc, &err);
        failed = allocations_left < 0;
        allocations_left = -1;
        if (rc != (failed ? MC_ENOMEM : 0))
            fail_msg("allocation %ld: %d %s", n, rc, err.msg);
        if (s) {
            build_ok(mc_session_store(s, "p", p, sizeof p, &err), &err);
            build_ok(mc_session_store(cpu, "p", p, sizeof p, &err), &err);
            run_ok(s, &in, 1);
            run_ok(cpu, &in, 1);
            expect_alike(mc_session_output(s, 0), mc_session_output(cpu, 0), 1e-5);
        }
        mc_session_free(s);
        mc_gpu_memory(pool.gpu, &left);
        assert_int_equal(left.used, 0);
        assert_true(n < 100000);
    }
    assert_true(n > 40);
    assert_int_equal(unsetenv("MCOMPRESS_CPU_OPERATORS"), 0);
    mc_session_free(cpu);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

/* What was planned is what is taken, before and after a run, and with a second size. */
static void as_planned(void **state)
{
    struct mc_model *m = mixed();
    struct mc_session_state pair = {"p", "p_new"};
    struct gpu_pool pool = gpu_pool_open();
    struct gpu_pair p =
        gpu_pair_open(m, &pool, &(struct mc_session_opts){.state = &pair, .n_state = 1}, "Tanh");
    for (int64_t rows = 1; rows <= 2; rows++) {
        struct mc_array in = array_of("x", MC_DTYPE_F32, 2, DIMS(rows, 8), input);
        struct mc_gpu_memory mem;
        struct mc_err err;
        size_t peak;
        build_ok(mc_session_peak(p.gpu, &in, 1, &peak, &err), &err);
        gpu_pair_run(&p, &in, 1, 1e-5);
        mc_gpu_memory(pool.gpu, &mem);
        assert_int_equal(mem.used, peak);
        assert_int_equal(mem.peak, peak);
        assert_int_equal(gpu_stats(p.gpu).gpu_bytes, peak);
    }
    gpu_pair_free(&p);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation),
                                       cmocka_unit_test(as_planned)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
