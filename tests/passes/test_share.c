/* The share pass: what changes nothing changes nothing, files get as small as they should, what cannot be done is named. */
#include "share_util.h"

#include "graph/own/own.h"

static size_t calls(const struct mc_model *m, const char *function)
{
    size_t n = 0;
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        n += !strcmp(m->graph->nodes[i]->op_type, function);
    return n;
}

/* ---- nets ---- */

/* Conv (3 -> 24) -> Relu -> depthwise Conv -> Relu -> Conv (24 -> 32) -> mean -> Gemm (32 -> 10). */
static struct mc_model *convolutions(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *in[3];
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, 3, 6, 6));
    in[0] = x;
    in[1] = random_const(g, "w0", 4, DIMS(24, 3, 3, 3), 1);
    in[2] = random_const(g, "b0", 1, DIMS(24), 2);
    x = build_unary(g, "Relu", "r0", build_node(g, "Conv", "c0", 3, in, NULL));
    in[0] = x;
    in[1] = random_const(g, "w1", 4, DIMS(24, 1, 3, 3), 3);
    x = build_node(g, "Conv", "c1", 2, in, &n);
    build_ok(mc_edit_attr_int(n, "group", 24, &err), &err);
    in[0] = build_unary(g, "Relu", "r1", x);
    in[1] = random_const(g, "w2", 4, DIMS(32, 24, 1, 1), 4);
    x = build_node(g, "Conv", "c2", 2, in, NULL);
    x = build_unary(g, "Flatten", "f", build_unary(g, "GlobalAveragePool", "p", x));
    in[0] = x;
    in[1] = random_const(g, "w3", 2, DIMS(32, 10), 5);
    in[2] = random_const(g, "b3", 1, DIMS(10), 6);
    build_output(g, build_node(g, "Gemm", "fc", 3, in, NULL));
    return m;
}

enum { STEPS = 5, BATCH = 3, INPUT = 6, HIDDEN = 16 };

/* A cell over x [STEPS, -1, INPUT]; alike: all gates have one matrix, with scales. */
static struct mc_model *cell(const char *op, int gates, bool both, bool alike)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    int64_t dirs = both ? 2 : 1;
    struct mc_value *in[4];
    static const int64_t columns[] = {INPUT, HIDDEN};
    in[0] = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(STEPS, -1, INPUT));
    for (int k = 0; k < 2; k++) {
        int64_t dims[] = {dirs, gates * HIDDEN, columns[k]},
                all = dirs * gates * HIDDEN * columns[k];
        float *w = malloc((size_t)all * sizeof *w);
        mc_rng_fill_normal(7, (uint64_t)k, 0, w, (size_t)all);
        for (int64_t i = 0; i < all; i++) {
            int64_t row = i / columns[k], gate = row / HIDDEN % gates;
            int64_t first = (row - gate * HIDDEN) * columns[k] + i % columns[k];
            w[i] = 0.4F * (alike ? (gate ? (float)(gate + 1) * w[first] : w[i]) : w[i]);
            if (alike && gate)
                w[i] = (float)(gate + 1) * w[first] * (row % 2 ? 1 : -1);
        }
        in[k + 1] = f32_const(g, k ? "R" : "W", 3, dims, w);
        free(w);
    }
    in[3] = random_const(g, "B", 2, DIMS(dirs, 2 * gates * HIDDEN), 8);
    struct mc_value *y = build_node(g, op, "cell", 4, in, &n);
    build_ok(mc_edit_attr_int(n, "hidden_size", HIDDEN, &err), &err);
    if (both)
        build_ok(mc_edit_attr_string(n, "direction", "bidirectional", &err), &err);
    build_output(g, y);
    return m;
}

/* ---- codebooks ---- */

/* Weights of 16 values: bit for bit the same outputs. */
static void codebooks_of_all_values_change_nothing(void **state)
{
    (void)state;
    for (int bits = 4; bits <= 8; bits++) {
        struct mc_model *m = build_model(17), *was;
        struct mc_pass_ctx ctx = svd_ctx(NULL);
        struct mc_err err;
        json_t *report;
        float *w = gaussian(3, 64 * 32), *x = gaussian(4, 5 * 32);
        char options[40];
        int64_t n;
        for (int i = 0; i < 64 * 32; i++)
            w[i] = 0.01F + 0.37F * (float)(int)mc_rng_below(1, 2, (uint64_t)i, 16);
        struct mc_value *in = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-1, 32));
        in =
            build_binary(m->graph, "MatMul", "a", in, f32_const(m->graph, "w", 2, DIMS(32, 64), w));
        build_output(m->graph, build_binary(m->graph, "MatMul", "b", in,
                                            f32_const(m->graph, "v", 2, DIMS(64, 32), w)));
        was = clone_of(m);
        snprintf(options, sizeof options, "{'bits': %d}", bits);
        build_ok(share(&ctx, m, options, &report, &err), &err);
        assert_int_equal(calls(m, bits == 4 || bits == 8 ? "SharedWeight" : "SharedPlanes"), 2);
        assert_int_equal(mc_json_number(layer_row(report, "a"), "bits", 0), bits);
        float *a = output_of(was, 2, DIMS(5, 32), x, &n), *b = output_of(m, 2, DIMS(5, 32), x, &n);
        assert_memory_equal(a, b, (size_t)n * sizeof *a);
        json_decref(report);
        mc_model_free(m);
        mc_model_free(was);
        free(a);
        free(b);
        free(w);
        free(x);
    }
}

static void more_bits_are_closer_and_samples_help(void **state)
{
    float *x = walk(21, SAMPLES * 108);
    struct memory_data data;
    struct mc_dataset *calib = memory_open(&data, "x", SAMPLES, 3, DIMS(3, 6, 6), x, NULL);
    double last = INFINITY;
    (void)state;
    for (int bits = 2; bits <= 6; bits += 2) {
        struct mc_model *was = convolutions(), *blind = convolutions(), *m = convolutions();
        struct mc_pass_ctx ctx = svd_ctx(calib), alone = svd_ctx(NULL);
        struct mc_err err;
        json_t *report;
        char options[40];
        snprintf(options, sizeof options, "{'bits': %d}", bits);
        build_ok(share(&alone, blind, options, &report, &err), &err);
        json_decref(report);
        build_ok(share(&ctx, m, options, &report, &err), &err);
        json_decref(report);
        double d = change(was, m, 4, DIMS(64, 3, 6, 6)),
               e = change(was, blind, 4, DIMS(64, 3, 6, 6));
        assert_true(d < 0.8 * e && d < 0.3 * last);
        last = d;
        mc_model_free(was);
        mc_model_free(blind);
        mc_model_free(m);
    }
    free(x);
}

/* Half precision stays, and a dry run leaves the model alone. */
static void half_weights_and_dry_runs(void **state)
{
    struct mc_model *m = build_model(17);
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    struct mc_err err;
    json_t *report;
    uint16_t w[64 * 64];
    (void)state;
    for (int i = 0; i < 64 * 64; i++)
        w[i] = (uint16_t)(0x3000 + i % 0xa00);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F16, 2, DIMS(-1, 64));
    build_output(m->graph,
                 build_binary(m->graph, "MatMul", "y", x,
                              build_const(m->graph, "w", MC_DTYPE_F16, 2, DIMS(64, 64), w)));
    ctx.dry_run = true;
    build_ok(share(&ctx, m, "{'bits': 4}", &report, &err), &err);
    assert_int_equal(m->graph->n_nodes, 1);
    double told = mc_json_number(report, "bytes_after", 0);
    json_decref(report);
    ctx.dry_run = false;
    build_ok(share(&ctx, m, "{'bits': 4}", &report, &err), &err);
    assert_true(calls(m, "SharedWeight") == 1 && calls(m, "Cast") == 1);
    assert_true(mc_json_number(report, "bytes_after", 0) == told);
    json_decref(report);
    mc_model_free(m);
}

static void bits_are_searched_for_a_share(void **state)
{
    float *x = walk(22, SAMPLES * 108);
    struct memory_data data;
    struct mc_dataset *calib = memory_open(&data, "x", SAMPLES, 3, DIMS(3, 6, 6), x, NULL);
    struct mc_model *m = convolutions();
    struct mc_pass_ctx ctx = svd_ctx(calib);
    struct mc_err err;
    json_t *report;
    uint64_t before, after;
    (void)state;
    count_bytes(NULL, m, &before, NULL);
    build_ok(share(&ctx, m, "{'keep': 0.6}", &report, &err), &err);
    count_bytes(NULL, m, &after, NULL);
    assert_true((double)after <= 0.6 * (double)before && after > 0.2 * before);
    assert_non_null(json_object_get(report, "search"));
    json_decref(report);
    mc_model_free(m);
    free(x);
}

/* ---- gates ---- */

static void gates_that_are_one_stay(void **state)
{
    static const struct {
        const char *op;
        int gates;
    } of[] = {{"LSTM", 4}, {"GRU", 3}};
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct mc_model *m = cell(of[i % 2].op, of[i % 2].gates, i > 1, true), *was = clone_of(m);
        struct mc_pass_ctx ctx = svd_ctx(NULL);
        struct mc_err err;
        json_t *report;
        build_ok(share(&ctx, m, "{'gates': true}", &report, &err), &err);
        assert_int_equal(calls(m, "GateWeight"), 2);
        assert_true(change(was, m, 3, DIMS(STEPS, BATCH, INPUT)) < 1e-10);
        const json_t *row = json_array_get(json_object_get(report, "layers"), 1);
        double dirs = i > 1 ? 2 : 1, gates = of[i % 2].gates;
        assert_true(mc_json_number(row, "bytes_before", 0) == 4 * dirs * gates * HIDDEN * HIDDEN);
        assert_true(mc_json_number(row, "bytes_after", 0) == 4 * dirs * HIDDEN * (HIDDEN + gates));
        json_decref(report);
        mc_model_free(m);
        mc_model_free(was);
    }
}

/* One matrix, and a codebook of it. */
static void gates_and_codebooks_go_together(void **state)
{
    struct mc_model *m = cell("LSTM", 4, false, true), *was = clone_of(m);
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    struct mc_err err;
    json_t *report;
    (void)state;
    build_ok(share(&ctx, m, "{'gates': true, 'bits': 5}", &report, &err), &err);
    assert_true(calls(m, "GateWeight") == 2 && calls(m, "SharedPlanes") >= 1);
    assert_true(change(was, m, 3, DIMS(STEPS, BATCH, INPUT)) < 1e-2);
    json_decref(report);
    mc_model_free(m);
    mc_model_free(was);
}

/* ---- filters ---- */

static void filters_that_are_multiples_stay(void **state)
{
    struct mc_model *m = build_model(17), *was;
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    struct mc_err err;
    json_t *report;
    float *w = gaussian(5, 16 * 54);
    struct mc_value *in[3];
    (void)state;
    for (int i = 4 * 54; i < 16 * 54; i++)
        w[i] = w[i % (4 * 54)] * (i / 54 % 2 ? -1.5F : 0.3F * (float)(i / 54));
    in[0] = build_input(m->graph, "x", MC_DTYPE_F32, 4, DIMS(-1, 6, 5, 5));
    in[1] = f32_const(m->graph, "w", 4, DIMS(16, 6, 3, 3), w);
    in[2] = random_const(m->graph, "b", 1, DIMS(16), 6);
    build_output(m->graph, build_node(m->graph, "Conv", "c", 3, in, NULL));
    was = clone_of(m);
    build_ok(share(&ctx, m, "{'filters': 1}", &report, &err), &err);
    assert_int_equal(m->graph->n_nodes, 1);
    json_decref(report);
    build_ok(share(&ctx, m, "{'filters': 0.25}", &report, &err), &err);
    assert_true(calls(m, "Gather") == 1 && calls(m, "Mul") == 1 && calls(m, "Add") == 1);
    assert_true(change(was, m, 4, DIMS(2, 6, 5, 5)) < 1e-10);
    assert_string_equal(mc_json_string(layer_row(report, "c"), "choice"), "4 of 16");
    json_decref(report);
    mc_model_free(m);
    mc_model_free(was);
    free(w);
}

/* ---- errors ---- */

static void expect_error(struct mc_model *m, const char *options, int code, const char *says)
{
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    struct mc_err err;
    json_t *report;
    assert_int_equal(share(&ctx, m, options, &report, &err), code);
    if (!strstr(err.msg, says))
        fail_msg("'%s' does not say '%s'", err.msg, says);
}

static void what_cannot_be_done_is_named(void **state)
{
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    struct mc_err err;
    json_t *report;
    struct mc_model *m = cell("LSTM", 4, false, false);
    const float bad[4] = {1, NAN, 2, 3};
    (void)state;
    expect_error(m, "{}", MC_EUSAGE, "--bits N");
    expect_error(m, "{'bits': 4, 'keep': 0.5}", MC_EUSAGE, "give one of");
    expect_error(m, "{'tie': 'nothing'}", MC_EUSAGE, "no float tensor");
    expect_error(m, "{'filters': 0.5}", MC_EUNSUP, "no convolution");
    build_ok(share(&ctx, m, "{'bits': 4}", &report, &err), &err);
    json_decref(report);
    expect_error(m, "{'bits': 4}", MC_EUNSUP, "smaller forms already");
    expect_error(m, "{'gates': true}", MC_EUNSUP, "smaller form already");
    mc_model_free(m);
    m = convolutions();
    expect_error(m, "{'gates': true}", MC_EUNSUP, "no LSTM and no GRU");
    expect_error(m, "{'tie': 'auto'}", MC_EUNSUP, "no two tensors");
    expect_error(m, "{'tie': 'w0', 'bits': 4}", MC_EUSAGE, "w0");
    build_ok(share(&ctx, m, "{'tie': 'auto', 'bits': 4}", &report, &err), &err);
    json_decref(report);
    mc_model_free(m);
    m = cell("LSTM", 4, false, false);
    struct mc_value *w = mc_graph_value(m->graph, "R");
    memcpy((void *)(uintptr_t)w->tensor->data, bad, sizeof bad);
    expect_error(m, "{'bits': 4}", MC_EDATA, "'R'");
    expect_error(m, "{'gates': true}", MC_EDATA, "'R'");
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codebooks_of_all_values_change_nothing),
        cmocka_unit_test(more_bits_are_closer_and_samples_help),
        cmocka_unit_test(half_weights_and_dry_runs),
        cmocka_unit_test(bits_are_searched_for_a_share),
        cmocka_unit_test(gates_that_are_one_stay),
        cmocka_unit_test(gates_and_codebooks_go_together),
        cmocka_unit_test(filters_that_are_multiples_stay),
        cmocka_unit_test(what_cannot_be_done_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
