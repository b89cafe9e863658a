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

/* ---- weights that are values of the run ---- */

enum { MOST = 4096 };

struct fed { /* shapes of X, T, P, S, B; rank -1: as it should be */
    bool conv;
    int rank[5];
    int64_t dim[5][4];
    int code;
    const char *message;
};

static int run_fed(const struct fed *v, bool constants, struct mc_session **ret,
                   struct mc_model **ret_m, struct mc_err *err)
{
    static const int ranks[2][5] = {{2, 1, 2, 1, 1}, {4, 3, 2, 3, 3}};
    static const int64_t dims[2][5][4] = {
        {{4, K}, {K}, {M, 3}, {M}, {M}},
        {{2, C, PIXELS, PIXELS}, {C, 1, 1}, {M, 2}, {M, 1, 1}, {M, 1, 1}}};
    static const char *const names[] = {"x", "t", "p", "s", "b"};
    static float data[5][MOST];
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_array in[5];
    struct mc_value *value[5];
    for (int i = 0; i < 5; i++) {
        bool given = v->rank[i] >= 0;
        int rank = given ? v->rank[i] : ranks[v->conv][i];
        const int64_t *dim = given ? v->dim[i] : dims[v->conv][i];
        enum mc_dtype dtype = i == 2 ? MC_DTYPE_U8 : MC_DTYPE_F32;
        mc_rng_fill_normal(4, (uint64_t)i, 0, data[i], MOST);
        for (int k = 0; k < MOST && i == 2;
             k++) /* no bits behind the columns: 21 and 12 of 24 and 16 */
            ((uint8_t *)data[i])[k] = (uint8_t)(k * 37 %
                                                (v->conv      ? k % 2 ? 16 : 256
                                                 : k % 3 == 2 ? 32
                                                              : 256));
        value[i] = constants && i ? build_const(g, names[i], dtype, rank, dim, data[i])
                                  : build_input(g, names[i], dtype, -1, NULL);
        in[i] = array_of(names[i], dtype, rank, dim, data[i]);
    }
    const struct given as_it_is = {.function = v->conv ? "XnorConv" : "XnorGemm"};
    struct mc_value *out = mc_edit_fresh(g, "y");
    build_ok(mc_own_call(g, 0, as_it_is.function, "layer", value, 5, &out, 1, set,
                         (void *)(uintptr_t)&as_it_is, NULL, err),
             err);
    build_output(g, out);
    int rc = mc_session_new(g, NULL, ret, err);
    rc = rc ? rc : mc_session_run(*ret, in, constants ? 1 : 5, err);
    *ret_m = m;
    return rc;
}

static void weights_that_are_inputs(void **state)
{
    (void)state;
    enum { X, T, P, S, B };
    static const struct fed all[] = {
        {false, {-1, -1, -1, -1, -1}, {{0}}, 0, ""},
        {true, {-1, -1, -1, -1, -1}, {{0}}, 0, ""},
        {false, {-1, 0, -1, -1, -1}, {{0}}, 0, ""},
        {true, {-1, 0, -1, -1, -1}, {{0}}, 0, ""},
        {false, {1, -1, -1, -1, -1}, {{K}}, 0, ""},
        {false, {2, -1, -1, -1, -1}, {{0, K}}, 0, ""},
        {false, {2, -1, -1, -1, -1}, {{4, 20}}, MC_ESHAPE, "20 against 21"},
        {false, {0, -1, -1, -1, -1}, {{0}}, MC_ESHAPE, "rank 0"},
        {false, {-1, 1, -1, -1, -1}, {{0}, {20}}, MC_ESHAPE, "input 1 is [20], must be [21]"},
        {false, {-1, 2, -1, -1, -1}, {{0}, {1, K}}, MC_ESHAPE, "input 1 is [1,21]"},
        {false, {-1, -1, 2, -1, -1}, {{0}, {0}, {M, 2}}, MC_ESHAPE, "3 against 2"},
        {false, {-1, -1, 1, -1, -1}, {{0}, {0}, {30}}, MC_ESHAPE, "rank 1"},
        {false, {-1, -1, -1, 1, -1}, {{0}, {0}, {0}, {9}}, MC_ESHAPE, "input 3 is [9]"},
        {false, {-1, -1, -1, -1, 1}, {{0}, {0}, {0}, {0}, {9}}, MC_ESHAPE, "input 4 is [9]"},
        {true, {-1, -1, 2, -1, -1}, {{0}, {0}, {9, 2}}, MC_ESHAPE, "9 against 10"},
        {true, {-1, -1, -1, 1, -1}, {{0}, {0}, {0}, {M}}, MC_ESHAPE, "must be [10,1,1]"},
        {true, {-1, 3, -1, -1, -1}, {{0}, {4, 1, 1}}, MC_ESHAPE, "must be [3,1,1]"},
        {true, {3, -1, -1, -1, -1}, {{2, C, PIXELS}}, MC_ESHAPE, "rank 3"},
        {true, {4, -1, -1, -1, -1}, {{2, 4, PIXELS, PIXELS}}, MC_ESHAPE, "4 against 3"},
        {true, {4, -1, -1, -1, -1}, {{2, C, 1, PIXELS}}, MC_ESHAPE, "window"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct mc_session *a = NULL, *b = NULL;
        struct mc_model *m, *n;
        struct mc_err err = {.msg = ""};
        int rc = run_fed(&all[i], false, &a, &m, &err);
        if (rc != all[i].code || !strstr(err.msg, all[i].message) ||
            (rc && !strstr(err.msg, "layer")))
            fail_msg("case %zu: %d '%s', not '%s'", i, rc, err.msg, all[i].message);
        if (!rc) { /* packed in the run or once, it is the same */
            build_ok(run_fed(&all[i], true, &b, &n, &err), &err);
            const struct mc_array *x = mc_session_output(a, 0), *y = mc_session_output(b, 0);
            assert_true(mc_shape_equal(&x->shape, &y->shape));
            assert_memory_equal(x->data, y->data, x->bytes);
            mc_session_free(b);
            mc_model_free(n);
        }
        mc_session_free(a);
        mc_model_free(m);
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
        cmocka_unit_test(weights_that_are_inputs),
        cmocka_unit_test(which_are_approximate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
