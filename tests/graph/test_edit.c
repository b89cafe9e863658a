#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "graph/verify.h"
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

static void values_have_one_source(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 0, NULL);
    struct mc_value *w = build_const(g, "w", MC_DTYPE_F32, 0, NULL, NULL);
    struct mc_value *y = build_unary(g, "Relu", "y", x);
    struct mc_value *taken[] = {x, w, y};
    for (size_t i = 0; i < 3; i++) {
        struct mc_value *out[3] = {mc_edit_fresh(g, "fresh"), NULL, taken[i]};
        assert_int_equal(mc_edit_node(g, 1, "Split", "", 0, "twice", &w, 1, out, 3, NULL, &err),
                         MC_EFORMAT);
        assert_non_null(strstr(err.msg, "Split 'twice'"));
        assert_null(out[0]->producer);
        assert_true(w->n_uses == 0 && g->n_nodes == 1);
    }
    struct mc_value *same[2] = {mc_edit_fresh(g, "same")};
    same[1] = same[0];
    assert_int_equal(mc_edit_node(g, 1, "Split", "", 0, "s", &w, 1, same, 2, NULL, &err),
                     MC_EFORMAT);
    assert_int_equal(mc_edit_input(g, x, &err), MC_EFORMAT);
    assert_int_equal(mc_edit_input(g, y, &err), MC_EFORMAT);
    assert_int_equal(mc_edit_tensor(y, w->tensor, &err), MC_EFORMAT);
    build_ok(mc_edit_tensor(w, NULL, &err), &err);
    assert_true(!w->tensor && g->n_inits == 0);
    mc_model_free(m);
}

static void versions_come_from_the_imports(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_err err;
    build_ok(mc_edit_opset(m, "my", 3, &err), &err);
    build_ok(mc_edit_opset(m, "ai.onnx", 18, &err), &err); /* changes the import of "" */
    assert_int_equal(m->n_opsets, 2);
    assert_int_equal(mc_model_opset(m, ""), 18);
    assert_int_equal(mc_model_opset(m, "ai.onnx"), 18);
    assert_int_equal(mc_model_opset(m, "other"), 0);
    struct mc_function *f = mc_edit_function(m, "my", "f", NULL);
    build_ok(mc_edit_function_opset(f, "ai.onnx", 13, &err), &err);
    struct mc_node *n[5];
    const char *domains[] = {"", "ai.onnx", "my", "other"};
    for (size_t i = 0; i < 4; i++)
        build_ok(
            mc_edit_node(m->graph, i, "Op", domains[i], 0, NULL, NULL, 0, NULL, 0, &n[i], &err),
            &err);
    build_ok(mc_edit_node(f->body, 0, "Op", "", 0, NULL, NULL, 0, NULL, 0, &n[4], &err), &err);
    const int want[] = {18, 18, 3, 0, 13};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(n[i]->version, want[i]);
    assert_string_equal(n[1]->domain, "");
    mc_model_free(m);
}

/* Outputs keep name, place and type, whatever takes over. */
static void outputs_keep_their_names(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, (int64_t[]){3});
    struct mc_value *y = build_unary(g, "Relu", "y", x), *z = build_unary(g, "Abs", "z", x);
    assert_true(mc_edit_type(y, MC_DTYPE_F32, 1, &(struct mc_dim){3, NULL}));
    build_output(g, y);
    build_output(g, z);
    build_output(g, y);

    struct mc_value *w = build_unary(g, "Neg", "w", x);
    build_ok(mc_edit_info(g, w, &err), &err);
    build_ok(mc_edit_replace_uses(y, w, &err), &err);
    assert_string_equal(w->name, "y");
    assert_ptr_equal(mc_graph_value(g, "y"), w);
    assert_ptr_equal(mc_graph_value(g, "w"), y);
    assert_true(w->type.rank == 1 && w->type.dim[0].value == 3 && g->n_infos == 0);
    assert_ptr_equal(g->outputs[2], w);

    /* An input and another output keep their own names: an Identity stands between. */
    struct mc_value *sources[] = {x, z};
    for (size_t i = 0; i < 2; i++) {
        build_ok(mc_edit_replace_uses(mc_graph_value(g, "y"), sources[i], &err), &err);
        assert_string_equal(g->outputs[0]->name, "y");
        assert_ptr_equal(g->outputs[0], g->outputs[2]);
        assert_string_equal(g->outputs[0]->producer->op_type, "Identity");
        assert_ptr_equal(g->outputs[0]->producer->in[0], sources[i]);
        assert_int_equal(g->outputs[0]->type.dim[0].value, 3);
    }
    assert_string_equal(x->name, "x");
    assert_ptr_equal(g->outputs[1], z);
    assert_int_equal(mc_edit_sweep(g), 3);
    build_ok(mc_verify(m, &err), &err);
    mc_model_free(m);
}

static void types_follow_where_none_is_declared(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, (int64_t[]){3});
    struct mc_value *y = build_unary(g, "Relu", "y", x), *z = build_unary(g, "Abs", "z", x);
    assert_true(mc_edit_type(y, MC_DTYPE_F32, 1, &(struct mc_dim){-1, "n"}));
    struct mc_node *n;
    build_output(g, build_node(g, "Neg", "end", 1, &y, &n));
    build_ok(mc_edit_replace_uses(y, z, &err), &err);
    assert_string_equal(z->type.dim[0].param, "n");
    assert_ptr_equal(n->in[0], z);
    build_ok(mc_edit_replace_uses(z, x, &err), &err);
    assert_int_equal(x->type.dim[0].value, 3);
    mc_model_free(m);
}

static void shadowed_names_are_refused(void **state)
{
    (void)state;
    struct mc_graph *body;
    struct mc_model *m = body_model(&body);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    /* The body has a value of its own with the name that its capture would get. */
    struct mc_value *hidden = build_unary(g, "Neg", "hidden", mc_graph_value(g, "in"));
    assert_non_null(mc_edit_value(body, "hidden"));
    struct mc_value *x = mc_graph_value(g, "x");
    assert_int_equal(mc_edit_replace_uses(x, hidden, &err), MC_EFAIL);
    assert_non_null(strstr(err.msg, "'hidden'"));
    assert_true(x->n_uses == 1 && mc_graph_value(body, "x")->outer == x);
    /* Fresh names avoid those of bodies. */
    assert_string_equal(mc_edit_fresh(g, "r")->name, "r_1");
    assert_string_equal(mc_edit_fresh(body, "in")->name, "in_1");
    mc_model_free(m);
}

static void captures_reach_through_bodies(void **state)
{
    (void)state;
    struct mc_graph *body;
    struct mc_model *m = body_model(&body);
    struct mc_err err;
    struct mc_node *n;
    build_output(body, build_node(body, "If", "deep", 0, NULL, &n));
    struct mc_graph *inner = mc_edit_graph(m, body, n, "inner");
    build_ok(mc_edit_attr_graph(n, "then_branch", inner, &err), &err);
    assert_null(mc_edit_resolve(inner, "nowhere"));
    struct mc_value *in = mc_edit_resolve(inner, "in");
    build_output(inner, build_unary(inner, "Relu", "q", in));
    assert_ptr_equal(in->outer, mc_graph_value(body, "in"));
    assert_ptr_equal(in->outer->outer, mc_graph_value(m->graph, "in"));
    build_ok(mc_verify(m, &err), &err);
    /* `in` becomes `x` in both bodies; the outer one captured x before: one proxy is left. */
    struct mc_value *x = mc_graph_value(m->graph, "x");
    build_ok(mc_edit_set_input(x->producer, 0, NULL, &err), &err);
    build_ok(mc_edit_replace_uses(mc_graph_value(m->graph, "in"), x, &err), &err);
    assert_string_equal(in->name, "x");
    assert_ptr_equal(in->outer, mc_graph_value(body, "x"));
    assert_null(mc_graph_value(body, "in"));
    assert_int_equal(x->n_uses, 1);
    build_ok(mc_verify(m, &err), &err);
    /* Without its attribute the If has no body, and nothing captures x. */
    mc_edit_attr_remove(mc_graph_value(m->graph, "y")->producer, "then_branch");
    assert_int_equal(x->n_uses, 0);
    build_ok(mc_verify(m, &err), &err);
    mc_model_free(m);
}

static void attributes_are_set_and_replaced(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_err err;
    struct mc_node *n;
    build_node(m->graph, "Op", "op", 0, NULL, &n);
    char name[8];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 20; i++) {
            snprintf(name, sizeof name, "a%d", i);
            build_ok(mc_edit_attr_int(n, name, i + 100 * round, &err), &err);
        }
    assert_int_equal(n->n_attr, 20);
    for (int i = 0; i < 20; i += 2) {
        snprintf(name, sizeof name, "a%d", i);
        mc_edit_attr_remove(n, name);
    }
    mc_edit_attr_remove(n, "absent");
    assert_int_equal(n->n_attr, 10);
    assert_int_equal(mc_node_int(n, "a19", -1), 119);
    assert_int_equal(mc_node_int(n, "a18", -1), -1);

    build_ok(mc_edit_attr_float(n, "a1", 0.5f, &err), &err);
    assert_true(mc_node_float(n, "a1", 0) == 0.5f);
    assert_int_equal(mc_node_int(n, "a1", 7), 7); /* another type */
    build_ok(mc_edit_attr_string(n, "s", "text", &err), &err);
    assert_string_equal(mc_node_string(n, "s", ""), "text");
    size_t count;
    build_ok(mc_edit_attr_ints(n, "l", (int64_t[]){1, 2, 3}, 3, &err), &err);
    assert_int_equal(mc_node_ints(n, "l", &count)[2], 3);
    assert_null(mc_node_ints(n, "s", &count));
    assert_int_equal(count, 0);
    struct mc_value *w = build_const(m->graph, "w", MC_DTYPE_F32, 0, NULL, NULL);
    build_ok(mc_edit_attr_tensor(n, "t", w->tensor, &err), &err);
    build_ok(mc_edit_attr_tensor(n, "t", w->tensor, &err), &err);
    assert_ptr_equal(mc_node_attr(n, "t")->tensors[0], w->tensor);
    mc_edit_remove_node(n); /* its tensor goes with it, w's own stays */
    assert_int_equal(w->tensor->data[0], 0);
    mc_model_free(m);
}

static void functions_and_lists_are_cloned(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17), *copy;
    struct mc_err err;
    struct mc_function *f = mc_edit_function(m, "my", "f", "v2");
    build_ok(mc_edit_function_opset(f, "", 17, &err), &err);
    for (int i = 0; i < 9; i++)
        build_ok(mc_edit_function_attr(f, i ? "more" : "alpha", &err), &err);
    struct mc_value *w = build_const(m->graph, "w", MC_DTYPE_F32, 0, NULL, NULL);
    struct mc_attr *a = mc_edit_function_default(f, "d", MC_ATTR_TENSOR);
    a->tensors = mc_arena_array(&m->arena, 1, sizeof *a->tensors);
    a->tensors[0] = mc_tensor_ref(w->tensor);
    a->n = 1;
    struct mc_value *x = mc_edit_value(f->body, "x");
    build_ok(mc_edit_input(f->body, x, &err), &err);
    struct mc_node *n;
    build_output(f->body, build_node(f->body, "LeakyRelu", "y", 1, &x, &n));
    a = mc_edit_attr_new(n, "alpha", MC_ATTR_FLOAT);
    a->ref = mc_arena_strdup(&m->arena, "alpha");
    a = mc_edit_attr_new(n, "names", MC_ATTR_STRINGS);
    a->strings = mc_arena_array(&m->arena, 2, sizeof *a->strings);
    a->strings[1] = (struct mc_bytes){(const uint8_t *)"two", 3};
    a->n = 2;
    build_ok(mc_edit_meta(m, "k", "old", &err), &err);
    build_ok(mc_edit_meta(m, "k", "new", &err), &err);
    build_ok(mc_edit_info(m->graph, w, &err), &err);
    m->external = true;
    m->extra = (struct mc_bytes){(const uint8_t *)"xyz", 3};

    build_ok(mc_model_clone(m, &copy, &err), &err);
    mc_model_free(m);
    const struct mc_function *g = mc_model_function(copy, "my", "f", "v2");
    assert_non_null(g);
    assert_null(mc_model_function(copy, "my", "f", ""));
    assert_true(g->n_attrs == 9 && g->n_opsets == 1 && g->n_defaults == 1);
    assert_string_equal(g->attrs[0], "alpha");
    assert_string_equal(g->attrs[8], "more");
    assert_ptr_equal(g->body->function, g);
    assert_ptr_equal(g->defaults[0].tensors[0], copy->graph->inits[0]->tensor);
    const struct mc_node *k = g->body->nodes[0];
    assert_string_equal(mc_node_attr(k, "alpha")->ref, "alpha");
    assert_true(mc_node_float(k, "alpha", 9) == 9); /* the caller's, not here */
    assert_memory_equal(mc_node_attr(k, "names")->strings[1].data, "two", 4);
    assert_string_equal(mc_model_meta(copy, "k"), "new");
    assert_null(mc_model_meta(copy, "absent"));
    assert_true(copy->external && copy->n_meta == 1 && copy->graph->n_infos == 1);
    assert_memory_equal(copy->extra.data, "xyz", 3);
    build_ok(mc_verify(copy, &err), &err);
    mc_model_free(copy);
    mc_model_free(NULL);
}

/* Many users of one value, many nodes: no edit of all of them may cost their product. */
static void large_graphs_are_edited_quickly(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct mc_model *m = build_model(17), *copy;
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 0, NULL);
    struct mc_value *w = build_const(g, "w", MC_DTYPE_F32, 0, NULL, NULL);
    struct mc_value *v = x;
    for (int i = 0; i < N; i++) {
        struct mc_value *sum = build_binary(g, "Add", "v", v, w);
        v = i % 2 ? sum : v; /* every other one is dead */
    }
    build_output(g, v);
    assert_int_equal(w->n_uses, N);
    struct mc_value *w2 = build_const(g, "w", MC_DTYPE_F32, 0, NULL, NULL);
    build_ok(mc_edit_replace_uses(w, w2, &err), &err);
    assert_int_equal(w2->n_uses, N);
    build_ok(mc_model_clone(m, &copy, &err), &err);
    assert_int_equal(mc_edit_sweep(copy->graph), N / 2);
    build_ok(mc_verify(copy, &err), &err);
    mc_model_free(copy);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(captures_follow),
        cmocka_unit_test(values_have_one_source),
        cmocka_unit_test(versions_come_from_the_imports),
        cmocka_unit_test(outputs_keep_their_names),
        cmocka_unit_test(types_follow_where_none_is_declared),
        cmocka_unit_test(shadowed_names_are_refused),
        cmocka_unit_test(captures_reach_through_bodies),
        cmocka_unit_test(attributes_are_set_and_replaced),
        cmocka_unit_test(functions_and_lists_are_cloned),
        cmocka_unit_test(large_graphs_are_edited_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
