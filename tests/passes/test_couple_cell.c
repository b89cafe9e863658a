/* Hidden cells of LSTM, GRU and RNN removed: what is left computes what the model with zeros in their place does. */
#include "prune_util.h"

enum { STEPS = 5, BATCH = 3, FEATURES = 4, INPUT = 6, HIDDEN = 8 };

struct cell {
    const char *op;
    int dirs, gates;
    bool batch_first, bias, lens, first, peep, before_reset,
        whole;              /* whole: Y is read, else the last states */
    const char *activation; /* of all functions, or NULL */
};

static struct mc_node *cell_node(struct mc_graph *g, struct mc_value *x, const struct cell *t,
                                 struct mc_value **y)
{
    int64_t rows = t->gates * HIDDEN;
    struct mc_value *in[8] = {x, random_const(g, "W", 3, DIMS(t->dirs, rows, INPUT), 1),
                              random_const(g, "R", 3, DIMS(t->dirs, rows, HIDDEN), 2)};
    const int64_t *state =
        t->batch_first ? DIMS(BATCH, t->dirs, HIDDEN) : DIMS(t->dirs, BATCH, HIDDEN);
    bool lstm = t->gates == 4;
    if (t->bias)
        in[3] = random_const(g, "B", 2, DIMS(t->dirs, 2 * rows), 3);
    if (t->lens)
        in[4] = build_const(g, "lens", MC_DTYPE_I32, 1, DIMS(BATCH), (int32_t[]){5, 1, 3});
    if (t->first)
        in[5] = random_const(g, "h", 3, state, 4);
    if (t->first && lstm)
        in[6] = random_const(g, "c", 3, state, 5);
    if (t->peep)
        in[7] = random_const(g, "P", 2, DIMS(t->dirs, 3 * HIDDEN), 6);
    struct mc_value *out[3] = {t->whole ? mc_edit_fresh(g, "Y") : NULL, NULL, NULL};
    if (!t->whole) {
        out[1] = mc_edit_fresh(g, "Y_h");
        out[2] = lstm ? mc_edit_fresh(g, "Y_c") : NULL;
    }
    struct mc_node *n;
    struct mc_err err;
    build_ok(mc_edit_node(g, g->n_nodes, t->op, "", 0, "cell", in, lstm ? 8 : 6, out, lstm ? 3 : 2,
                          &n, &err),
             &err);
    assert_int_equal(mc_edit_attr_int(n, "hidden_size", HIDDEN, NULL), 0);
    memcpy(y, out, sizeof out);
    return n;
}

static void set_options(struct mc_node *n, const struct cell *t)
{
    if (t->dirs == 2)
        assert_int_equal(mc_edit_attr_string(n, "direction", "bidirectional", NULL), 0);
    if (t->batch_first)
        assert_int_equal(mc_edit_attr_int(n, "layout", 1, NULL), 0);
    if (t->before_reset)
        assert_int_equal(mc_edit_attr_int(n, "linear_before_reset", 1, NULL), 0);
    if (!t->activation)
        return;
    int per = t->gates == 4 ? 3 : t->gates == 3 ? 2 : 1;
    struct mc_attr *a = mc_edit_attr_new(n, "activations", MC_ATTR_STRINGS);
    assert_non_null(a);
    a->n = (size_t)(per * t->dirs);
    a->strings = mc_arena_array(&n->graph->model->arena, a->n, sizeof *a->strings);
    assert_non_null(a->strings);
    for (size_t i = 0; i < a->n; i++)
        a->strings[i] = (struct mc_bytes){(const uint8_t *)t->activation, strlen(t->activation)};
}

/* A product in front, the cell, products behind each of its outputs. */
static struct mc_model *around(const struct cell *t)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *y[3], *x = build_input(g, "x", MC_DTYPE_F32, 3,
                                            t->batch_first ? DIMS(BATCH, STEPS, FEATURES)
                                                           : DIMS(STEPS, BATCH, FEATURES));
    x = build_binary(g, "MatMul", "front", x, random_const(g, "F", 2, DIMS(FEATURES, INPUT), 7));
    set_options(cell_node(g, x, t, y), t);
    for (int i = 0; i < 3; i++)
        if (y[i]) {
            char name[] = "back0";
            name[4] += (char)i;
            struct mc_value *w = random_const(g, i ? "back.w1" : "back.w0", 2, DIMS(HIDDEN, 3), 8);
            build_output(g, build_binary(g, "MatMul", name, y[i], w));
            if (i == 1 && !y[2])
                break;
            if (i == 1) { /* one weight for both last states */
                build_output(g, build_binary(g, "MatMul", "back2", y[2], w));
                break;
            }
        }
    return m;
}

static const struct mc_coupling_group *group_of_kind(const struct mc_coupling *c, const char *kind)
{
    for (size_t i = 0; i < c->n_groups; i++)
        if (!strcmp(c->group[i].kind, kind))
            return &c->group[i];
    return NULL;
}

static void check_cell(const struct cell *t)
{
    struct mc_model *m = around(t);
    struct mc_coupling *c;
    struct mc_err err;
    print_message("%s, %d directions%s%s%s%s%s%s%s %s\n", t->op, t->dirs,
                  t->batch_first ? ", batch first" : "", t->bias ? ", bias" : "",
                  t->lens ? ", lengths" : "", t->first ? ", first states" : "",
                  t->peep ? ", peepholes" : "", t->before_reset ? ", linear before reset" : "",
                  t->whole ? ", Y" : ", last states", t->activation ? t->activation : "");
    build_ok(mc_coupling_find(m, &c, &err), &err);
    const struct mc_coupling_group *states = group_of_kind(c, "states");
    const struct mc_coupling_group *nodes = group_of_kind(c, "hidden nodes");
    assert_true(states && !states->why && states->n == HIDDEN && states->exact);
    assert_true(nodes && !nodes->why && nodes->n == INPUT && nodes->exact);
    assert_int_equal(mc_coupling_role(c, mc_graph_value(m->graph, "W"), 1), MC_ROLE_MAKES);
    assert_int_equal(mc_coupling_role(c, mc_graph_value(m->graph, "R"), 2), MC_ROLE_READS);
    bool *gone = prune_random(c, 0.5, 3);
    struct mc_model *zeroed = prune_zeroed(m, c, gone), *cut = prune_cut(m, c, gone);
    assert_true(prune_difference(zeroed, cut, 5) <= 1e-6);
    assert_true(prune_difference(m, zeroed, 5) > 1e-3);
    const struct mc_node *n = cut->graph->nodes[1];
    assert_int_equal(mc_node_int(n, "hidden_size", 0), HIDDEN / 2);
    const struct mc_shape *r = &n->in[2]->tensor->shape;
    assert_int_equal(r->dim[0], t->dirs);
    assert_int_equal(r->dim[1], t->gates * HIDDEN / 2);
    assert_int_equal(n->in[1]->tensor->shape.dim[2], INPUT / 2);
    mc_model_free(zeroed);
    mc_model_free(cut);
    free(gone);
    mc_coupling_free(c);
    mc_model_free(m);
}

static void cells_are_cut_right(void **state)
{
    (void)state;
    static const struct cell cases[] = {
        {"LSTM", 1, 4, .whole = true},
        {"LSTM", 1, 4, .bias = true},
        {"LSTM", 2, 4, .bias = true, .whole = true},
        {"LSTM", 2, 4, .bias = true, .peep = true, .first = true, .lens = true},
        {"LSTM", 1, 4, .bias = true, .peep = true, .first = true, .lens = true, .whole = true},
        {"LSTM", 1, 4, .bias = true, .activation = "Sigmoid", .whole = true},
        {"GRU", 1, 3, .bias = true, .whole = true},
        {"GRU", 1, 3, .bias = true, .before_reset = true, .whole = true},
        {"GRU", 2, 3, .bias = true, .before_reset = true, .first = true},
        {"GRU", 2, 3, .lens = true, .first = true},
        {"RNN", 1, 1, .bias = true, .whole = true},
        {"RNN", 2, 1, .bias = true, .first = true, .lens = true},
        {"RNN", 1, 1, .bias = true, .activation = "Sigmoid", .whole = true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int first = 0; first < 2; first++) {
            struct cell t = cases[i];
            t.batch_first = first;
            check_cell(&t);
        }
}

/* A state that a caller gives or takes keeps its cells. */
static void given_states_hold(void **state)
{
    (void)state;
    for (int out = 0; out < 2; out++) {
        struct cell t = {"LSTM", 1, 4, .bias = true};
        struct mc_model *m = around(&t);
        struct mc_graph *g = m->graph;
        struct mc_node *n = g->nodes[1];
        struct mc_coupling *c;
        struct mc_err err;
        if (out)
            build_output(g, n->out[2]);
        else
            build_ok(mc_edit_set_input(
                         n, 5, build_input(g, "h0", MC_DTYPE_F32, 3, DIMS(1, BATCH, HIDDEN)), &err),
                     &err);
        build_ok(mc_coupling_find(m, &c, &err), &err);
        const struct mc_coupling_group *states = group_of_kind(c, "states");
        const struct mc_coupling_group *nodes = group_of_kind(c, "hidden nodes");
        assert_true(states && states->why);
        print_message("%s\n", states->why);
        assert_true(nodes && !nodes->why);
        mc_coupling_free(c);
        mc_model_free(m);
    }
}

/* Zeros for every layer, sliced out of one tensor of the size of the batch, tie no layers; other numbers do. */
static void layers_with_zero_states(void **state)
{
    (void)state;
    for (int number = 0; number < 2; number++) {
        struct mc_model *m = build_model(17), *was;
        struct mc_graph *g = m->graph;
        struct mc_coupling *c;
        struct mc_err err;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(STEPS, BATCH, INPUT)), *y;
        struct mc_node *n;
        float fill = (float)number;
        struct mc_shape one = mc_shape_of(1, DIMS(1));
        struct mc_tensor *value;
        struct mc_value *all =
            build_const(g, "all", MC_DTYPE_I64, 1, DIMS(3), DIMS(2, BATCH, HIDDEN));
        all = build_node(g, "ConstantOfShape", "states", 1, &all, &n);
        void *data;
        build_ok(mc_tensor_new(MC_DTYPE_F32, &one, NULL, &value, &data, &err), &err);
        memcpy(data, &fill, sizeof fill);
        assert_int_equal(mc_edit_attr_tensor(n, "value", value, NULL), 0);
        mc_tensor_unref(value);
        for (int i = 0; i < 2; i++) {
            int64_t width = i ? HIDDEN : INPUT;
            struct mc_value *cut[] = {all,
                                      build_const(g, "from", MC_DTYPE_I64, 1, DIMS(1), DIMS(i)),
                                      build_const(g, "to", MC_DTYPE_I64, 1, DIMS(1), DIMS(i + 1)),
                                      build_const(g, "axis", MC_DTYPE_I64, 1, DIMS(1), DIMS(0))};
            struct mc_value *first = build_node(g, "Slice", "first", 4, cut, NULL);
            struct mc_value *in[7] = {x,
                                      random_const(g, "W", 3, DIMS(1, 4 * HIDDEN, width), 1),
                                      random_const(g, "R", 3, DIMS(1, 4 * HIDDEN, HIDDEN), 2),
                                      NULL,
                                      NULL,
                                      first,
                                      first};
            y = build_node(g, "LSTM", i ? "second" : "first", 7, in, &n);
            assert_int_equal(mc_edit_attr_int(n, "hidden_size", HIDDEN, NULL), 0);
            x = build_binary(g, "Squeeze", "flat", y,
                             build_const(g, "at", MC_DTYPE_I64, 1, DIMS(1), DIMS(1)));
        }
        build_output(
            g, build_binary(g, "MatMul", "y", x, random_const(g, "w", 2, DIMS(HIDDEN, 3), 3)));
        build_ok(mc_model_clone(m, &was, &err), &err);
        build_ok(mc_coupling_prepare(m, &err), &err);
        build_ok(mc_verify(m, &err), &err);
        assert_true(prune_difference(was, m, 5) == 0);
        build_ok(mc_coupling_find(m, &c, &err), &err);
        int free_groups = 0;
        for (size_t i = 0; i < c->n_groups; i++)
            free_groups += !c->group[i].why;
        assert_int_equal(free_groups, number ? 1 : 2);
        bool *gone = prune_random(c, 0.5, 3);
        struct mc_model *zeroed = prune_zeroed(m, c, gone), *cut = prune_cut(m, c, gone);
        assert_true(number || prune_difference(zeroed, cut, 5) <= 1e-6);
        mc_model_free(zeroed);
        mc_model_free(cut);
        free(gone);
        mc_coupling_free(c);
        mc_model_free(was);
        mc_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_cut_right),
        cmocka_unit_test(given_states_hold),
        cmocka_unit_test(layers_with_zero_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
