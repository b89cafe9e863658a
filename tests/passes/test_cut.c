/* What a cut leaves of a model: constants of any type and place, attributes, shapes, declared types. */
#include "prune_util.h"

/* x [n,4] MatMul w1 [4,8] Relu MatMul w2 [8,3]. */
static struct mc_model *two_layers(struct mc_value *(*constant)(struct mc_graph *g,
                                                                const char *name,
                                                                const int64_t *dims))
{
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 4));
    struct mc_value *h = build_binary(g, "MatMul", "a", x, constant(g, "w1", DIMS(4, 8)));
    build_output(g, build_binary(g, "MatMul", "b", build_unary(g, "Relu", "r", h),
                                 constant(g, "w2", DIMS(8, 3))));
    return m;
}

static struct mc_value *initializer(struct mc_graph *g, const char *name, const int64_t *dims)
{
    return random_const(g, name, 2, dims, (uint64_t)dims[0]);
}

/* Content of a constant as numbers. */
static void content(const struct mc_model *m, const char *name, int64_t n, double *ret)
{
    const struct mc_tensor *t = mc_constant(mc_graph_value(m->graph, name));
    assert_non_null(t);
    assert_int_equal(mc_tensor_count(t), n);
    assert_int_equal(mc_dtype_to_f64(t->dtype, t->data, ret, (size_t)n, NULL), 0);
}

static struct mc_coupling *found(struct mc_model *m)
{
    struct mc_coupling *c;
    struct mc_err err;
    build_ok(mc_coupling_find(m, &c, &err), &err);
    return c;
}

static const bool odd[8] = {false, true, false, true, true, false, false, true};
static const int left[4] = {0, 2, 5, 6};

/* Rows of w1's columns and w2's rows that stay are what they were. */
static void expect_left(const struct mc_model *m, const struct mc_model *cut)
{
    double before[32], after[32];
    content(m, "w1", 32, before);
    content(cut, "w1", 16, after);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            assert_true(after[i * 4 + k] == before[i * 8 + left[k]]);
    content(m, "w2", 24, before);
    content(cut, "w2", 12, after);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 3; k++)
            assert_true(after[i * 3 + k] == before[left[i] * 3 + k]);
}

static void check_left(struct mc_model *m)
{
    struct mc_coupling *c = found(m);
    assert_int_equal(c->n_units, 8);
    struct mc_model *cut = prune_cut(m, c, odd);
    expect_left(m, cut);
    assert_true(prune_difference(cut, cut, 1) == 0);
    mc_model_free(cut);
    mc_coupling_free(c);
    mc_model_free(m);
}

static void initializers_lose_rows_and_columns(void **state)
{
    (void)state;
    check_left(two_layers(initializer));
}

static struct mc_value *constant_node(struct mc_graph *g, const char *name, const int64_t *dims)
{
    struct mc_value *v = random_const(g, "t", 2, dims, (uint64_t)dims[0]),
                    *y = mc_edit_value(g, name);
    struct mc_node *n;
    struct mc_err err;
    build_ok(mc_edit_node(g, g->n_nodes, "Constant", "", 0, name, NULL, 0, &y, 1, &n, &err), &err);
    build_ok(mc_edit_attr_tensor(n, "value", v->tensor, &err), &err);
    mc_edit_tensor(v, NULL, NULL);
    return y;
}

static void so_do_constant_nodes(void **state)
{
    (void)state;
    check_left(two_layers(constant_node));
}

/* A weight of another type, behind a Cast or a DequantizeLinear. */
static enum mc_dtype stored;

static struct mc_value *stored_as(struct mc_graph *g, const char *name, const int64_t *dims)
{
    struct mc_shape s = mc_shape_of(2, dims);
    struct mc_tensor *t;
    struct mc_node *n;
    struct mc_err err;
    void *data;
    float x[32];
    for (int i = 0; i < 32; i++)
        x[i] = (float)((i * 5 + i / 8) % 15 - 7);
    build_ok(mc_tensor_new(stored, &s, NULL, &t, &data, &err), &err);
    build_ok(mc_dtype_from_f32(stored, x, data, (size_t)mc_shape_count(&s), &err), &err);
    struct mc_value *v = mc_edit_value(g, name);
    build_ok(mc_edit_tensor(v, t, &err), &err);
    mc_tensor_unref(t);
    if (stored == MC_DTYPE_I4 || stored == MC_DTYPE_I8)
        return build_binary(g, "DequantizeLinear", "dq", v, f32_const(g, "s", 0, NULL, F(0.5f)));
    struct mc_value *y = build_node(g, "Cast", "cast", 1, &v, &n);
    build_ok(mc_edit_attr_int(n, "to", MC_DTYPE_F32, &err), &err);
    return y;
}

static void types_of_any_width(void **state)
{
    (void)state;
    static const enum mc_dtype types[] = {MC_DTYPE_F16, MC_DTYPE_F64, MC_DTYPE_I8, MC_DTYPE_I4,
                                          MC_DTYPE_BF16};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        stored = types[i];
        check_left(two_layers(stored_as));
    }
}

static void the_model_itself_and_its_clone(void **state)
{
    (void)state;
    struct mc_model *m = two_layers(initializer);
    struct mc_coupling *c = found(m);
    struct mc_model *clone = prune_cut(m, c, odd);
    double x[32];
    content(m, "w1", 32, x); /* the other is as it was */
    struct mc_err err;
    build_ok(mc_cut(c, m, odd, 0, &err), &err);
    content(m, "w1", 16, x);
    assert_true(prune_difference(m, clone, 1) == 0);
    mc_model_free(clone);
    mc_coupling_free(c);
    mc_model_free(m);
}

static void sizes_alone(void **state)
{
    (void)state;
    struct mc_model *m = two_layers(initializer), *clone;
    struct mc_coupling *c = found(m);
    struct mc_err err;
    build_ok(mc_model_clone(m, &clone, &err), &err);
    build_ok(mc_cut(c, clone, odd, MC_CUT_SIZES, &err), &err);
    build_ok(mc_verify(clone, &err), &err);
    double x[16];
    content(clone, "w1", 16, x);
    for (int i = 0; i < 16; i++)
        assert_true(x[i] == 0);
    assert_int_equal(prune_parameters(clone), 28);
    mc_model_free(clone);
    mc_coupling_free(c);
    mc_model_free(m);
}

static void declared_types_go_where_they_are_wrong(void **state)
{
    (void)state;
    struct mc_model *m = two_layers(initializer);
    struct mc_value *h = mc_graph_value(m->graph, "a");
    const struct mc_dim dims[2] = {{-1, "d2"}, {8, NULL}};
    assert_true(mc_edit_type(h, MC_DTYPE_F32, 2, dims));
    assert_int_equal(mc_edit_info(m->graph, h, NULL), 0);
    struct mc_coupling *c = found(m);
    struct mc_model *cut = prune_cut(m, c, odd);
    assert_false(mc_graph_value(cut->graph, "a")->type.ranked);
    assert_true(mc_graph_value(cut->graph, "x")->type.ranked);
    mc_model_free(cut);
    mc_coupling_free(c);
    mc_model_free(m);
}

/* One vector of numbers, read by two Reshapes of which one is cut. */
static void a_shape_read_by_two(void **state)
{
    (void)state;
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 8));
    const int64_t numbers[3] = {0, 2, 4};
    struct mc_value *shape = build_const(g, "shape", MC_DTYPE_I64, 1, DIMS(3), numbers);
    struct mc_value *a = build_binary(
        g, "Reshape", "ra",
        build_binary(g, "MatMul", "a", x, random_const(g, "w1", 2, DIMS(8, 8), 1)), shape);
    struct mc_value *b = build_binary(g, "Reshape", "rb", x, shape);
    build_output(g, build_binary(g, "MatMul", "b", a, random_const(g, "w2", 2, DIMS(4, 3), 2)));
    build_output(g, b);
    struct mc_coupling *c = found(m);
    assert_int_equal(c->n_units, 4); /* places: rows are an output's */
    const bool gone[4] = {true, false, false, true};
    struct mc_model *cut = prune_cut(m, c, gone), *zeroed = prune_zeroed(m, c, gone);
    assert_true(prune_difference(zeroed, cut, 1) <= 1e-12);
    mc_model_free(zeroed);
    mc_model_free(cut);
    mc_coupling_free(c);
    mc_model_free(m);
}

static void large_constants_go_to_spill(void **state)
{
    (void)state;
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 4));
    struct mc_value *h =
        build_binary(g, "MatMul", "a", x, random_const(g, "w1", 2, DIMS(4, 1024), 1));
    h = build_binary(g, "MatMul", "b", build_unary(g, "Relu", "r", h),
                     random_const(g, "w2", 2, DIMS(1024, 1024), 1));
    build_output(g, build_binary(g, "MatMul", "c", build_unary(g, "Relu", "r", h),
                                 random_const(g, "w3", 2, DIMS(1024, 3), 1)));
    assert_true(prune_check(m, 0.8, 1, false) <= 1e-12);
    struct mc_spill *spill;
    struct mc_err err;
    build_ok(mc_spill_new(NULL, &spill, &err), &err);
    struct mc_coupling *c = found(m);
    bool *gone = prune_random(c, 0.8, 1);
    struct mc_model *cut;
    build_ok(mc_model_clone(m, &cut, &err), &err);
    cut->spill = spill;
    build_ok(mc_cut(c, cut, gone, 0, &err), &err);
    const struct mc_tensor *t = mc_graph_value(cut->graph, "w2")->tensor;
    assert_true(t->bytes >= MC_SPILL_FROM);
    assert_true(mc_storage_bytes(t->storage) >= t->bytes);
    free(gone);
    mc_model_free(cut);
    mc_coupling_free(c);
    mc_model_free(m);
    mc_spill_free(spill);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(initializers_lose_rows_and_columns),
        cmocka_unit_test(so_do_constant_nodes),
        cmocka_unit_test(types_of_any_width),
        cmocka_unit_test(the_model_itself_and_its_clone),
        cmocka_unit_test(sizes_alone),
        cmocka_unit_test(declared_types_go_where_they_are_wrong),
        cmocka_unit_test(a_shape_read_by_two),
        cmocka_unit_test(large_constants_go_to_spill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
