/* What the estimate takes for fused, and what not. Figures come from the table: here only which of them count is
 * checked, by graphs that must cost the same, or more. */
#include "svd_util.h"

#include "passes/quant/cost/quant_cost.h"

static struct mc_err err;

static double cost_of(struct mc_model *m)
{
    double all, sum = 0, *node = calloc(m->graph->n_node_ids, sizeof *node);
    assert_non_null(node);
    build_ok(mc_quant_cost(m, MC_QUANT_STOCK, NULL, &all, node, &err), &err);
    for (uint32_t i = 0; i < m->graph->n_node_ids; i++) {
        assert_true(node[i] >= 0 && isfinite(node[i]));
        sum += node[i];
    }
    assert_true(fabs(sum - all) <= 1e-9 * all);
    free(node);
    mc_model_free(m);
    return all;
}

static struct mc_value *node(struct mc_graph *g, const char *op, int n, struct mc_value **in)
{
    struct mc_node *unused;
    return build_node(g, op, op, n, in, &unused);
}

static struct mc_value *bytes(struct mc_graph *g, enum mc_dtype dtype, int rank,
                              const int64_t *dims)
{
    return build_const(g, "q", dtype, rank, dims, NULL);
}

static struct mc_value *scales(struct mc_graph *g, int64_t n)
{
    float s[512];
    for (int64_t i = 0; i < n; i++)
        s[i] = 0.02f;
    return f32_const(g, "s", n ? 1 : 0, DIMS(n), s);
}

static struct mc_value *dq(struct mc_graph *g, struct mc_value *q, int64_t channels, int axis)
{
    struct mc_node *n;
    struct mc_value *in[] = {q, scales(g, channels)};
    struct mc_value *y = build_node(g, "DequantizeLinear", "dq", 2, in, &n);
    build_ok(mc_edit_attr_int(n, "axis", axis, &err), &err);
    return y;
}

static struct mc_value *floats(struct mc_graph *g, struct mc_value *x)
{
    struct mc_node *cast;
    struct mc_value *y = build_node(g, "Cast", "cast", 1, &x, &cast);
    build_ok(mc_edit_attr_int(cast, "to", MC_DTYPE_F32, &err), &err);
    return y;
}

static struct mc_value *pair(struct mc_graph *g, struct mc_value *x, uint8_t zero)
{
    struct mc_value *z = build_const(g, "z", MC_DTYPE_U8, 0, NULL, &zero);
    struct mc_value *q = node(g, "QuantizeLinear", 3, (struct mc_value *[]){x, scales(g, 0), z});
    return node(g, "DequantizeLinear", 3, (struct mc_value *[]){q, scales(g, 0), z});
}

enum kind { FLOAT, WEIGHT, FOLDED, STATIC };

/* Four convolutions with their activations; `zero` of what those give. */
static struct mc_model *convolutions(enum kind kind, uint8_t zero, bool act)
{
    enum { C = 64, LAYERS = 4 };
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, C, 28, 28));
    x = kind == STATIC ? pair(g, x, 0) : x;
    for (int i = 0; i < LAYERS; i++) {
        struct mc_value *w = bytes(g, MC_DTYPE_I8, 4, DIMS(C, C, 3, 3));
        if (kind == FLOAT)
            w = random_const(g, "w", 4, DIMS(C, C, 3, 3), 1);
        else if (kind == FOLDED)
            w = build_binary(g, "Mul", "w", floats(g, w), scales(g, 0));
        else
            w = dq(g, w, C, 0);
        struct mc_node *conv;
        x = build_node(g, "Conv", "conv", 2, (struct mc_value *[]){x, w}, &conv);
        build_ok(mc_edit_attr_ints(conv, "pads", DIMS(1, 1, 1, 1), 4, &err), &err);
        x = act ? build_unary(g, "Relu", "relu", x) : x;
        x = kind == STATIC ? pair(g, x, zero) : x;
    }
    build_output(g, x);
    return m;
}

static void convolutions_are_fused(void **state)
{
    (void)state;
    double plain = cost_of(convolutions(FLOAT, 0, true));
    double integer = cost_of(convolutions(STATIC, 0, true));
    assert_true(integer < 0.8 * plain);
    /* An activation vanishes only in a range that begins at 0. */
    assert_true(cost_of(convolutions(STATIC, 100, true)) > plain);
    assert_true(cost_of(convolutions(STATIC, 100, false)) ==
                cost_of(convolutions(STATIC, 0, false)));
    /* What is known when a model is loaded costs nothing; DequantizeLinear is not folded. */
    double folded = cost_of(convolutions(FOLDED, 0, true));
    assert_true(folded == plain);
    assert_true(cost_of(convolutions(WEIGHT, 0, true)) > 1.2 * plain);
}

/* A convolution of floats, or of bytes, and a pool in front of another one of bytes. */
static struct mc_model *pooled(bool first)
{
    enum { C = 16 };
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, C, 56, 56));
    x = first ? pair(g, x, 0) : x;
    for (int i = 0; i < 2; i++) {
        struct mc_value *w = i || first ? dq(g, bytes(g, MC_DTYPE_I8, 4, DIMS(C, C, 1, 1)), C, 0)
                                        : random_const(g, "w", 4, DIMS(C, C, 1, 1), 1);
        struct mc_node *pool;
        x = node(g, "Conv", 2, (struct mc_value *[]){x, w});
        x = i || first ? pair(g, x, 0) : x;
        if (i)
            break;
        x = build_node(g, "MaxPool", "pool", 1, &x, &pool);
        build_ok(mc_edit_attr_ints(pool, "kernel_shape", DIMS(2, 2), 2, &err), &err);
        build_ok(mc_edit_attr_ints(pool, "strides", DIMS(2, 2), 2, &err), &err);
        x = pair(g, x, 0);
    }
    build_output(g, x);
    return m;
}

/* Bytes with channels first are pooled 75 times slower, and ONNX Runtime moves a QuantizeLinear in front of a pool. */
static void pools_need_convolutions_before(void **state)
{
    (void)state;
    assert_true(cost_of(pooled(false)) > 2 * cost_of(pooled(true)));
}

/* Reads integers with what stands before and after: x [rows, K] times W [K, N]. */
static struct mc_model *product(enum kind kind, int64_t rows, const char *after, int axis)
{
    enum { K = 512, N = 512 };
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(rows, K));
    struct mc_value *w = bytes(g, MC_DTYPE_I8, 2, DIMS(K, N));
    x = kind == STATIC ? pair(g, x, 7) : x;
    w = kind == FLOAT ? random_const(g, "w", 2, DIMS(K, N), 1) : dq(g, w, N, axis);
    struct mc_value *y = build_binary(g, "MatMul", "y", x, w);
    y = after ? build_unary(g, after, "after", y) : y;
    build_output(g, y);
    return m;
}

static void products_are_fused(void **state)
{
    (void)state;
    double one = cost_of(product(FLOAT, 1, NULL, 1)), many = cost_of(product(FLOAT, 64, NULL, 1));
    assert_true(cost_of(product(WEIGHT, 1, NULL, 1)) < 0.9 * one);
    assert_true(cost_of(product(STATIC, 64, NULL, 1)) < 0.7 * many);
    /* Behind a Relu the weights are unpacked in every run. */
    assert_true(cost_of(product(WEIGHT, 1, "Relu", 1)) > cost_of(product(WEIGHT, 1, "Sigmoid", 1)));
}

/* Ranges found in every run. What turns sums into floats belongs to the product, other arithmetic does not. */
static struct mc_model *dynamic(const char *after)
{
    enum { K = 512, N = 512 };
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(64, K)), *out[3];
    struct mc_value *w = bytes(g, MC_DTYPE_I8, 2, DIMS(K, N));
    for (int i = 0; i < 3; i++)
        assert_non_null(out[i] = mc_edit_fresh(g, "d"));
    build_ok(
        mc_edit_node(g, g->n_nodes, "DynamicQuantizeLinear", "", 0, "d", &x, 1, out, 3, NULL, &err),
        &err);
    struct mc_value *scale = build_binary(g, "Mul", "scale", out[1], scales(g, N));
    struct mc_value *y = node(g, "MatMulInteger", 3, (struct mc_value *[]){out[0], w, out[2]});
    y = build_binary(g, "Mul", "y", floats(g, y), scale);
    y = after ? build_unary(g, after, "after", y) : y;
    build_output(g, y);
    return m;
}

static void ranges_of_every_run_are_fused(void **state)
{
    (void)state;
    double plain = cost_of(dynamic(NULL)), many = cost_of(product(FLOAT, 64, NULL, 1));
    assert_true(plain < 0.8 * many);
    assert_true(cost_of(dynamic("Tanh")) > plain);
    assert_true(cost_of(dynamic("Tanh")) < 1.5 * plain);
}

/* Rows of a table: integers are gathered, or all of it is unpacked first. */
static struct mc_model *table(bool before)
{
    enum { ROWS = 20000, WIDTH = 64 };
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *i = build_input(g, "i", MC_DTYPE_I64, 1, DIMS(8));
    struct mc_value *t = bytes(g, MC_DTYPE_I8, 2, DIMS(ROWS, WIDTH));
    if (before) {
        build_output(g, build_binary(g, "Gather", "rows", dq(g, t, 0, 0), i));
        return m;
    }
    struct mc_value *rows = build_binary(g, "Gather", "rows", t, i);
    build_output(g, build_binary(g, "Mul", "y", floats(g, rows), scales(g, 0)));
    return m;
}

static void tables_are_unpacked_whole(void **state)
{
    (void)state;
    assert_true(cost_of(table(true)) > 20 * cost_of(table(false)));
}

static void anything_has_a_cost(void **state)
{
    (void)state;
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-2, -3, 8));
    struct mc_value *y = node(g, "NotAnOperator", 1, &x);
    build_output(g, build_unary(g, "Relu", "r", y));
    build_output(g, build_unary(g, "Softmax", "s", x));
    assert_true(cost_of(m) > 0);
    m = build_model(21);
    assert_true(cost_of(m) == 0);
    for (int r = 0; r < MC_QUANT_RUNTIMES; r++)
        assert_non_null(strstr(mc_quant_cost_source((enum mc_quant_runtime)r), "ONNX Runtime"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_are_fused),
        cmocka_unit_test(pools_need_convolutions_before),
        cmocka_unit_test(products_are_fused),
        cmocka_unit_test(ranges_of_every_run_are_fused),
        cmocka_unit_test(tables_are_unpacked_whole),
        cmocka_unit_test(anything_has_a_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
