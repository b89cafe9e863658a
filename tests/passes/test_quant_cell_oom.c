/* The n-th allocation of writing out a recurrent cell, or of halving a model, fails: it says so, and what it had is freed
 * (LeakSanitizer looks). */
#include "../run/alloc_hook.h"
#include "../run/run_util.h"

#include "graph/verify.h"
#include "passes/quant/form/quant_build.h"
#include "passes/quant/form/quant_half.h"

enum { IN = 24, HIDDEN = 10, DIRS = 2 };

/* A cell of two directions with everything, and a product. */
static struct mc_model *network(const char *op, int gates, bool reset_after)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    int rows = gates * HIDDEN;
    struct mc_value *in[7] = {build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, 2, IN)),
                              random_const(g, "W", 3, DIMS(DIRS, rows, IN), 1),
                              random_const(g, "R", 3, DIMS(DIRS, rows, HIDDEN), 2),
                              random_const(g, "B", 2, DIMS(DIRS, 2 * rows), 3),
                              NULL,
                              gates == 4 ? NULL : random_const(g, "H", 3, DIMS(DIRS, 2, HIDDEN), 4),
                              gates == 4 ? random_const(g, "C", 3, DIMS(DIRS, 2, HIDDEN), 5)
                                         : NULL};
    struct mc_value *y = build_node(g, op, "y", gates == 4 ? 7 : 6, in, &n);
    build_ok(mc_edit_attr_int(n, "hidden_size", HIDDEN, &err), &err);
    build_ok(mc_edit_attr_string(n, "direction", "bidirectional", &err), &err);
    if (reset_after)
        build_ok(mc_edit_attr_int(n, "linear_before_reset", 1, &err), &err);
    y = build_binary(g, "MatMul", "p", y, random_const(g, "P", 2, DIMS(HIDDEN, 40), 6));
    build_output(g, build_unary(g, "Tanh", "t", y));
    return m;
}

static long counted;

static bool finish(int rc, long fails, const struct mc_err *err)
{
    counted = allocations;
    bool failed = fails >= 0 && allocations_left < 0;
    allocations_left = -1;
    if (failed ? rc != MC_ENOMEM : rc != 0)
        fail_msg("allocation %ld: %d, '%s'", fails, rc, err->msg);
    return !rc;
}

static bool quantise(const struct mc_model *m, bool contrib, long fails)
{
    struct mc_quant_rules rules = {
        .weight_bits = 8, .contrib = contrib, .weight_unsigned = !contrib};
    struct mc_pass_ctx ctx = {.seed = 1};
    struct mc_quant_sites all = {0};
    struct mc_quant_built built = {0};
    enum mc_quant_form form[4] = {MC_QUANT_DYNAMIC, MC_QUANT_FLOAT};
    struct mc_err err = {0};
    allocations = 0;
    allocations_left = fails;
    int rc = mc_quant_sites_find(m, &rules, &all, &err);
    if (!rc)
        all.item[0].why[MC_QUANT_DYNAMIC] = NULL; /* too small to be offered */
    rc = rc ? rc : mc_quant_build(&ctx, m, &all, &rules, NULL, form, NULL, false, &built, &err);
    bool whole = finish(rc, fails, &err);
    mc_quant_built_free(&built);
    mc_quant_sites_free(&all);
    return whole;
}

static bool halve(const struct mc_model *m, bool computed, long fails)
{
    struct mc_pass_ctx ctx = {.seed = 1};
    struct mc_quant_half how = {MC_DTYPE_F16, computed};
    struct mc_model *own = NULL;
    struct mc_err err = {0};
    json_t *report = NULL;
    allocations = 0;
    allocations_left = fails;
    int rc = mc_model_clone(m, &own, &err);
    rc = rc ? rc : mc_quant_half(&ctx, own, &how, &report, &err);
    bool whole = finish(rc, fails, &err);
    if (whole)
        build_ok(mc_verify(own, &err), &err);
    json_decref(report);
    mc_model_free(own);
    return whole;
}

static void each(const struct mc_model *m, bool (*run)(const struct mc_model *, bool, long),
                 bool how)
{
    assert_true(run(m, how, -1));
    long all = counted;
    assert_true(all > 20);
    for (long i = 0; i < all; i++)
        run(m, how, i);
}

static void memory_runs_out(void **state)
{
    (void)state;
    static const struct {
        const char *op;
        int gates;
        bool reset_after;
    } cells[] = {{"LSTM", 4, false}, {"GRU", 3, false}, {"GRU", 3, true}, {"RNN", 1, false}};
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        struct mc_model *m = network(cells[i].op, cells[i].gates, cells[i].reset_after);
        each(m, quantise, false);
        if (!i) {
            each(m, quantise, true);
            each(m, halve, false);
            each(m, halve, true);
        }
        mc_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
