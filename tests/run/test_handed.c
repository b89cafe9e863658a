/* Sequences and optionals that a session takes and hands out: contents, reuse, what it says. */
#include "run_util.h"

#include "graph/graph.h"

static const struct mc_session_opts lists = {.flags = MC_SESSION_LISTS};

static struct mc_value *list_input(struct mc_graph *g, const char *name, enum mc_type_kind kind,
                                   enum mc_dtype dtype)
{
    struct mc_value *v = build_input(g, name, dtype, 0, DIMS(0));
    v->type = (struct mc_type){.kind = kind, .dtype = dtype};
    return v;
}

static struct mc_array list_of(const char *name, const struct mc_array *items, int64_t n)
{
    return (struct mc_array){name, MC_DTYPE_NONE, mc_shape_of(1, &n), (void *)(uintptr_t)items,
                             (size_t)n * sizeof *items};
}

/* y = x with t put at its end. */
static struct mc_model *appends(enum mc_dtype dtype)
{
    struct mc_model *m = build_model(17);
    struct mc_value *x = list_input(m->graph, "x", MC_TYPE_SEQUENCE, dtype);
    struct mc_value *t = build_input(m->graph, "t", dtype, 1, DIMS(-2));
    build_output(m->graph, build_binary(m->graph, "SequenceInsert", "y", x, t));
    return m;
}

static void a_sequence_comes_and_goes(void **state)
{
    (void)state;
    struct mc_model *m = appends(MC_DTYPE_F32);
    struct mc_session *s = session_of(m, &lists);
    float data[5] = {1, 2, 3, 4, 5};
    assert_int_equal(mc_session_input(s, 0)->dtype, MC_DTYPE_NONE);
    for (int64_t n = 3; n >= 0; n--) {
        struct mc_array item[3], in[2];
        for (int64_t i = 0; i < n; i++)
            item[i] = array_of("x", MC_DTYPE_F32, 1, DIMS(i + 1), data + i);
        in[0] = list_of("x", item, n);
        in[1] = array_of("t", MC_DTYPE_F32, 1, DIMS(2), F(7, (float)n));
        run_ok(s, in, 2);
        const struct mc_array *y = mc_session_output(s, 0);
        assert_true(mc_array_is_list(y));
        assert_int_equal(mc_array_n_items(y), n + 1);
        const struct mc_array *got = y->data;
        for (int64_t i = 0; i < n; i++)
            expect_f32(&got[i], 1, DIMS(i + 1), data + i, 0);
        expect_f32(&got[n], 1, DIMS(2), F(7, (float)n), 0);
        assert_string_equal(got[n].name, "y");
    }
    mc_session_free(s);
    mc_model_free(m);
}

/* In float16 an item is rounded, whatever it is computed in. */
static void halves_are_rounded(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_value *x = list_input(m->graph, "x", MC_TYPE_SEQUENCE, MC_DTYPE_F16);
    struct mc_value *at = build_const(m->graph, "at", MC_DTYPE_I64, 0, DIMS(0), DIMS(0));
    struct mc_value *t = build_binary(m->graph, "SequenceAt", "t", x, at);
    struct mc_value *sum = build_binary(m->graph, "Add", "s", t, t);
    struct mc_value *p = build_binary(m->graph, "Mul", "p", sum, t);
    build_output(m->graph, build_binary(m->graph, "SequenceInsert", "y", x, p));
    struct mc_session *s = session_of(m, &lists);
    uint16_t three = 0x3555; /* 0.33325195 */
    struct mc_array item = array_of("x", MC_DTYPE_F16, 1, DIMS(1), &three);
    struct mc_array in = list_of("x", &item, 1);
    run_ok(s, &in, 1);
    const struct mc_array *got = mc_session_output(s, 0)->data;
    expect_f32(&got[0], 1, DIMS(1), F(0.333251953125f), 0);
    /* 2 · 0.33325195² = 0.22211373 is 1819.56 · 2^-13, the distance of halves there. */
    expect_f32(&got[1], 1, DIMS(1), F(1820 * 0x1p-13f), 0);
    mc_session_free(s);
    mc_model_free(m);
}

/* y = is there an element?  z = x itself */
static void an_optional_is_there_or_not(void **state)
{
    (void)state;
    struct mc_model *m = build_model(18);
    struct mc_value *x = list_input(m->graph, "x", MC_TYPE_OPTIONAL, MC_DTYPE_F32);
    build_output(m->graph, build_unary(m->graph, "OptionalHasElement", "y", x));
    build_output(m->graph, build_unary(m->graph, "Identity", "z", x));
    struct mc_session *s = session_of(m, &lists);
    struct mc_array item[2] = {array_of("x", MC_DTYPE_F32, 1, DIMS(2), F(1, 2)),
                               array_of("x", MC_DTYPE_F32, 1, DIMS(1), F(3))};
    const struct mc_array none = {"x", MC_DTYPE_NONE, {.rank = -1}, NULL, 0};
    const struct mc_array given[] = {item[0], none, list_of("x", item, 2), item[1], none};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        run_ok(s, &given[i], 1);
        const struct mc_array *y = mc_session_output(s, 0), *z = mc_session_output(s, 1);
        assert_int_equal(*(const uint8_t *)y->data, given[i].shape.rank >= 0);
        assert_int_equal(z->dtype, given[i].dtype);
        assert_true(mc_shape_equal(&z->shape, &given[i].shape));
    }
    mc_session_free(s);
    mc_model_free(m);
}

static void says(struct mc_session *s, const struct mc_array *in, int n, int code, const char *text)
{
    struct mc_err err = {0};
    assert_int_equal(mc_session_run(s, in, n, &err), code);
    if (!strstr(err.msg, text))
        fail_msg("'%s' does not say '%s'", err.msg, text);
    assert_null(mc_session_output(s, 0));
}

static void what_does_not_fit_is_named(void **state)
{
    (void)state;
    struct mc_model *m = appends(MC_DTYPE_F32);
    struct mc_err err;
    struct mc_session *s;
    m->graph->inputs[0]->type.dtype = MC_DTYPE_NONE;
    int64_t ints[2] = {1, 2};
    struct mc_array a = array_of("x", MC_DTYPE_F32, 1, DIMS(2), F(1, 2));
    struct mc_array b = array_of("x", MC_DTYPE_I64, 1, DIMS(2), ints);
    struct mc_array mixed[2] = {a, b}, floats[2] = {a, a};
    struct mc_array nested[2] = {a, list_of("x", floats, 2)};
    struct mc_array in[3] = {a, a};
    in[1].name = "t";
    assert_int_equal(mc_session_new(m->graph, NULL, &s, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "'x'"));
    s = session_of(m, &lists);
    says(s, in, 2, MC_EDTYPE, "'x' is a sequence in the model, but the data is float [2]");
    in[0] = (struct mc_array){"x", MC_DTYPE_NONE, {.rank = -1}, NULL, 0};
    says(s, in, 2, MC_EDTYPE, "an empty optional");
    in[0] = list_of("x", mixed, 2);
    says(s, in, 2, MC_EDTYPE, "'x': item 1 is int64 [2], and the first is float [2]");
    in[0] = list_of("x", nested, 2);
    says(s, in, 2, MC_EDTYPE, "'x': item 1 is a sequence of 2, and the first is float [2]");
    floats[1].bytes = 4;
    in[0] = list_of("x", floats, 2);
    says(s, in, 2, MC_EDATA, "'x': the data has 4 bytes");
    floats[1].bytes = 8;
    in[2] = in[0];
    says(s, in, 3, MC_EDATA, "'x' is given twice");
    in[1] = list_of("t", floats, 2);
    says(s, in, 2, MC_EDTYPE, "'t' is a tensor in the model, but the data is a sequence of 2");
    in[1] = a;
    in[1].name = "t";
    run_ok(s, in, 2);
    assert_int_equal(mc_array_n_items(mc_session_output(s, 0)), 3);
    m->graph->inputs[0]->type.dtype = MC_DTYPE_F64;
    says(s, in, 2, MC_EDTYPE, "elements of type double in the model, but the data has float");
    mc_session_free(s);
    mc_model_free(m);
}

/* A sequence of sequences has no tensors to be joined. */
static void lists_in_lists_are_not_joined(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_node *n;
    struct mc_value *x = list_input(m->graph, "x", MC_TYPE_SEQUENCE, MC_DTYPE_F32);
    build_output(m->graph, build_node(m->graph, "ConcatFromSequence", "y", 1, &x, &n));
    assert_int_equal(mc_edit_attr_int(n, "axis", 0, NULL), 0);
    struct mc_session *s = session_of(m, &lists);
    struct mc_array a = array_of("x", MC_DTYPE_F32, 1, DIMS(2), F(1, 2));
    struct mc_array inner[2] = {list_of("x", &a, 1), list_of("x", &a, 1)};
    struct mc_array in = list_of("x", inner, 2);
    says(s, &in, 1, MC_EDTYPE, "item 0 is a sequence or an optional, must be a tensor");
    mc_session_free(s);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_comes_and_goes),
        cmocka_unit_test(halves_are_rounded),
        cmocka_unit_test(an_optional_is_there_or_not),
        cmocka_unit_test(what_does_not_fit_is_named),
        cmocka_unit_test(lists_in_lists_are_not_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
