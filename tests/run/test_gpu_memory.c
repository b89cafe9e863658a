/* What a session takes of a GPU's memory, and what happens where there is none left: whichever allocation fails, of
 * the host or of the (simulated) device, the run says so, nothing is lost, and the next one works. */
#include "alloc_hook.h"
#include "gpu_util.h"
#include "memory_data.h"

#include "graph/run/device.h"
#include "graph/run/measure.h"

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

/* So much is left of the device's memory, besides what it has for copies. */
static void leave(const struct gpu_pool *pool, size_t bytes)
{
    struct mc_gpu_memory m;
    char text[32];
    mc_gpu_memory(pool->gpu, &m);
    snprintf(text, sizeof text, "%zu", m.used + m.workspace + bytes);
    assert_int_equal(setenv("MC_SIM_MEMORY", text, 1), 0);
}

/* Samples that it has no memory for at once run in parts, with the same results. */
static void fewer_samples(void **state)
{
    enum { SAMPLES = 200, WIDTH = 1024, ALL = SAMPLES * WIDTH };
    struct mc_model *m = build_model(17);
    struct mc_value *v = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-2, WIDTH));
    v = build_binary(m->graph, "MatMul", "wide", v,
                     random_const(m->graph, "w", 2, DIMS(WIDTH, 16), 1));
    build_output(m->graph, build_unary(m->graph, "Relu", "y", v));
    float *x = mc_calloc(ALL, sizeof *x);
    static int64_t labels[SAMPLES];
    assert_non_null(x);
    for (int i = 0; i < ALL; i++)
        x[i] = (float)(i * 37 % 101) / 101 - 0.5f;
    for (int i = 0; i < SAMPLES; i++)
        labels[i] = i % 16;
    struct memory_data data;
    struct mc_dataset *d = memory_open(&data, "x", SAMPLES, 1, DIMS(WIDTH), x, labels);
    struct gpu_pool pool = gpu_pool_open();
    struct mc_measure_opts o = {.run = {.count = 1, .pool = pool.pool}};
    struct mc_measure got, want;
    struct mc_err err;
    build_ok(mc_measure(m->graph, NULL, d, &o, &got, &err), &err); /* buffers are there now */
    o.run.count = -1;
    leave(&pool, 1 << 19); /* all samples are 800 kB */
    data.reads = data.largest = 0;
    build_ok(mc_measure(m->graph, NULL, d, &o, &got, &err), &err);
    assert_int_equal(data.largest, SAMPLES);
    assert_true(data.reads > 2 && data.reads < 8);
    leave(&pool, 1 << 10);
    assert_int_equal(mc_measure(m->graph, NULL, d, &o, &want, &err), MC_ENOMEM);
    assert_int_equal(unsetenv("MC_SIM_MEMORY"), 0);
    o.run.pool = NULL;
    build_ok(mc_measure(m->graph, NULL, d, &o, &want, &err), &err);
    assert_int_equal(got.model.samples, SAMPLES);
    assert_true(fabs(got.model.loss - want.model.loss) <= 1e-5 * want.model.loss);
    gpu_pool_close(&pool);
    free(x);
    mc_model_free(m);
    (void)state;
}

/* The most that sessions planned is that of those that are there at once. */
static void planned_together(void **state)
{
    struct mc_model *m = mixed();
    struct gpu_pool pool = gpu_pool_open();
    struct mc_session_state pair = {"p", "p_new"};
    struct mc_session_opts o = {.pool = pool.pool, .state = &pair, .n_state = 1};
    struct mc_array in = array_of("x", MC_DTYPE_F32, 2, DIMS(2, 8), input);
    struct mc_session *s[3];
    struct mc_device_use use;
    uint64_t before = mc_device_planned();
    for (int i = 0; i < 3; i++)
        s[i] = session_of(m, &o);
    size_t most = 0;
    mc_device_plan(0, before); /* what other tests planned is less than this together with it */
    for (int i = 0; i < 3; i++)
        run_ok(s[i], &in, 1);
    for (int i = 0; i < 3; i++)
        most += gpu_stats(s[i]).gpu_bytes;
    assert_true(mc_device_use(pool.pool, &use));
    assert_int_equal(use.planned, before + most);
    for (int i = 0; i < 3; i++)
        mc_session_free(s[i]);
    assert_int_equal(mc_device_planned(), before + most);
    mc_device_plan(before, 0);
    gpu_pool_close(&pool);
    mc_model_free(m);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation), cmocka_unit_test(as_planned),
        cmocka_unit_test(fewer_samples), cmocka_unit_test(planned_together)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
