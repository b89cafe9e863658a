#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "tests/graph/build.h"

static struct mc_model *body_model(struct mc_graph **ret_body)
{
    /* y = If(c) { then: r = Relu(x) }; output y, x = Abs(in) */
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    int64_t one = 4;
    struct mc_value *in = build_input(g, "in", MC_DTYPE_F32, 1, &one);
    struct mc_value *c = build_input(g, "c", MC_DTYPE_BOOL, 0, NULL);
    struct mc_value *x = build_unary(g, "Abs", "x", in);
    (void)x;
    struct mc_node *n;
    struct mc_value *y = build_node(g, "If", "y", 1, &c, &n);
    struct mc_graph *body = mc_edit_graph(m, g, n, "then");
    struct mc_value *p = mc_edit_resolve(body, "x");
    assert_non_null(p);
    struct mc_value *r = build_unary(body, "Relu", "r", p);
    build_output(body, r);
    assert_int_equal(mc_edit_attr_graph(n, "then_branch", body, NULL), 0);
    build_output(g, y);
    *ret_body = body;
    return m;
}

static void names_are_unique(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *a = mc_edit_value(g, "a");
    assert_null(mc_edit_value(g, "a"));
    assert_ptr_equal(mc_graph_value(g, "a"), a);
    assert_string_equal(mc_edit_fresh(g, "a")->name, "a_1");
    mc_edit_value(g, "a_2");
    assert_string_equal(mc_edit_fresh(g, "a")->name, "a_3");
    char name[32];
    for (int i = 0; i < 50000; i++) {
        snprintf(name, sizeof name, "v%d", i);
        assert_non_null(mc_edit_value(g, name));
    }
    for (int i = 0; i < 50000; i += 3) {
        snprintf(name, sizeof name, "v%d", i);
        mc_edit_remove_value(mc_graph_value(g, name));
        if (i > 3000)
            i += 997;
    }
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "v%d", i);
        assert_true((mc_graph_value(g, name) == NULL) == (i % 3 == 0));
    }
    mc_model_free(m);
}

static void captures_follow(void **state)
{
    (void)state;
    struct mc_graph *body;
    struct mc_model *m = body_model(&body);
    struct mc_graph *g = m->graph;
    struct mc_value *x = mc_graph_value(g, "x");
    assert_int_equal(x->n_uses, 1);
    assert_int_equal(x->uses[0].slot, -1);
    struct mc_value *z = build_unary(g, "Neg", "z", mc_graph_value(g, "in"));
    assert_int_equal(mc_edit_replace_uses(x, z, NULL), 0);
    assert_int_equal(x->n_uses, 0);
    assert_ptr_equal(mc_graph_value(body, "z")->outer, z);
    assert_null(mc_graph_value(body, "x"));
    assert_int_equal(mc_edit_sweep(g), 1);
    assert_null(mc_graph_value(g, "x"));

    struct mc_model *copy;
    assert_int_equal(mc_model_clone(m, &copy, NULL), 0);
    mc_model_free(m);
    z = mc_graph_value(copy->graph, "z");
    assert_int_equal(z->n_uses, 1);
    assert_string_equal(z->uses[0].proxy->name, "z");
    assert_string_equal(z->uses[0].proxy->graph->name, "then");
    assert_string_equal(z->uses[0].node->op_type, "If");
    /* The graph output keeps its name. */
    struct mc_value *y = mc_graph_value(copy->graph, "y");
    struct mc_value *w = build_unary(copy->graph, "Relu", "w", z);
    assert_int_equal(mc_edit_replace_uses(y, w, NULL), 0);
    assert_string_equal(copy->graph->outputs[0]->name, "y");
    assert_ptr_equal(copy->graph->outputs[0], w);
    assert_int_equal(mc_edit_sweep(copy->graph), 1);
    assert_int_equal(copy->graph->n_nodes, 2);
    mc_model_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(captures_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
