/* Calls of functions of ai.mcompress, their bodies and the dense layers that they stand for: one meaning in three forms, and what
 * summaries, sessions and training make of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/grad/weights.h"
#include "graph/opset.h"
#include "graph/run/fold.h"
#include "graph/run/profile.h"
#include "graph/run/session.h"
#include "graph/summary.h"
#include "graph/verify.h"
#include "tests/graph/build_own.h"

enum { ROWS = 6, COLUMNS = 13 };

static struct mc_model *several(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_shape shape = mc_shape_of(3, (const int64_t[]){3, 4, 5});
    build_output(g, build_signs(g, "a", ROWS, COLUMNS, NULL));
    build_output(g, build_signs(g, "b", 2, 8, NULL));
    build_output(g, build_shared(g, "c", 4, false, shape, NULL));
    build_output(g, build_shared(g, "d", 4, false, shape, NULL));
    build_output(g, build_shared(g, "e", 3, true, shape, NULL));
    build_output(g, build_gates(g, "f", 4, 3, 5, false, NULL));
    build_output(g, build_gates(g, "h", 3, 2, 5, true, NULL));
    return m;
}

static void tables_and_functions_are_shared(void **state)
{
    (void)state;
    struct mc_model *m = several();
    const struct mc_graph *g = m->graph;
    assert_int_equal(m->n_functions, 4);
    assert_ptr_equal(g->nodes[0]->in[2], g->nodes[1]->in[2]);
    assert_ptr_equal(g->nodes[2]->in[2], g->nodes[3]->in[2]);
    struct mc_summary s;
    assert_int_equal(mc_summary(m, &s, NULL), 0);
    /* 6x13 + 6, 2x8 + 2, twice 60 + 16, 60 + 8, 15 + 12, 10 + 15 */
    assert_int_equal(s.parameters, 84 + 18 + 76 + 76 + 68 + 27 + 25);
    mc_model_free(m);
}

/* Outputs of m by a session, to be freed. */
static float *run(struct mc_model *m, int64_t *ret_n)
{
    struct mc_session *s;
    struct mc_err err;
    int n = (int)m->graph->n_outputs;
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_session_new(m->graph, &(struct mc_session_opts){0}, &s, &err), &err);
    build_ok(mc_session_run(s, NULL, 0, &err), &err);
    int64_t total = 0;
    for (int i = 0; i < n; i++)
        total += mc_shape_count(&mc_session_output(s, i)->shape);
    float *all = malloc((size_t)total * sizeof *all), *to = all;
    assert_non_null(all);
    for (int i = 0; i < n; i++) {
        const struct mc_array *out = mc_session_output(s, i);
        size_t bytes = (size_t)mc_shape_count(&out->shape) * sizeof *to;
        assert_int_equal(out->dtype, MC_DTYPE_F32);
        memcpy(to, out->data, bytes);
        to += bytes / sizeof *to;
    }
    *ret_n = total;
    mc_session_free(s);
    return all;
}

/* A call, its body and the dense layer are the same numbers. */
static void agree(struct mc_model *m, int64_t count)
{
    int64_t n, k;
    struct mc_err err;
    float *want = run(m, &n);
    assert_int_equal(n, count);
    for (int way = 0; way < 2; way++) {
        struct mc_model *copy;
        build_ok(mc_model_clone(m, &copy, &err), &err);
        build_ok(way ? mc_own_expand(copy, &err) : mc_own_inline(copy, &err), &err);
        assert_int_equal(copy->n_functions, 0);
        assert_int_equal(mc_model_opset(copy, MC_OWN_DOMAIN), 0);
        for (size_t i = 0; i < copy->graph->n_nodes; i++)
            assert_string_equal(copy->graph->nodes[i]->domain, "");
        float *got = run(copy, &k);
        assert_int_equal(k, n);
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
        free(got);
        mc_model_free(copy);
    }
    free(want);
    mc_model_free(m);
}

static void forms_agree(void **state)
{
    (void)state;
    agree(several(), 78 + 16 + 60 * 3 + 60 + 30);
}

/* The matrix of gates is a codebook with a scale for each row. */
static void forms_of_forms_agree(void **state)
{
    (void)state;
    enum { GATES = 4, UNITS = 3, IN = 5 };
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_shape small = mc_shape_of(3, (const int64_t[]){1, UNITS, IN});
    struct mc_shape whole = mc_shape_of(3, (const int64_t[]){1, GATES * UNITS, IN});
    struct mc_value *w = build_shared(g, "c", 3, true, small, NULL);
    w = build_binary(g, "Mul", "w", w, build_floats(g, "s", 3, (const int64_t[]){1, UNITS, 1}, 7));
    struct mc_value *a = build_floats(g, "a", 4, (const int64_t[]){1, GATES, UNITS, 1}, 9);
    build_output(g,
                 build_own(g, "GateWeight", "f", w, a, (struct mc_own_form){.shape = whole}, NULL));
    agree(m, GATES * UNITS * IN);
}

/* What prepares a model for passes must not unpack it, be it ever so small. */
static void preparing_leaves_calls(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, (const int64_t[]){-2, 8});
    struct mc_value *w = build_signs(g, "a", 2, 8, NULL);
    struct mc_value *t = build_unary(g, "Transpose", "t", w);
    build_output(g, build_binary(g, "MatMul", "y", x, t));
    build_ok(mc_prepare(m, NULL, &err), &err);
    assert_int_equal(g->n_nodes, 3);
    assert_non_null(mc_own_find(g->nodes[0]));
    mc_model_free(m);
}

/* A session unpacks a weight once, not in every run, however much larger it gets. */
static void weights_are_unpacked_once(void **state)
{
    (void)state;
    enum { MANY = 400 }; /* more than folding of constants makes of so little */
    struct mc_err err;
    struct mc_session *s;
    struct mc_profile *p;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, (const int64_t[]){1, MANY});
    struct mc_value *w = build_signs(g, "fc", MANY, MANY, NULL);
    struct mc_value *y = build_node(g, "Gemm", "y", 2, (struct mc_value *[]){x, w}, NULL);
    assert_int_equal(mc_edit_attr_int(y->producer, "transB", 1, NULL), 0);
    build_output(g, y);
    float *in = build_numbers(MANY, 1);
    struct mc_array a = {.name = "x",
                         .dtype = MC_DTYPE_F32,
                         .shape = mc_shape_of(2, (const int64_t[]){1, MANY}),
                         .data = in,
                         .bytes = MANY * sizeof *in};
    build_ok(mc_profile_new(&p, &err), &err);
    build_ok(mc_session_new(g, &(struct mc_session_opts){.profile = p}, &s, &err), &err);
    for (int i = 0; i < 2; i++)
        build_ok(mc_session_run(s, &a, 1, &err), &err);
    assert_int_equal(mc_profile_count(p), 1);
    assert_string_equal(mc_profile_row(p, 0)->node->op_type, "Gemm");
    mc_session_free(s);
    mc_profile_free(p);
    free(in);
    mc_model_free(m);
}

/* Calls in the branches of an If, where tables are those of the main graph. */
static void calls_in_bodies(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *c = build_input(g, "c", MC_DTYPE_BOOL, 0, NULL);
    struct mc_node *n, *inner[2];
    struct mc_value *y = build_node(g, "If", "y", 1, &c, &n);
    build_output(g, y);
    for (int i = 0; i < 2; i++) {
        struct mc_graph *b = mc_edit_graph(m, g, n, "b");
        build_ok(mc_edit_attr_graph(n, i ? "else_branch" : "then_branch", b, &err), &err);
        build_output(b, build_signs(b, i ? "e" : "t", ROWS, COLUMNS, &inner[i]));
    }
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(g->n_inits, 1);
    assert_non_null(mc_own_find(inner[0]));
    assert_non_null(mc_own_find(inner[1]));
    struct mc_model *copy;
    build_ok(mc_model_clone(m, &copy, &err), &err);
    build_ok(mc_own_inline(copy, &err), &err);
    build_ok(mc_verify(copy, &err), &err);
    mc_model_free(copy);
    build_ok(mc_own_expand(m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(m->n_functions, 0);
    assert_int_equal(g->n_inits, 0);
    mc_model_free(m);
}

/* A function of somebody else that calls ours. */
static void calls_in_functions(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_model *m = build_model(17);
    assert_int_equal(mc_edit_opset(m, "f", 1, NULL), 0);
    struct mc_function *f = mc_edit_function(m, "f", "F", "");
    build_ok(mc_edit_function_opset(f, "", 17, &err), &err);
    build_ok(mc_edit_function_opset(f, MC_OWN_DOMAIN, 1, &err), &err);
    struct mc_value *p, *s;
    uint8_t bits[ROWS * 2] = {1, 2, 3, 4};
    struct mc_shape small = mc_shape_of(2, (const int64_t[]){ROWS, 2});
    struct mc_shape scales = mc_shape_of(2, (const int64_t[]){ROWS, 1});
    struct mc_tensor *t;
    void *data;
    build_ok(mc_tensor_new(MC_DTYPE_U8, &small, NULL, &t, &data, &err), &err);
    memcpy(data, bits, sizeof bits);
    build_ok(mc_constant_new(f->body, 0, "p", t, &p, &err), &err);
    mc_tensor_unref(t);
    float *numbers = build_numbers(ROWS, 1);
    build_ok(mc_constant_make(numbers, &scales, MC_DTYPE_F32, NULL, &t, &err), &err);
    build_ok(mc_constant_new(f->body, 0, "s", t, &s, &err), &err);
    mc_tensor_unref(t);
    free(numbers);
    struct mc_value *w =
        build_own(f->body, "BinaryWeight", "inner", p, s,
                  (struct mc_own_form){.shape = mc_shape_of(2, (const int64_t[]){ROWS, COLUMNS}),
                                       .columns = COLUMNS},
                  NULL);
    build_output(f->body, w);
    struct mc_value *y = mc_edit_fresh(m->graph, "y");
    build_ok(mc_edit_node(m->graph, 0, "F", "f", 0, "call", NULL, 0, &y, 1, NULL, &err), &err);
    build_output(m->graph, y);
    int64_t n, k;
    float *want = run(m, &n);
    for (int way = 0; way < 2; way++) {
        struct mc_model *copy;
        build_ok(mc_model_clone(m, &copy, &err), &err);
        build_ok(way ? mc_own_expand(copy, &err) : mc_own_inline(copy, &err), &err);
        assert_int_equal(copy->n_functions, 1);
        float *got = run(copy, &k);
        assert_int_equal(k, n);
        assert_memory_equal(got, want, (size_t)n * sizeof *got);
        free(got);
        mc_model_free(copy);
    }
    free(want);
    mc_model_free(m);
}

static void what_is_trained(void **state)
{
    (void)state;
    struct mc_model *m = several();
    struct mc_weights w;
    assert_int_equal(mc_weights_find(m->graph, NULL, &w, NULL), 0);
    static const char *const want[] = {"a.S", "b.S", "c.D", "d.D", "e.D",
                                       "f.W", "f.A", "h.W", "h.A"};
    assert_int_equal(w.n, sizeof want / sizeof *want);
    for (size_t i = 0; i < w.n; i++) {
        assert_string_equal(w.list[i].value->name, want[i]);
        assert_null(w.list[i].why);
        assert_int_equal(w.list[i].decays, want[i][2] == 'W');
    }
    mc_weights_free(&w);
    /* A table is none, even by name. */
    assert_int_equal(
        mc_weights_find(m->graph, &(struct mc_weights_opts){.only = "SIGNS|a.S"}, &w, NULL), 0);
    assert_int_equal(w.n_trained, 1);
    mc_weights_free(&w);
    mc_model_free(m);
}

/* A model below the least opset is lifted with its functions. */
static void old_models_are_lifted(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_model *m = build_model(11);
    m->ir_version = 3;
    struct mc_node *n;
    build_output(m->graph, build_signs(m->graph, "a", ROWS, COLUMNS, &n));
    assert_non_null(mc_own_find(n));
    build_ok(mc_opset_lift(m, 0, &err), &err);
    assert_int_equal(mc_model_opset(m, ""), 13);
    assert_int_equal(m->functions[0]->opsets[0].version, 13);
    assert_true(m->ir_version >= 8);
    build_ok(mc_opset_lift(m, 21, &err), &err);
    assert_int_equal(m->functions[0]->opsets[0].version, 21);
    assert_non_null(mc_own_find(n));
    build_ok(mc_verify(m, &err), &err);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_and_functions_are_shared),
        cmocka_unit_test(forms_agree),
        cmocka_unit_test(forms_of_forms_agree),
        cmocka_unit_test(preparing_leaves_calls),
        cmocka_unit_test(weights_are_unpacked_once),
        cmocka_unit_test(calls_in_bodies),
        cmocka_unit_test(calls_in_functions),
        cmocka_unit_test(what_is_trained),
        cmocka_unit_test(old_models_are_lifted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
