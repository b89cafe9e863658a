/* The n-th allocation of finding sites or building fails: it says so, and what it had is freed (LeakSanitizer looks). */
#include "../run/alloc_hook.h"
#include "../run/run_util.h"

#include "graph/verify.h"
#include "passes/quant/form/quant_build.h"

static struct mc_value *op(struct mc_graph *g, const char *type, struct mc_value *a,
                           struct mc_value *b, struct mc_node **ret)
{
    struct mc_node *n;
    struct mc_value *y = build_node(g, type, type, b ? 2 : 1, (struct mc_value *[]){a, b}, &n);
    if (ret)
        *ret = n;
    return y;
}

/* A tied table, a product with a bias and an activation, one behind a Cast, one in a body. */
static struct mc_model *network(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *ids = build_input(g, "i", MC_DTYPE_I64, 1, DIMS(7));
    struct mc_value *flag = build_input(g, "flag", MC_DTYPE_BOOL, 0, NULL);
    struct mc_value *w = random_const(g, "w", 2, DIMS(70, 24), 1);
    struct mc_value *h = op(g, "Gather", w, ids, NULL);
    h = op(g, "MatMul", h, op(g, "Transpose", w, NULL, NULL), NULL);
    h = op(g, "MatMul", h, random_const(g, "v", 2, DIMS(70, 32), 2), NULL);
    h = op(g, "Relu", op(g, "Add", h, random_const(g, "b", 1, DIMS(32), 3), NULL), NULL, NULL);
    struct mc_value *u = random_const(g, "u", 2, DIMS(32, 32), 4);
    build_ok(mc_edit_node(g, g->n_nodes, "If", "", 0, "if", &flag, 1,
                          (struct mc_value *[]){mc_edit_fresh(g, "y")}, 1, &n, &err),
             &err);
    for (int i = 0; i < 2; i++) {
        struct mc_graph *b = mc_edit_graph(m, g, n, i ? "else" : "then");
        build_ok(mc_edit_attr_graph(n, i ? "else_branch" : "then_branch", b, &err), &err);
        struct mc_value *own =
            i ? random_const(b, "own", 2, DIMS(32, 32), 5) : mc_edit_resolve(b, u->name);
        build_output(b, op(b, "MatMul", mc_edit_resolve(b, h->name), own, NULL));
    }
    build_output(g, n->out[0]);
    return m;
}

static long counted;

/* All of it once; false when memory ran out on the way. */
static bool whole_run(const struct mc_model *m, enum mc_quant_form wish, long fails)
{
    struct mc_quant_rules rules = {.weight_bits = 8, .block_bits = 4, .block = 8};
    struct mc_pass_ctx ctx = {.seed = 1};
    struct mc_quant_sites all = {0};
    struct mc_quant_built built = {0};
    struct mc_quant_cache *cache = NULL;
    enum mc_quant_form form[16] = {MC_QUANT_FLOAT};
    struct mc_model *own = NULL;
    struct mc_err err = {0};
    allocations = 0;
    allocations_left = fails;
    int rc = mc_model_clone(m, &own, &err);
    if (!rc)
        rc = mc_quant_prepare(own, &err);
    if (!rc)
        rc = mc_quant_sites_find(own, &rules, &all, &err);
    for (size_t i = 0; i < all.n && !rc; i++)
        form[i] = !all.item[i].why[wish]              ? wish
                  : !all.item[i].why[MC_QUANT_WEIGHT] ? MC_QUANT_WEIGHT
                                                      : MC_QUANT_FLOAT;
    if (!rc)
        rc = mc_quant_cache_new(&cache, &err);
    if (!rc)
        rc = mc_quant_build(&ctx, own, &all, &rules, NULL, form, cache, false, &built, &err);
    counted = allocations;
    bool failed = fails >= 0 && allocations_left < 0;
    allocations_left = -1;
    if (failed ? rc != MC_ENOMEM : rc != 0)
        fail_msg("allocation %ld: %d, '%s'", fails, rc, err.msg);
    if (!rc) {
        assert_int_equal(all.n, 5);
        assert_true(built.compressed == all.weight_bytes - 4 * 32);
    }
    mc_quant_built_free(&built);
    mc_quant_cache_free(cache);
    mc_quant_sites_free(&all);
    mc_model_free(own);
    return !rc;
}

static void memory_runs_out(void **state)
{
    (void)state;
    static const enum mc_quant_form wish[] = {MC_QUANT_WEIGHT, MC_QUANT_BLOCK, MC_QUANT_DYNAMIC};
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
