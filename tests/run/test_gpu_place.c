/* Where the steps of a plan run, and the copies between host and GPU. */
#include "gpu_util.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_on_it), cmocka_unit_test(between)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
