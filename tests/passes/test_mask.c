/* Masks: which elements go, and that they stay away through training. */
#include "../run/memory_data.h"
#include "../run/run_util.h"

#include "base/json.h"
#include "graph/constant.h"
#include "graph/grad/weights.h"
#include "graph/verify.h"
#include "passes/prune/mask.h"

enum { SAMPLES = 40 };

static json_t *apply(struct mc_model *m, struct mc_dataset *calib, const char *options)
{
    struct mc_pass_ctx ctx = {.calib = calib, .calib_count = calib ? calib->count : 0};
    struct mc_err err;
    json_t *o = json_loads(options, 0, NULL), *report = json_object();
    assert_non_null(o);
    build_ok(mc_mask_apply(&ctx, o, m, report, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    json_decref(o);
    return report;
}

static const float *data_of(const struct mc_model *m, const char *name)
{
    const struct mc_value *v = mc_graph_value(m->graph, name);
    assert_non_null(v);
    return (const float *)mc_constant(v)->data;
}

static int64_t zeros_of(const struct mc_model *m, const char *name)
{
    const struct mc_tensor *t = mc_constant(mc_graph_value(m->graph, name));
    int64_t zeros = 0;
    for (int64_t i = 0; i < mc_tensor_count(t); i++)
        zeros += ((const float *)t->data)[i] == 0;
    return zeros;
}

/* A convolution, and a dense weight in either order. */
static struct mc_model *mixed(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-2, 8, 4, 4));
    struct mc_value *in[3] = {x, random_const(g, "conv.w", 4, DIMS(12, 8, 3, 3), 1)};
    struct mc_value *y = build_unary(g, "Relu", "r", build_node(g, "Conv", "c", 2, in, NULL));
    in[0] = build_node(g, "Flatten", "flat", 1, &y, NULL);
    in[1] = random_const(g, "turned.w", 2, DIMS(16, 48), 2);
    y = build_node(g, "Gemm", "d1", 2, in, &n);
    assert_int_equal(mc_edit_attr_int(n, "transB", 1, NULL), 0);
    y = build_binary(g, "MatMul", "y", y, random_const(g, "plain.w", 2, DIMS(16, 10), 3));
    build_output(g, y);
    return m;
}

/* Of w [outer, n, inner]: in every four along n the two largest are as they were, the others 0. */
static void expect_two_of_four(const float *was, const float *is, int outer, int n, int inner)
{
    for (int o = 0; o < outer; o++)
        for (int i = 0; i < inner; i++)
            for (int from = 0; from < n; from += 4) {
                float kept = INFINITY, gone = 0;
                int zeros = 0;
                for (int k = from; k < from + 4; k++) {
                    int at = (o * n + k) * inner + i;
                    zeros += is[at] == 0;
                    assert_true(is[at] == 0 || is[at] == was[at]);
                    if (is[at] == 0)
                        gone = fmaxf(gone, fabsf(was[at]));
                    else
                        kept = fminf(kept, fabsf(was[at]));
                }
                assert_int_equal(zeros, 2);
                assert_true(gone <= kept);
            }
}

static void a_pattern_keeps_the_largest(void **state)
{
    (void)state;
    struct mc_model *m = mixed(), *was;
    struct mc_err err;
    build_ok(mc_model_clone(m, &was, &err), &err);
    json_t *report = apply(m, NULL, "{\"pattern\": \"2:4\"}");
    expect_two_of_four(data_of(was, "conv.w"), data_of(m, "conv.w"), 12, 8, 9);
    expect_two_of_four(data_of(was, "turned.w"), data_of(m, "turned.w"), 16, 48, 1);
    expect_two_of_four(data_of(was, "plain.w"), data_of(m, "plain.w"), 1, 16, 10);
    const json_t *mask = json_object_get(report, "mask");
    int64_t all = 12 * 8 * 9 + 16 * 48 + 16 * 10;
    assert_int_equal((int64_t)mc_json_number(mask, "elements", 0), all);
    assert_int_equal((int64_t)mc_json_number(mask, "zeros", 0), all / 2);
    assert_string_equal(mc_json_string(mask, "pattern"), "2:4");
    assert_int_equal(json_array_size(json_object_get(report, "layers")), 3);
    json_decref(report);
    mc_model_free(was);
    mc_model_free(m);
}

/* What does not fill a run at the end, and groups of filters which read channels of their own. */
static void short_runs_and_groups(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-2, 12, 4, 4));
    struct mc_value *in[2] = {x, random_const(g, "back.w", 4, DIMS(12, 2, 1, 1), 1)};
    in[0] = build_node(g, "ConvTranspose", "b", 2, in, &n); /* two groups of 6: 4 and 2 */
    assert_int_equal(mc_edit_attr_int(n, "group", 2, NULL), 0);
    in[1] = random_const(g, "dw.w", 4, DIMS(4, 1, 3, 3), 2);
    in[0] = build_node(g, "Conv", "dw", 2, in, &n);
    assert_int_equal(mc_edit_attr_int(n, "group", 4, NULL), 0);
    build_output(g, in[0]);
    json_t *report = apply(m, NULL, "{\"pattern\": \"1:4\"}");
    const float *w = data_of(m, "back.w");
    static const int run[][2] = {{0, 4}, {4, 6}, {6, 10}, {10, 12}};
    for (int r = 0; r < 4; r++)
        for (int i = 0; i < 2; i++) {
            int stay = 0;
            for (int k = run[r][0]; k < run[r][1]; k++)
                stay += w[k * 2 + i] != 0;
            assert_int_equal(stay, 1);
        }
    assert_int_equal(zeros_of(m, "dw.w"), 0);
    const json_t *row = json_array_get(json_object_get(report, "layers"), 1);
    assert_string_equal(mc_json_string(row, "action"), "left");
    json_decref(report);
    mc_model_free(m);
}

static int by_size(const void *pa, const void *pb)
{
    double a = *(const double *)pa, b = *(const double *)pb;
    return a < b ? -1 : a > b;
}

static void each_layer_loses_its_share(void **state)
{
    (void)state;
    struct mc_model *m = mixed(), *was;
    struct mc_err err;
    build_ok(mc_model_clone(m, &was, &err), &err);
    json_decref(apply(m, NULL, "{\"sparsity\": 0.3, \"scope\": \"layer\"}"));
    static const char *const names[] = {"conv.w", "turned.w", "plain.w"};
    for (int k = 0; k < 3; k++) {
        const struct mc_tensor *t = mc_constant(mc_graph_value(m->graph, names[k]));
        int64_t n = mc_tensor_count(t), gone = llround(0.3 * (double)n);
        double *x = malloc((size_t)n * sizeof *x);
        assert_non_null(x);
        const float *old = data_of(was, names[k]);
        for (int64_t i = 0; i < n; i++)
            x[i] = fabs((double)old[i]);
        qsort(x, (size_t)n, sizeof *x, by_size);
        assert_int_equal(zeros_of(m, names[k]), gone);
        for (int64_t i = 0; i < n; i++) {
            float now = ((const float *)t->data)[i];
            assert_true(fabs((double)old[i]) < x[gone] ? now == 0 : now == old[i]);
        }
        free(x);
    }
    mc_model_free(was);
    mc_model_free(m);
}

/* Equation (3) of the source, term by term. */
static double adapted(const float *w, int64_t n, int64_t i)
{
    double sum = 0;
    for (int64_t k = 0; k < n; k++)
        if (fabsf(w[k]) >= fabsf(w[i]))
            sum += (double)w[k] * (double)w[k];
    return (double)w[i] * (double)w[i] / sum;
}

static void over_all_layers_the_least_go(void **state)
{
    (void)state;
    struct mc_model *m = mixed(), *was;
    struct mc_err err;
    float *w = (float *)(uintptr_t)data_of(m, "conv.w");
    for (int i = 0; i < 12 * 8 * 9; i++)
        w[i] *= 1e-3f; /* by raw size all of it would go */
    build_ok(mc_model_clone(m, &was, &err), &err);
    json_decref(apply(m, NULL, "{\"sparsity\": 0.6}"));
    static const char *const names[] = {"conv.w", "turned.w", "plain.w"};
    double kept = INFINITY, gone = 0;
    int64_t zeros = 0, all = 0;
    for (int k = 0; k < 3; k++) {
        const float *old = data_of(was, names[k]), *now = data_of(m, names[k]);
        int64_t n = mc_tensor_count(mc_constant(mc_graph_value(m->graph, names[k])));
        for (int64_t i = 0; i < n; i++) {
            double score = adapted(old, n, i);
            kept = now[i] != 0 && score < kept ? score : kept;
            gone = now[i] == 0 && score > gone ? score : gone;
            zeros += now[i] == 0;
        }
        all += n;
    }
    assert_int_equal(zeros, llround(0.6 * (double)all));
    assert_true(gone <= kept * (1 + 1e-6));
    mc_model_free(was);
    mc_model_free(m);
}

/* An input that is a thousand times another makes up for weights that are a hundredth. */
static void inputs_weigh(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-2, 4));
    float w[] = {0.01f, 0.02f, -0.02f, 0.01f, 1, 1, 2, 2, 1, 1, 1, 1, 3, -3, 3, 3};
    build_output(m->graph, build_binary(m->graph, "MatMul", "y", x,
                                        f32_const(m->graph, "w", 2, DIMS(4, 4), w)));
    float *data = malloc(SAMPLES * 4 * sizeof *data);
    assert_non_null(data);
    for (int i = 0; i < SAMPLES * 4; i++)
        data[i] = i % 4 == 0 ? (i % 8 ? 1000 : -1000) : 1;
    struct memory_data mem;
    struct mc_dataset *d = memory_open(&mem, "x", SAMPLES, 1, DIMS(4), data, NULL);
    json_decref(apply(m, d, "{\"pattern\": \"2:4\"}"));
    /* scores of the columns: 10 1 1 3, 20 1 1 3, 20 2 1 3, 10 2 1 3 */
    float want[] = {0.01f, 0.02f, -0.02f, 0.01f, 0, 0, 0, 0, 0, 0, 0, 0, 3, -3, 3, 3};
    for (int i = 0; i < 16; i++)
        assert_true(data_of(m, "w")[i] == want[i]);
    free(data);
    mc_model_free(m);
}

static void training_leaves_zeros_alone(void **state)
{
    (void)state;
    struct mc_model *m = mixed();
    struct mc_err err;
    float x[2 * 8 * 16], y[2 * 10];
    mc_rng_fill_normal(5, 0, 0, x, 2 * 8 * 16);
    json_decref(apply(m, NULL, "{\"pattern\": \"2:4\"}"));
    struct mc_session *s = session_of(m, NULL);
    size_t nodes = m->graph->n_nodes, inits = m->graph->n_inits;
    run_x(s, 4, DIMS(2, 8, 4, 4), x);
    memcpy(y, mc_session_output(s, 0)->data, sizeof y);
    mc_session_free(s);

    build_ok(mc_mask_open(m, false, &err), &err);
    build_ok(mc_mask_open(m, false, &err), &err); /* what is open stays */
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(m->graph->n_nodes, nodes + 6);
    s = session_of(m, NULL);
    run_x(s, 4, DIMS(2, 8, 4, 4), x);
    expect_f32(mc_session_output(s, 0), 2, DIMS(2, 10), y, 1e-5);
    mc_session_free(s);
    struct mc_weights w;
    build_ok(mc_weights_find(m->graph, NULL, &w, &err), &err);
    assert_int_equal(w.n, 3);
    assert_int_equal(w.n_trained, 3);
    for (size_t i = 0; i < w.n; i++) { /* as training does: all of it moves */
        float *data = (float *)(uintptr_t)mc_constant(w.list[i].value)->data;
        assert_true(w.list[i].decays);
        for (int64_t k = 0; k < mc_shape_count(&w.list[i].shape); k++)
            data[k] += 0.5f;
    }
    mc_weights_free(&w);

    build_ok(mc_mask_close(m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(m->graph->n_nodes, nodes);
    assert_int_equal(m->graph->n_inits, inits);
    assert_int_equal(zeros_of(m, "conv.w"), 12 * 8 * 9 / 2);
    assert_int_equal(zeros_of(m, "turned.w"), 16 * 48 / 2);
    assert_int_equal(zeros_of(m, "plain.w"), 16 * 10 / 2);
    mc_model_free(m);
}

static void what_has_no_mask_stays(void **state)
{
    (void)state;
    struct mc_model *m = mixed();
    struct mc_err err;
    size_t nodes = m->graph->n_nodes;
    float *w = (float *)(uintptr_t)data_of(m, "plain.w");
    memset(w, 0, 160 * sizeof *w); /* nothing but zeros: not trained yet, as some layers begin */
    ((float *)(uintptr_t)data_of(m, "conv.w"))[3] = 0;
    build_ok(mc_mask_open(m, false, &err), &err);
    assert_int_equal(m->graph->n_nodes, nodes);
    build_ok(mc_mask_open(m, true, &err), &err);
    assert_int_equal(m->graph->n_nodes, nodes + 2);
    build_ok(mc_mask_close(m, &err), &err);
    assert_int_equal(m->graph->n_nodes, nodes);
    mc_model_free(m);
}

static void bad_options(void **state)
{
    (void)state;
    static const char *const bad[] = {"2", "4:2", "0:4", "2:4x", "2:2", "1:65", "", "-1:4"};
    struct mc_pass_ctx ctx = {0};
    struct mc_err err;
    struct mc_model *m = mixed();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *o = json_pack("{s:s}", "pattern", bad[i]), *report = json_object();
        assert_int_equal(mc_mask_apply(&ctx, o, m, report, &err), MC_EUSAGE);
        assert_non_null(strstr(err.msg, "--pattern takes N:M"));
        json_decref(o);
        json_decref(report);
    }
    static const char *const others[][2] = {
        {"{\"pattern\": \"2:4\", \"sparsity\": 0.5}", "exclude each other"},
        {"{\"pattern\": \"2:4\", \"keep\": [\"0.5\"]}", "remove nodes"},
        {"{\"sparsity\": 1}", "above 0 and below 1"},
        {"{\"sparsity\": 0.5, \"only\": \"nothing\"}", "no layer and no weight matches"},
        {"{\"sparsity\": 0.5, \"skip\": \"(\"}", "--skip '('"},
        {"{\"sparsity\": 0.5, \"skip\": \".\"}", "--skip names it"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        json_t *o = json_loads(others[i][0], 0, NULL), *report = json_object();
        int want = i == 5 ? MC_EUNSUP : MC_EUSAGE;
        assert_int_equal(mc_mask_apply(&ctx, o, m, report, &err), want);
        if (!strstr(err.msg, others[i][1]))
            fail_msg("'%s' does not say '%s'", err.msg, others[i][1]);
        json_decref(o);
        json_decref(report);
    }
    json_decref(apply(m, NULL, "{\"pattern\": \"2:4\", \"only\": \"d1\"}"));
    assert_int_equal(zeros_of(m, "conv.w"), 0);
    assert_int_equal(zeros_of(m, "turned.w"), 16 * 48 / 2);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_keeps_the_largest),
        cmocka_unit_test(short_runs_and_groups),
        cmocka_unit_test(each_layer_loses_its_share),
        cmocka_unit_test(over_all_layers_the_least_go),
        cmocka_unit_test(inputs_weigh),
        cmocka_unit_test(training_leaves_zeros_alone),
        cmocka_unit_test(what_has_no_mask_stays),
        cmocka_unit_test(bad_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
