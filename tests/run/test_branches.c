/* If with a condition that is known before a run, and constants in bodies. */
#include "run_util.h"

#include "graph/run/fold.h"
#include "graph/summary.h"
#include "graph/verify.h"

static struct mc_graph *branch(struct mc_node *n, const char *attr)
{
    struct mc_err err;
    struct mc_graph *g = mc_edit_graph(n->graph->model, n->graph, n, attr);
    build_ok(mc_edit_attr_graph(n, attr, g, &err), &err);
    return g;
}

/* y = rank of x is 2 (from its shape) ? -x : |x|, the product in the branch with a name of the main graph. The
 * branches have another If each, of the same condition. */
static struct mc_model *by_shape(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 3));
    struct mc_value *rank = build_unary(g, "Shape", "rank", build_unary(g, "Shape", "shape", x));
    struct mc_value *two = build_const(g, "two", MC_DTYPE_I64, 1, DIMS(1), DIMS(2));
    struct mc_value *c = build_binary(g, "Equal", "c", rank, two);
    struct mc_node *n, *inner;
    build_output(g, build_node(g, "If", "y", 1, &c, &n));
    struct mc_graph *then = branch(n, "then_branch"), *other = branch(n, "else_branch");
    build_output(other, build_unary(other, "Abs", "a", mc_edit_resolve(other, "x")));
    struct mc_value *cc = mc_edit_resolve(then, "c");
    build_unary(then, "Relu", "t", mc_edit_resolve(then, "x"));
    struct mc_value *r = build_node(then, "If", "r", 1, &cc, &inner);
    struct mc_graph *deep = branch(inner, "then_branch"), *never = branch(inner, "else_branch");
    build_output(deep, build_binary(deep, "Sub", "d", mc_edit_resolve(deep, "t"),
                                    mc_edit_resolve(deep, "x")));
    build_output(never, build_unary(never, "Exp", "e", mc_edit_resolve(never, "t")));
    build_output(then, r);
    return m;
}

static void expect_y(struct mc_model *m, const float *x, const float *want)
{
    struct mc_session *s = session_of(m, NULL);
    struct mc_array in = array_of("x", MC_DTYPE_F32, 2, DIMS(2, 3), x);
    run_ok(s, &in, 1);
    expect_f32(mc_session_output(s, 0), 2, DIMS(2, 3), want, 0);
    mc_session_free(s);
}

static const float x[6] = {1, -2, 3, -4, 5, -6}, want[6] = {0, 2, 0, 4, 0, 6};

static void known_branches_take_the_place(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_fold_stats st;
    struct mc_model *m = by_shape();
    build_ok(mc_verify(m, &err), &err);
    expect_y(m, x, want);
    build_ok(mc_prepare(m, &st, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(st.folded_branches, 2);
    assert_int_equal(m->graph->n_nodes, 2);
    assert_string_equal(m->graph->nodes[0]->op_type, "Relu");
    assert_string_equal(m->graph->nodes[1]->op_type, "Sub");
    assert_string_equal(m->graph->outputs[0]->name, "y");
    expect_y(m, x, want);
    mc_model_free(m);
}

/* Without a declared rank nothing is known before a run. */
static void others_stay(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_fold_stats st;
    struct mc_model *m = by_shape();
    assert_true(mc_edit_type(m->graph->inputs[0], MC_DTYPE_F32, -1, NULL));
    build_ok(mc_prepare(m, &st, &err), &err);
    assert_int_equal(st.folded_branches, 0);
    expect_y(m, x, want);
    mc_model_free(m);
}

/* Branches that give what they do not make: an outer value, an initializer, one value twice. */
static void outputs_of_branches(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 3));
    struct mc_value *c = build_const(g, "c", MC_DTYPE_BOOL, 0, NULL, "\1");
    struct mc_value *out[4];
    for (int i = 0; i < 4; i++)
        out[i] = mc_edit_fresh(g, "y");
    struct mc_node *n;
    build_ok(mc_edit_node(g, 0, "If", "", 0, "if", &c, 1, out, 4, &n, &err), &err);
    struct mc_graph *then = branch(n, "then_branch");
    struct mc_value *neg = build_unary(then, "Neg", "neg", mc_edit_resolve(then, "x"));
    build_output(then, neg);
    build_output(then, mc_edit_resolve(then, "x"));
    build_output(then, neg);
    build_output(then, build_const(then, "k", MC_DTYPE_F32, 2, DIMS(2, 3), x));
    struct mc_graph *other = branch(n, "else_branch");
    for (int i = 0; i < 4; i++)
        build_output(other, mc_edit_resolve(other, "x"));
    for (int i = 0; i < 4; i++)
        build_output(g, out[i]);
    struct mc_fold_stats st;
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_prepare(m, &st, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(st.folded_branches, 1);
    struct mc_session *s = session_of(m, NULL);
    struct mc_array a = array_of("x", MC_DTYPE_F32, 2, DIMS(2, 3), x);
    run_ok(s, &a, 1);
    float minus[6];
    for (int i = 0; i < 6; i++)
        minus[i] = -x[i];
    const float *const wants[4] = {minus, x, minus, x};
    for (int i = 0; i < 4; i++)
        expect_f32(mc_session_output(s, i), 2, DIMS(2, 3), wants[i], 0);
    mc_session_free(s);
    mc_model_free(m);
}

/* In a branch that stays: a transposed weight of its own, and the sum of two of the main graph, of which only the
 * branch reads one. */
static void constants_in_bodies_fold(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_fold_stats st;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *c = build_input(g, "c", MC_DTYPE_BOOL, 0, NULL);
    struct mc_value *in = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 40));
    float w[1600];
    mc_rng_fill_uniform(1, 0, 0, w, 1600);
    build_const(g, "one", MC_DTYPE_F32, 2, DIMS(40, 40), w);
    mc_rng_fill_uniform(2, 0, 0, w, 1600);
    struct mc_value *both = build_const(g, "both", MC_DTYPE_F32, 2, DIMS(40, 40), w);
    build_output(g, build_binary(g, "MatMul", "z", in, both));
    struct mc_node *n;
    build_output(g, build_node(g, "If", "y", 1, &c, &n));
    struct mc_graph *then = branch(n, "then_branch"), *other = branch(n, "else_branch");
    struct mc_value *own = build_const(then, "own", MC_DTYPE_F32, 2, DIMS(40, 40), w);
    build_output(then, build_binary(then, "MatMul", "p", mc_edit_resolve(then, "x"),
                                    build_unary(then, "Transpose", "t", own)));
    struct mc_value *t = build_unary(other, "Transpose", "t", mc_edit_resolve(other, "one"));
    struct mc_value *u = build_unary(other, "Transpose", "u", mc_edit_resolve(other, "both"));
    build_output(other, build_binary(other, "MatMul", "p", mc_edit_resolve(other, "x"),
                                     build_binary(other, "Add", "a", t, u)));
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_prepare(m, &st, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(then->n_nodes, 1);
    assert_int_equal(other->n_nodes, 1); /* the sum takes the place of `one` */
    assert_non_null(mc_graph_value(g, "both"));
    assert_null(mc_graph_value(g, "one"));
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_branches_take_the_place),
        cmocka_unit_test(others_stay),
        cmocka_unit_test(outputs_of_branches),
        cmocka_unit_test(constants_in_bodies_fold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
