/* The n-th allocation of the svd pass fails: it says so, and what it had is freed (LeakSanitizer looks). All of them with
 * the argument "all", which takes minutes; otherwise some hundred in each way to run the pass. */
#include "../run/alloc_hook.h"
#include "svd_util.h"

enum { ROWS = 12, CHANNELS = 2, SIDE = 6, MAPS = 8, HIDDEN = 4, CLASSES = 6, SHARE = 40 };

static bool all;

static struct mc_value *reshape(struct mc_graph *g, struct mc_value *x, const char *name, int rank,
                                const int64_t *dims)
{
    return build_binary(g, "Reshape", name, x,
                        build_const(g, "shape", MC_DTYPE_I64, 1, DIMS(rank), dims));
}

static struct mc_value *matmul(struct mc_graph *g, struct mc_value *x, const char *name, int64_t n,
                               int64_t m, uint64_t seed)
{
    return build_binary(g, "MatMul", name, x, random_const(g, "w", 2, DIMS(n, m), seed));
}

/* x [-1, 2, 6, 6] -> Conv -> [16, -1, 8] -> LSTM -> [-1, 4] -> two projections, one of them of two factors -> Gemm. */
static struct mc_model *network(void)
{
    struct mc_err err;
    struct mc_node *n;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, CHANNELS, SIDE, SIDE));
    struct mc_value *conv[3] = {x, random_const(g, "k", 4, DIMS(MAPS, CHANNELS, 3, 3), 1),
                                random_const(g, "b", 1, DIMS(MAPS), 2)};
    struct mc_value *y = build_unary(g, "Relu", "relu", build_node(g, "Conv", "conv", 3, conv, &n));
    y = reshape(g, y, "steps", 3, DIMS(-1, MAPS, 16));
    y = build_node(g, "Transpose", "turned", 1, &y, &n);
    build_ok(mc_edit_attr_ints(n, "perm", DIMS(2, 0, 1), 3, &err), &err);
    struct mc_value *cell[3] = {y, random_const(g, "i", 3, DIMS(1, 4 * HIDDEN, MAPS), 3),
                                random_const(g, "r", 3, DIMS(1, 4 * HIDDEN, HIDDEN), 4)};
    y = build_node(g, "LSTM", "cell", 3, cell, &n);
    build_ok(mc_edit_attr_int(n, "hidden_size", HIDDEN, &err), &err);
    y = reshape(g, y, "flat", 2, DIMS(-1, 16 * HIDDEN));
    struct mc_value *q = matmul(g, y, "q", 16 * HIDDEN, 5, 5);
    struct mc_value *k = matmul(g, matmul(g, y, "k1", 16 * HIDDEN, 3, 6), "k2", 3, 5, 7);
    struct mc_value *gemm[2] = {build_binary(g, "Add", "sum", q, k),
                                random_const(g, "last", 2, DIMS(5, CLASSES), 8)};
    build_output(g, build_node(g, "Gemm", "gemm", 2, gemm, &n));
    return m;
}

struct way {
    const char *name, *options, *choices;
    bool calib;
};

/* The whole pass once; false when memory ran out on the way. The model is built before. */
static bool whole_run(const struct way *w, const float *x, long fails)
{
    struct mc_err err = {0};
    struct memory_data data;
    struct mc_model *m = network();
    json_t *report = NULL, *options = json_loads(w->options, 0, NULL);
    json_t *choices = w->choices ? json_loads(w->choices, 0, NULL) : NULL;
    struct mc_pass_ctx ctx = svd_ctx(
        w->calib ? memory_open(&data, "x", ROWS, 3, DIMS(CHANNELS, SIDE, SIDE), x, NULL) : NULL);
    ctx.choices = choices;
    assert_non_null(options);
    allocations = 0;
    allocations_left = fails;
    int rc = mc_pass_find("svd")->run(&ctx, options, m, &report, &err);
    bool failed = fails >= 0 && allocations_left < 0;
    allocations_left = -1;
    if (failed ? rc != MC_ENOMEM : rc != 0)
        fail_msg("%s: allocation %ld: %d, '%s'", w->name, fails, rc, err.msg);
    assert_true(!rc == (report != NULL));
    json_decref(report);
    json_decref(options);
    json_decref(choices);
    mc_model_free(m);
    return !rc;
}

static const struct way ways[] = {
    {.name = "plan", .options = "{\"keep\": 0.8}"},
    {.name = "energy", .options = "{\"energy\": 0.7}", .calib = true},
    {.name = "rank", .options = "{\"rank\": [\"2\"]}", .calib = true},
    {.name = "choices",
     .options = "{}",
     .choices = "{\"layers\": [{\"name\": \"conv\", \"choice\": \"spatial rank 2\"},"
                " {\"name\": \"cell\", \"choice\": \"rank 3\"}]}",
     .calib = true},
    {.name = "search", .options = "{\"target\": \"bytes=0.8\"}", .calib = true},
    {.name = "macs", .options = "{\"target\": \"macs=0.6\"}"},
    {.name = "auto", .options = "{}", .calib = true},
};

static void allocations_fail(void **state)
{
    (void)state;
    float *x = gaussian(1, ROWS * CHANNELS * SIDE * SIDE);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        assert_true(whole_run(&ways[i], x, -1));
        long total = allocations, step = all ? 1 : total / SHARE + 1;
        for (long n = 0; n < total; n += step)
            assert_false(whole_run(&ways[i], x, n));
        print_message("%s: one in %ld of %ld allocations\n", ways[i].name, step, total);
    }
    free(x);
}

int main(int argc, char **argv)
{
    all = argc > 1 && !strcmp(argv[1], "all");
    const struct CMUnitTest tests[] = {cmocka_unit_test(allocations_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
