/* Quantised and fused operators lose what the plain ones would, with its scales. */
#include "couple_nodes.h"

/* Draws from [-100, 100], as int8. */
static struct mc_value *bytes(struct mc_graph *g, const char *name, int rank, const int64_t *dims,
                              uint64_t seed)
{
    struct mc_shape s = mc_shape_of(rank, dims);
    size_t n = (size_t)mc_shape_count(&s);
    float *x = malloc(n * sizeof *x + 1);
    int8_t *q = malloc(n + 1);
    assert_true(x && q);
    mc_rng_fill_uniform(seed, 1, 0, x, n);
    for (size_t i = 0; i < n; i++)
        q[i] = (int8_t)lrintf(200 * x[i] - 100);
    struct mc_value *v = build_const(g, name, MC_DTYPE_I8, rank, dims, q);
    free(x);
    free(q);
    return v;
}

/* Draws from [0.01, 0.02]. */
static struct mc_value *scales(struct mc_graph *g, int64_t n, uint64_t seed)
{
    float x[64];
    assert_true(n <= 64);
    mc_rng_fill_uniform(seed, 2, 0, x, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        x[i] = 0.01f * (1 + x[i]);
    return f32_const(g, "scale", 1, DIMS(n), x);
}

static struct mc_value *number(struct mc_graph *g, float x)
{
    return f32_const(g, "scale", 0, NULL, &x);
}

static struct mc_value *zero(struct mc_graph *g, enum mc_dtype dtype, int64_t n)
{
    return build_const(g, "zero", dtype, n > 1, DIMS(n), NULL);
}

/* To int8 and back, or only one way. */
static struct mc_value *quantised(struct mc_graph *g, struct mc_value *x, bool back)
{
    struct mc_value *s = number(g, 0.02f), *z = zero(g, MC_DTYPE_I8, 1);
    struct mc_value *q =
        nodes_add(g, "", "QuantizeLinear", "q", 3, (struct mc_value *[]){x, s, z}, NULL);
    return back ? nodes_add(g, "", "DequantizeLinear", "d", 3, (struct mc_value *[]){q, s, z}, NULL)
                : q;
}

static struct mc_value *plain(struct mc_graph *g, struct mc_value *q)
{
    return nodes_add(g, "", "DequantizeLinear", "d", 3,
                     (struct mc_value *[]){q, number(g, 0.02f), zero(g, MC_DTYPE_I8, 1)}, NULL);
}

/* A weight of bytes and scales along `axis`. */
static struct mc_value *weight(struct mc_graph *g, const char *name, int rank, const int64_t *dims,
                               int axis, uint64_t seed)
{
    struct mc_node *n;
    struct mc_value *in[] = {bytes(g, name, rank, dims, seed), scales(g, dims[axis], seed),
                             zero(g, MC_DTYPE_I8, dims[axis])};
    struct mc_value *y = nodes_add(g, "", "DequantizeLinear", "weight", 3, in, &n);
    nodes_int(n, "axis", axis);
    return y;
}

static int64_t length(const struct mc_model *m, const char *name, int axis)
{
    const struct mc_value *v = mc_graph_value(m->graph, name);
    assert_true(v && v->tensor);
    return v->tensor->shape.dim[axis];
}

/* Convolutions and a product between pairs of conversions, as exporters write them. */
static void pairs_of_conversions(void **state)
{
    (void)state;
    struct mc_model *m = nodes_model(21);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(2, 3, 6, 6));
    struct mc_value *in[3] = {quantised(g, x, true), weight(g, "w1", 4, DIMS(8, 3, 3, 3), 0, 1)};
    in[2] =
        nodes_add(g, "", "DequantizeLinear", "bias", 2,
                  (struct mc_value *[]){build_const(g, "b1", MC_DTYPE_I32, 1, DIMS(8),
                                                    (int32_t[]){30, -60, 20, 99, -5, 70, -80, 11}),
                                        scales(g, 8, 3)},
                  &n);
    nodes_int(n, "axis", 0);
    x = build_unary(g, "Relu", "r", build_node(g, "Conv", "c1", 3, in, NULL));
    in[0] = quantised(g, x, true);
    in[1] = weight(g, "w2", 4, DIMS(8, 1, 3, 3), 0, 4);
    x = quantised(g, build_node(g, "Conv", "c2", 2, in, &n), true);
    nodes_int(n, "group", 8);
    x = build_unary(g, "GlobalAveragePool", "pool", x);
    x = quantised(g, build_node(g, "Flatten", "flat", 1, &x, NULL), true);
    in[0] = x;
    in[1] = weight(g, "w3", 2, DIMS(8, 12), 1, 5);
    x = quantised(g, build_node(g, "MatMul", "d", 2, in, NULL), true);
    in[0] = x;
    in[1] = weight(g, "w4", 2, DIMS(5, 12), 0, 6);
    x = build_node(g, "Gemm", "y", 2, in, &n);
    nodes_int(n, "transB", 1);
    build_output(g, x);
    m = nodes_check(m, (struct nodes_want){.free = 2});
    assert_int_equal(length(m, "w1", 0), 4);
    assert_int_equal(length(m, "b1", 0), 4);
    assert_int_equal(length(m, "w2", 0), 4);
    assert_int_equal(length(m, "w3", 0), 4);
    assert_int_equal(length(m, "w3", 1), 6);
    assert_int_equal(length(m, "w4", 1), 6);
    assert_int_equal(mc_node_int(nodes_find(m, "Conv"), "group", 1), 1);
    mc_model_free(m);
}

/* Groups are named after what multiplies by them. */
static void names_are_those_of_products(void **state)
{
    (void)state;
    struct mc_model *m = nodes_model(21);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 6));
    x = build_binary(g, "MatMul", "first", x, weight(g, "w1", 2, DIMS(6, 8), 1, 1));
    build_output(g, build_binary(g, "MatMul", "second", x, weight(g, "w2", 2, DIMS(8, 3), 1, 2)));
    struct mc_coupling *c;
    struct mc_err err;
    build_ok(mc_coupling_find(m, &c, &err), &err);
    bool found = false;
    for (size_t i = 0; i < c->n_groups; i++)
        if (!c->group[i].why) {
            found = true;
            assert_string_equal(c->group[i].name, "first");
            assert_string_equal(c->group[i].kind, "hidden nodes");
        }
    assert_true(found);
    assert_int_equal(mc_coupling_role(c, mc_graph_value(g, "w1"), 1), MC_ROLE_MAKES);
    assert_int_equal(mc_coupling_role(c, mc_graph_value(g, "w2"), 0), MC_ROLE_READS);
    mc_coupling_free(c);
    mc_model_free(m);
}

/* Zero points and fresh biases of two layers that are one constant by chance do not tie the layers. */
static void equal_by_chance(void **state)
{
    (void)state;
    struct mc_model *m = nodes_model(21);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 8)),
                    *zeros = zero(g, MC_DTYPE_I8, 8);
    struct mc_value *bias = build_const(g, "fresh", MC_DTYPE_F32, 1, DIMS(8), NULL);
    for (int i = 0; i < 3; i++) {
        struct mc_node *n;
        struct mc_value *in[] = {bytes(g, "w", 2, DIMS(8, 8), 1 + (uint64_t)i),
                                 scales(g, 8, 4 + (uint64_t)i), zeros};
        struct mc_value *w = nodes_add(g, "", "DequantizeLinear", "weight", 3, in, &n);
        x = build_binary(g, "MatMul", "d", x, w);
        x = build_unary(g, "Relu", "r", build_binary(g, "Add", "b", x, bias));
    }
    build_output(g, nodes_dense(g, "y", x, 8, 3, 9));
    struct mc_model *plain_one;
    build_ok(mc_model_clone(m, &plain_one, &err), &err);
    build_ok(mc_coupling_prepare(m, &err), &err);
    assert_true(prune_difference(plain_one, m, 5) == 0);
    mc_model_free(plain_one);
    mc_model_free(nodes_check(m, (struct nodes_want){.free = 3}));
}

/* Scales of blocks along the axis that would be cut keep it; along the other one they go with it. */
static void blocks(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        struct mc_model *m = nodes_model(21);
        struct mc_graph *g = m->graph;
        struct mc_node *n;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, 6));
        struct mc_value *s = random_const(g, "s", 2, other ? DIMS(3, 8) : DIMS(6, 4), 3);
        struct mc_value *w =
            nodes_add(g, "", "DequantizeLinear", "w", 2,
                      (struct mc_value *[]){bytes(g, "w1", 2, DIMS(6, 8), 1), s}, &n);
        nodes_int(n, "axis", !other);
        nodes_int(n, "block_size", 2);
        x = build_binary(g, "MatMul", "first", x, w);
        build_output(g, nodes_dense(g, "second", x, 8, 3, 2));
        m = nodes_check(m, (struct nodes_want){.free = other});
        if (other) {
            assert_int_equal(length(m, "w1", 1), 4);
            assert_int_equal(length(m, "s", 1), 4);
        }
        mc_model_free(m);
    }
}

/* QLinearConv with groups, QLinearAdd, QLinearMatMul and QGemm. */
static void whole_numbers(void **state)
{
    (void)state;
    struct mc_model *m = nodes_model(21);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *s = number(g, 0.02f), *z = zero(g, MC_DTYPE_I8, 1);
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(2, 4, 5)), *y;
    struct mc_value *conv[] = {quantised(g, x, false),
                               s,
                               z,
                               bytes(g, "w1", 3, DIMS(8, 4, 1), 1),
                               scales(g, 8, 1),
                               zero(g, MC_DTYPE_I8, 8),
                               s,
                               z,
                               build_const(g, "b1", MC_DTYPE_I32, 1, DIMS(8),
                                           (int32_t[]){300, -600, 200, 990, -50, 700, -800, 110})};
    x = nodes_add(g, "", "QLinearConv", "c1", 9, conv, NULL);
    conv[0] = x;
    conv[3] = bytes(g, "w2", 3, DIMS(8, 1, 1), 2);
    conv[4] = scales(g, 8, 2);
    y = nodes_add(g, "", "QLinearConv", "c2", 8, conv, &n);
    nodes_int(n, "group", 8);
    y = nodes_add(g, MS, "QLinearAdd", "sum", 8, (struct mc_value *[]){x, s, z, y, s, z, s, z},
                  NULL);
    y = nodes_turn(g, "turn", y, 3, DIMS(0, 2, 1));
    y = nodes_add(g, "", "QLinearMatMul", "d1", 8,
                  (struct mc_value *[]){y, s, z, bytes(g, "w3", 2, DIMS(8, 6), 3), scales(g, 6, 3),
                                        zero(g, MC_DTYPE_I8, 6), s, z},
                  NULL);
    y = nodes_reshape(g, "rows", y, 2, DIMS(10, 6));
    y = nodes_add(g, MS, "QGemm", "d2", 9,
                  (struct mc_value *[]){y, s, z, bytes(g, "w4", 2, DIMS(10, 6), 4),
                                        scales(g, 10, 4), zero(g, MC_DTYPE_I8, 10),
                                        build_const(g, "b4", MC_DTYPE_I32, 1, DIMS(10),
                                                    (int32_t[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10}),
                                        s, z},
                  &n);
    nodes_int(n, "transB", 1);
    build_output(g, nodes_dense(g, "y", plain(g, y), 10, 3, 5));
    m = nodes_check(m, (struct nodes_want){.free = 3});
    assert_int_equal(length(m, "w1", 0), 4);
    assert_int_equal(length(m, "b1", 0), 4);
    assert_int_equal(length(m, "w2", 0), 4);
    assert_int_equal(length(m, "w3", 1), 3);
    assert_int_equal(length(m, "w4", 0), 5);
    mc_model_free(m);
}

/* Sums of bytes that are scaled afterwards. Ranges are of all that there is, so removing is not exact. */
static void dynamic_ranges(void **state)
{
    (void)state;
    struct mc_model *m = nodes_model(21);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(3, 6));
    x = nodes_add(g, MS, "DynamicQuantizeMatMul", "d1", 5,
                  (struct mc_value *[]){x, bytes(g, "w1", 2, DIMS(6, 8), 1), scales(g, 8, 1),
                                        zero(g, MC_DTYPE_I8, 8),
                                        random_const(g, "b1", 1, DIMS(8), 2)},
                  NULL);
    struct mc_value *q[3] = {mc_edit_fresh(g, "q"), mc_edit_fresh(g, "qs"), mc_edit_fresh(g, "qz")};
    build_ok(
        mc_edit_node(g, g->n_nodes, "DynamicQuantizeLinear", "", 0, "dq", &x, 1, q, 3, NULL, &err),
        &err);
    struct mc_value *y = nodes_add(g, "", "MatMulInteger", "d2", 4,
                                   (struct mc_value *[]){q[0], bytes(g, "w2", 2, DIMS(8, 6), 3),
                                                         q[2], zero(g, MC_DTYPE_I8, 6)},
                                   NULL);
    struct mc_node *n;
    y = build_node(g, "Cast", "float", 1, &y, &n);
    nodes_int(n, "to", MC_DTYPE_F32);
    y = build_binary(g, "Mul", "scaled", y, build_binary(g, "Mul", "s", q[1], scales(g, 6, 3)));
    build_output(g, nodes_dense(g, "y", y, 6, 3, 5));
    m = nodes_check(m, (struct nodes_want){.free = 2, .inexact = true});
    assert_int_equal(length(m, "w1", 1), 4);
    assert_int_equal(length(m, "b1", 0), 4);
    assert_int_equal(length(m, "w2", 0), 4);
    assert_int_equal(length(m, "w2", 1), 3);
    mc_model_free(m);
}

/* Weights of a quantised cell lie transposed. */
static void a_quantised_cell(void **state)
{
    (void)state;
    struct mc_model *m = nodes_model(21);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(4, 2, 5)),
                    *y = mc_edit_fresh(g, "Y");
    struct mc_value *in[12] = {nodes_dense(g, "front", x, 5, 6, 1),
                               bytes(g, "W", 3, DIMS(2, 6, 32), 2),
                               bytes(g, "R", 3, DIMS(2, 8, 32), 3),
                               random_const(g, "B", 2, DIMS(2, 64), 4),
                               NULL,
                               NULL,
                               NULL,
                               random_const(g, "P", 2, DIMS(2, 24), 5),
                               random_const(g, "Ws", 2, DIMS(2, 32), 6),
                               build_const(g, "Wz", MC_DTYPE_I8, 2, DIMS(2, 32), NULL),
                               f32_const(g, "Rs", 1, DIMS(2), F(0.01f, 0.02f)),
                               build_const(g, "Rz", MC_DTYPE_I8, 1, DIMS(2), NULL)};
    build_ok(
        mc_edit_node(g, g->n_nodes, "DynamicQuantizeLSTM", MS, 0, "cell", in, 12, &y, 1, &n, &err),
        &err);
    nodes_int(n, "hidden_size", 8);
    assert_int_equal(mc_edit_attr_string(n, "direction", "bidirectional", NULL), 0);
    build_output(g, nodes_dense(g, "y", y, 8, 3, 7));
    m = nodes_check(m, (struct nodes_want){.free = 2, .inexact = true});
    assert_int_equal(length(m, "W", 1), 3);
    assert_int_equal(length(m, "W", 2), 16);
    assert_int_equal(length(m, "R", 1), 4);
    assert_int_equal(length(m, "Ws", 1), 16);
    assert_int_equal(length(m, "P", 1), 12);
    assert_int_equal(mc_node_int(nodes_find(m, "DynamicQuantizeLSTM"), "hidden_size", 0), 4);
    mc_model_free(m);
}

/* Products with an activation, transposed ones, biases in front of an activation. */
static void fused_operators(void **state)
{
    (void)state;
    struct mc_model *m = nodes_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(2, 4, 5)), *y;
    struct mc_value *in[4] = {x, random_const(g, "w1", 3, DIMS(8, 4, 1), 1),
                              random_const(g, "b1", 1, DIMS(8), 2)};
    x = nodes_add(g, MS, "FusedConv", "c1", 3, in, &n);
    assert_int_equal(mc_edit_attr_string(n, "activation", "Relu", NULL), 0);
    in[0] = in[3] = x;
    in[1] = random_const(g, "w2", 3, DIMS(8, 8, 1), 3);
    in[2] = random_const(g, "b2", 1, DIMS(8), 11);
    x = nodes_add(g, MS, "FusedConv", "c2", 4, in, &n);
    assert_int_equal(mc_edit_attr_string(n, "activation", "Relu", NULL), 0);
    x = nodes_turn(g, "rows", x, 3, DIMS(0, 2, 1));
    x = nodes_add(g, MS, "FusedMatMul", "d1", 2,
                  (struct mc_value *[]){x, random_const(g, "w3", 2, DIMS(12, 8), 4)}, &n);
    nodes_int(n, "transB", 1);
    x = nodes_add(g, MS, "BiasGelu", "g1", 2,
                  (struct mc_value *[]){x, random_const(g, "b3", 1, DIMS(12), 5)}, NULL);
    x = nodes_dense(g, "d2", x, 12, 10, 6);
    x = nodes_add(g, MS, "FastGelu", "g2", 2,
                  (struct mc_value *[]){x, random_const(g, "b4", 1, DIMS(10), 7)}, NULL);
    x = nodes_reshape(g, "flat", x, 2, DIMS(10, 10));
    in[0] = x;
    in[1] = random_const(g, "w5", 2, DIMS(10, 6), 8);
    in[2] = random_const(g, "b5", 1, DIMS(6), 9);
    x = nodes_add(g, MS, "FusedGemm", "d3", 3, in, &n);
    assert_int_equal(mc_edit_attr_string(n, "activation", "Relu", NULL), 0);
    y = nodes_dense(g, "y", x, 6, 3, 10);
    build_output(g, y);
    m = nodes_check(m, (struct nodes_want){.free = 4});
    assert_int_equal(length(m, "w2", 0), 4);
    assert_int_equal(length(m, "b3", 0), 6);
    assert_int_equal(length(m, "b4", 0), 5);
    assert_int_equal(length(m, "b5", 0), 3);
    mc_model_free(m);
}

/* A norm of a sum: the width goes through both, and statistics are of fewer columns then. */
static void sums_in_front_of_norms(void **state)
{
    (void)state;
    struct mc_model *m = nodes_model(17);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    int64_t words[10] = {0, 1, 2, 3, 4, 5, 6, 0, 1, 2};
    int32_t ids[10], kinds[10];
    for (int i = 0; i < 10; i++) {
        ids[i] = (int32_t)words[i];
        kinds[i] = i % 2;
    }
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(2, 5, 4)), *out[4] = {NULL};
    struct mc_value *embed[] = {build_const(g, "ids", MC_DTYPE_I32, 2, DIMS(2, 5), ids),
                                build_const(g, "kinds", MC_DTYPE_I32, 2, DIMS(2, 5), kinds),
                                random_const(g, "words", 2, DIMS(7, 12), 1),
                                random_const(g, "places", 2, DIMS(5, 12), 2),
                                random_const(g, "kind", 2, DIMS(2, 12), 3),
                                random_const(g, "gamma", 1, DIMS(12), 4),
                                random_const(g, "beta", 1, DIMS(12), 5)};
    struct mc_value *e = nodes_add(g, MS, "EmbedLayerNormalization", "embed", 7, embed, NULL);
    struct mc_value *in[] = {
        nodes_dense(g, "d1", x, 4, 12, 6), e, random_const(g, "g1", 1, DIMS(12), 7),
        random_const(g, "b1", 1, DIMS(12), 8), random_const(g, "c1", 1, DIMS(12), 9)};
    out[0] = mc_edit_fresh(g, "norm");
    out[3] = mc_edit_fresh(g, "sum");
    build_ok(mc_edit_node(g, g->n_nodes, "SkipLayerNormalization", MS, 0, "skip", in, 5, out, 4,
                          NULL, &err),
             &err);
    x = nodes_add(g, MS, "SkipSimplifiedLayerNormalization", "skip2", 3,
                  (struct mc_value *[]){nodes_dense(g, "d2", out[0], 12, 12, 10), out[3],
                                        random_const(g, "g2", 1, DIMS(12), 11)},
                  NULL);
    build_output(g, nodes_dense(g, "y", x, 12, 3, 12));
    m = nodes_check(m, (struct nodes_want){.free = 1, .inexact = true});
    static const char *const vectors[] = {"gamma", "beta", "g1", "b1", "c1", "g2"};
    for (int i = 0; i < 6; i++)
        assert_int_equal(length(m, vectors[i], 0), 6);
    assert_int_equal(length(m, "words", 1), 6);
    assert_int_equal(length(m, "places", 1), 6);
    assert_int_equal(length(m, "kind", 1), 6);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_conversions),   cmocka_unit_test(names_are_those_of_products),
        cmocka_unit_test(equal_by_chance),        cmocka_unit_test(blocks),
        cmocka_unit_test(whole_numbers),          cmocka_unit_test(dynamic_ranges),
        cmocka_unit_test(a_quantised_cell),       cmocka_unit_test(fused_operators),
        cmocka_unit_test(sums_in_front_of_norms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
