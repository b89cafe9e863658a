/* Functions of ai.mcompress: which calls are taken for them, and what is said of those that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/infer.h"
#include "graph/inline.h"
#include "graph/ops/op.h"
#include "graph/verify.h"
#include "tests/graph/build_own.h"

enum { ROWS = 6, COLUMNS = 13 };

/* y = x W^T, W of signs. */
static struct mc_model *layer(struct mc_node **ret_call)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, (const int64_t[]){-2, COLUMNS});
    struct mc_node *gemm;
    struct mc_value *w = build_signs(g, "fc", ROWS, COLUMNS, ret_call);
    struct mc_value *y = build_node(g, "Gemm", "y", 2, (struct mc_value *[]){x, w}, &gemm);
    assert_int_equal(mc_edit_attr_int(gemm, "transB", 1, NULL), 0);
    build_output(g, y);
    return m;
}

static void takes(struct mc_model *m, const struct mc_node *n, bool want)
{
    struct mc_err err;
    bool inlined;
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_inline_needed(m, &inlined, &err), &err);
    assert_int_equal(mc_own_find(n) != NULL, want);
    assert_int_equal(mc_op_find(n) != NULL, want);
    assert_int_equal(inlined, !want);
}

static void calls_are_recognised(void **state)
{
    (void)state;
    struct mc_node *n;
    struct mc_err err;
    struct mc_model *m = layer(&n), *copy;
    takes(m, n, true);
    assert_string_equal(mc_own_find(n)->name, "BinaryWeight");
    assert_int_equal(mc_model_opset(m, MC_OWN_DOMAIN), 1);
    build_ok(mc_model_clone(m, &copy, &err), &err);
    takes(copy, copy->graph->nodes[0], true);
    mc_model_free(copy);
    /* While it is trained, the scale is no constant. */
    build_ok(
        mc_edit_set_input(
            n, 1, build_input(m->graph, "s", MC_DTYPE_F32, 2, (const int64_t[]){ROWS, 1}), &err),
        &err);
    takes(m, n, true);
    mc_model_free(m);
}

/* ---- others' functions ---- */

static struct mc_node *body_node(struct mc_model *m, const char *op)
{
    struct mc_graph *g = m->functions[0]->body;
    for (size_t i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->nodes[i]->op_type, op))
            return g->nodes[i];
    return NULL;
}

/* Each changes the function into one that looks like ours. */
static void another_operator(struct mc_model *m)
{
    mc_edit_op(body_node(m, "Mul"), "", "Add", 17, NULL);
}

static void another_attribute(struct mc_model *m)
{
    mc_edit_attr_int(body_node(m, "Cast"), "to", MC_DTYPE_I64, NULL);
}

static void one_attribute_more(struct mc_model *m)
{
    mc_edit_attr_int(body_node(m, "Gather"), "axis", 0, NULL);
}

static void another_constant(struct mc_model *m)
{
    struct mc_node *c = body_node(m, "Reshape")->in[1]->producer;
    mc_edit_attr_ints(c, "value_ints", (const int64_t[]){-1, 0}, 2, NULL);
}

static void another_reference(struct mc_model *m)
{
    struct mc_graph *g = m->functions[0]->body;
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->nodes[i]->n_attr; k++)
            if (g->nodes[i]->attr[k].ref && !strcmp(g->nodes[i]->attr[k].ref, "columns"))
                g->nodes[i]->attr[k].ref = "shape";
}

static void another_wiring(struct mc_model *m)
{
    struct mc_node *n = body_node(m, "Mul");
    struct mc_value *a = n->in[0];
    mc_edit_set_input(n, 0, n->in[1], NULL);
    mc_edit_set_input(n, 1, a, NULL);
}

static void one_node_more(struct mc_model *m)
{
    struct mc_graph *g = m->functions[0]->body;
    build_unary(g, "Neg", "more", g->outputs[0]);
}

static void another_output(struct mc_model *m)
{
    struct mc_graph *g = m->functions[0]->body;
    mc_edit_output_drop(g->outputs[0]);
    mc_edit_output(g, body_node(m, "Mul")->out[0], NULL);
}

static void a_default(struct mc_model *m)
{
    struct mc_attr *a = mc_edit_function_default(m->functions[0], "more", MC_ATTR_INT);
    assert_non_null(a);
}

static void an_old_operator_set(struct mc_model *m)
{
    body_node(m, "Reshape")->version = 5;
}

static void another_name(struct mc_model *m)
{
    m->functions[0]->name = m->graph->nodes[0]->op_type = "TernaryWeight";
}

static void another_table(struct mc_model *m)
{
    struct mc_value *v = m->graph->nodes[0]->in[2];
    float signs[256 * 8];
    memcpy(signs, v->tensor->data, sizeof signs);
    signs[999] = -signs[999];
    struct mc_tensor *t;
    struct mc_shape shape = mc_shape_of(2, (const int64_t[]){256, 8});
    assert_int_equal(mc_constant_make(signs, &shape, MC_DTYPE_F32, NULL, &t, NULL), 0);
    assert_int_equal(mc_edit_tensor(v, t, NULL), 0);
    mc_tensor_unref(t);
}

static void a_table_that_is_fed(struct mc_model *m)
{
    struct mc_value *t = build_input(m->graph, "signs", MC_DTYPE_F32, 2, (const int64_t[]){256, 8});
    mc_edit_set_input(m->graph->nodes[0], 2, t, NULL);
}

/* A row that looks for it would compute something else than the body, which does not. */
static void an_attribute_of_the_call(struct mc_model *m)
{
    mc_edit_attr_string(m->graph->nodes[0], "auto_pad", "SAME_UPPER", NULL);
}

static void (*const others[])(struct mc_model *m) = {
    another_operator, another_attribute,        one_attribute_more,
    another_constant, another_reference,        another_wiring,
    one_node_more,    another_output,           an_old_operator_set,
    another_name,     a_table_that_is_fed,      another_table,
    a_default,        an_attribute_of_the_call,
};

/* Nobody is believed by name: others' functions are what their bodies say. */
static void look_alikes_are_functions_like_others(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct mc_node *n;
        struct mc_model *m = layer(&n);
        others[i](m);
        if (mc_own_find(n))
            fail_msg("change %zu goes unnoticed", i);
        takes(m, n, false);
        struct mc_err err = {0};
        int rc = mc_own_expand(m, &err);
        assert_int_equal(rc, MC_EUNSUP);
        assert_non_null(strstr(err.msg, "'fc'"));
        mc_model_free(m);
    }
}

/* A name that is taken is not written over. */
static void taken_names(void **state)
{
    (void)state;
    struct mc_node *n;
    struct mc_err err = {0};
    struct mc_model *m = layer(&n);
    another_operator(m);
    struct mc_graph *g = m->graph;
    struct mc_value *y = mc_edit_fresh(g, "second");
    struct mc_own_form form = {.shape = mc_shape_of(2, (const int64_t[]){ROWS, COLUMNS}),
                               .columns = COLUMNS};
    int rc = mc_own_call(g, g->n_nodes, "BinaryWeight", "second", n->in, 2, &y, 1, mc_own_set_form,
                         &form, NULL, &err);
    assert_int_equal(rc, MC_EUNSUP);
    assert_non_null(strstr(err.msg, "BinaryWeight"));
    mc_model_free(m);
}

/* ---- calls that do not fit ---- */

static void misfit(struct mc_model *m, int code, const char *words)
{
    struct mc_err err = {0};
    struct mc_node *n = m->graph->nodes[0];
    struct mc_infer *inf = NULL;
    struct mc_model *copy;
    takes(m, n, true); /* ours, but wrong: it is not guessed what its body makes of it */
    for (int way = 0; way < 3; way++) {
        build_ok(mc_model_clone(m, &copy, &err), &err);
        int rc = way == 0   ? mc_own_check(n, &err)
                 : way == 1 ? mc_infer_run(m->graph, NULL, &inf, &err)
                            : mc_own_expand(copy, &err);
        if (rc != code || !strstr(err.msg, words) || !strstr(err.msg, mc_node_label(n)))
            fail_msg("way %d: code %d, wanted %d with '%s': %s", way, rc, code, words, err.msg);
        mc_model_free(copy);
    }
    mc_model_free(m);
}

static struct mc_model *with(size_t slot, enum mc_dtype dtype, int rank, const int64_t *dims,
                             const void *data)
{
    struct mc_node *n;
    struct mc_model *m = layer(&n);
    struct mc_value *v = build_const(m->graph, "other", dtype, rank, dims, data);
    assert_int_equal(mc_edit_set_input(n, slot, v, NULL), 0);
    return m;
}

static void what_does_not_fit_is_named(void **state)
{
    (void)state;
    misfit(with(0, MC_DTYPE_U8, 2, (const int64_t[]){ROWS, 3}, NULL), MC_ESHAPE,
           "P is [6,3], not [6,2]");
    misfit(with(0, MC_DTYPE_U8, 1, (const int64_t[]){12}, NULL), MC_ESHAPE, "P is [12]");
    misfit(with(0, MC_DTYPE_I8, 2, (const int64_t[]){ROWS, 2}, NULL), MC_EDTYPE,
           "P is int8, not uint8");
    misfit(with(1, MC_DTYPE_F32, 1, (const int64_t[]){ROWS}, NULL), MC_ESHAPE, "S is [6]");
    misfit(with(1, MC_DTYPE_I32, 2, (const int64_t[]){ROWS, 1}, NULL), MC_EDTYPE, "S is int32");
    const uint8_t bits[ROWS * 2] = {[7] = 0x20};
    misfit(with(0, MC_DTYPE_U8, 2, (const int64_t[]){ROWS, 2}, bits), MC_EDATA,
           "bits behind column 13 of row 3");
    static const struct {
        const char *attr;
        int64_t v[3];
        size_t n;
        const char *words;
    } attrs[] = {
        {"columns", {0}, 1, "columns holds 0"},
        {"columns", {13, 13}, 2, "columns has 2"},
        {"columns", {5}, 1, "not of rows of 5"},
        {"shape", {6, -13}, 2, "shape holds -13"},
        {"shape", {(int64_t)1 << 40, (int64_t)1 << 40}, 2, "not of rows"},
        {"shape", {(int64_t)1 << 40, 13}, 2, "P is"},
        {"shape", {0}, 0, "shape has 0"},
    };
    for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++) {
        struct mc_node *n;
        struct mc_model *m = layer(&n);
        assert_int_equal(mc_edit_attr_ints(n, attrs[i].attr, attrs[i].v, attrs[i].n, NULL), 0);
        misfit(m, MC_ESHAPE, attrs[i].words);
    }
}

/* As many numbers as a file says. */
static void shapes_of_any_length(void **state)
{
    (void)state;
    static const int64_t long_shape[40] = {1};
    struct mc_node *n;
    struct mc_model *m = layer(&n);
    assert_int_equal(mc_edit_attr_ints(n, "shape", long_shape, 40, NULL), 0);
    struct mc_shape s = mc_own_shape(n);
    assert_int_equal(s.rank, 1);
    assert_true(mc_shape_count(&s) < 0);
    misfit(m, MC_ESHAPE, "shape has 40");
}

/* Gates of a matrix that has no rows, which a run is given. */
static void gates_of_nothing(void **state)
{
    (void)state;
    struct mc_err err = {0};
    struct mc_infer *inf = NULL;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *w = build_input(g, "w", MC_DTYPE_F32, 3, (const int64_t[]){1, 0, 4});
    struct mc_value *a = build_input(g, "a", MC_DTYPE_F32, 4, (const int64_t[]){1, 3, 1, 1});
    struct mc_own_form form = {.shape = mc_shape_of(3, (const int64_t[]){1, 6, 4})};
    build_output(g, build_own(g, "GateWeight", "gates", w, a, form, NULL));
    assert_int_equal(mc_infer_run(g, NULL, &inf, &err), MC_ESHAPE);
    assert_non_null(strstr(err.msg, "its matrix is empty"));
    mc_model_free(m);
}

static void numbers_that_are_none(void **state)
{
    (void)state;
    struct mc_node *n;
    struct mc_err err = {0};
    struct mc_model *m = layer(&n);
    struct mc_graph *g = m->graph;
    float s[ROWS] = {1, 2, NAN, 4, 5, 6};
    struct mc_value *y = mc_edit_fresh(g, "y2"),
                    *scale = build_const(g, "s2", MC_DTYPE_F32, 2, (const int64_t[]){ROWS, 1}, s);
    struct mc_own_form form = {.shape = mc_shape_of(2, (const int64_t[]){ROWS, COLUMNS}),
                               .columns = COLUMNS};
    int rc =
        mc_own_call(g, g->n_nodes, "BinaryWeight", "bad", (struct mc_value *[]){n->in[0], scale}, 2,
                    &y, 1, mc_own_set_form, &form, NULL, &err);
    assert_int_equal(rc, MC_EDATA);
    assert_non_null(strstr(err.msg, "'bad': S"));
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_recognised),
        cmocka_unit_test(look_alikes_are_functions_like_others),
        cmocka_unit_test(taken_names),
        cmocka_unit_test(what_does_not_fit_is_named),
        cmocka_unit_test(shapes_of_any_length),
        cmocka_unit_test(gates_of_nothing),
        cmocka_unit_test(numbers_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
