/* Operators that move, cut and join axes. */
#include "couple_build.h"

#include "passes/couple/couple_blocks.h"

static struct mc_model *new_model(int opset, struct mc_value **x)
{
    struct mc_model *m = build_model(opset);
    *x = build_input(m->graph, "x", MC_DTYPE_F32, 4, DIMS(-2, 3, 4, 4));
    return m;
}

static struct mc_model *finish(struct mc_model *m, struct mc_value *y, int64_t channels)
{
    build_output(m->graph, conv(m->graph, "last", y, channels, 2, 1));
    return m;
}

/* ---- blocks ---- */

static void blocks_are_the_smallest_there_are(void **state)
{
    (void)state;
    static const struct {
        struct mc_shape in, out;
        const char *blocks; /* axes in, axes out, "*over"; "?" is open */
    } cases[] = {
        {{4, {-2, 64, 7, 7}}, {3, {-2, 64, 49}}, "0:0 1:1 23:2 "},
        {{4, {-2, 64, 7, 7}}, {2, {-2, 3136}}, "0:0 123:1 "},
        {{4, {-2, 64, 1, 1}}, {2, {-2, 64}}, "0:0 1:1 "},
        {{3, {-2, -3, 64}}, {4, {-2, -3, 4, 16}}, "0:0 1:1 2:23 "},
        {{2, {-4, 64}}, {4, {-2, 10, 4, 16}}, "0:01? 1:23 "},
        {{3, {-2, 6, 10}}, {3, {-2, 10, 6}}, "0:0 12:12 "},
        {{3, {5, -2, 32}}, {3, {5, -3, 8}}, "0:0 1:1? 2:2*4 "},
        {{3, {5, -3, 8}}, {3, {5, -2, 32}}, "0:0 1:1? 2:2/4 "},
        {{2, {32, -2}}, {3, {4, -3, -4}}, "0:0*8 1:12? "},
        {{2, {-1, 6}}, {2, {-1, 6}}, "0:0? 1:1 "},
        {{2, {0, 6}}, {2, {0, 6}}, "0:0? 1:1 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mc_block b[MC_BLOCKS_MAX];
        char text[256] = "";
        int n = mc_blocks_of(&cases[i].in, &cases[i].out, b);
        for (int k = 0; k < n; k++) {
            size_t at = strlen(text);
            for (int d = 0; d < b[k].n_in; d++)
                text[at++] = (char)('0' + b[k].in[d]);
            text[at++] = ':';
            for (int d = 0; d < b[k].n_out; d++)
                text[at++] = (char)('0' + b[k].out[d]);
            if (b[k].over_in > 1 || b[k].over_out > 1) {
                text[at++] = b[k].over_in > 1 ? '*' : '/';
                text[at++] = (char)('0' + b[k].over_in * b[k].over_out);
            }
            if (b[k].open)
                text[at++] = '?';
            text[at++] = ' ';
            text[at] = 0;
        }
        assert_string_equal(text, cases[i].blocks);
    }
}

/* ---- Reshape and the like ---- */

static void channels_become_runs_of_columns(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *y = build_unary(g, "Flatten", "flat", conv(g, "a", x, 3, 6, 1));
    y = dense(g, "b", y, 96, 10);
    y = reshape(g, y, INTS(g, 0, 5, 2)); /* pairs: what a dense layer gives is cut into two axes */
    y = dense(g, "c", TURN(g, y, 0, 2, 1), 5, 7);
    build_output(g, dense(g, "d", reshape(g, y, INTS(g, -1, 14)), 14, 3));
    GROUPS(m, 6, 5, 2, 7);
}

static void shapes_are_written_anew(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(13, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *y = conv(g, "a", x, 3, 6, 1);
    struct mc_value *shape = build_unary(g, "Shape", "shape", y);
    struct mc_value *in[4] = {INTS(g, 0), INTS(g, 2), INTS(g, 0), NULL};
    in[3] = in[1];
    struct mc_value *args[4] = {shape, in[0], in[1], in[2]};
    struct mc_value *two[2] = {build_node(g, "Slice", "first", 4, args, NULL), INTS(g, -1)};
    y = reshape(g, y, concat(g, 0, 2, two)); /* [batch, channels, -1] */
    struct mc_value *to[3] = {length_of(g, x, 0), length_of(g, y, 1), INTS(g, 16)};
    y = reshape(g, TURN(g, TURN(g, y, 0, 2, 1), 0, 2, 1), concat(g, 0, 3, to));
    build_output(g, dense(g, "b", TURN(g, y, 0, 2, 1), 6, 3));
    GROUPS(m, 6);
}

/* With one channel left there is one more axis of length 1, which is to stay. */
static void squeeze_drops_what_it_dropped(void **state)
{
    (void)state;
    for (int opset = 11; opset <= 13; opset += 2) {
        struct mc_model *m = build_model(opset);
        struct mc_graph *g = m->graph;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(2, 3, 4, 4));
        struct mc_value *y = build_unary(g, "GlobalAveragePool", "pool", conv(g, "a", x, 3, 2, 1));
        struct mc_node *n = NULL;
        struct mc_value *in[2] = {y, NULL};
        if (opset >= 13)
            in[1] = INTS(g, 0);
        y = build_node(g, "Unsqueeze", "more", opset >= 13 ? 2 : 1, in, &n);
        if (opset < 13)
            with_ints(n, "axes", 1, DIMS(0));
        y = build_unary(g, "Squeeze", "squeezed", TURN(g, y, 1, 0, 2, 3, 4));
        build_output(g, dense(g, "b", y, 2, 3));
        GROUPS(m, 2);
    }
}

/* ---- Concat, Split ---- */

static void branches_are_joined(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *a = conv(g, "a", x, 3, 6, 1), *two[3] = {a, conv(g, "b", a, 6, 4, 1), x};
    struct mc_value *y = conv(g, "c", concat(g, 1, 3, two), 13, 5, 1);
    struct mc_value *stack[2] = {y, conv(g, "d", y, 5, 5, 1)};
    y = conv(g, "e", concat(g, 2, 2, stack), 5, 4,
             1); /* along another axis: channels go together */
    GROUPS(finish(m, y, 4), 6, 4, 5, 4);
}

static void split(struct mc_graph *g, struct mc_value *x, int opset, size_t n, const int64_t *sizes,
                  struct mc_value **part)
{
    struct mc_node *node;
    struct mc_value *in[2] = {x, sizes && opset >= 13 ? ints(g, (int)n, sizes) : NULL};
    for (size_t i = 0; i < n; i++)
        part[i] = mc_edit_fresh(g, "part");
    assert_int_equal(mc_edit_node(g, g->n_nodes, "Split", "", 0, "split", in, in[1] ? 2 : 1, part,
                                  n, &node, NULL),
                     0);
    with_int(node, "axis", 1);
    if (sizes && opset < 13)
        with_ints(node, "split", n, sizes);
    if (!sizes && opset >= 18)
        with_int(node, "num_outputs", (int64_t)n);
}

/* Parts lose different channels, and none loses all. */
static void parts_are_split(void **state)
{
    (void)state;
    static const struct {
        int opset;
        bool given;
    } cases[] = {{11, true}, {11, false}, {13, true}, {13, false}, {18, true}, {18, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mc_value *x, *part[2];
        struct mc_model *m = new_model(cases[i].opset, &x);
        struct mc_graph *g = m->graph;
        int64_t first = cases[i].given ? 3 : 5;
        split(g, conv(g, "a", x, 3, 10, 1), cases[i].opset, 2, cases[i].given ? DIMS(3, 7) : NULL,
              part);
        struct mc_value *y = build_binary(g, "Add", "sum", conv(g, "b", part[0], first, 4, 1),
                                          conv(g, "c", part[1], 10 - first, 4, 1));
        struct mc_coupling *c = check_model(finish(m, y, 4));
        assert_non_null(group_of(c, "channels", 8)); /* one of each part stays */
        mc_coupling_free(c);
        mc_model_free(m);
    }
}

static void gates_go_with_what_they_close(void **state)
{
    (void)state;
    struct mc_value *x, *part[2];
    struct mc_model *m = new_model(18, &x);
    struct mc_graph *g = m->graph;
    split(g, conv(g, "a", x, 3, 12, 1), 18, 2, NULL, part);
    struct mc_value *y =
        build_binary(g, "Mul", "gated", part[0], build_unary(g, "Sigmoid", "gate", part[1]));
    GROUPS(finish(m, y, 6), 6);
}

/* ---- Slice, Gather, Pad ---- */

static struct mc_value *slice(struct mc_graph *g, struct mc_value *x, int opset, int64_t from,
                              int64_t to, int64_t step)
{
    struct mc_node *n;
    struct mc_value *in[5] = {x, NULL};
    if (opset >= 10) {
        in[1] = INTS(g, from, 0);
        in[2] = INTS(g, to, INT64_MAX);
        in[3] = INTS(g, 1, 2);
        in[4] = INTS(g, step, 1);
        return build_node(g, "Slice", "slice", 5, in, NULL);
    }
    struct mc_value *y = build_node(g, "Slice", "slice", 1, in, &n);
    with_ints(n, "starts", 2, DIMS(from, 0));
    with_ints(n, "ends", 2, DIMS(to, INT32_MAX));
    with_ints(n, "axes", 2, DIMS(1, 2));
    return y;
}

static void slices_take_what_is_left(void **state)
{
    (void)state;
    for (int opset = 9; opset <= 13; opset += 4) {
        struct mc_value *x;
        struct mc_model *m = new_model(opset, &x);
        struct mc_graph *g = m->graph;
        struct mc_value *a = conv(g, "a", x, 3, 12, 1);
        struct mc_value *y = slice(g, a, opset, 2, -4, 1);
        y = build_binary(g, "Add", "sum", conv(g, "b", y, 6, 4, 1),
                         conv(g, "c", slice(g, a, opset, -6, INT32_MAX, 1), 6, 4, 1));
        if (opset >= 10)
            y = build_binary(g, "Add", "sum", y,
                             conv(g, "d", slice(g, a, opset, -1, INT32_MIN, -3), 4, 4, 1));
        y = build_binary(g, "Add", "sum", y,
                         conv(g, "e", slice(g, a, opset, 0, INT32_MAX, 1), 12, 4, 1));
        mc_coupling_free(check_model(finish(m, y, 4)));
        mc_model_free(m);
    }
}

static void numbers_are_given_anew(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(13, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *a = conv(g, "a", x, 3, 12, 1);
    struct mc_value *y = gather(g, 1, a, INTS(g, 3, 11, -1, 0, 3, 5, 7));
    y = conv(g, "b", y, 7, 4, 1);
    struct mc_value *grid = build_const(g, "grid", MC_DTYPE_I64, 2, DIMS(2, 3),
                                        DIMS(0, 1, 2, 6, 7, 8)); /* rows and columns */
    struct mc_value *z = reshape(g, gather(g, 1, a, grid), INTS(g, 0, 6, 4, 4));
    y = build_binary(g, "Add", "sum", y, conv(g, "c", z, 6, 4, 1));
    struct mc_value *one =
        build_node(g, "Unsqueeze", "one", 2,
                   (struct mc_value *[]){gather(g, 1, a, scalar(g, 4)), INTS(g, 1)}, NULL);
    y = build_binary(g, "Add", "sum", y, conv(g, "d", one, 1, 4, 1));
    struct mc_value *tuples = build_const(g, "tuples", MC_DTYPE_I64, 2, DIMS(3, 1), DIMS(2, -2, 2));
    struct mc_value *t = build_binary(g, "GatherND", "t", TURN(g, a, 1, 0, 2, 3), tuples);
    y = build_binary(g, "Add", "sum", y, conv(g, "e", TURN(g, t, 1, 0, 2, 3), 3, 4, 1));
    mc_coupling_free(check_model(finish(m, y, 4)));
    mc_model_free(m);
}

static void embeddings_lose_width(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_I64, 2, DIMS(-2, -3));
    struct mc_value *table = random_const(g, "table", 2, DIMS(4, 10), 5);
    build_output(g, dense(g, "b", gather(g, 0, table, x), 10, 3));
    struct mc_coupling *c = check_model(m);
    assert_non_null(group_of(c, NULL, 10));
    assert_int_equal(mc_coupling_role(c, table, 1), MC_ROLE_MAKES);
    assert_null(mc_coupling_axis(c, table, 0));
    mc_coupling_free(c);
    mc_model_free(m);
}

static struct mc_value *pad(struct mc_graph *g, struct mc_value *x, int opset, const char *mode,
                            const int64_t *pads)
{
    struct mc_node *n;
    struct mc_value *in[2] = {x, opset < 11 ? NULL : ints(g, 8, pads)};
    struct mc_value *y = build_node(g, "Pad", "pad", opset < 11 ? 1 : 2, in, &n);
    assert_int_equal(mc_edit_attr_string(n, "mode", mode, NULL), 0);
    if (opset < 11)
        with_ints(n, "pads", 8, pads);
    return y;
}

static void padded_channels_go_with_what_is_added(void **state)
{
    (void)state;
    for (int opset = 10; opset <= 13; opset += 3) {
        struct mc_value *x;
        struct mc_model *m = new_model(opset, &x);
        struct mc_graph *g = m->graph;
        struct mc_value *a = conv(g, "a", x, 3, 6, 1);
        struct mc_value *y = pad(g, a, opset, "constant", DIMS(0, 2, 0, 0, 0, 3, 0, 0));
        y = build_binary(g, "Add", "sum", y, conv(g, "b", a, 6, 11, 1));
        y = pad(g, y, opset, "constant", DIMS(0, -3, 0, 0, 0, 1, 0, 0));
        y = conv(g, "c", pad(g, y, opset, "reflect", DIMS(0, 0, 1, 1, 0, 0, 1, 1)), 9, 5, 1);
        mc_coupling_free(check_model(finish(m, y, 5)));
        mc_model_free(m);
    }
}

static void repeated_channels_stay(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(13, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *y = conv(g, "free", conv(g, "a", x, 3, 6, 1), 6, 4, 1);
    y = pad(g, y, 13, "edge", DIMS(0, 1, 0, 0, 0, 1, 0, 0));
    GROUPS(finish(m, y, 6), 6);
}

/* ---- space ---- */

static void blocks_become_space(void **state)
{
    (void)state;
    for (int crd = 0; crd < 2; crd++) {
        struct mc_value *x;
        struct mc_model *m = new_model(13, &x);
        struct mc_graph *g = m->graph;
        struct mc_node *n;
        struct mc_value *y = conv(g, "a", x, 3, 20, 1);
        y = build_node(g, "DepthToSpace", "large", 1, &y, &n);
        with_int(n, "blocksize", 2);
        assert_int_equal(mc_edit_attr_string(n, "mode", crd ? "CRD" : "DCR", NULL), 0);
        y = conv(g, "b", y, 5, 3, 1);
        y = build_node(g, "SpaceToDepth", "small", 1, &y, &n);
        with_int(n, "blocksize", 2);
        GROUPS(finish(m, y, 12), 5, 3);
    }
}

static void sizes_are_written_anew(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(18, &x);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *a = conv(g, "a", x, 3, 6, 1), *shape = build_unary(g, "Shape", "shape", a);
    struct mc_value *args[3] = {shape, INTS(g, 0), INTS(g, 2)};
    struct mc_value *two[2] = {build_node(g, "Slice", "first", 3, args, NULL), INTS(g, 8, 8)};
    struct mc_value *in[4] = {a, NULL, NULL, concat(g, 0, 2, two)};
    struct mc_value *y = build_node(g, "Resize", "large", 4, in, NULL);
    in[0] = conv(g, "b", y, 6, 5, 1);
    in[3] = INTS(g, 5, 8, 4);
    y = build_node(g, "Resize", "axes", 4, in, &n);
    with_ints(n, "axes", 3, DIMS(1, 2, 3));
    GROUPS(finish(m, y, 5), 6, 5);
}

/* ---- copies ---- */

static void copies_lose_as_many_as_they_meet(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 4));
    struct mc_value *a = dense(g, "a", x, 4, 8), *zero = INTS(g, 1);
    struct mc_value *to[2] = {length_of(g, x, 0), INTS(g, 8)};
    struct mc_value *one = random_const(g, "one", 1, DIMS(1), 3);
    struct mc_value *y = build_binary(g, "Add", "sum", a,
                                      build_binary(g, "Expand", "wide", one, concat(g, 0, 2, to)));
    struct mc_node *n;
    struct mc_value *shape = build_unary(g, "Shape", "shape", a);
    struct mc_value *filled = build_node(g, "ConstantOfShape", "filled", 1, &shape, &n);
    y = build_binary(g, "Mul", "product", y, build_unary(g, "Exp", "exp", filled));
    (void)zero;
    y = build_binary(g, "Tile", "twice", y, INTS(g, 1, 2));
    y = build_binary(
        g, "Mul", "scaled", y,
        build_binary(g, "Tile", "often", random_const(g, "few", 2, DIMS(1, 1), 4), INTS(g, 1, 16)));
    build_output(g, dense(g, "b", y, 16, 3));
    GROUPS(m, 8);
}

/* ---- shuffles ---- */

static struct mc_value *shuffle(struct mc_graph *g, struct mc_value *x, int64_t groups, int64_t c)
{
    struct mc_value *y = reshape(g, x, INTS(g, 0, groups, c / groups, 4, 4));
    return reshape(g, TURN(g, y, 0, 2, 1, 3, 4), INTS(g, -1, c, 4, 4));
}

static void shuffled_channels_go_one_by_one(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *y = shuffle(g, conv(g, "a", x, 3, 12, 1), 3, 12);
    GROUPS(finish(m, y, 12), 12);
}

/* Grouped convolutions before and behind; the shortcut has the order of both. */
static void shuffled_groups_stay_even(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *y = conv(g, "b", conv(g, "a", x, 3, 12, 1), 12, 12, 3);
    y = conv(g, "c", conv(g, "depthwise", shuffle(g, y, 3, 12), 12, 12, 12), 12, 12, 3);
    struct mc_coupling *c = check_model(finish(m, y, 12));
    size_t even = 0;
    for (size_t i = 0; i < c->n_groups; i++)
        even += !c->group[i].why && c->group[i].n == 12 && c->group[i].n_partitions;
    assert_true(even >= 2);
    mc_coupling_free(c);
    mc_model_free(m);
}

/* Halves, one of which passes, joined and shuffled. */
static void shuffled_halves_are_split(void **state)
{
    (void)state;
    struct mc_value *x;
    struct mc_model *m = new_model(17, &x);
    struct mc_graph *g = m->graph;
    struct mc_value *y = conv(g, "a", x, 3, 12, 1);
    for (int i = 0; i < 2; i++) {
        struct mc_value *part[2];
        split(g, y, 17, 2, NULL, part);
        part[1] = conv(g, "c", conv(g, "b", part[1], 6, 6, 6), 6, 6, 1);
        y = shuffle(g, concat(g, 1, 2, part), 2, 12);
    }
    mc_coupling_free(check_model(finish(m, y, 12)));
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_the_smallest_there_are),
        cmocka_unit_test(channels_become_runs_of_columns),
        cmocka_unit_test(shapes_are_written_anew),
        cmocka_unit_test(squeeze_drops_what_it_dropped),
        cmocka_unit_test(branches_are_joined),
        cmocka_unit_test(parts_are_split),
        cmocka_unit_test(gates_go_with_what_they_close),
        cmocka_unit_test(slices_take_what_is_left),
        cmocka_unit_test(numbers_are_given_anew),
        cmocka_unit_test(embeddings_lose_width),
        cmocka_unit_test(padded_channels_go_with_what_is_added),
        cmocka_unit_test(repeated_channels_stay),
        cmocka_unit_test(blocks_become_space),
        cmocka_unit_test(sizes_are_written_anew),
        cmocka_unit_test(copies_lose_as_many_as_they_meet),
        cmocka_unit_test(shuffled_channels_go_one_by_one),
        cmocka_unit_test(shuffled_groups_stay_even),
        cmocka_unit_test(shuffled_halves_are_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
