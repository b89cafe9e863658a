/* Layers of binary weights: what a call has to look like, and the change between the body of floats and that of 8-bit
 * integers. */
#include "../run/run_util.h"

#include "graph/own/own_binary.h"
#include "graph/own/own_xnor.h"

enum { M = 10, K = 21, BYTES = 3, ROWS = 4, C = 3, PIXELS = 6 };

static struct mc_value *bits(struct mc_graph *g, const char *name, int64_t rows, int64_t columns)
{
    float w[2048];
    uint8_t p[512];
    assert_true(rows * columns <= 2048);
    mc_rng_fill_normal(8, (uint64_t)columns, 0, w, (size_t)(rows * columns));
    mc_own_pack(w, rows, columns, p);
    return build_const(g, name, MC_DTYPE_U8, 2, DIMS(rows, (columns + 7) / 8), p);
}

/* ---- calls that do not fit ---- */

struct given { /* a call to be refused; 0: as it should be */
    const char *function, *message;
    int code;
    int64_t columns, shape[4], group;
    enum mc_dtype x, s;
    int64_t p_rows, p_bytes, s_rows, t_rows;
    bool nan, stray, no_bias;
};

static int set(void *ctx, struct mc_node *n, struct mc_err *err)
{
    const struct given *v = ctx;
    int64_t columns = v->columns ? v->columns : strstr(v->function, "Conv") ? C * 4 : K;
    int64_t shape[] = {M, C, 2, 2};
    int rc = columns > 0 ? mc_edit_attr_ints(n, "columns", &columns, 1, err) : 0;
    for (int i = 0; i < 4; i++)
        shape[i] = v->shape[i] ? v->shape[i] : shape[i];
    if (!rc && strstr(v->function, "Conv"))
        rc = mc_edit_attr_ints(n, "shape", shape, shape[3] > 0 ? 4 : 2, err);
    return rc || !v->group ? rc : mc_edit_attr_int(n, "group", v->group, err);
}

static int call(const struct given *v, struct mc_err *err)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    bool conv = strstr(v->function, "Conv") != NULL, signs = v->function[0] == 'X';
    int64_t k = conv ? C * 4 : K, bytes = v->p_bytes ? v->p_bytes : (k + 7) / 8;
    int64_t rows = v->p_rows ? v->p_rows : M, s_rows = v->s_rows ? v->s_rows : M;
    enum mc_dtype s = v->s ? v->s : MC_DTYPE_F32;
    uint8_t *p = calloc((size_t)(rows * bytes), 1);
    float scale[64] = {0};
    p[bytes - 1] = v->stray ? 0x80 : 0;
    scale[0] = v->nan ? NAN : 1;
    struct mc_value *x =
        conv ? build_input(g, "x", v->x ? v->x : MC_DTYPE_F32, 4, DIMS(-1, C, PIXELS, PIXELS))
             : build_input(g, "x", v->x ? v->x : MC_DTYPE_F32, 2, DIMS(-1, K));
    struct mc_value *in[] = {
        x,
        random_const(g, "t", conv ? 3 : 1,
                     DIMS(v->t_rows ? v->t_rows
                          : conv    ? C
                                    : K,
                          1, 1),
                     1),
        build_const(g, "p", MC_DTYPE_U8, 2, DIMS(rows, bytes), p),
        s == MC_DTYPE_F32 ? f32_const(g, "s", conv ? 3 : 1, DIMS(s_rows, 1, 1), scale)
                          : build_const(g, "s", s, conv ? 3 : 1, DIMS(s_rows, 1, 1), NULL),
        v->no_bias ? NULL : random_const(g, "b", conv ? 3 : 1, DIMS(M, 1, 1), 2)};
    struct mc_value *out = mc_edit_fresh(g, "y");
    free(p);
    if (!signs)
        memmove(in + 1, in + 2, 3 * sizeof *in);
    int rc = mc_own_call(g, 0, v->function, "layer", in, signs ? 5 : 4, &out, 1, set,
                         (void *)(uintptr_t)v, NULL, err);
    mc_model_free(m);
    return rc;
}

static void calls_that_do_not_fit(void **state)
{
    (void)state;
    static const struct given all[] = {
        {"XnorGemm", "", 0, .columns = 0},
        {"XnorConv", "", 0, .columns = 0},
        {"BinaryGemmFast", "", 0, .columns = 0},
        {"BinaryConvFast", "", 0, .columns = 0},
        {"XnorGemm", "attribute columns has 0 numbers", MC_ESHAPE, .columns = -1},
        {"XnorGemm", "P is [10,3], not [?,2]", MC_ESHAPE, .columns = 16},
        {"XnorGemm", "P is [10,3], not [?,1152921504606846976]", MC_ESHAPE, .columns = INT64_MAX},
        {"XnorGemm", "S is [9], not [10]", MC_ESHAPE, .s_rows = 9},
        {"XnorGemm", "T is [20], not [21]", MC_ESHAPE, .t_rows = 20},
        {"XnorGemm", "input B is missing", MC_ESHAPE, .no_bias = true},
        {"XnorGemm", "bits behind column 21 of row 0 are set", MC_EDATA, .stray = true},
        {"XnorGemm", "S holds a number that is not finite", MC_EDATA, .nan = true},
        {"XnorGemm", "X is float16, must be float32", MC_EDTYPE, .x = MC_DTYPE_F16},
        {"XnorGemm", "S is double, not float", MC_EDTYPE, .s = MC_DTYPE_F64},
        {"XnorConv", "attribute group, which it does not have", MC_EUNSUP, .group = 3},
        {"XnorConv", "P is [9,2], not [10,2]", MC_ESHAPE, .p_rows = 9},
        {"XnorConv", "attribute shape holds -1", MC_ESHAPE, .shape = {-1}},
        {"XnorConv", "columns is 12, a filter of shape [10,4,2,2] has others", MC_ESHAPE,
         .shape = {0, 4}},
        {"XnorConv", "columns is 12, a filter", MC_ESHAPE, .shape = {0, INT64_MAX, INT64_MAX}},
        {"XnorConv", "attribute shape has 2 numbers", MC_EUNSUP, .shape = {0, 0, 0, -1}},
        {"BinaryConvFast", "attribute group", MC_EUNSUP, .group = 3},
        {"BinaryGemmFast", "X is double, must be float32", MC_EDTYPE, .x = MC_DTYPE_F64},
        {"BinaryGemmFast", "P is [10,4], not [?,3]", MC_ESHAPE, .p_bytes = 4},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct mc_err err = {.msg = ""};
        int rc = call(&all[i], &err);
        if (rc != all[i].code || !strstr(err.msg, all[i].message) ||
            (rc && !strstr(err.msg, all[i].function)))
            fail_msg("case %zu: %d '%s', not '%s'", i, rc, err.msg, all[i].message);
    }
}

/* ---- the two bodies ---- */

static struct mc_value *binary(struct mc_graph *g, const char *name, struct mc_shape shape)
{
    int64_t rows = shape.dim[0], columns = mc_shape_span(&shape, 1, shape.rank);
    char text[64];
    snprintf(text, sizeof text, "%s_p", name);
    struct mc_value *p = bits(g, text, rows, columns), *out = mc_edit_fresh(g, name);
    snprintf(text, sizeof text, "%s_s", name);
    struct mc_own_form form = {.shape = shape, .columns = columns};
    struct mc_value *in[] = {p, random_const(g, text, 2, DIMS(rows, 1), 3)};
    struct mc_err err;
    build_ok(mc_own_call(g, g->n_nodes, "BinaryWeight", name, in, 2, &out, 1, mc_own_set_form,
                         &form, NULL, &err),
             &err);
    return out;
}

static struct mc_value *layer(struct mc_graph *g, int kind, struct mc_value *x)
{
    struct mc_node *n;
    if (kind < 3) {
        struct mc_value *w = binary(g, "conv", mc_shape_of(4, DIMS(M, C, 3, 2)));
        struct mc_value *in[] = {x, w, kind ? random_const(g, "cb", 1, DIMS(M), 4) : NULL};
        struct mc_value *y = build_node(g, "Conv", "layer", kind ? 3 : 2, in, &n);
        mc_edit_attr_ints(n, "pads", DIMS(1, 0, 2, 1), 4, NULL);
        mc_edit_attr_ints(n, "strides", DIMS(2, 1), 2, NULL);
        if (kind == 2)
            mc_edit_attr_string(n, "auto_pad", "VALID", NULL), mc_edit_attr_remove(n, "pads");
        return y;
    }
    struct mc_value *w = binary(g, "product", mc_shape_of(2, DIMS(M, K)));
    struct mc_value *b = random_const(g, "b", kind == 4 ? 2 : 1, DIMS(kind == 4 ? 1 : M, M), 5);
    struct mc_value *turned = build_unary(g, "Transpose", "turned", w);
    if (kind < 6) {
        struct mc_value *in[] = {x, kind == 5 ? turned : w, kind == 3 ? NULL : b};
        struct mc_value *y = build_node(g, "Gemm", "layer", kind == 3 ? 2 : 3, in, &n);
        mc_edit_attr_int(n, "transB", kind != 5, NULL);
        mc_edit_attr_float(n, "alpha", 0.5F, NULL);
        mc_edit_attr_float(n, "beta", -2, NULL);
        return y;
    }
    struct mc_value *y = build_binary(g, "MatMul", "layer", x, turned);
    return kind == 6 ? y : build_binary(g, "Add", "sum", b, y);
}

static void expect_near(const struct mc_array *a, const struct mc_array *b, double tolerance)
{
    const float *x = a->data, *y = b->data;
    double most = 0, far = 0;
    assert_true(mc_shape_equal(&a->shape, &b->shape));
    for (int64_t i = 0; i < mc_shape_count(&a->shape); i++) {
        most = fmax(most, fabs((double)y[i]));
        far = fmax(far, fabs((double)x[i] - (double)y[i]));
        assert_true(x[i] == x[i]);
    }
    if (!(far <= tolerance * most))
        fail_msg("differs by %g of %g", far, most);
}

/* Fast is near, and exact again is what it was, to the last bits. */
static void layers_become_fast_and_exact_again(void **state)
{
    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        struct mc_model *m = build_model(17), *fast;
        struct mc_graph *g = m->graph;
        bool conv = kind < 3;
        int rank = conv ? 4 : kind < 6 ? 2 : 3;
        const int64_t *dims = conv       ? DIMS(2, C, PIXELS, PIXELS)
                              : kind < 6 ? DIMS(ROWS, K)
                                         : DIMS(2, 2, K);
        float x[512];
        struct mc_err err;
        size_t n;
        mc_rng_fill_normal(5, (uint64_t)kind, 0, x, 512);
        build_output(g, layer(g, kind, build_input(g, "x", MC_DTYPE_F32, rank, dims)));
        struct mc_session *want = session_of(m, NULL);
        run_x(want, rank, dims, x);
        build_ok(mc_model_clone(m, &fast, &err), &err);
        build_ok(mc_own_binary_speed(fast, MC_OWN_FAST, &n, &err), &err);
        assert_int_equal(n, 1);
        assert_int_equal(fast->n_functions, 1);
        assert_string_equal(fast->functions[0]->name, conv ? "BinaryConvFast" : "BinaryGemmFast");
        assert_int_equal(fast->graph->n_nodes, 1);
        struct mc_session *got = session_of(fast, NULL);
        run_x(got, rank, dims, x);
        expect_near(mc_session_output(got, 0), mc_session_output(want, 0), 0.02);
        mc_session_free(got);
        build_ok(mc_own_binary_speed(fast, MC_OWN_EXACT, &n, &err), &err);
        assert_int_equal(n, 1);
        assert_string_equal(fast->functions[0]->name, "BinaryWeight");
        got = session_of(fast, NULL);
        run_x(got, rank, dims, x);
        expect_near(mc_session_output(got, 0), mc_session_output(want, 0), 1e-6);
        mc_session_free(got);
        mc_session_free(want);
        mc_model_free(fast);
        mc_model_free(m);
    }
}

static void other_layers_stay(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(ROWS, M)), *y;
    struct mc_value *w = binary(g, "w", mc_shape_of(2, DIMS(M, K))); /* outputs are last */
    struct mc_node *n;
    struct mc_err err;
    size_t made;
    y = build_binary(g, "MatMul", "p", x, w);
    struct mc_value *in[] = {y, binary(g, "v", mc_shape_of(2, DIMS(M, ROWS)))};
    y = build_node(g, "Gemm", "q", 2, in, &n);
    mc_edit_attr_int(n, "transA", 1, NULL);
    mc_edit_attr_int(n, "transB", 1, NULL);
    build_output(g, y);
    build_ok(mc_own_binary_speed(m, MC_OWN_FAST, &made, &err), &err);
    assert_int_equal(made, 0);
    build_ok(mc_own_binary_speed(m, MC_OWN_EXACT, &made, &err), &err);
    assert_int_equal(made, 0);
    mc_model_free(m);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(mc_own_binary_name(false, true, MC_OWN_FAST), "XnorGemm");
    assert_string_equal(mc_own_binary_name(true, true, MC_OWN_EXACT), "XnorConv");
    assert_string_equal(mc_own_binary_name(true, false, MC_OWN_EXACT), "BinaryWeight");
    for (size_t i = 0; mc_own_at(i); i++)
        if (strstr(mc_own_at(i)->name, "Fast"))
            assert_true(mc_own_at(i)->approximate);
    assert_false(mc_own_lookup("XnorGemm")->approximate);
    assert_false(mc_own_lookup("BinaryWeight")->approximate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_that_do_not_fit),
        cmocka_unit_test(layers_become_fast_and_exact_again),
        cmocka_unit_test(other_layers_stay),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
