/* Heads and places in heads removed from attention in one node, and from what stands around it. */
#include "couple_nodes.h"

enum { BATCH = 2, ROWS = 5, WIDTH = 8, HEADS = 4, SHARED = 2, SIZE = 6, V_SIZE = 5 };

static struct mc_value *heads_first(struct mc_graph *g, struct mc_value *x, int64_t heads,
                                    int64_t size)
{
    x = nodes_reshape(g, "apart", x, 4, DIMS(0, 0, heads, size));
    return nodes_turn(g, "turn", x, 4, DIMS(0, 2, 1, 3));
}

/* Of ai.onnx, with as many key heads as `shared`, in three or four dimensions, with a mask for every head. */
static struct mc_model *attention(int64_t shared, bool four, bool mask)
{
    struct mc_model *m = nodes_model(23);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(BATCH, ROWS, WIDTH));
    struct mc_value *in[4] = {nodes_dense(g, "q", x, WIDTH, HEADS * SIZE, 1),
                              nodes_dense(g, "k", x, WIDTH, shared * SIZE, 2),
                              nodes_dense(g, "v", x, WIDTH, shared * V_SIZE, 3)};
    if (four) {
        in[0] = heads_first(g, in[0], HEADS, SIZE);
        in[1] = heads_first(g, in[1], shared, SIZE);
        in[2] = heads_first(g, in[2], shared, V_SIZE);
    }
    if (mask)
        in[3] = random_const(g, "mask", 4, DIMS(1, HEADS, ROWS, ROWS), 4);
    struct mc_value *y = nodes_add(g, "", "Attention", "attention", mask ? 4 : 3, in, &n);
    if (four) {
        y = nodes_turn(g, "back", y, 4, DIMS(0, 2, 1, 3));
        y = nodes_reshape(g, "join", y, 3, DIMS(0, 0, HEADS * V_SIZE));
    } else {
        nodes_int(n, "q_num_heads", HEADS);
        nodes_int(n, "kv_num_heads", shared);
    }
    build_output(g, nodes_dense(g, "o", y, HEADS * V_SIZE, 3, 5));
    return m;
}

static void heads_of_onnx(void **state)
{
    (void)state;
    for (int four = 0; four < 2; four++)
        for (int mask = 0; mask < 2; mask++) {
            /* heads, width of queries and keys, width of values */
            struct mc_model *m =
                nodes_check(attention(HEADS, four, mask), (struct nodes_want){.free = 3});
            const struct mc_node *n = nodes_find(m, "Attention");
            if (!four) {
                assert_int_equal(mc_node_int(n, "q_num_heads", 0), HEADS / 2);
                assert_int_equal(mc_node_int(n, "kv_num_heads", 0), HEADS / 2);
            }
            assert_true(fabs((double)mc_node_float(n, "scale", 0) - 1 / sqrt(SIZE)) < 1e-7);
            const struct mc_shape *o = &mc_graph_value(m->graph, "o.w")->tensor->shape;
            assert_int_equal(o->dim[0], HEADS / 2 * 3); /* half of 5 is 3 */
            mc_model_free(m);
            /* key heads with all their queries, queries of each evenly, the two widths */
            m = nodes_check(attention(SHARED, four, mask), (struct nodes_want){.free = 4});
            if (!four) {
                n = nodes_find(m, "Attention");
                assert_int_equal(mc_node_int(n, "q_num_heads", 0), 1);
                assert_int_equal(mc_node_int(n, "kv_num_heads", 0), 1);
            }
            mc_model_free(m);
            /* one key head for all */
            mc_model_free(nodes_check(attention(1, four, mask), (struct nodes_want){.free = 3}));
        }
}

/* A cache that comes from outside keeps the heads of keys; queries can still go evenly, and nothing of the widths. */
static void a_cache_from_outside(void **state)
{
    (void)state;
    struct mc_model *m = attention(SHARED, false, false);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    static const char *const names[] = {"past.k", "past.v"};
    struct mc_node *n = (struct mc_node *)(uintptr_t)nodes_find(m, "Attention");
    for (size_t i = 0; i < 2; i++)
        build_ok(mc_edit_set_input(n, 4 + i,
                                   build_input(g, names[i], MC_DTYPE_F32, 4,
                                               DIMS(BATCH, SHARED, 3, i ? V_SIZE : SIZE)),
                                   &err),
                 &err);
    m = nodes_check(m, (struct nodes_want){.free = 1});
    assert_int_equal(mc_node_int(nodes_find(m, "Attention"), "q_num_heads", 0), SHARED);
    assert_int_equal(mc_node_int(nodes_find(m, "Attention"), "kv_num_heads", 0), SHARED);
    mc_model_free(m);
}

static void heads_of_microsoft(void **state)
{
    (void)state;
    enum { Q = HEADS * SIZE, VALUES = HEADS * V_SIZE };
    for (int projected = 0; projected < 2; projected++)
        for (int unequal = 0; unequal < 2; unequal++) {
            struct mc_model *m = nodes_model(17);
            struct mc_graph *g = m->graph;
            struct mc_node *n;
            int64_t v = unequal ? VALUES : Q, all = 2 * Q + v;
            struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(BATCH, ROWS, 4)), *y;
            x = nodes_dense(g, "front", x, 4, WIDTH, 9);
            struct mc_value *bias = random_const(g, "bias", 1, DIMS(all), 5);
            struct mc_value *scores = random_const(g, "scores", 4, DIMS(1, HEADS, ROWS, ROWS), 6);
            if (projected) {
                struct mc_value *in[] = {
                    x, random_const(g, "w", 2, DIMS(WIDTH, all), 1), bias, NULL, NULL, scores};
                y = nodes_add(g, MS, "Attention", "attention", 6, in, &n);
                if (unequal)
                    assert_int_equal(
                        mc_edit_attr_ints(n, "qkv_hidden_sizes", DIMS(Q, Q, v), 3, NULL), 0);
            } else {
                struct mc_value *in[] = {nodes_dense(g, "q", x, WIDTH, Q, 1),
                                         nodes_dense(g, "k", x, WIDTH, Q, 2),
                                         nodes_dense(g, "v", x, WIDTH, v, 3),
                                         bias,
                                         NULL,
                                         scores};
                y = nodes_add(g, MS, "MultiHeadAttention", "attention", 6, in, &n);
            }
            nodes_int(n, "num_heads", HEADS);
            build_output(g, nodes_dense(g, "o", y, v, 3, 5));
            /* and the width in front */
            m = nodes_check(m, (struct nodes_want){.free = 4});
            n = (struct mc_node *)(uintptr_t)nodes_find(m, projected ? "Attention"
                                                                     : "MultiHeadAttention");
            assert_int_equal(mc_node_int(n, "num_heads", 0), HEADS / 2);
            assert_true(fabs((double)mc_node_float(n, "scale", 0) - 1 / sqrt(SIZE)) < 1e-7);
            mc_model_free(m);
        }
}

static struct mc_model *turned(bool ms, bool interleaved, bool four, bool part)
{
    struct mc_model *m = nodes_model(ms ? 17 : 23);
    struct mc_graph *g = m->graph;
    int64_t half = part ? SIZE / 2 - 1 : SIZE / 2, at[BATCH * ROWS];
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(BATCH, ROWS, WIDTH)),
                    *part_of[2];
    for (int i = 0; i < BATCH * ROWS; i++)
        at[i] = i % ROWS + 1;
    struct mc_value *position = build_const(g, "at", MC_DTYPE_I64, 2, DIMS(BATCH, ROWS), at);
    struct mc_value *cosine = random_const(g, "cos", 2, DIMS(ROWS + 1, half), 7);
    struct mc_value *sine = random_const(g, "sin", 2, DIMS(ROWS + 1, half), 8);
    for (int i = 0; i < 2; i++) {
        struct mc_node *n;
        struct mc_value *h = nodes_dense(g, i ? "k" : "q", x, WIDTH, HEADS * SIZE, 1 + (uint64_t)i);
        h = four ? heads_first(g, h, HEADS, SIZE) : h;
        struct mc_value *in[] = {h, ms ? position : cosine, ms ? cosine : sine,
                                 ms ? sine : position};
        h = nodes_add(g, ms ? MS : "", "RotaryEmbedding", "turn", 4, in, &n);
        nodes_int(n, "interleaved", interleaved);
        if (!four)
            nodes_int(n, "num_heads", HEADS);
        if (part || ms)
            nodes_int(n, "rotary_embedding_dim", 2 * half);
        h = four ? h : heads_first(g, h, HEADS, SIZE);
        part_of[i] = i ? nodes_turn(g, "across", h, 4, DIMS(0, 1, 3, 2)) : h;
    }
    struct mc_value *y = build_binary(g, "MatMul", "scores", part_of[0], part_of[1]);
    struct mc_value *v =
        heads_first(g, nodes_dense(g, "v", x, WIDTH, HEADS * V_SIZE, 3), HEADS, V_SIZE);
    y = build_binary(g, "MatMul", "mix", build_unary(g, "Softmax", "soft", y), v);
    y = nodes_turn(g, "back", y, 4, DIMS(0, 2, 1, 3));
    y = nodes_reshape(g, "join", y, 3, DIMS(0, 0, HEADS * V_SIZE));
    build_output(g, nodes_dense(g, "o", y, HEADS * V_SIZE, 3, 5));
    return m;
}

/* Columns that are turned together go together; where a part of each head is turned its width stays. */
static void turned_heads(void **state)
{
    (void)state;
    for (int ms = 0; ms < 2; ms++)
        for (int interleaved = 0; interleaved < 2; interleaved++)
            for (int four = 0; four < 2; four++) {
                struct mc_model *m = nodes_check(turned(ms, interleaved, four, false),
                                                 (struct nodes_want){.free = 3});
                assert_int_equal(mc_graph_value(m->graph, "cos")->tensor->shape.dim[1], 2);
                mc_model_free(m);
                mc_model_free(nodes_check(turned(ms, interleaved, four, true),
                                          (struct nodes_want){.free = 2}));
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_of_onnx),
        cmocka_unit_test(a_cache_from_outside),
        cmocka_unit_test(heads_of_microsoft),
        cmocka_unit_test(turned_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
