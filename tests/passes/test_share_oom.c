/* The n-th allocation of the share pass fails, in each of its ways: it says so, and what it had is freed (LeakSanitizer looks).
 * All of them with the argument "all", which takes minutes; otherwise some dozen in each way. */
#include "../run/alloc_hook.h"
#include "circulant_util.h"

enum { ROWS = 8, CHANNELS = 4, SIDE = 6, MAPS = 8, CLASSES = 16, SHARE = 24 };
enum { STEPS = 4, INPUT = 5, HIDDEN = 12, GATES = 4 };

static bool all;

/* x [-1, 4, 6, 6] -> Conv of 8 -> Flatten -> MatMul of 16 -> MatMul of 16, whose weight is there twice. */
static struct mc_model *network(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, CHANNELS, SIDE, SIDE));
    struct mc_value *conv[3] = {x, random_const(g, "k", 4, DIMS(MAPS, CHANNELS, 3, 3), 1),
                                random_const(g, "b", 1, DIMS(MAPS), 2)};
    struct mc_value *y =
        build_unary(g, "Relu", "relu", build_node(g, "Conv", "conv", 3, conv, NULL));
    y = build_unary(g, "Flatten", "flat", y);
    y = build_binary(g, "MatMul", "fc", y, random_const(g, "w", 2, DIMS(MAPS * 16, CLASSES), 3));
    y = build_binary(g, "MatMul", "a", y, random_const(g, "v", 2, DIMS(CLASSES, CLASSES), 4));
    build_output(
        g, build_binary(g, "MatMul", "b", y, random_const(g, "u", 2, DIMS(CLASSES, CLASSES), 4)));
    return m;
}

static struct mc_model *cell(void)
{
    struct mc_err err;
    struct mc_node *n;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *in[4] = {
        build_input(g, "x", MC_DTYPE_F32, 3, DIMS(STEPS, -1, INPUT)),
        random_const(g, "W", 3, DIMS(1, GATES * HIDDEN, INPUT), 1),
        random_const(g, "R", 3, DIMS(1, GATES * HIDDEN, HIDDEN), 2),
        random_const(g, "B", 2, DIMS(1, 2 * GATES * HIDDEN), 3),
    };
    struct mc_value *y = build_node(g, "LSTM", "cell", 4, in, &n);
    build_ok(mc_edit_attr_int(n, "hidden_size", HIDDEN, &err), &err);
    build_output(g, y);
    return m;
}

struct way {
    const char *name, *options, *choices;
    bool cell, calib;
};

/* The whole pass once; false when memory ran out on the way. The model is built before. */
static bool whole_run(const struct way *w, const float *x, long fails)
{
    struct mc_err err = {0};
    struct memory_data data;
    struct mc_model *m = w->cell ? cell() : network();
    json_t *report = NULL, *options = json_loads(w->options, 0, NULL);
    json_t *choices = w->choices ? json_loads(w->choices, 0, NULL) : NULL;
    struct mc_pass_ctx ctx = svd_ctx(
        w->calib ? memory_open(&data, "x", ROWS, 3, DIMS(CHANNELS, SIDE, SIDE), x, NULL) : NULL);
    ctx.choices = choices;
    assert_non_null(options);
    allocations = 0;
    allocations_left = fails;
    int rc = mc_pass_find("share")->run(&ctx, options, m, &report, &err);
    bool failed = fails >= 0 && allocations_left < 0;
    allocations_left = -1;
    if (rc != 0 && !(failed && rc == MC_ENOMEM))
        fail_msg("%s: allocation %ld: %d, '%s'", w->name, fails, rc, err.msg);
    assert_true(!rc == (report != NULL));
    json_decref(report);
    json_decref(options);
    json_decref(choices);
    mc_model_free(m);
    return !rc;
}

static const struct way ways[] = {
    {.name = "bits", .options = "{\"bits\": 3}"},
    {.name = "bits, calibrated", .options = "{\"bits\": 2}", .calib = true},
    {.name = "search", .options = "{\"keep\": 0.4}", .calib = true},
    {.name = "choices",
     .options = "{}",
     .choices = "{\"layers\": [{\"name\": \"fc\", \"choice\": \"5 bits\"}]}"},
    {.name = "gates", .options = "{\"gates\": true, \"bits\": 4}", .cell = true},
    {.name = "tie", .options = "{\"tie\": \"auto\"}", .calib = true},
    {.name = "tie by name", .options = "{\"tie\": \"^[uv]$\"}"},
    {.name = "filters", .options = "{\"filters\": 0.5}"},
};

static void allocations_fail(void **state)
{
    (void)state;
    float *x = gaussian(1, ROWS * CHANNELS * SIDE * SIDE);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        assert_true(whole_run(&ways[i], x, -1));
        long total = allocations, step = all ? 1 : total / SHARE + 1, failed = 0;
        for (long n = 0; n < total; n += step)
            failed += !whole_run(&ways[i], x, n);
        print_message("%s: one in %ld of %ld allocations, %ld failed\n", ways[i].name, step, total,
                      failed);
        assert_true(failed > total / step / 2);
    }
    free(x);
}

int main(int argc, char **argv)
{
    all = argc > 1 && !strcmp(argv[1], "all");
    const struct CMUnitTest tests[] = {cmocka_unit_test(allocations_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
