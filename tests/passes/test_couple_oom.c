/* The n-th allocation of an analysis or a cut fails: it says so, and what it had is freed (LeakSanitizer looks). */
#include "../run/alloc_hook.h"
#include "prune_util.h"

static struct mc_value *weighted(struct mc_graph *g, const char *op, const char *name,
                                 struct mc_value *x, int rank, const int64_t *dims, int64_t group)
{
    struct mc_node *n;
    struct mc_value *in[2] = {x, random_const(g, "w", rank, dims, (uint64_t)dims[0])};
    struct mc_value *y = build_node(g, op, name, 2, in, &n);
    if (group > 1)
        assert_int_equal(mc_edit_attr_int(n, "group", group, NULL), 0);
    return build_unary(g, "Relu", "relu", y);
}

/* Convolutions in even groups, in whole groups and in none, flattened into heads that a branch reads. */
static struct mc_model *network(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(2, 3, 2, 2));
    struct mc_value *h = weighted(g, "Conv", "a", x, 4, DIMS(24, 3, 1, 1), 1);
    h = weighted(g, "Conv", "even", h, 4, DIMS(16, 12, 1, 1), 2);
    h = weighted(g, "Conv", "whole", h, 4, DIMS(16, 2, 1, 1), 8);
    h = weighted(g, "Conv", "b", h, 4, DIMS(12, 16, 1, 1), 1);
    struct mc_value *in[2] = {h, build_const(g, "s1", MC_DTYPE_I64, 1, DIMS(4), DIMS(2, 3, 4, 4))};
    h = build_unary(g, "Sigmoid", "sig", build_node(g, "Reshape", "r", 2, in, &n));
    struct mc_value *back[2] = {h, build_const(g, "s2", MC_DTYPE_I64, 1, DIMS(2), DIMS(2, 48))};
    h = weighted(g, "MatMul", "d", build_node(g, "Reshape", "rr", 2, back, &n), 2, DIMS(48, 9), 1);
    struct mc_value *condition =
        build_binary(g, "Greater", "gt", build_unary(g, "ReduceMax", "max", x),
                     f32_const(g, "zero", 0, NULL, F(0)));
    build_ok(mc_edit_node(g, g->n_nodes, "If", "", 0, "if", &condition, 1,
                          (struct mc_value *[]){mc_edit_fresh(g, "y")}, 1, &n, &err),
             &err);
    for (int i = 0; i < 2; i++) {
        struct mc_graph *b = mc_edit_graph(m, g, n, i ? "else" : "then");
        build_ok(mc_edit_attr_graph(n, i ? "else_branch" : "then_branch", b, &err), &err);
        build_output(b, weighted(b, "MatMul", "e", mc_edit_resolve(b, h->name), 2, DIMS(9, 3), 1));
    }
    build_output(g, n->out[0]);
    return m;
}

static long counted;

/* All of it once; false when memory ran out on the way. */
static bool whole_run(struct mc_model *m, const double *score, long fails)
{
    struct mc_coupling *c = NULL;
    struct mc_model *clone = NULL;
    struct mc_err err = {0};
    bool gone[128] = {false};
    allocations = 0;
    allocations_left = fails;
    int rc = mc_coupling_find(m, &c, &err);
    for (size_t i = 0; !rc && i < c->n_groups; i++)
        if (!c->group[i].why)
            rc = mc_coupling_choose(&c->group[i], score,
                                    mc_coupling_feasible(&c->group[i], c->group[i].n / 2, 1), gone,
                                    &err);
    if (!rc)
        rc = mc_model_clone(m, &clone, &err);
    if (!rc)
        rc = mc_cut(c, clone, gone, 0, &err);
    counted = allocations;
    bool failed = fails >= 0 && allocations_left < 0;
    allocations_left = -1;
    if (failed ? rc != MC_ENOMEM : rc != 0)
        fail_msg("allocation %ld: %d, '%s'", fails, rc, err.msg);
    if (!rc) {
        assert_true(c->n_units > 40 && c->n_units < 128);
        build_ok(mc_verify(clone, &err), &err);
    }
    mc_model_free(clone);
    mc_coupling_free(c);
    return !rc;
}

static void allocations_fail(void **state)
{
    (void)state;
    struct mc_model *m = network();
    double score[128];
    for (int i = 0; i < 128; i++)
        score[i] = i * 7 % 13;
    assert_true(whole_run(m, score, -1));
    assert_true(whole_run(m, score, -1)); /* what is made but once is there */
    long total = counted;
    for (long n = 0; n < total; n++)
        assert_false(whole_run(m, score, n));
    print_message("%ld allocations\n", total);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(allocations_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
