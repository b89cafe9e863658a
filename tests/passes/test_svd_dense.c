/* Weights outside of MatMul, Gemm and Conv: of exact low rank they are replaced without a change of any output, whatever
 * the node looks like and whatever the error is measured in. */
#include "svd_util.h"

#include "graph/infer.h"

enum { RANK = 3, STEPS = 5, IN = 7, HIDDEN = 8 };

static struct mc_err err;

static void set_words(struct mc_node *n, const char *name, const char *word, size_t count)
{
    struct mc_attr *a = mc_edit_attr_new(n, name, MC_ATTR_STRINGS);
    struct mc_arena *mem = &n->graph->model->arena;
    assert_non_null(a);
    a->n = count;
    a->strings = mc_arena_array(mem, count, sizeof *a->strings);
    assert_non_null(a->strings);
    for (size_t i = 0; i < count; i++) {
        a->strings[i].data = (void *)mc_arena_strdup(mem, word);
        a->strings[i].size = strlen(word);
    }
}

/* ---- cells ---- */

struct cell {
    const char *op, *direction;
    int64_t gates, dirs;
    bool layout, reset_late, bias, lens, only_last;
};

static const struct cell cells[] = {
    {.op = "LSTM", .direction = "forward", .gates = 4, .dirs = 1, .bias = true},
    {.op = "LSTM", .direction = "reverse", .gates = 4, .dirs = 1},
    {.op = "LSTM", .direction = "bidirectional", .gates = 4, .dirs = 2, .bias = true},
    {.op = "LSTM", .direction = "bidirectional", .gates = 4, .dirs = 2, .layout = true},
    {.op = "LSTM", .direction = "forward", .gates = 4, .dirs = 1, .bias = true, .lens = true},
    {.op = "LSTM", .direction = "forward", .gates = 4, .dirs = 1, .only_last = true},
    {.op = "GRU", .direction = "forward", .gates = 3, .dirs = 1, .bias = true},
    {.op = "GRU", .direction = "forward", .gates = 3, .dirs = 1, .reset_late = true},
    {.op = "GRU", .direction = "bidirectional", .gates = 3, .dirs = 2, .bias = true},
    {.op = "RNN", .direction = "forward", .gates = 1, .dirs = 1},
    {.op = "RNN", .direction = "bidirectional", .gates = 1, .dirs = 2, .bias = true},
};
enum { CELLS = sizeof cells / sizeof *cells };

/* W or R: every direction of its own rank 3; all directions of W together too. */
static struct mc_value *weight(struct mc_graph *g, const char *name, const struct cell *c,
                               int64_t cols, uint64_t seed, bool together)
{
    int64_t rows = c->gates * HIDDEN, parts = together ? 1 : c->dirs, each = c->dirs * rows / parts;
    float *w = malloc((size_t)(c->dirs * rows * cols) * sizeof *w);
    assert_non_null(w);
    for (int64_t p = 0; p < parts; p++) {
        float *part = of_rank(seed + 10 * (uint64_t)p, each, cols, RANK);
        memcpy(w + p * each * cols, part, (size_t)(each * cols) * sizeof *w);
        free(part);
    }
    struct mc_value *v = f32_const(g, name, 3, DIMS(c->dirs, rows, cols), w);
    free(w);
    return v;
}

/* x [batch, steps, in] -> cell -> all its states, or the last one. */
static struct mc_model *cell_model(const struct cell *c, struct mc_node **ret)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n, *t;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, STEPS, IN));
    if (!c->layout) {
        x = build_node(g, "Transpose", "t", 1, (struct mc_value *[]){x}, &t);
        build_ok(mc_edit_attr_ints(t, "perm", DIMS(1, 0, 2), 3, &err), &err);
    }
    int64_t rows = c->gates * HIDDEN;
    struct mc_value *in[5] = {x, weight(g, "w", c, IN, 21, true),
                              weight(g, "r", c, HIDDEN, 51, false)};
    if (c->bias)
        in[3] = random_const(g, "b", 2, DIMS(c->dirs, 2 * rows), 5);
    if (c->lens)
        in[4] = build_const(g, "lens", MC_DTYPE_I32, 1, DIMS(3), (int32_t[]){5, 2, 4});
    struct mc_value *y = build_node(g, c->op, "cell", c->lens ? 5 : c->bias ? 4 : 3, in, &n);
    build_ok(mc_edit_attr_int(n, "hidden_size", HIDDEN, &err), &err);
    build_ok(mc_edit_attr_string(n, "direction", c->direction, &err), &err);
    if (c->layout)
        build_ok(mc_edit_attr_int(n, "layout", 1, &err), &err);
    if (c->reset_late)
        build_ok(mc_edit_attr_int(n, "linear_before_reset", 1, &err), &err);
    if (c->only_last) { /* the second output instead of the first */
        struct mc_value *last = mc_edit_fresh(g, "last");
        build_ok(mc_edit_set_output(n, 1, last, &err), &err);
        n->out[0] = NULL;
        y->producer = NULL;
        mc_edit_remove_value(y);
        y = last;
    }
    build_output(g, y);
    *ret = n;
    return m;
}

static float *samples(int64_t count, int64_t row)
{
    float *x = gaussian(3, count * row);
    for (int64_t i = 0; i < count * row; i++)
        x[i] += 0.5f; /* a mean that is not zero */
    return x;
}

/* Outputs of m before and after; every row of the report is factorised at rank 3. */
static void nothing_changes(struct mc_model *m, const char *what, const char *options, bool calib,
                            int rank, const int64_t *dims, size_t rows)
{
    int64_t n, n2, row = 1;
    for (int i = 1; i < rank; i++)
        row *= dims[i];
    float *x = samples(SAMPLES, row);
    struct memory_data d;
    struct mc_pass_ctx ctx =
        svd_ctx(calib ? memory_open(&d, "x", SAMPLES, rank - 1, dims + 1, x, NULL) : NULL);
    float *want = output_of(m, rank, dims, x, &n);
    json_t *report, *list;
    build_ok(svd_run(&ctx, m, options, &report, &err), &err);
    list = json_object_get(report, "layers");
    assert_int_equal(json_array_size(list), rows);
    for (size_t i = 0; i < rows; i++) {
        const json_t *o = json_array_get(list, i);
        if (strcmp(mc_json_string(o, "action"), "factorised") != 0)
            fail_msg("%s: %s", what, mc_json_string(o, "reason"));
        assert_int_equal((int64_t)mc_json_number(o, "rank", -1), RANK);
        assert_true(mc_json_number(o, "error", 1) < 1e-3);
    }
    float *got = output_of(m, rank, dims, x, &n2);
    assert_int_equal(n, n2);
    double e = sqrt(relative(want, got, n));
    if (!(e < 1e-5))
        fail_msg("%s, %s: outputs differ by %g", what, options, e);
    json_decref(report);
    free(x);
    free(want);
    free(got);
}

/* The product of two constants is no work of a sample. */
static void expect_no_work(const struct mc_node *n)
{
    struct mc_infer *inf;
    build_ok(mc_infer_run(n->graph, NULL, &inf, &err), &err);
    assert_true(mc_infer_macs(inf, n) == 0);
    mc_infer_free(inf);
}

static void every_cell(void **state)
{
    (void)state;
    static const char *const options[] = {"{'rank': 3}", "{'rank': 3, 'svd': 'random'}",
                                          "{'rank': 3, 'norm': 'inputs'}",
                                          "{'rank': 3, 'norm': 'outputs'}"};
    for (int i = 0; i < CELLS; i++)
        for (int k = 0; k < (cells[i].lens ? 2 : 4); k++) { /* three lengths are three samples */
            char what[64];
            struct mc_node *n;
            struct mc_model *m = cell_model(&cells[i], &n);
            snprintf(what, sizeof what, "%s %d", cells[i].op, i);
            nothing_changes(m, what, options[k], k > 1, 3, DIMS(3, STEPS, IN), 2);
            assert_string_equal(n->op_type, cells[i].op);
            assert_int_equal(mc_constant(n->in[1])->shape.dim[2], RANK);
            assert_string_equal(n->in[2]->producer->op_type, "MatMul");
            expect_no_work(n->in[2]->producer);
            mc_model_free(m);
        }
}

/* A cell that is linear and has no memory: truncated, its mean error is zero. */
static void bias_takes_up_the_mean(void **state)
{
    (void)state;
    for (int bias = 0; bias < 2; bias++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_node *n, *t;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, STEPS, IN));
        x = build_node(g, "Transpose", "t", 1, (struct mc_value *[]){x}, &t);
        build_ok(mc_edit_attr_ints(t, "perm", DIMS(1, 0, 2), 3, &err), &err);
        struct cell c = {.gates = 1, .dirs = 2};
        float zero[2 * HIDDEN * HIDDEN] = {0};
        struct mc_value *in[] = {x, weight(g, "w", &c, IN, 21, true),
                                 f32_const(g, "r", 3, DIMS(2, HIDDEN, HIDDEN), zero),
                                 random_const(g, "b", 2, DIMS(2, 2 * HIDDEN), 5)};
        struct mc_value *y = build_node(g, "RNN", "cell", bias ? 4 : 3, in, &n);
        build_ok(mc_edit_attr_string(n, "direction", "bidirectional", &err), &err);
        build_ok(mc_edit_attr_int(n, "hidden_size", HIDDEN, &err), &err);
        set_words(n, "activations", "Affine", 2);
        build_output(g, y);
        float *data = samples(SAMPLES, STEPS * IN);
        struct memory_data d;
        struct mc_pass_ctx ctx =
            svd_ctx(memory_open(&d, "x", SAMPLES, 2, DIMS(STEPS, IN), data, NULL));
        int64_t k, k2, each = SAMPLES * HIDDEN;
        float *want = output_of(m, 3, DIMS(SAMPLES, STEPS, IN), data, &k);
        json_t *report;
        build_ok(svd_run(&ctx, m, "{'rank': 1, 'norm': 'inputs'}", &report, &err), &err);
        float *got = output_of(m, 3, DIMS(SAMPLES, STEPS, IN), data, &k2);
        assert_true(relative(want, got, k) > 0.01);
        double sum[2 * HIDDEN] = {0}; /* [steps, dirs, batch, hidden] */
        for (int64_t i = 0; i < k; i++)
            sum[i / each % 2 * HIDDEN + i % HIDDEN] += (double)got[i] - want[i];
        for (int i = 0; i < 2 * HIDDEN; i++)
            assert_true(fabs(sum[i]) / (STEPS * SAMPLES) < 1e-5);
        json_decref(report);
        free(data);
        free(want);
        free(got);
        mc_model_free(m);
    }
}

/* ---- tables ---- */

enum { WORDS = 40, WIDTH = 12, LENGTH = 6 };

/* x [batch, length] of numbers, as integers behind a Gather. */
static struct mc_model *table_model(const float *table, bool negative)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, LENGTH));
    x = build_node(g, "Cast", "cast", 1, (struct mc_value *[]){x}, &n);
    build_ok(mc_edit_attr_int(n, "to", MC_DTYPE_I64, &err), &err);
    struct mc_value *in[] = {f32_const(g, "table", 2, DIMS(WORDS, WIDTH), table), x};
    struct mc_value *y = build_node(g, "Gather", "look", 2, in, &n);
    if (negative)
        build_ok(mc_edit_attr_int(n, "axis", -2, &err), &err);
    build_output(g, y);
    return m;
}

/* Small numbers far more often than large ones, some of them counted from the end. */
static float *words(void)
{
    float *x = malloc(SAMPLES * LENGTH * sizeof *x);
    assert_non_null(x);
    mc_rng_fill_uniform(5, 1, 0, x, SAMPLES * LENGTH);
    for (int i = 0; i < SAMPLES * LENGTH; i++) {
        float word = floorf(x[i] * x[i] * x[i] * WORDS);
        x[i] = i % 3 == 0 ? word - WORDS : word;
    }
    return x;
}

/* What the table gives for the calibration samples, before and after. */
static double table_error(const float *table, const char *options, bool calib)
{
    struct mc_model *m = table_model(table, calib);
    float *x = words();
    int64_t n, n2;
    struct memory_data d;
    struct mc_pass_ctx ctx =
        svd_ctx(calib ? memory_open(&d, "x", SAMPLES, 1, DIMS(LENGTH), x, NULL) : NULL);
    float *want = output_of(m, 2, DIMS(SAMPLES, LENGTH), x, &n);
    json_t *report;
    build_ok(svd_run(&ctx, m, options, &report, &err), &err);
    assert_string_equal(mc_json_string(layer_row(report, "look"), "action"), "factorised");
    assert_int_equal(m->graph->n_nodes, 3);
    float *got = output_of(m, 2, DIMS(SAMPLES, LENGTH), x, &n2);
    assert_int_equal(n, n2);
    double e = sqrt(relative(want, got, n));
    json_decref(report);
    free(x);
    free(want);
    free(got);
    mc_model_free(m);
    return e;
}

static void tables(void **state)
{
    (void)state;
    float *low = of_rank(8, WORDS, WIDTH, RANK), *full = gaussian(9, WORDS * WIDTH);
    assert_true(table_error(low, "{'rank': 3}", false) < 1e-5);
    assert_true(table_error(low, "{'rank': 3, 'norm': 'inputs'}", true) < 1e-5);
    assert_true(table_error(low, "{'rank': 3, 'norm': 'outputs'}", true) < 1e-5);
    double weights = table_error(full, "{'rank': 4, 'norm': 'weights'}", true);
    double inputs = table_error(full, "{'rank': 4, 'norm': 'inputs'}", true);
    assert_true(inputs < 0.9 * weights);
    free(low);
    free(full);
}

/* ---- the constant on the left ---- */

static void left_operands(void **state)
{
    (void)state;
    static const char *const options[] = {"{'rank': 3}", "{'rank': 3, 'norm': 'inputs'}",
                                          "{'rank': 3, 'norm': 'outputs'}"};
    for (int k = 0; k < 3; k++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        float *w = of_rank(8, 10, 12, RANK);
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, 12, 5));
        build_output(g,
                     build_binary(g, "MatMul", "left", f32_const(g, "w", 2, DIMS(10, 12), w), x));
        nothing_changes(m, "left", options[k], k > 0, 3, DIMS(3, 12, 5), 1);
        assert_int_equal(g->n_nodes, 2);
        free(w);
        mc_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(bias_takes_up_the_mean),
        cmocka_unit_test(tables),
        cmocka_unit_test(left_operands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
