/* Attention as exporters write it, and lengths that are read at run time. */
#include "couple_build.h"

enum { HEADS = 4, WIDTH = 6, MODEL = 8 };

static struct mc_model *new_model(int opset, struct mc_value **x)
{
    struct mc_model *m = build_model(opset);
    *x = build_input(m->graph, "x", MC_DTYPE_F32, 3, DIMS(-2, -3, MODEL));
    return m;
}

/* Two elements of x's shape and the others as they are written. */
static struct mc_value *target(struct mc_graph *g, struct mc_value *x, int n, const int64_t *rest)
{
    struct mc_value *part[3] = {length_of(g, x, 0), length_of(g, x, 1), ints(g, n, rest)};
    return concat(g, 0, 3, part);
}

/* [batch, length, heads * width] -> [batch, heads, length, width] */
static struct mc_value *to_heads(struct mc_graph *g, struct mc_value *x, int64_t heads,
                                 int64_t width)
{
    return TURN(g, reshape(g, x, target(g, x, 2, DIMS(heads, width))), 0, 2, 1, 3);
}

/* softmax(q k' / sqrt(width)) v, joined again: [batch, length, heads * width]. */
static struct mc_value *attend(struct mc_graph *g, struct mc_value *q, struct mc_value *k,
                               struct mc_value *v)
{
    struct mc_value *width = gather(g, 0, build_unary(g, "Shape", "shape", q), scalar(g, -1));
    struct mc_node *n;
    struct mc_value *root = build_node(g, "Cast", "real", 1, &width, &n);
    with_int(n, "to", MC_DTYPE_F32);
    struct mc_value *a = build_binary(g, "MatMul", "scores", q, TURN(g, k, 0, 1, 3, 2));
    a = build_binary(g, "Div", "scaled", a, build_unary(g, "Sqrt", "root", root));
    a = build_node(g, "Softmax", "weights", 1, &a, &n);
    with_int(n, "axis", -1);
    a = TURN(g, build_binary(g, "MatMul", "mixed", a, v), 0, 2, 1, 3);
    return reshape(g, a, target(g, a, 1, DIMS(-1)));
}

static void check_attention(struct mc_model *m, int64_t heads, int64_t qk, int64_t v)
{
    struct mc_coupling *c = check_model(m);
    const struct mc_coupling_group *h = group_of(c, "heads", heads);
    const struct mc_coupling_group *a = group_of(c, "head width", qk);
    const struct mc_coupling_group *b = group_of(c, "head width", v);
    if (!h || !a || !b || (qk != v && a == b))
        prune_print(c);
    assert_true(h && a && b);
    mc_coupling_free(c);
    mc_model_free(m);
}

static void three_products(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *q = to_heads(g, dense(g, "q", x, MODEL, HEADS * WIDTH), HEADS, WIDTH);
    struct mc_value *k = to_heads(g, dense(g, "k", x, MODEL, HEADS * WIDTH), HEADS, WIDTH);
    struct mc_value *v = to_heads(g, dense(g, "v", x, MODEL, HEADS * 5), HEADS, 5);
    build_output(g, dense(g, "p", attend(g, q, k, v), HEADS * 5, 3));
    check_attention(m, HEADS, WIDTH, 5);
}

static void parts_of_one_product(void **state)
{
    (void)state;
    struct mc_value *x, *part[3];
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *in[2] = {dense(g, "qkv", x, MODEL, HEADS * (2 * WIDTH + 5)),
                              INTS(g, HEADS * WIDTH, HEADS * WIDTH, HEADS * 5)};
    for (int i = 0; i < 3; i++)
        part[i] = mc_edit_fresh(g, "part");
    assert_int_equal(mc_edit_node(g, g->n_nodes, "Split", "", 0, "split", in, 2, part, 3, &n, NULL),
                     0);
    with_int(n, "axis", 2);
    for (int i = 0; i < 3; i++)
        part[i] = to_heads(g, part[i], HEADS, i < 2 ? WIDTH : 5);
    build_output(g, dense(g, "p", attend(g, part[0], part[1], part[2]), HEADS * 5, 3));
    check_attention(m, HEADS, WIDTH, 5);
}

/* [batch, length, 3, heads, width], turned, and picked by number. */
static void parts_of_one_axis(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *y = dense(g, "qkv", x, MODEL, 3 * HEADS * WIDTH), *part[3];
    y = TURN(g, reshape(g, y, target(g, y, 3, DIMS(3, HEADS, WIDTH))), 2, 0, 3, 1, 4);
    for (int i = 0; i < 3; i++)
        part[i] = gather(g, 0, y, scalar(g, i));
    build_output(g, dense(g, "p", attend(g, part[0], part[1], part[2]), HEADS * WIDTH, 3));
    check_attention(m, HEADS, WIDTH, WIDTH);
}

/* Keys and values for every two of the queries; torch's expand asks for a -1 that is not there. */
static struct mc_value *repeated(struct mc_graph *g, struct mc_value *x, int64_t heads,
                                 int64_t width, bool choice)
{
    struct mc_value *in[2] = {x, INTS(g, 2)};
    struct mc_value *y = build_node(g, "Unsqueeze", "more", 2, in, NULL);
    struct mc_value *part[4] = {length_of(g, x, 0), INTS(g, choice ? -1 : heads, 2),
                                length_of(g, x, 2), INTS(g, width)};
    struct mc_value *to = concat(g, 0, 4, part);
    if (choice) {
        struct mc_value *three[3] = {build_binary(g, "Equal", "free", to, INTS(g, -1)),
                                     INTS(g, 1, 1, 1, 1, 1), to};
        to = build_node(g, "Where", "chosen", 3, three, NULL);
    }
    y = build_binary(g, "Expand", "repeated", y, to);
    struct mc_value *back[3] = {length_of(g, x, 0), INTS(g, 2 * heads, -1), INTS(g, width)};
    return reshape(g, y, concat(g, 0, 3, back));
}

static void grouped_queries(void **state)
{
    (void)state;
    for (int choice = 0; choice < 2; choice++) {
        struct mc_value *x;
        struct mc_model *m = new_model(17, &x);
        struct mc_graph *g = m->graph;
        struct mc_value *q = to_heads(g, dense(g, "q", x, MODEL, 6 * WIDTH), 6, WIDTH);
        struct mc_value *k = to_heads(g, dense(g, "k", x, MODEL, 3 * WIDTH), 3, WIDTH);
        struct mc_value *v = to_heads(g, dense(g, "v", x, MODEL, 3 * 5), 3, 5);
        k = repeated(g, k, 3, WIDTH, choice);
        v = repeated(g, v, 3, 5, choice);
        build_output(g, dense(g, "p", attend(g, q, k, v), 6 * 5, 3));
        check_attention(m, 3, WIDTH, 5);
    }
}

/* One head of keys and values, broadcast. */
static void shared_keys(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *q = to_heads(g, dense(g, "q", x, MODEL, HEADS * WIDTH), HEADS, WIDTH);
    struct mc_value *in[2] = {dense(g, "k", x, MODEL, WIDTH), INTS(g, 1)};
    struct mc_value *k = build_node(g, "Unsqueeze", "k1", 2, in, NULL);
    in[0] = dense(g, "v", x, MODEL, 5);
    struct mc_value *v = build_node(g, "Unsqueeze", "v1", 2, in, NULL);
    build_output(g, dense(g, "p", attend(g, q, k, v), HEADS * 5, 3));
    struct mc_coupling *c = check_model(m);
    assert_non_null(group_of(c, NULL, HEADS));
    assert_non_null(group_of(c, NULL, WIDTH));
    assert_non_null(group_of(c, NULL, 5));
    mc_coupling_free(c);
    mc_model_free(m);
}

static struct mc_value *half(struct mc_graph *g, struct mc_value *x, bool second)
{
    struct mc_value *width = length_of(g, x, 3);
    struct mc_value *middle = build_binary(g, "Div", "middle", width, INTS(g, 2));
    struct mc_value *in[4] = {x, second ? middle : INTS(g, 0), second ? INTS(g, INT64_MAX) : middle,
                              INTS(g, 3)};
    return build_node(g, "Slice", "half", 4, in, NULL);
}

/* x cos + (-x2, x1) sin: places of both halves go in pairs. */
static struct mc_value *turned(struct mc_graph *g, struct mc_value *x, struct mc_value *cos,
                               struct mc_value *sin)
{
    struct mc_value *two[2] = {build_unary(g, "Neg", "minus", half(g, x, true)), half(g, x, false)};
    return build_binary(g, "Add", "rotated", build_binary(g, "Mul", "real", x, cos),
                        build_binary(g, "Mul", "imaginary", concat(g, 3, 2, two), sin));
}

static void rotated_queries(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *cos = random_const(g, "cos", 1, DIMS(WIDTH), 71);
    struct mc_value *sin = random_const(g, "sin", 1, DIMS(WIDTH), 72);
    struct mc_value *q = to_heads(g, dense(g, "q", x, MODEL, HEADS * WIDTH), HEADS, WIDTH);
    struct mc_value *k = to_heads(g, dense(g, "k", x, MODEL, HEADS * WIDTH), HEADS, WIDTH);
    struct mc_value *v = to_heads(g, dense(g, "v", x, MODEL, HEADS * 5), HEADS, 5);
    q = turned(g, q, cos, sin);
    k = turned(g, k, cos, sin);
    build_output(g, dense(g, "p", attend(g, q, k, v), HEADS * 5, 3));
    check_attention(m, HEADS, WIDTH / 2, 5);
}

/* torch.nn.MultiheadAttention: batch and heads are one axis of unknown length for a while. */
static struct mc_value *joined_heads(struct mc_graph *g, struct mc_value *x, bool apart)
{
    struct mc_value *batch = length_of(g, x, 1), *length = length_of(g, x, 0);
    struct mc_value *part[3] = {length, build_binary(g, "Mul", "all", batch, INTS(g, HEADS)),
                                INTS(g, WIDTH)};
    struct mc_value *y = TURN(g, reshape(g, x, concat(g, 0, 3, part)), 1, 0, 2);
    struct mc_value *to[4] = {batch, INTS(g, HEADS), length, INTS(g, WIDTH)};
    return apart ? reshape(g, y, concat(g, 0, 4, to)) : y;
}

static void heads_joined_with_the_batch(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *q = joined_heads(g, dense(g, "q", x, MODEL, HEADS * WIDTH), true);
    struct mc_value *k = joined_heads(g, dense(g, "k", x, MODEL, HEADS * WIDTH), true);
    struct mc_value *v = joined_heads(g, dense(g, "v", x, MODEL, HEADS * WIDTH), true);
    build_output(g, dense(g, "p", attend(g, q, k, v), HEADS * WIDTH, 3));
    check_attention(m, HEADS, WIDTH, WIDTH);
}

/* They are never taken apart: heads stay, and their width can go. */
static void heads_that_stay_joined(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *q = joined_heads(g, dense(g, "q", x, MODEL, HEADS * WIDTH), false);
    struct mc_value *k = joined_heads(g, dense(g, "k", x, MODEL, HEADS * WIDTH), false);
    struct mc_value *a = build_binary(g, "MatMul", "scores", q, TURN(g, k, 0, 2, 1));
    a = build_unary(g, "Softmax", "weights", a);
    struct mc_value *v = joined_heads(g, dense(g, "v", x, MODEL, HEADS * WIDTH), false);
    struct mc_value *y = TURN(g, build_binary(g, "MatMul", "mixed", a, v), 1, 0, 2);
    struct mc_value *to[2] = {length_of(g, x, 0), INTS(g, -1, HEADS * WIDTH)};
    build_output(g, dense(g, "p", reshape(g, y, concat(g, 0, 2, to)), HEADS * WIDTH, 3));
    struct mc_coupling *c = check_model(m);
    assert_null(group_of(c, NULL, HEADS));
    assert_non_null(group_of(c, NULL, WIDTH));
    bool said = false;
    for (size_t i = 0; i < c->n_groups; i++)
        said |= c->group[i].why && c->group[i].n == HEADS && strstr(c->group[i].why, "not known");
    assert_true(said);
    mc_coupling_free(c);
    mc_model_free(m);
}

/* ---- lengths that are read ---- */

/* Whoever computes with a length goes on with what it was; who asks for it unprepared keeps it. */
static void lengths_stay_what_they_were(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *y = dense(g, "a", x, MODEL, 10);
    struct mc_value *all = build_unary(g, "Shape", "all", y), *numbers;
    numbers = build_node(g, "Cast", "real", 1, &all, &n);
    with_int(n, "to", MC_DTYPE_F32);
    y = build_binary(g, "Div", "mean", y, build_unary(g, "ReduceMax", "largest", numbers));
    build_output(g, dense(g, "b", y, 10, 3));
    struct mc_coupling *c;
    struct mc_err err;
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_coupling_find(m, &c, &err), &err);
    assert_null(group_of(c, NULL, 10));
    mc_coupling_free(c);
    GROUPS(m, 10);
}

/* Preparing changes nothing that is computed. */
static void prepared_models_compute_the_same(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x), *before;
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *q = joined_heads(g, dense(g, "q", x, MODEL, HEADS * WIDTH), true);
    struct mc_value *k =
        repeated(g, to_heads(g, dense(g, "k", x, MODEL, 2 * WIDTH), 2, WIDTH), 2, WIDTH, true);
    struct mc_value *y = attend(g, TURN(g, q, 0, 1, 2, 3), k, k);
    build_output(g, dense(g, "p", y, HEADS * WIDTH, 3));
    build_ok(mc_model_clone(m, &before, &err), &err);
    build_ok(mc_coupling_prepare(m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    for (uint64_t seed = 1; seed <= 3; seed++)
        assert_true(prune_difference(before, m, seed) <= 1e-12);
    mc_model_free(before);
    mc_model_free(m);
}

/* All elements by their numbers, in order: they are where they were. In another order they are not. */
static void elements_in_order_are_the_value(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, MODEL));
        struct mc_value *y = dense(g, "a", x, MODEL, 6),
                        *rows = gather(g, 0, build_unary(g, "Shape", "s", x), scalar(g, 0));
        struct mc_value *in[3] = {scalar(g, 0), rows, scalar(g, 1)};
        rows = build_binary(g, "Mul", "starts", build_node(g, "Range", "rows", 3, in, NULL),
                            scalar(g, 6));
        rows = build_binary(g, "Unsqueeze", "column", rows, INTS(g, 1));
        struct mc_value *places =
            build_const(g, "places", MC_DTYPE_I64, 2, DIMS(1, 6),
                        order ? DIMS(0, 2, 1, 3, 4, 5) : DIMS(0, 1, 2, 3, 4, 5));
        y = gather(g, 0, reshape(g, y, INTS(g, -1)),
                   build_binary(g, "Add", "numbers", rows, places));
        build_output(g, dense(g, "b", y, 6, 3));
        if (!order) {
            GROUPS(m, 6);
            continue;
        }
        struct mc_coupling *c;
        struct mc_err err;
        build_ok(mc_coupling_prepare(m, &err), &err);
        build_ok(mc_coupling_find(m, &c, &err), &err);
        assert_null(group_of(c, NULL, 6));
        mc_coupling_free(c);
        mc_model_free(m);
    }
}

static void vectors_shared_by_chance_do_not_couple(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *zero = build_const(g, "zero", MC_DTYPE_F32, 1, DIMS(10), NULL);
    struct mc_value *w[2] = {random_const(g, "w", 2, DIMS(MODEL, 10), 3),
                             random_const(g, "w", 2, DIMS(10, 10), 4)};
    struct mc_value *y = build_unary(
        g, "Relu", "r", build_binary(g, "Add", "s", build_binary(g, "MatMul", "a", x, w[0]), zero));
    y = build_binary(g, "Add", "t", build_binary(g, "MatMul", "b", y, w[1]), zero);
    build_output(g, dense(g, "p", y, 10, 3));
    GROUPS(m, 10, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_products),
        cmocka_unit_test(parts_of_one_product),
        cmocka_unit_test(parts_of_one_axis),
        cmocka_unit_test(grouped_queries),
        cmocka_unit_test(shared_keys),
        cmocka_unit_test(rotated_queries),
        cmocka_unit_test(heads_joined_with_the_batch),
        cmocka_unit_test(heads_that_stay_joined),
        cmocka_unit_test(lengths_stay_what_they_were),
        cmocka_unit_test(prepared_models_compute_the_same),
        cmocka_unit_test(elements_in_order_are_the_value),
        cmocka_unit_test(vectors_shared_by_chance_do_not_couple),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
