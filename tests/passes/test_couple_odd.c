/* Uses of operators that few models make, where a rule that says too little would leave a wrong model. */
#include "couple_build.h"
#include "couple_nodes.h"

/* Whatever can go may go: what is left is valid, and computes what the model with zeros does. Takes m. */
static void check_odd(struct mc_model *m)
{
    struct mc_coupling *c;
    struct mc_err err;
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_coupling_prepare(m, &err), &err);
    build_ok(mc_coupling_find(m, &c, &err), &err);
    for (uint64_t seed = 1; seed <= 4; seed++) {
        bool *gone = prune_random(c, 1 - 0.22 * (double)seed, seed);
        prune_keep_inexact(c, gone);
        struct mc_model *zeroed = prune_zeroed(m, c, gone), *cut = prune_cut(m, c, gone);
        double d = prune_difference(zeroed, cut, seed);
        if (!(d <= 1e-9))
            prune_print(c);
        assert_true(d <= 1e-9);
        mc_model_free(zeroed);
        mc_model_free(cut);
        free(gone);
    }
    mc_coupling_free(c);
    mc_model_free(m);
}

static struct mc_model *image_model(int opset, int64_t size, struct mc_value **x)
{
    struct mc_model *m = build_model(opset);
    *x = build_input(m->graph, "x", MC_DTYPE_F32, 4, DIMS(2, 3, size, size));
    return m;
}

static struct mc_value *mean(struct mc_graph *g, struct mc_value *y)
{
    return build_unary(g, "GlobalAveragePool", "mean", y);
}

static struct mc_value *positive_const(struct mc_graph *g, const char *name, int rank,
                                       const int64_t *dims)
{
    struct mc_value *v = random_const(g, name, rank, dims, next_seed(g));
    float *x = (float *)(uintptr_t)v->tensor->data;
    for (int64_t i = 0; i < mc_tensor_count(v->tensor); i++)
        x[i] = 0.5f + fabsf(x[i]);
    return v;
}

/* ---- before version 7 the second operand began at `axis` ---- */

static void operands_that_begin_at_an_axis(void **state)
{
    (void)state;
    static const int64_t sizes[] = {6, 4};
    for (size_t i = 0; i < 2; i++) {
        struct mc_value *x;
        struct mc_node *n;
        struct mc_model *m = image_model(6, sizes[i], &x);
        struct mc_graph *g = m->graph;
        struct mc_value *y = conv(g, "a", x, 3, 6, 1);
        y = build_node(g, "Add", "added", 2,
                       (struct mc_value *[]){y, random_const(g, "shift", 1, DIMS(6), 3)}, &n);
        with_int(n, "broadcast", 1);
        with_int(n, "axis", 1);
        y = build_binary(g, "PRelu", "bent", y, random_const(g, "slope", 1, DIMS(6), 4));
        build_output(g, mean(g, conv(g, "b", y, 6, 2, 1)));
        GROUPS(m, 6);
    }
}

/* Statistics of every position. */
static void batch_norms_that_are_not_spatial(void **state)
{
    (void)state;
    struct mc_model *m = build_model(8);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 3));
    struct mc_value *in[5] = {reshape(g, dense(g, "a", x, 3, 96), INTS(g, 2, 6, 4, 4))};
    for (int i = 1; i < 5; i++)
        in[i] = positive_const(g, "of_norm", 3, DIMS(6, 4, 4));
    struct mc_value *y = build_node(g, "BatchNormalization", "norm", 5, in, &n);
    with_int(n, "spatial", 0);
    build_output(g, dense(g, "b", reshape(g, y, INTS(g, 2, 96)), 96, 2));
    check_odd(m);
}

/* ---- kernels ---- */

/* What a kernel's places in space are cannot go. */
static void kernels_that_are_computed(void **state)
{
    (void)state;
    for (int groups = 1; groups <= 6; groups += 5) {
        struct mc_value *x;
        struct mc_node *n;
        struct mc_model *m = image_model(17, 6, &x);
        struct mc_graph *g = m->graph;
        struct mc_value *z = build_input(g, "z", MC_DTYPE_F32, 2, DIMS(1, 5));
        struct mc_value *y = conv(g, "a", x, 3, 6, 1);
        struct mc_value *w = dense(g, "kernel", z, 5, 6 * 6 / groups * 9);
        w = reshape(g, w, INTS(g, 6, 6 / groups, 3, 3));
        y = build_node(g, "Conv", "b", 2, (struct mc_value *[]){y, w}, &n);
        with_int(n, "group", groups);
        build_output(g, mean(g, conv(g, "c", y, 6, 2, 1)));
        check_odd(m);
    }
}

/* One kernel for a convolution in groups and one that is not. */
static void kernels_of_two_convolutions(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_node *n;
    struct mc_model *m = image_model(17, 4, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *w = random_const(g, "both", 4, DIMS(8, 2, 1, 1), 5);
    struct mc_value *a = conv(g, "a", x, 3, 2, 1), *b = conv(g, "b", x, 3, 8, 1);
    a = build_binary(g, "Conv", "plain", a, w);
    b = build_node(g, "Conv", "grouped", 2, (struct mc_value *[]){b, w}, &n);
    with_int(n, "group", 4);
    build_output(g, mean(g, conv(g, "c", a, 8, 2, 1)));
    build_output(g, mean(g, conv(g, "d", b, 8, 2, 1)));
    check_odd(m);
}

/* ---- numbers of positions that are computed from channels ---- */

static void numbers_that_are_moved(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_node *n;
    struct mc_model *m = image_model(17, 4, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *y = conv(g, "a", x, 3, 6, 1);
    struct mc_value *at = build_node(g, "ArgMax", "at", 1, &y, &n);
    with_int(n, "axis", 2);
    with_int(n, "keepdims", 0);
    at = reshape(g, at, INTS(g, 2, 24));
    y = gather(g, 0, random_const(g, "table", 2, DIMS(4, 5), 7), at);
    build_output(g, dense(g, "b", y, 5, 3));
    check_odd(m);
}

/* ---- positions that no cut may forget ---- */

static void pads_that_take_away(void **state)
{
    (void)state;
    for (int opset = 2; opset <= 13; opset += 11) {
        struct mc_model *m = build_model(opset);
        struct mc_graph *g = m->graph;
        struct mc_node *n;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 3));
        struct mc_value *w = random_const(g, "w", 2, DIMS(3, 9), 1);
        struct mc_value *h = build_binary(g, "MatMul", "a", x, w);
        struct mc_value *in[2] = {h, opset < 11 ? NULL : INTS(g, 0, -3, 0, -4)};
        struct mc_value *part = build_node(g, "Pad", "part", opset < 11 ? 1 : 2, in, &n);
        if (opset < 11)
            with_ints(n, "pads", 4, DIMS(0, -3, 0, -4));
        w = random_const(g, "w2", 2, DIMS(2, 2), 2);
        build_output(g, build_binary(g, "MatMul", "b", part, w));
        w = random_const(g, "w3", 2, DIMS(9, 2), 3);
        build_output(g, build_binary(g, "MatMul", "c", h, w));
        check_odd(m);
    }
}

static void slices_of_nothing(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 3));
    struct mc_value *h = dense(g, "a", x, 3, 8);
    struct mc_value *args[4] = {h, INTS(g, 5), INTS(g, 5), INTS(g, 1)};
    struct mc_value *two[2] = {h, build_node(g, "Slice", "none", 4, args, NULL)};
    build_output(g, dense(g, "b", concat(g, 1, 2, two), 8, 2));
    check_odd(m);
}

static void tiles_of_nothing(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 3));
    struct mc_value *h = dense(g, "a", x, 3, 8);
    struct mc_value *two[2] = {h, build_binary(g, "Tile", "none", h, INTS(g, 1, 0))};
    build_output(g, dense(g, "b", concat(g, 1, 2, two), 8, 2));
    check_odd(m);
}

/* Lengths stay, but not what lies at a position. */
static void channels_that_are_resampled(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct mc_value *x;
        struct mc_node *n;
        struct mc_model *m = image_model(13, 4, &x);
        struct mc_graph *g = m->graph;
        struct mc_value *y = conv(g, "a", x, 3, 6, 1);
        struct mc_value *in[3] = {y, NULL,
                                  f32_const(g, "scales", 1, DIMS(4), F(1, how ? 1 : 1.1f, 1, 1))};
        y = build_node(g, "Resize", "resized", 3, in, &n);
        assert_int_equal(mc_edit_attr_string(n, "mode", how == 1 ? "linear" : "nearest", NULL), 0);
        assert_int_equal(mc_edit_attr_string(n, "coordinate_transformation_mode",
                                             how ? "tf_half_pixel_for_nn" : "asymmetric", NULL),
                         0);
        if (how == 2)
            assert_int_equal(mc_edit_attr_string(n, "nearest_mode", "ceil", NULL), 0);
        if (!how)
            assert_int_equal(mc_edit_attr_string(n, "nearest_mode", "floor", NULL), 0);
        build_output(g, mean(g, conv(g, "b", y, 6, 2, 1)));
        check_odd(m);
    }
}

/* Positions of a pool are counted over items and channels. */
static void positions_of_a_pool(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(16, 3));
    struct mc_value *h = build_unary(g, "Relu", "relu", dense(g, "a", x, 3, 6));
    h = reshape(g, TURN(g, h, 1, 0), INTS(g, 6, 1, 4, 4));
    struct mc_value *out[2] = {mc_edit_fresh(g, "pooled"), mc_edit_fresh(g, "places")};
    struct mc_err err;
    build_ok(mc_edit_node(g, g->n_nodes, "MaxPool", "", 0, "pool", &h, 1, out, 2, &n, &err), &err);
    with_ints(n, "kernel_shape", 2, DIMS(2, 2));
    with_ints(n, "strides", 2, DIMS(2, 2));
    struct mc_value *at = build_node(g, "Cast", "cast", 1, &out[1], &n);
    with_int(n, "to", MC_DTYPE_F32);
    struct mc_value *y = TURN(g, reshape(g, out[0], INTS(g, 6, 4)), 1, 0);
    build_output(g, dense(g, "b", y, 6, 2));
    build_output(g, dense(g, "c", reshape(g, at, INTS(g, 1, 24)), 24, 2));
    check_odd(m);
}

/* The shape that a value grows to is shorter than the value's, and not known ahead. */
static void expands_to_a_shorter_shape(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(2, 1, 3));
    struct mc_value *z = build_input(g, "z", MC_DTYPE_F32, 2, DIMS(-2, 6));
    struct mc_value *h = dense(g, "a", x, 3, 6);
    h = build_binary(g, "Expand", "grown", h, build_unary(g, "Shape", "shape", z));
    build_output(g, dense(g, "b", h, 6, 2));
    check_odd(m);
}

/* ---- attention ---- */

/* A mask with as many heads as the run says. */
static void masks_of_heads_not_known_ahead(void **state)
{
    (void)state;
    for (int ms = 0; ms < 2; ms++) {
        struct mc_model *m = nodes_model(23);
        struct mc_graph *g = m->graph;
        struct mc_node *n;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(1, 2, 6));
        struct mc_value *mask =
            build_input(g, "mask", MC_DTYPE_F32, 4, DIMS(1, -9, 2, 2)); /* tests make it 2 */
        struct mc_value *in[6] = {NULL};
        for (int i = 0; i < 3; i++)
            in[i] = dense(g, "in", x, 6, 8);
        in[ms ? 5 : 3] = mask;
        struct mc_value *y = nodes_add(g, ms ? MS : "", ms ? "MultiHeadAttention" : "Attention",
                                       "attention", ms ? 6 : 4, in, &n);
        with_int(n, ms ? "num_heads" : "q_num_heads", 2);
        if (!ms)
            with_int(n, "kv_num_heads", 2);
        build_output(g, dense(g, "out", y, 8, 3));
        check_odd(m);
    }
}

/* Fewer queries than keys: an error, or nothing can go. */
static void fewer_queries_than_keys(void **state)
{
    (void)state;
    struct mc_model *m = nodes_model(23);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_coupling *c;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(1, 2, 6));
    struct mc_value *in[3] = {dense(g, "q", x, 6, 8), dense(g, "k", x, 6, 16),
                              dense(g, "v", x, 6, 16)};
    struct mc_value *y = nodes_add(g, "", "Attention", "attention", 3, in, &n);
    with_int(n, "q_num_heads", 2);
    with_int(n, "kv_num_heads", 4);
    build_output(g, dense(g, "out", y, 8, 3));
    if (!mc_coupling_find(m, &c, &err))
        mc_coupling_free(c);
    mc_model_free(m);
}

/* Positions that no data stands for: none of these axes is followed, none takes time or memory. */
static void axes_without_end(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_coupling *c;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 3));
    struct mc_value *h = dense(g, "a", x, 3, 64);
    for (int i = 0; i < 40; i++) {
        struct mc_value *y = build_binary(g, "Tile", "long", h, INTS(g, 1, i ? 500000 : 15000000));
        build_output(g, build_unary(g, "ReduceMax", "max", y));
    }
    build_output(g, dense(g, "b", h, 64, 2));
    build_ok(mc_coupling_find(m, &c, &err), &err);
    assert_null(group_of(c, NULL, 64));
    assert_int_equal(c->n_units, 0);
    mc_coupling_free(c);
    mc_model_free(m);
}

/* A node whose only output has no name costs nothing. */
static void products_that_nobody_takes(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_infer *inf;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 3)), *none = NULL;
    struct mc_value *in[2] = {x, random_const(g, "w", 2, DIMS(3, 4), 1)};
    static const char *const ops[] = {"MatMul", "Gemm"};
    struct mc_node *n[2];
    for (int i = 0; i < 2; i++)
        build_ok(mc_edit_node(g, g->n_nodes, ops[i], "", 0, "n", in, 2, &none, 1, &n[i], &err),
                 &err);
    build_ok(mc_infer_run(g, NULL, &inf, &err), &err);
    for (int i = 0; i < 2; i++)
        assert_true(mc_infer_macs(inf, n[i]) == 0);
    mc_infer_free(inf);
    mc_model_free(m);
}

/* One function, called by layers of different width: each is cut in its own way. */
static void calls_of_functions(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    assert_int_equal(mc_edit_opset(m, "f", 1, NULL), 0);
    struct mc_function *f = mc_edit_function(m, "f", "Bent", "");
    assert_non_null(f);
    assert_int_equal(mc_edit_function_opset(f, "", 17, NULL), 0);
    struct mc_value *a = mc_edit_value(f->body, "a");
    assert_int_equal(mc_edit_input(f->body, a, NULL), 0);
    build_output(f->body,
                 build_unary(f->body, "Relu", "relu", build_unary(f->body, "Neg", "n", a)));
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 3));
    int64_t width[3] = {3, 8, 6};
    for (int i = 0; i < 2; i++) {
        struct mc_value *y = mc_edit_fresh(g, "r");
        x = dense(g, "a", x, width[i], width[i + 1]);
        build_ok(mc_edit_node(g, g->n_nodes, "Bent", "f", 0, "", &x, 1, &y, 1, NULL, &err), &err);
        x = y;
    }
    build_output(g, dense(g, "b", x, 6, 2));
    GROUPS(m, 8, 6);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operands_that_begin_at_an_axis),
        cmocka_unit_test(batch_norms_that_are_not_spatial),
        cmocka_unit_test(kernels_that_are_computed),
        cmocka_unit_test(kernels_of_two_convolutions),
        cmocka_unit_test(numbers_that_are_moved),
        cmocka_unit_test(pads_that_take_away),
        cmocka_unit_test(slices_of_nothing),
        cmocka_unit_test(tiles_of_nothing),
        cmocka_unit_test(channels_that_are_resampled),
        cmocka_unit_test(positions_of_a_pool),
        cmocka_unit_test(expands_to_a_shorter_shape),
        cmocka_unit_test(masks_of_heads_not_known_ahead),
        cmocka_unit_test(fewer_queries_than_keys),
        cmocka_unit_test(axes_without_end),
        cmocka_unit_test(calls_of_functions),
        cmocka_unit_test(products_that_nobody_takes),
    };
    if (argc > 1) /* one of them */
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
