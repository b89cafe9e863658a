/* Ties of tensors: the same, alike, by name, turned. */
#include "../run/run_util.h"

#include "graph/constant.h"
#include "graph/verify.h"
#include "passes/share/share_tie.h"

/* y = ((x A) B) C + …: square weights, each read once. names[i] NULL ends. */
static struct mc_model *chain(const char *const *names, const float *const *content, int64_t n)
{
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-1, n));
    for (int i = 0; names[i]; i++)
        x = build_binary(m->graph, "MatMul", "y", x,
                         f32_const(m->graph, names[i], 2, DIMS(n, n), content[i]));
    build_output(m->graph, x);
    return m;
}

static void run_of(struct mc_model *m, float *y, size_t n)
{
    float x[6] = {1, -2, 0.5F, 3, -1, 2};
    struct mc_session *s = session_of(m, NULL);
    run_x(s, 2, DIMS(2, 3), x);
    const struct mc_array *a = mc_session_output(s, 0);
    assert_int_equal(a->bytes, n * sizeof *y);
    memcpy(y, a->data, a->bytes);
    mc_session_free(s);
}

static const float A[9] = {1, 2, 3, -4, 5, 6, 7, -8, 9}, AT[9] = {1, -4, 7, 2, 5, -8, 3, 6, 9},
                   NEAR_A[9] = {1.01F, 2, 3, -4, 5.02F, 6, 7, -8, 9},
                   OTHER[9] = {-3, 1, 4, 1, -5, 9, 2, 6, -5};

static void what_is_the_same_changes_nothing(void **state)
{
    const char *const names[] = {"a", "b", "t", "o", NULL};
    const float *const content[] = {A, A, AT, OTHER};
    struct mc_model *m = chain(names, content, 3);
    struct mc_ties t;
    struct mc_err err;
    float before[6], after[6];
    (void)state;
    run_of(m, before, 6);
    build_ok(mc_ties_collect(m, &t, &err), &err);
    assert_int_equal(t.n_tensors, 4);
    build_ok(mc_ties_same(&t, &err), &err);
    assert_int_equal(t.n, 2);
    assert_true(t.tie[0].from == 1 && t.tie[0].to == 0 && !t.tie[0].transposed && t.tie[0].same);
    assert_true(t.tie[1].from == 2 && t.tie[1].to == 0 && t.tie[1].transposed && t.tie[1].same);
    build_ok(mc_ties_place(&t, m, NULL, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(m->graph->n_inits, 2);
    run_of(m, after, 6);
    assert_memory_equal(before, after, sizeof before);
    mc_ties_free(&t);
    mc_model_free(m);
}

static void constants_of_nodes_and_of_any_type_are_tied(void **state)
{
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-1, 3)), *c, *in[2];
    struct mc_err err;
    struct mc_node *node;
    struct mc_ties t;
    (void)state;
    for (int i = 0; i < 2; i++) {
        c = build_node(m->graph, "Constant", "shape", 0, NULL, &node);
        build_ok(mc_edit_attr_ints(node, "value_ints", DIMS(-1, 3), 2, &err), &err);
        in[0] = x;
        in[1] = c;
        x = build_node(m->graph, "Reshape", "y", 2, in, NULL);
    }
    build_output(m->graph, x);
    build_ok(mc_ties_collect(m, &t, &err), &err);
    build_ok(mc_ties_same(&t, &err), &err);
    assert_int_equal(t.n, 1);
    build_ok(mc_ties_place(&t, m, NULL, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(m->graph->n_nodes, 3);
    mc_ties_free(&t);
    mc_model_free(m);
}

/* Fresh biases are equal by chance. */
static void vectors_of_one_number_are_not_tied(void **state)
{
    const float zero[3] = {0};
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-1, 3));
    struct mc_ties t;
    struct mc_err err;
    (void)state;
    for (int i = 0; i < 2; i++)
        x = build_binary(m->graph, "Add", "y", x,
                         f32_const(m->graph, i ? "b" : "a", 1, DIMS(3), zero));
    build_output(m->graph, x);
    build_ok(mc_ties_collect(m, &t, &err), &err);
    build_ok(mc_ties_same(&t, &err), &err);
    build_ok(mc_ties_near(&t, 0.3, &err), &err);
    assert_int_equal(t.n, 0);
    mc_ties_free(&t);
    mc_model_free(m);
}

static void what_is_alike_becomes_its_mean(void **state)
{
    const char *const names[] = {"a", "b", "o", NULL};
    const float *const content[] = {A, NEAR_A, OTHER};
    struct mc_model *m = chain(names, content, 3);
    struct mc_ties t;
    struct mc_err err;
    (void)state;
    build_ok(mc_ties_collect(m, &t, &err), &err);
    build_ok(mc_ties_same(&t, &err), &err);
    assert_int_equal(t.n, 0);
    build_ok(mc_ties_near(&t, 1e-4, &err), &err);
    assert_int_equal(t.n, 0);
    build_ok(mc_ties_near(&t, 0.3, &err), &err);
    assert_int_equal(t.n, 1);
    assert_float_equal(t.tie[0].distance, sqrt(0.0005 / 285.2213), 1e-5);
    build_ok(mc_ties_place(&t, m, NULL, &err), &err);
    const float *mean = (const float *)mc_graph_value(m->graph, "a")->tensor->data;
    assert_float_equal(mean[0], 1.005, 1e-6);
    assert_float_equal(mean[4], 5.01, 1e-6);
    assert_null(mc_graph_value(m->graph, "b"));
    mc_ties_free(&t);
    mc_model_free(m);
}

static void names_tie_what_has_one_shape(void **state)
{
    const char *const names[] = {"w1", "w2", "v", NULL};
    const float *const content[] = {A, OTHER, AT};
    struct mc_model *m = chain(names, content, 3);
    struct mc_ties t;
    struct mc_err err;
    (void)state;
    build_ok(mc_ties_collect(m, &t, &err), &err);
    assert_int_equal(mc_ties_match(&t, "w[", &err), MC_EUSAGE);
    assert_int_equal(mc_ties_match(&t, "nothing", &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "no float tensor"));
    assert_int_equal(mc_ties_match(&t, "^v$", &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "one float tensor only"));
    build_ok(mc_ties_match(&t, "^w", &err), &err);
    assert_int_equal(t.n, 1);
    build_ok(mc_ties_place(&t, m, NULL, &err), &err);
    const float *mean = (const float *)mc_graph_value(m->graph, "w1")->tensor->data;
    for (int i = 0; i < 9; i++)
        assert_float_equal(mean[i], (A[i] + OTHER[i]) / 2, 1e-6);
    mc_ties_free(&t);
    mc_model_free(m);
}

/* An embedding and the output layer behind it: [3,2] and its [2,3]. */
static void turned_tensors_become_one_mean(void **state)
{
    const float table[6] = {1, 2, 3, 4, 5, 6}, out[6] = {1.5F, 3, 5, 2, 4, 7};
    struct mc_model *m = build_model(17);
    struct mc_value *i = build_input(m->graph, "i", MC_DTYPE_I64, 1, DIMS(-1)), *in[2];
    struct mc_ties t;
    struct mc_err err;
    (void)state;
    in[0] = f32_const(m->graph, "w.table", 2, DIMS(3, 2), table);
    in[1] = i;
    struct mc_value *x = build_node(m->graph, "Gather", "e", 2, in, NULL);
    build_output(m->graph, build_binary(m->graph, "MatMul", "y", x,
                                        f32_const(m->graph, "w.out", 2, DIMS(2, 3), out)));
    build_ok(mc_ties_collect(m, &t, &err), &err);
    build_ok(mc_ties_match(&t, "^w", &err), &err);
    assert_true(t.n == 1 && t.tie[0].transposed);
    build_ok(mc_ties_place(&t, m, NULL, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    const float *mean = (const float *)mc_graph_value(m->graph, "w.table")->tensor->data;
    const float want[6] = {1.25F, 2, 3, 4, 5, 6.5F};
    for (int k = 0; k < 6; k++)
        assert_float_equal(mean[k], want[k], 1e-6);
    assert_int_equal(m->graph->n_inits, 1);
    mc_ties_free(&t);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_the_same_changes_nothing),
        cmocka_unit_test(constants_of_nodes_and_of_any_type_are_tied),
        cmocka_unit_test(vectors_of_one_number_are_not_tied),
        cmocka_unit_test(what_is_alike_becomes_its_mean),
        cmocka_unit_test(names_tie_what_has_one_shape),
        cmocka_unit_test(turned_tensors_become_one_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
