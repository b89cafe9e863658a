/* The n-th allocation of collecting, saving, reading and merging statistics, of a weight or of an estimate fails: it
 * says so, and what it had is freed (LeakSanitizer looks). */
#include "../run/alloc_hook.h"
#include "../run/memory_data.h"
#include "../run/run_util.h"

#include "graph/constant.h"
#include "passes/quant/cost/quant_cost.h"
#include "passes/quant/range/quant_stats.h"
#include "passes/quant/range/quant_weight.h"

enum { N = 6, WIDTH = 12 };

static struct mc_model *network(void)
{
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, WIDTH));
    struct mc_value *h =
        build_binary(g, "MatMul", "h", x, random_const(g, "w", 2, DIMS(WIDTH, 20), 1));
    build_output(g, build_unary(g, "Relu", "y", h));
    return m;
}

static const struct mc_quant_want want[] = {{"x", 1}, {"h", 1}, {"y", -1}};

static int statistics(const struct mc_model *m, struct mc_dataset *d, struct mc_err *err)
{
    struct mc_pass_ctx ctx = {.calib = d, .calib_count = N};
    struct mc_quant_stats *s = NULL, *back = NULL;
    json_t *o = NULL;
    int rc = mc_quant_stats_collect(&ctx, m, want, 3, &s, err);
    if (!rc && !(o = mc_quant_stats_json(s)))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    rc = rc ? rc : mc_quant_stats_read(o, m, &back, err);
    rc = rc ? rc : mc_quant_stats_merge(s, back, err);
    json_decref(o);
    mc_quant_stats_free(s);
    mc_quant_stats_free(back);
    return rc;
}

static int numbers(const struct mc_model *m, struct mc_err *err)
{
    static const struct mc_quant_type four = {.bits = 4};
    const struct mc_tensor *w = mc_constant(mc_graph_value(m->graph, "w"));
    struct mc_quant_cut cut = {.axis = 0, .block = 4};
    struct mc_quant_weight q = {0};
    float *back = NULL;
    double ns;
    int rc =
        mc_quant_weight_make(w, "w", &four, &cut, MC_QUANT_MSE, MC_DTYPE_F16, NULL, NULL, &q, err);
    rc = rc ? rc : mc_quant_weight_f32(q.q, q.scale, q.zero, &cut, &back, err);
    rc = rc ? rc : mc_quant_cost(m, MC_QUANT_STOCK, NULL, &ns, NULL, err);
    free(back);
    mc_quant_weight_free(&q);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    float *x = malloc(N * WIDTH * sizeof *x);
    struct mc_model *m = network();
    struct memory_data data;
    assert_non_null(x);
    mc_rng_fill_normal(1, 0, 0, x, N * WIDTH);
    struct mc_dataset *d = memory_open(&data, "x", N, 1, DIMS(WIDTH), x, NULL);
    for (int what = 0; what < 2; what++) {
        bool failed = true;
        long n = 0;
        for (; failed; n++) {
            struct mc_err err = {0};
            allocations_left = n;
            int rc = what ? numbers(m, &err) : statistics(m, d, &err);
            failed = allocations_left < 0;
            allocations_left = -1;
            if (failed ? rc && (rc != MC_ENOMEM || !err.msg[0]) : rc)
                fail_msg("allocation %ld: %d, %s", n, rc, err.msg);
        }
        assert_true(n > 20);
    }
    mc_model_free(m);
    free(x);
}

int main(void)
{
    json_set_alloc_funcs(malloc, free);
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
