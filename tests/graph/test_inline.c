#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "graph/inline.h"
#include "graph/verify.h"
#include "tests/graph/build.h"

/* A model with functions of domain "f", each of one input and one output. */
static struct mc_model *model(void)
{
    struct mc_model *m = build_model(17);
    assert_int_equal(mc_edit_opset(m, "f", 1, NULL), 0);
    return m;
}

static struct mc_function *function(struct mc_model *m, const char *name)
{
    struct mc_function *f = mc_edit_function(m, "f", name, "");
    assert_non_null(f);
    assert_int_equal(mc_edit_function_opset(f, "", 11, NULL), 0);
    assert_int_equal(mc_edit_function_opset(f, "f", 1, NULL), 0);
    struct mc_value *a = mc_edit_value(f->body, "a");
    assert_int_equal(mc_edit_input(f->body, a, NULL), 0);
    return f;
}

static struct mc_value *call(struct mc_graph *g, const char *name, struct mc_value *x,
                             struct mc_node **ret)
{
    struct mc_err err;
    struct mc_value *y = mc_edit_fresh(g, "r");
    build_ok(mc_edit_node(g, g->n_nodes, name, "f", 0, "", &x, 1, &y, 1, ret, &err), &err);
    return y;
}

static struct mc_value *input(struct mc_graph *g)
{
    return build_input(g, "x", MC_DTYPE_F32, 2, (int64_t[]){2, 3});
}

static void inlined(struct mc_model *m, size_t nodes)
{
    struct mc_err err;
    bool needed = false;
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_inline_needed(m, &needed, &err), &err);
    assert_true(needed);
    build_ok(mc_inline(m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(m->graph->n_nodes, nodes);
    build_ok(mc_inline_needed(m, &needed, &err), &err);
    assert_false(needed);
}

static void fails(struct mc_model *m, int code, const char *part)
{
    struct mc_err err = {0};
    int rc = mc_inline(m, &err);
    if (rc != code || !strstr(err.msg, part))
        fail_msg("code %d, wanted %d with '%s': %s", rc, code, part, err.msg);
    mc_model_free(m);
}

/* Nodes stand where the call was, in the version of their function; names and outputs are those of before. */
static void bodies_take_the_place_of_calls(void **state)
{
    (void)state;
    struct mc_model *m = model();
    struct mc_function *f = function(m, "F");
    struct mc_value *t = build_unary(f->body, "Neg", "x", f->body->inputs[0]);
    build_output(f->body, build_unary(f->body, "Exp", "r", t));
    struct mc_graph *g = m->graph;
    struct mc_value *first = build_unary(g, "Relu", "first", input(g));
    struct mc_value *y = call(g, "F", first, NULL);
    struct mc_value *last = build_unary(g, "Relu", "last", y);
    build_output(g, last);
    build_output(g, y);
    inlined(m, 4);
    static const struct {
        const char *op;
        int version;
    } want[] = {{"Relu", 17}, {"Neg", 11}, {"Exp", 11}, {"Relu", 17}};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(g->nodes[i]->op_type, want[i].op);
        assert_int_equal(g->nodes[i]->version, want[i].version);
    }
    assert_ptr_equal(mc_graph_value(g, "r"), y);
    assert_ptr_equal(y->producer, g->nodes[2]);
    assert_ptr_equal(g->nodes[1]->in[0], first);
    assert_int_equal(m->n_functions, 1);
    mc_model_free(m);
}

/* An operator row is better than a body. */
static void operators_stay(void **state)
{
    (void)state;
    struct mc_model *m = model();
    struct mc_function *f = mc_edit_function(m, "", "Relu", "");
    struct mc_value *a = mc_edit_value(f->body, "a");
    assert_int_equal(mc_edit_input(f->body, a, NULL), 0);
    build_output(f->body, build_unary(f->body, "Neg", "b", a));
    build_output(m->graph, build_unary(m->graph, "Relu", "y", input(m->graph)));
    bool needed = true;
    assert_int_equal(mc_inline_needed(m, &needed, NULL), 0);
    assert_false(needed);
    assert_int_equal(mc_inline(m, NULL), 0);
    assert_string_equal(m->graph->nodes[0]->op_type, "Relu");
    mc_model_free(m);
}

static void calls_that_do_not_fit(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_model *m = model();
    struct mc_function *f = function(m, "F");
    build_output(f->body, build_unary(f->body, "Neg", "b", f->body->inputs[0]));
    struct mc_value *x = input(m->graph), *in[2] = {x, x}, *y = mc_edit_value(m->graph, "y");
    build_ok(mc_edit_node(m->graph, 0, "F", "f", 0, "c", in, 2, &y, 1, NULL, &err), &err);
    fails(m, MC_EFORMAT, "F 'c': 2 inputs, but what it stands for has 1");

    m = model();
    f = function(m, "F");
    build_output(f->body, build_unary(f->body, "Neg", "b", f->body->inputs[0]));
    x = input(m->graph);
    struct mc_value *out[2] = {mc_edit_value(m->graph, "y"), mc_edit_value(m->graph, "z")};
    build_ok(mc_edit_node(m->graph, 0, "F", "f", 0, "c", &x, 1, out, 2, NULL, &err), &err);
    fails(m, MC_EFORMAT, "F 'c': 2 outputs, but what it stands for has 1");

    m = model();
    f = function(m, "F");
    build_output(f->body, f->body->inputs[0]);
    y = mc_edit_value(m->graph, "y");
    build_ok(mc_edit_node(m->graph, 0, "F", "f", 0, "c", NULL, 0, &y, 1, NULL, &err), &err);
    fails(m, MC_EFORMAT, "'y' is an input that was left out");
}

static void recursion_is_refused(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_model *m = model();
    struct mc_function *f = function(m, "F"), *g = function(m, "G");
    build_output(f->body, call(f->body, "G", f->body->inputs[0], NULL));
    build_output(g->body, call(g->body, "F", g->body->inputs[0], NULL));
    build_output(m->graph, call(m->graph, "F", input(m->graph), NULL));
    assert_int_equal(mc_verify(m, &err), MC_EFORMAT);
    fails(m, MC_EFORMAT, "calls itself");
}

/* Forty functions, each of which calls the next one twice: 2^40 nodes. */
static void explosions_are_refused(void **state)
{
    (void)state;
    struct mc_model *m = model();
    for (int i = 0; i < 40; i++) {
        char name[16], next[16];
        snprintf(name, sizeof name, "F%d", i);
        snprintf(next, sizeof next, "F%d", i + 1);
        struct mc_function *f = function(m, name);
        struct mc_value *t = call(f->body, next, f->body->inputs[0], NULL);
        build_output(f->body, call(f->body, next, t, NULL));
    }
    struct mc_function *f = function(m, "F40");
    build_output(f->body, build_unary(f->body, "Neg", "b", f->body->inputs[0]));
    build_output(m->graph, call(m->graph, "F0", input(m->graph), NULL));
    fails(m, MC_EUNSUP, "more than 1048576 nodes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_take_the_place_of_calls), cmocka_unit_test(operators_stay),
        cmocka_unit_test(calls_that_do_not_fit),          cmocka_unit_test(recursion_is_refused),
        cmocka_unit_test(explosions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
