#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "base/rng.h"
#include "graph/verify.h"
#include "tests/graph/build.h"

/* The model is refused with this code, and the message has both words. */
static void refused(struct mc_model *m, int code, const char *word, const char *other)
{
    struct mc_err err = {0};
    assert_int_equal(mc_verify(m, &err), code);
    if (!strstr(err.msg, word) || !strstr(err.msg, other))
        fail_msg("'%s' and '%s' are not both in: %s", word, other, err.msg);
    mc_model_free(m);
}

static void order_is_repaired(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 1, (int64_t[]){4});
    struct mc_value *a = mc_edit_value(g, "a"), *b = mc_edit_value(g, "b");
    struct mc_value *c = build_unary(g, "Relu", "c", b), *d = build_unary(g, "Abs", "d", x);
    struct mc_err err;
    build_ok(mc_edit_node(g, g->n_nodes, "Neg", "", 0, "n", &a, 1, &b, 1, NULL, &err), &err);
    build_ok(mc_edit_node(g, g->n_nodes, "Exp", "", 0, "e", &x, 1, &a, 1, NULL, &err), &err);
    build_output(g, c);
    build_output(g, d);
    build_ok(mc_verify(m, &err), &err);
    const char *want[] = {"Abs", "Exp", "Neg", "Relu"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(g->nodes[i]->op_type, want[i]);
    mc_model_free(m);
}

/* Nodes appended in random order come into the order that a search for the first ready node gives. */
static void order_is_stable(void **state)
{
    (void)state;
    enum { N = 400 };
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *out[N];
    struct mc_node *node[N];
    struct mc_err err;
    int64_t perm[N];
    char name[16];
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "v%d", i);
        out[i] = mc_edit_value(g, name);
    }
    mc_rng_permute(5, 0, perm, N);
    for (int i = 0; i < N; i++) {
        int k = (int)perm[i]; /* uses values of smaller numbers only */
        struct mc_value *in[2] = {NULL, NULL};
        for (int j = 0; j < 2 && k > 10; j++)
            in[j] = out[mc_rng_below(5, 1, (uint64_t)(2 * k + j), (uint32_t)k)];
        build_ok(mc_edit_node(g, g->n_nodes, "Max", "", 0, "", in, 2, &out[k], 1, &node[i], &err),
                 &err);
    }
    bool placed[N] = {false};
    size_t want[N];
    for (size_t at = 0; at < N; at++)
        for (size_t i = 0; i < N; i++) {
            bool ready = !placed[i];
            for (size_t j = 0; ready && j < 2; j++)
                for (size_t k = 0; node[i]->in[j] && k < N; k++)
                    ready &= node[k]->out[0] != node[i]->in[j] || placed[k];
            if (ready) {
                placed[i] = true;
                want[at] = i;
                break;
            }
        }
    build_ok(mc_verify(m, &err), &err);
    for (size_t i = 0; i < N; i++) {
        assert_ptr_equal(g->nodes[i], node[want[i]]);
        assert_int_equal(g->nodes[i]->pos, i);
    }
    mc_model_free(m);
}

/* A node waits for what its bodies capture. */
static void captures_are_dependencies(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *c = build_input(g, "c", MC_DTYPE_BOOL, 0, NULL);
    struct mc_value *late = mc_edit_value(g, "late");
    struct mc_node *n;
    struct mc_err err;
    build_output(g, build_node(g, "If", "y", 1, &c, &n));
    struct mc_graph *body = mc_edit_graph(m, g, n, "then");
    build_ok(mc_edit_attr_graph(n, "then_branch", body, &err), &err);
    build_output(body, build_unary(body, "Relu", "r", mc_edit_resolve(body, "late")));
    build_ok(mc_edit_node(g, 1, "Not", "", 0, "not", &c, 1, &late, 1, NULL, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_string_equal(g->nodes[0]->op_type, "Not");
    /* The body's output feeds what it captures. */
    build_ok(mc_edit_set_input(g->nodes[0], 0, mc_graph_value(g, "y"), &err), &err);
    refused(m, MC_EFORMAT, "cycle of 2", "'not'");
}

static void nesting_is_limited(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    for (int depth = 0; depth <= 64; depth++) {
        struct mc_node *n;
        build_output(g, build_node(g, "If", "y", 0, NULL, &n));
        if (depth == 64)
            build_ok(mc_verify(m, &err), &err);
        struct mc_graph *body = mc_edit_graph(m, g, n, "deep");
        build_ok(mc_edit_attr_graph(n, "then_branch", body, &err), &err);
        g = body;
    }
    refused(m, MC_EFORMAT, "nested", "'deep'");
}

static void cycles_are_named(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *a = mc_edit_value(g, "a"), *b = mc_edit_value(g, "b");
    struct mc_err err;
    build_ok(mc_edit_node(g, 0, "Neg", "", 0, "first", &b, 1, &a, 1, NULL, &err), &err);
    build_ok(mc_edit_node(g, 1, "Neg", "", 0, "second", &a, 1, &b, 1, NULL, &err), &err);
    build_output(g, build_unary(g, "Relu", "behind", a));
    refused(m, MC_EFORMAT, "'first'", "'second'");
}

static void undefined_names_are_named(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    build_output(m->graph, build_unary(m->graph, "Relu", "r", mc_edit_value(m->graph, "ghost")));
    refused(m, MC_EFORMAT, "'ghost'", "'r'");
    m = build_model(17);
    build_output(m->graph, mc_edit_value(m->graph, "nobody"));
    refused(m, MC_EFORMAT, "'nobody'", "output");
}

static void wrong_bytes_are_named(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_value *w = build_const(m->graph, "w", MC_DTYPE_F32, 2, (int64_t[]){3, 4}, NULL);
    build_output(m->graph, w);
    w->tensor->bytes--;
    refused(m, MC_EFORMAT, "'w'", "[3,4]");
    m = build_model(17);
    w = build_const(m->graph, "w", MC_DTYPE_F32, 2, (int64_t[]){3, 4}, NULL);
    build_output(m->graph, w);
    w->tensor->shape.dim[0] = INT64_MAX;
    refused(m, MC_EFORMAT, "'w'", "overflows");
}

static void functions_may_not_recur(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_err err;
    struct mc_function *f = NULL;
    const char *names[] = {"f", "g", "h"};
    for (size_t i = 0; i < 3; i++) {
        f = mc_edit_function(m, "my", names[i], "");
        struct mc_value *x = mc_edit_value(f->body, "x"), *y = mc_edit_value(f->body, "y");
        build_ok(mc_edit_input(f->body, x, &err), &err);
        if (i < 2)
            build_ok(mc_edit_node(f->body, 0, names[i + 1], "my", 1, "", &x, 1, &y, 1, NULL, &err),
                     &err);
        else
            build_ok(mc_edit_node(f->body, 0, "Relu", "", 17, "", &x, 1, &y, 1, NULL, &err), &err);
        build_output(f->body, y);
    }
    build_ok(mc_verify(m, &err), &err);
    struct mc_value *x = mc_graph_value(f->body, "x"), *z = mc_edit_value(f->body, "z");
    build_ok(mc_edit_node(f->body, 1, "f", "my", 1, "", &x, 1, &z, 1, NULL, &err), &err);
    refused(m, MC_EFORMAT, "calls itself", "'my'");
    m = build_model(17);
    mc_edit_function(m, "my", "f", "");
    mc_edit_function(m, "my", "f", "");
    refused(m, MC_EFORMAT, "twice", "'f'");
}

static void long_chains_need_no_stack(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *v = build_input(g, "x", MC_DTYPE_F32, 1, (int64_t[]){4});
    for (int i = 0; i < 1000000; i++)
        v = build_unary(g, "Relu", "r", v);
    build_output(g, v);
    struct mc_err err;
    build_ok(mc_verify(m, &err), &err);
    mc_model_free(m);
}

/* The last node of a chain first. */
static void reversed_chains_are_sorted(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *v = mc_edit_value(g, "last");
    build_output(g, v);
    for (int i = 0; i < N; i++) {
        struct mc_value *before = mc_edit_fresh(g, "v");
        build_ok(mc_edit_node(g, g->n_nodes, "Relu", "", 0, "", &before, 1, &v, 1, NULL, &err),
                 &err);
        v = before;
    }
    build_ok(mc_edit_input(g, v, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_string_equal(g->nodes[N - 1]->out[0]->name, "last");
    assert_ptr_equal(g->nodes[0]->in[0], v);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_repaired),         cmocka_unit_test(order_is_stable),
        cmocka_unit_test(captures_are_dependencies), cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(cycles_are_named),          cmocka_unit_test(undefined_names_are_named),
        cmocka_unit_test(wrong_bytes_are_named),     cmocka_unit_test(functions_may_not_recur),
        cmocka_unit_test(long_chains_need_no_stack), cmocka_unit_test(reversed_chains_are_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
