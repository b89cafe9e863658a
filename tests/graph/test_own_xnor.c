/* Layers of binary weights as products of integers: what a call has to look like, and its row in an executor. */
#include "../run/run_util.h"

#include "graph/own/own.h"

enum { M = 10, K = 21, C = 3, PIXELS = 6 };

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

static void which_are_approximate(void **state)
{
    (void)state;
    for (size_t i = 0; mc_own_at(i); i++)
        assert_int_equal(mc_own_at(i)->approximate, strstr(mc_own_at(i)->name, "Fast") != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_that_do_not_fit),
        cmocka_unit_test(which_are_approximate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
