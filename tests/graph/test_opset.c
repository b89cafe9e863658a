#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/opset.h"
#include "graph/verify.h"
#include "tests/graph/build.h"

static void lifted(struct mc_model *m, int least, int want)
{
    struct mc_err err;
    build_ok(mc_opset_lift(m, least, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(mc_model_opset(m, ""), want);
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        if (!m->graph->nodes[i]->domain[0])
            assert_int_equal(m->graph->nodes[i]->version, want);
}

static struct mc_model *model(int opset, struct mc_node **ret)
{
    struct mc_model *m = build_model(opset);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, (int64_t[]){2, 3});
    struct mc_value *y = build_node(m->graph, "ReduceSum", "y", 1, &x, ret);
    assert_int_equal(mc_edit_attr_ints(*ret, "axes", (int64_t[]){1}, 1, NULL), 0);
    build_output(m->graph, y);
    return m;
}

static struct mc_value *append(struct mc_model *m, const char *op, int version)
{
    struct mc_err err;
    struct mc_value *in = m->graph->outputs[0], *out = mc_edit_fresh(m->graph, "more");
    build_ok(mc_edit_node(m->graph, m->graph->n_nodes, op, "", version, "new", &in, 1, &out, 1,
                          NULL, &err),
             &err);
    build_output(m->graph, out);
    return out;
}

/* The opset rises to what a new node needs, not to the version it says, and not where nothing needs it. */
static void only_as_far_as_needed(void **state)
{
    (void)state;
    struct mc_node *n;
    struct mc_model *m = model(11, &n);
    lifted(m, 0, 11);
    append(m, "Relu", 17); /* as it has been since 14 */
    lifted(m, 0, 14);
    int64_t axes;
    assert_int_equal(n->n_in, 2);
    assert_int_equal(mc_constant_ints(n->in[1], &axes, 1), 1);
    assert_int_equal(axes, 1);
    assert_null(mc_node_attr(n, "axes"));
    append(m, "Sqrt", 6); /* its meaning then is that of 13 */
    lifted(m, 0, 14);
    append(m, "Gelu", 20);
    lifted(m, 0, 20);
    mc_model_free(m);
}

static void refuses(struct mc_model *m, int least, const char *part)
{
    struct mc_err err;
    assert_int_equal(mc_opset_lift(m, least, &err), MC_EUNSUP);
    if (!strstr(err.msg, part))
        fail_msg("'%s' is not in: %s", part, err.msg);
    mc_model_free(m);
}

static void what_prevents_it_is_named(void **state)
{
    (void)state;
    struct mc_node *n;
    struct mc_model *m = model(11, &n);
    append(m, "Mystery", 0);
    lifted(m, 0, 11); /* it may stay where it is */
    refuses(m, 13, "Mystery 'new' of opset 11 cannot be lifted to opset 13");
    m = model(11, &n);
    append(m, "Scan", 8);
    refuses(m, 0, "Scan 'new' of opset 8");
    refuses(model(11, &n), 99, "opset 99 is newer");
}

/* A function that imports what the model imports goes along; its constants are nodes. One of another opset
 * stays; attributes given by callers cannot become inputs. */
static void functions(void **state)
{
    (void)state;
    struct mc_node *n, *r;
    struct mc_model *m = model(11, &n);
    for (int i = 0; i < 2; i++) {
        struct mc_function *f = mc_edit_function(m, "f", i ? "G" : "F", "");
        assert_int_equal(mc_edit_function_opset(f, "", i ? 12 : 11, NULL), 0);
        struct mc_value *a = mc_edit_value(f->body, "a");
        assert_int_equal(mc_edit_input(f->body, a, NULL), 0);
        build_output(f->body, build_node(f->body, "ReduceSum", "b", 1, &a, &r));
        assert_int_equal(mc_edit_attr_ints(r, "axes", (int64_t[]){0}, 1, NULL), 0);
    }
    m->ir_version = 7;
    lifted(m, 13, 13);
    assert_int_equal(m->ir_version, 8);
    const struct mc_graph *f = m->functions[0]->body, *g = m->functions[1]->body;
    assert_int_equal(mc_graph_opset(f, ""), 13);
    assert_int_equal(f->n_nodes, 2);
    assert_string_equal(f->nodes[0]->op_type, "Constant");
    assert_int_equal(f->n_inits, 0);
    assert_int_equal(mc_graph_opset(g, ""), 12);
    assert_int_equal(g->n_nodes, 1);
    mc_model_free(m);

    m = model(11, &n);
    struct mc_function *h = mc_edit_function(m, "f", "H", "");
    assert_int_equal(mc_edit_function_opset(h, "", 11, NULL), 0);
    struct mc_value *a = mc_edit_value(h->body, "a");
    assert_int_equal(mc_edit_input(h->body, a, NULL), 0);
    build_output(h->body, build_node(h->body, "ReduceSum", "b", 1, &a, &r));
    struct mc_attr *axes = mc_edit_attr_new(r, "axes", MC_ATTR_INTS);
    axes->ref = "axes";
    refuses(m, 13, "given by a function's caller");
}

/* What an IR version before 4 wants as inputs are plain initializers in the one that int4 needs. */
static void ir_rises_with_types(void **state)
{
    (void)state;
    struct mc_node *n;
    struct mc_model *m = model(11, &n);
    m->ir_version = 3;
    struct mc_value *w = build_const(m->graph, "w", MC_DTYPE_F32, 1, (int64_t[]){3}, NULL);
    assert_int_equal(mc_edit_input(m->graph, w, NULL), 0);
    lifted(m, 0, 11);
    assert_int_equal(m->ir_version, 3);
    assert_int_equal(m->graph->n_inputs, 2);
    build_const(m->graph, "q", MC_DTYPE_I4, 1, (int64_t[]){3}, NULL);
    lifted(m, 0, 11);
    assert_int_equal(m->ir_version, 10);
    assert_int_equal(m->graph->n_inputs, 1);
    assert_non_null(mc_constant(w));
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_as_far_as_needed),
        cmocka_unit_test(what_prevents_it_is_named),
        cmocka_unit_test(functions),
        cmocka_unit_test(ir_rises_with_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
