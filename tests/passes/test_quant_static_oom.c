/* The n-th allocation of planning or building static integers fails: it says so, and what it had is freed (LeakSanitizer looks). */
#include "../run/alloc_hook.h"
#include "../run/run_util.h"

#include "graph/verify.h"
#include "passes/quant/form/quant_build.h"

static struct mc_graph *g;

static struct mc_value *conv(struct mc_value *x, int64_t from, int64_t to, uint64_t seed)
{
    struct mc_node *n;
    struct mc_value *in[3] = {x, random_const(g, "w", 4, DIMS(to, from, 3, 3), seed),
                              random_const(g, "b", 1, &to, seed + 1)};
    x = build_node(g, "Conv", "conv", 3, in, &n);
    assert_int_equal(mc_edit_attr_ints(n, "pads", DIMS(1, 1, 1, 1), 4, NULL), 0);
    return x;
}

/* A gate, a factor, a pool with its act behind it, branches, a head with factors. */
static struct mc_model *network(void)
{
    struct mc_model *m = build_model(17);
    struct mc_node *n;
    g = m->graph;
    struct mc_value *x = conv(build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, 3, 8, 8)), 3, 8, 1);
    x = build_unary(g, "HardSwish", "swish", x);
    x = build_binary(g, "Mul", "factor", x, f32_const(g, "two", 0, NULL, F(2)));
    x = build_binary(g, "Add", "shift", x, random_const(g, "shift", 4, DIMS(1, 8, 1, 1), 3));
    x = build_node(g, "MaxPool", "pool", 1, &(struct mc_value *){conv(x, 8, 8, 5)}, &n);
    assert_int_equal(mc_edit_attr_ints(n, "kernel_shape", DIMS(2, 2), 2, NULL), 0);
    x = build_unary(g, "Relu", "relu", x);
    struct mc_value *both[2] = {conv(x, 8, 8, 7), conv(x, 8, 8, 9)};
    x = build_node(g, "Concat", "both", 2, both, &n);
    assert_int_equal(mc_edit_attr_int(n, "axis", 1, NULL), 0);
    x = build_unary(g, "Flatten", "flat", build_unary(g, "GlobalAveragePool", "mean", x));
    struct mc_value *in[3] = {x, random_const(g, "v", 2, DIMS(16, 10), 11),
                              random_const(g, "c", 1, DIMS(10), 12)};
    x = build_node(g, "Gemm", "head", 3, in, &n);
    assert_int_equal(mc_edit_attr_float(n, "alpha", 0.5f, NULL), 0);
    build_output(g, x);
    return m;
}

static long counted;

/* All of it once; false when memory ran out on the way. */
static bool whole_run(const struct mc_model *m, enum mc_quant_form wish, long fails)
{
    struct mc_quant_rules rules = {.weight_bits = 8, .block_bits = 4, .block = 8, .act_bits = 8};
    struct mc_pass_ctx ctx = {.seed = 1};
    struct mc_quant_sites all = {0};
    struct mc_quant_built built = {0};
    struct mc_quant_want *want = NULL;
    enum mc_quant_form form[8] = {MC_QUANT_FLOAT};
    struct mc_model *own = NULL;
    struct mc_err err = {0};
    size_t n;
    allocations = 0;
    allocations_left = fails;
    int rc = mc_model_clone(m, &own, &err);
    if (!rc)
        rc = mc_quant_prepare(own, &err);
    if (!rc)
        rc = mc_quant_sites_find(own, &rules, &all, &err);
    if (!rc)
        rc = mc_quant_wanted(own, &all, &rules, &want, &n, &err);
    for (size_t i = 0; i < all.n && !rc; i++)
        form[i] = all.item[i].why[wish] ? MC_QUANT_FLOAT : wish;
    if (!rc)
        rc = mc_quant_build(&ctx, own, &all, &rules, NULL, form, NULL, false, &built, &err);
    counted = allocations;
    bool failed = fails >= 0 && allocations_left < 0;
    allocations_left = -1;
    if (failed ? rc != MC_ENOMEM : rc != 0)
        fail_msg("allocation %ld: %d, '%s'", fails, rc, err.msg);
    if (!rc) {
        assert_int_equal(all.n, 5);
        assert_true(wish != MC_QUANT_STATIC || built.quantised_nodes == 8);
    }
    mc_quant_built_free(&built);
    mc_quant_sites_free(&all);
    mc_model_free(own);
    free(want);
    return !rc;
}

static void memory_runs_out(void **state)
{
    (void)state;
    static const enum mc_quant_form wish[] = {MC_QUANT_STATIC, MC_QUANT_STATIC16};
    struct mc_model *m = network();
    for (size_t k = 0; k < sizeof wish / sizeof *wish; k++) {
        assert_true(whole_run(m, wish[k], -1));
        long all = counted;
        assert_true(all > 100);
        for (long i = 0; i < all; i++)
            whole_run(m, wish[k], i);
        print_message("%s: %ld allocations\n", mc_quant_form_names[wish[k]], all);
    }
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
