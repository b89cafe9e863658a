/* The n-th allocation of a repair fails: it says so, and what it had is freed (LeakSanitizer looks). */
#include "../run/alloc_hook.h"
#include "../run/memory_data.h"
#include "../run/run_util.h"

#include "graph/constant.h"
#include "graph/verify.h"
#include "passes/quant/repair/quant_repair.h"

enum { SAMPLES = 8, C = 2, SIZE = 3 };

static struct mc_err err;
static long counted;

static struct mc_value *conv(struct mc_graph *g, struct mc_value *x, int64_t from, int64_t to,
                             int64_t group)
{
    struct mc_node *n;
    struct mc_value *in[2] = {x, random_const(g, "w", 4, DIMS(to, from / group, 2, 2), 3)};
    x = build_node(g, "Conv", "conv", 2, in, &n);
    assert_int_equal(mc_edit_attr_int(n, "group", group, NULL), 0);
    return x;
}

/* Folded, equalised, smoothed; of 1 KiB a weight at least, so that they are sites. */
static struct mc_model *network(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, C, SIZE, SIZE));
    x = build_binary(g, "Mul", "scaled", conv(g, x, C, 64, 1),
                     random_const(g, "s", 3, DIMS(64, 1, 1), 5));
    x = build_unary(g, "Relu", "relu", x);
    x = build_unary(g, "Flatten", "flat", conv(g, x, 64, 16, 2));
    x = build_binary(g, "Mul", "h", x, random_const(g, "outliers", 1, DIMS(16), 8));
    x = build_binary(g, "Mul", "gate", x, build_unary(g, "Sigmoid", "sigmoid", x));
    x = build_binary(g, "MatMul", "product", x, random_const(g, "w", 2, DIMS(16, 20), 7));
    build_output(g, build_binary(g, "Add", "sum", x, random_const(g, "b", 1, DIMS(20), 6)));
    build_ok(mc_verify(m, &err), &err);
    return m;
}

struct job {
    struct mc_model *m;
    struct memory_data data;
    float x[SAMPLES * C * SIZE * SIZE];
    struct mc_quant_rules rules;
    struct mc_quant_sites sites;
    enum mc_quant_form form[8];
};

typedef int step_fn(struct job *j);

static int edits(struct job *j)
{
    struct mc_model *m = NULL;
    size_t folded, evened;
    int rc = mc_model_clone(j->m, &m, &err);
    rc = rc ? rc : mc_quant_fold_norms(m, &folded, &err);
    rc = rc ? rc : mc_quant_equalise(m, &evened, &err);
    rc = rc ? rc : mc_verify(m, &err);
    assert_true(rc || (folded == 1 && evened == 1));
    mc_model_free(m);
    return rc;
}

static int repairs(struct job *j)
{
    struct mc_pass_ctx ctx = {.calib = &j->data.d, .calib_count = SAMPLES};
    struct mc_quant_built b = {0};
    struct mc_quant_repair_result result[2];
    int rc = mc_quant_build(&ctx, j->m, &j->sites, &j->rules, NULL, j->form, NULL, false, &b, &err);
    struct mc_quant_repair r = {.ctx = &ctx,
                                .before = j->m,
                                .sites = &j->sites,
                                .rules = &j->rules,
                                .b = &b,
                                .fit = &j->data.d,
                                .fit_count = 6,
                                .held = &j->data.d,
                                .held_first = 6,
                                .held_count = 2};
    rc = rc ? rc : mc_quant_repair_gptq(&r, &result[0], &err);
    rc = rc ? rc : mc_quant_repair_bias(&r, &result[1], &err);
    rc = rc ? rc : mc_verify(b.m, &err);
    assert_true(rc || (result[0].layers == 3 && result[1].layers == 3));
    mc_quant_built_free(&b);
    return rc;
}

/* False when memory ran out on the way. */
static bool run(struct job *j, step_fn *step, long fails)
{
    allocations = 0;
    allocations_left = fails;
    int rc = step(j);
    counted = allocations;
    bool failed = fails >= 0 && allocations_left < 0;
    allocations_left = -1;
    if (failed ? rc != MC_ENOMEM : rc != 0)
        fail_msg("allocation %ld: %d, '%s'", fails, rc, err.msg);
    return !rc;
}

static void allocations_fail(void **state)
{
    (void)state;
    static struct job j;
    static step_fn *const steps[] = {edits, repairs};
    j = (struct job){.m = network()};
    j.rules =
        (struct mc_quant_rules){.weight_bits = 3, .block_bits = 4, .block = 32, .act_bits = 8};
    build_ok(mc_quant_sites_find(j.m, &j.rules, &j.sites, &err), &err);
    assert_true(j.sites.n <= 8);
    for (size_t i = 0; i < j.sites.n; i++)
        if (!j.sites.item[i].why[MC_QUANT_WEIGHT])
            j.form[i] = MC_QUANT_WEIGHT;
    mc_rng_fill_normal(3, 1, 0, j.x, sizeof j.x / sizeof *j.x);
    memory_open(&j.data, "x", SAMPLES, 3, DIMS(C, SIZE, SIZE), j.x, NULL);
    for (int s = 0; s < 2; s++) {
        assert_true(run(&j, steps[s], -1));
        assert_true(run(&j, steps[s], -1)); /* what is made but once is there */
        long total = counted, stride = 1 + total / 500;
        for (long n = 0; n < total; n += stride)
            assert_false(run(&j, steps[s], n));
        print_message("%ld allocations\n", total);
    }
    mc_quant_sites_free(&j.sites);
    mc_model_free(j.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(allocations_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
