/* Weights in small forms, products of signs, circulant layers and quantised ones: on a GPU as on the CPU, with weights that
 * are constants and with weights that are values of the run, which the device has to make itself. */
#include "tests/graph/build_circulant.h"
#include "gpu_util.h"

enum { IN = 37, OUT = 20, ROWS = 5, MOST = 8 };

struct net {
    struct mc_model *m;
    struct mc_graph *g;
    bool given; /* weights are inputs */
    struct mc_array in[MOST];
    void *data[MOST];
    int n;
};

static struct net begin(bool given)
{
    struct net n = {.m = build_model(17), .given = given};
    n.g = n.m->graph;
    return n;
}

/* A value of these bytes, which the net keeps: an input or a constant. */
static struct mc_value *value(struct net *n, bool input, const char *name, enum mc_dtype dtype,
                              int rank, const int64_t *dims, void *data)
{
    struct mc_value *v;
    assert_true(n->n < MOST);
    if (input) {
        v = build_input(n->g, name, dtype, rank, dims);
        n->in[n->n] = array_of(v->name, dtype, rank, dims, data);
        n->data[n->n++] = data;
        return v;
    }
    v = build_const(n->g, name, dtype, rank, dims, data);
    free(data);
    return v;
}

static struct mc_value *floats(struct net *n, bool input, const char *name, int rank,
                               const int64_t *dims, uint32_t seed)
{
    struct mc_shape s = mc_shape_of(rank, dims);
    return value(n, input, name, MC_DTYPE_F32, rank, dims, build_numbers(mc_shape_count(&s), seed));
}

/* Signs of [rows, columns], nothing behind the columns. */
static struct mc_value *signs(struct net *n, const char *name, int64_t rows, int64_t columns)
{
    int64_t bytes = (columns + 7) / 8;
    float *w = build_numbers(rows * columns, 3);
    uint8_t *bits = calloc((size_t)(rows * bytes), 1);
    assert_non_null(bits);
    mc_own_pack(w, rows, columns, bits);
    free(w);
    return value(n, n->given, name, MC_DTYPE_U8, 2, DIMS(rows, bytes), bits);
}

/* Both give the same, and the device left nothing to the CPU. */
static void compare(struct net *n, const struct gpu_pool *pool, struct mc_value *y,
                    double tolerance, const char *what)
{
    build_output(n->g, y);
    struct gpu_pair p = gpu_pair_open(n->m, pool, NULL, "none");
    for (int run = 0; run < 3; run++) {
        float *x = n->data[0];
        for (int i = 0; i < 4; i++)
            x[i] = -x[i] / 2;
        gpu_pair_run(&p, n->in, n->n, tolerance);
    }
    struct mc_session_fallback f;
    for (int i = 0; mc_session_fallback(p.gpu, i, &f); i++)
        fail_msg("%s: %s %s", what, f.op_type, f.why);
    gpu_pair_free(&p);
    mc_model_free(n->m);
    for (int i = 0; i < n->n; i++)
        free(n->data[i]);
}

/* x W^T of a weight [OUT, IN]. */
static struct mc_value *product(struct net *n, struct mc_value *x, struct mc_value *w)
{
    struct mc_err err;
    struct mc_node *node;
    struct mc_value *y = build_node(n->g, "Gemm", "y", 2, (struct mc_value *[]){x, w}, &node);
    build_ok(mc_edit_attr_int(node, "transB", 1, &err), &err);
    return y;
}

static void binary(const struct gpu_pool *pool, bool given)
{
    struct net n = begin(given);
    struct mc_value *x = floats(&n, true, "x", 2, DIMS(ROWS, IN), 1);
    struct mc_value *p = signs(&n, "p", OUT, IN);
    struct mc_value *s = floats(&n, given, "s", 2, DIMS(OUT, 1), 5);
    struct mc_own_form form = {.shape = mc_shape_of(2, DIMS(OUT, IN)), .columns = IN};
    struct mc_value *w = build_own(n.g, "BinaryWeight", "b", p, s, form, NULL);
    compare(&n, pool, product(&n, x, w), 1e-5, "BinaryWeight");
}

static void shared(const struct gpu_pool *pool, bool given, int bits, bool planes)
{
    struct net n = begin(given);
    int64_t count = OUT * IN, bytes = mc_own_index_bytes(bits, planes, count);
    uint8_t index[OUT * IN], *data = malloc((size_t)bytes);
    assert_non_null(data);
    for (int64_t k = 0; k < count; k++)
        index[k] = (uint8_t)(k * 7 + k / 5) & ((1 << bits) - 1);
    mc_own_index_pack(index, bits, planes, count, data);
    struct mc_value *x = floats(&n, true, "x", 2, DIMS(ROWS, IN), 1);
    struct mc_value *i = planes
                             ? value(&n, given, "i", MC_DTYPE_U8, 2, DIMS(bits, bytes / bits), data)
                             : value(&n, given, "i", MC_DTYPE_U8, 1, DIMS(bytes), data);
    struct mc_value *d = floats(&n, given, "d", 1, DIMS(1 << bits), 11);
    struct mc_own_form form = {
        .shape = mc_shape_of(2, DIMS(OUT, IN)), .count = count, .bits = bits};
    struct mc_value *w =
        build_own(n.g, planes ? "SharedPlanes" : "SharedWeight", "w", i, d, form, NULL);
    compare(&n, pool, product(&n, x, w), 1e-5, planes ? "SharedPlanes" : "SharedWeight");
}

static void gates(const struct gpu_pool *pool, bool given, int64_t rows, int64_t columns)
{
    enum { GATES = 4, HIDDEN = 6, INPUTS = 7, TIME = 3 };
    struct net n = begin(given);
    struct mc_value *x = floats(&n, true, "x", 3, DIMS(TIME, 2, INPUTS), 1), *w[2];
    for (int i = 0; i < 2; i++) {
        int64_t m = i ? HIDDEN : INPUTS;
        struct mc_value *v = floats(&n, given, i ? "r" : "w", 3, DIMS(1, HIDDEN, m), 13);
        struct mc_value *a = floats(&n, given, i ? "ra" : "wa", 4,
                                    DIMS(1, GATES, rows ? HIDDEN : 1, columns ? m : 1), 17);
        struct mc_own_form form = {.shape = mc_shape_of(3, DIMS(1, GATES * HIDDEN, m))};
        w[i] = build_own(n.g, "GateWeight", i ? "gr" : "gw", v, a, form, NULL);
    }
    struct mc_err err;
    struct mc_node *node;
    struct mc_value *y =
        build_node(n.g, "LSTM", "y", 3, (struct mc_value *[]){x, w[0], w[1]}, &node);
    build_ok(mc_edit_attr_int(node, "hidden_size", HIDDEN, &err), &err);
    compare(&n, pool, y, 1e-5, "GateWeight");
}

struct form {
    int64_t columns, shape[4], pads[4], strides[2], dilations[2];
    bool conv;
};

static int set(void *ctx, struct mc_node *node, struct mc_err *err)
{
    const struct form *f = ctx;
    int rc = mc_edit_attr_ints(node, "columns", &f->columns, 1, err);
    if (!f->conv)
        return rc;
    rc = rc ? rc : mc_edit_attr_ints(node, "shape", f->shape, 4, err);
    rc = rc ? rc : mc_edit_attr_ints(node, "strides", f->strides, 2, err);
    rc = rc ? rc : mc_edit_attr_ints(node, "pads", f->pads, 4, err);
    return rc ? rc : mc_edit_attr_ints(node, "dilations", f->dilations, 2, err);
}

/* XnorGemm, XnorConv or one of the Fast ones. */
static void of_signs(const struct gpu_pool *pool, bool given, const char *function)
{
    enum { C = 5, M = 10, SIZE = 6 };
    bool conv = strstr(function, "Conv"), thresholds = function[0] == 'X';
    struct net n = begin(given);
    struct form f = {conv ? C * 9 : IN, {M, C, 3, 3}, {1, 1, 0, 1}, {1, 2}, {1, 1}, conv};
    int rank = conv ? 3 : 1;
    struct mc_value *in[5] = {conv ? floats(&n, true, "x", 4, DIMS(2, C, SIZE, SIZE), 1)
                                   : floats(&n, true, "x", 2, DIMS(ROWS, IN), 1)};
    in[1] = floats(&n, given, "t", rank, DIMS(conv ? C : IN, 1, 1), 2);
    in[2] = signs(&n, "p", M, f.columns);
    in[3] = floats(&n, given, "s", rank, DIMS(M, 1, 1), 5);
    in[4] = floats(&n, given, "b", rank, DIMS(M, 1, 1), 6);
    if (!thresholds) {
        in[1] = build_unary(n.g, "Identity", "unused", in[1]);
        memmove(in + 1, in + 2, 3 * sizeof *in);
    }
    struct mc_value *y = mc_edit_fresh(n.g, "y");
    struct mc_err err;
    build_ok(mc_own_call(n.g, n.g->n_nodes, function, "layer", in, thresholds ? 5 : 4, &y, 1, set,
                         &f, NULL, &err),
             &err);
    compare(&n, pool, y, thresholds ? 1e-6 : 1e-5, function);
}

static void circulant(const struct gpu_pool *pool, const char *function, int64_t block, bool conv)
{
    struct net n = begin(false);
    struct mc_value *x = conv ? floats(&n, true, "x", 4, DIMS(2, 3 * block - 1, 5, 5), 1)
                              : floats(&n, true, "x", 2, DIMS(ROWS, 3 * block - 1), 1);
    struct mc_shape c = mc_shape_of(conv ? 5 : 3, DIMS(2, 3, block, 3, 3));
    struct mc_value *y =
        build_circulant(n.g, "c", function, x, conv ? 4 : 2, c, 2 * block - 1, 3 * block - 1, true);
    compare(&n, pool, y, 1e-5, conv ? "circulant convolution" : "circulant product");
}

/* Numbers of 8 bits. */
static struct mc_value *bytes(struct net *n, bool input, const char *name, enum mc_dtype dtype,
                              int rank, const int64_t *dims)
{
    struct mc_shape s = mc_shape_of(rank, dims);
    int64_t count = mc_shape_count(&s);
    uint8_t *x = malloc((size_t)count + 1);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (uint8_t)(i * 37 + i / 7 + 11);
    return value(n, input, name, dtype, rank, dims, x);
}

/* Quantised by constants, multiplied as integers, and back; or by the range of the numbers. */
static void quantised(const struct gpu_pool *pool, bool given, bool dynamic)
{
    struct net n = begin(given);
    struct mc_value *x = floats(&n, true, "x", 2, DIMS(ROWS, IN), 1);
    struct mc_value *b = bytes(&n, given, "b", MC_DTYPE_I8, 2, DIMS(IN, OUT));
    struct mc_value *b_scale = floats(&n, given, "bs", 1, DIMS(OUT), 7);
    struct mc_value *b_zero = build_const(n.g, "bz", MC_DTYPE_I8, 1, DIMS(OUT), NULL), *y;
    b_scale = build_unary(n.g, "Abs", "scale", b_scale);
    if (dynamic) {
        struct mc_err err;
        struct mc_value *q[] = {mc_edit_fresh(n.g, "q"), mc_edit_fresh(n.g, "qs"),
                                mc_edit_fresh(n.g, "qz")};
        build_ok(mc_edit_node(n.g, n.g->n_nodes, "DynamicQuantizeLinear", "", 0, "dyn", &x, 1, q, 3,
                              NULL, &err),
                 &err);
        y = build_node(n.g, "MatMulInteger", "sums", 4,
                       (struct mc_value *[]){q[0], b, q[2], b_zero}, NULL);
        struct mc_node *cast;
        y = build_node(n.g, "Cast", "cast", 1, &y, &cast);
        build_ok(mc_edit_attr_int(cast, "to", MC_DTYPE_F32, &err), &err);
        y = build_binary(n.g, "Mul", "scaled", y, build_binary(n.g, "Mul", "s", q[1], b_scale));
    } else {
        struct mc_value *scale = f32_const(n.g, "scale8", 0, NULL, F(0.0125F));
        struct mc_value *zero = build_const(n.g, "zero8", MC_DTYPE_U8, 0, NULL, "\x80");
        struct mc_value *to = f32_const(n.g, "to8", 0, NULL, F(0.9F));
        struct mc_value *q =
            build_node(n.g, "QuantizeLinear", "q", 3, (struct mc_value *[]){x, scale, zero}, NULL);
        struct mc_value *in[] = {q, scale, zero, b, b_scale, b_zero, to, zero};
        y = build_node(n.g, "QLinearMatMul", "m", 8, in, NULL);
        y = build_node(n.g, "DequantizeLinear", "d", 3, (struct mc_value *[]){y, to, zero}, NULL);
    }
    compare(&n, pool, y, 1e-6, dynamic ? "dynamic" : "quantised");
}

static void of_weights(void **state)
{
    const struct gpu_pool *pool = *state;
    for (int given = 0; given < 2; given++) {
        binary(pool, given);
        shared(pool, given, 2, false);
        shared(pool, given, 4, false);
        shared(pool, given, 3, true);
        gates(pool, given, 1, 0);
        gates(pool, given, 0, 1);
        gates(pool, given, 1, 1);
    }
}

static void of_products(void **state)
{
    const struct gpu_pool *pool = *state;
    for (int given = 0; given < 2; given++) {
        of_signs(pool, given, "XnorGemm");
        of_signs(pool, given, "XnorConv");
        quantised(pool, given, false);
        quantised(pool, given, true);
    }
    of_signs(pool, true, "BinaryGemmFast");
    of_signs(pool, true, "BinaryConvFast");
    circulant(pool, NULL, 8, false);
    circulant(pool, NULL, 5, false);
    circulant(pool, NULL, 4, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_weights), cmocka_unit_test(of_products)};
    struct gpu_pool pool = gpu_pool_open();
    int failed = 0;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        struct CMUnitTest one[] = {tests[i]};
        one->initial_state = &pool;
        failed += cmocka_run_group_tests(one, NULL, NULL);
    }
    gpu_pool_close(&pool);
    return failed;
}
