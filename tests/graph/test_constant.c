#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/verify.h"
#include "tests/graph/build.h"

static struct mc_node *constant_node(struct mc_graph *g, struct mc_value **ret)
{
    struct mc_node *n;
    *ret = build_node(g, "Constant", "c", 0, NULL, &n);
    return n;
}

/* Lists of a Constant node, as a reader fills them in. */
static struct mc_value *listed(struct mc_graph *g, enum mc_attr_type type, const char *name,
                               const void *data, size_t n, size_t size)
{
    struct mc_value *v;
    struct mc_attr *a = mc_edit_attr_new(constant_node(g, &v), name, type);
    void *copy = mc_arena_memdup(&g->model->arena, data, n * size);
    a->n = n;
    if (type == MC_ATTR_INTS)
        a->ints = copy;
    else
        a->floats = copy;
    return v;
}

static void constants_are_found_everywhere(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    const float two[2] = {1.5f, -2};
    struct mc_value *init = build_const(g, "init", MC_DTYPE_F32, 1, (int64_t[]){2}, two);
    assert_ptr_equal(mc_constant(init), init->tensor);
    struct mc_value *same = build_unary(g, "Identity", "same", init);
    assert_ptr_equal(mc_constant(same), init->tensor);
    assert_null(mc_constant(build_unary(g, "Relu", "relu", init)));
    assert_null(mc_constant(build_input(g, "x", MC_DTYPE_F32, 0, NULL)));
    assert_null(mc_constant(NULL));

    struct mc_value *v;
    build_ok(mc_edit_attr_tensor(constant_node(g, &v), "value", init->tensor, &err), &err);
    assert_ptr_equal(mc_constant(v), init->tensor);
    struct mc_node *n = constant_node(g, &v);
    assert_null(mc_constant(v));
    build_ok(mc_edit_attr_int(n, "value_int", -9, &err), &err);
    int64_t i[4] = {0};
    assert_int_equal(mc_constant_ints(v, i, 4), 1);
    assert_true(i[0] == -9 && mc_constant(v)->shape.rank == 0);
    n = constant_node(g, &v);
    build_ok(mc_edit_attr_float(n, "value_float", 0.25f, &err), &err);
    float *f;
    int64_t count;
    build_ok(mc_constant_f32(v, &f, &count, &err), &err);
    assert_true(count == 1 && f[0] == 0.25f);
    free(f);
    assert_int_equal(mc_constant_ints(v, i, 4), -1); /* not integers */
    const int64_t three[3] = {4, 5, 6};
    v = listed(g, MC_ATTR_INTS, "value_ints", three, 3, sizeof *three);
    assert_int_equal(mc_constant_ints(v, i, 2), -1); /* too many */
    assert_int_equal(mc_constant_ints(v, i, 3), 3);
    assert_true(i[2] == 6 && mc_constant(v)->shape.rank == 1);
    assert_ptr_equal(mc_constant(v), mc_constant(v));
    v = listed(g, MC_ATTR_FLOATS, "value_floats", two, 2, sizeof *two);
    build_ok(mc_constant_f32(v, &f, &count, &err), &err);
    assert_true(count == 2 && f[1] == -2);
    free(f);
    v = listed(g, MC_ATTR_INTS, "value_ints", NULL, 0, sizeof *three);
    assert_int_equal(mc_constant_ints(v, i, 4), 0);

    struct mc_node *owner;
    build_node(g, "If", "if", 0, NULL, &owner);
    struct mc_graph *body = mc_edit_graph(m, g, owner, "then");
    build_ok(mc_edit_attr_graph(owner, "then_branch", body, &err), &err);
    assert_ptr_equal(mc_constant(mc_edit_resolve(body, "same")), init->tensor);

    assert_int_equal(mc_constant_f32(mc_graph_value(g, "relu"), &f, &count, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "'relu'"));
    build_ok(mc_edit_input(g, init, &err), &err);
    assert_null(mc_constant(same)); /* can be overridden by the caller */
    m->ir_version = 3;
    assert_non_null(mc_constant(same));
    build_ok(mc_verify(m, &err), &err);
    mc_model_free(m);
}

static void replacing_keeps_the_place(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *w = build_const(g, "w", MC_DTYPE_F16, 2, (int64_t[]){2, 3}, NULL);
    struct mc_value *same = build_unary(g, "Identity", "same", w);
    build_output(g, build_unary(g, "Relu", "y", same));
    assert_true(mc_edit_type(w, MC_DTYPE_F16, 2, (struct mc_dim[]){{2, NULL}, {3, NULL}}));
    struct mc_model *copy;
    build_ok(mc_model_clone(m, &copy, &err), &err);

    const float x[4] = {1, 2, 3, 1.0f + 0x1p-11f};
    const struct mc_shape shape = {2, {4, 1}};
    struct mc_tensor *t;
    build_ok(mc_constant_make(x, &shape, w->tensor->dtype, NULL, &t, &err), &err);
    build_ok(mc_constant_replace(same, t, &err), &err);
    assert_ptr_equal(w->tensor, t);
    assert_int_equal(w->type.dim[0].value, 4);
    assert_int_equal(g->n_inits, 1);
    float *f;
    int64_t n;
    build_ok(mc_constant_f32(same, &f, &n, &err), &err);
    assert_true(n == 4 && f[2] == 3 && f[3] == 1); /* half to even */
    free(f);
    /* The clone still has the old one. */
    assert_int_equal(mc_graph_value(copy->graph, "w")->tensor->shape.dim[0], 2);

    struct mc_value *v;
    struct mc_node *node = constant_node(g, &v);
    build_ok(mc_edit_attr_int(node, "value_int", 3, &err), &err);
    assert_non_null(mc_constant(v));
    build_ok(mc_constant_replace(v, t, &err), &err);
    assert_int_equal(node->n_attr, 1);
    assert_string_equal(node->attr[0].name, "value");
    assert_ptr_equal(mc_constant(v), t);
    build_ok(mc_constant_replace(v, (struct mc_tensor *)mc_constant(v), &err), &err);
    mc_tensor_unref(t);
    assert_int_equal(mc_constant(v)->shape.dim[0], 4);
    assert_int_equal(mc_constant_replace(mc_graph_value(g, "y"), w->tensor, &err), MC_EUNSUP);
    assert_int_equal(mc_constant_make(x, &shape, MC_DTYPE_C64, NULL, &t, &err), MC_EDTYPE);
    build_ok(mc_verify(m, &err), &err);
    mc_model_free(m);
    mc_model_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_are_found_everywhere),
        cmocka_unit_test(replacing_keeps_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
