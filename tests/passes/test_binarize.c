/* The pass as a whole: what it chooses, what it writes against arithmetic done here, training form and back, errors. */
#include "binarize_net.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "graph/constant.h"
#include "graph/grad/rule.h"
#include "graph/own/own.h"
#include "graph/verify.h"
#include "passes/binarize/binarize_form.h"
#include "passes/pass.h"
#include "train/train.h"

extern const struct mc_pass mc_pass_binarize;
static struct mc_err err;

static json_t *options_of(const char *text)
{
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    return o;
}

static int run_pass(struct mc_model *m, const char *text, json_t **ret_report)
{
    struct memory_data d;
    struct mc_pass_ctx ctx = {.calib = net_data(&d), .calib_count = NET_SAMPLES};
    json_t *o = options_of(text), *report = NULL;
    int rc = mc_pass_binarize.run(&ctx, o, m, &report, &err);
    json_decref(o);
    if (!rc && ret_report)
        *ret_report = report;
    else
        json_decref(report);
    if (!rc)
        build_ok(mc_verify(m, &err), &err);
    return rc;
}

static struct mc_model *made(const char *text)
{
    struct mc_model *m = binarize_net();
    if (run_pass(m, text, NULL))
        fail_msg("%s", err.msg);
    return m;
}

static size_t how_many(const struct mc_model *m, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        n += !strcmp(m->graph->nodes[i]->op_type, op);
    return n;
}

static const struct mc_node *the(const struct mc_model *m, const char *op, size_t which)
{
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        if (!strcmp(m->graph->nodes[i]->op_type, op) && !which--)
            return m->graph->nodes[i];
    fail_msg("no %s", op);
    return NULL;
}

static const float *floats(const struct mc_value *v)
{
    const struct mc_tensor *t = mc_constant(v);
    assert_non_null(t);
    assert_int_equal(t->dtype, MC_DTYPE_F32);
    return (const float *)(const void *)t->data;
}

static void outputs(struct mc_model *m, float *y)
{
    struct memory_data d;
    struct mc_dataset *data = net_data(&d);
    struct mc_batch *b;
    build_ok(mc_dataset_range(data, 0, NET_SAMPLES, &b, &err), &err);
    struct mc_session *s = session_of(m, &(struct mc_session_opts){0});
    run_ok(s, b->arrays, 1);
    const struct mc_array *a = mc_session_output(s, 0);
    assert_int_equal(a->bytes, NET_SAMPLES * NET_OUT * sizeof *y);
    memcpy(y, a->data, a->bytes);
    mc_session_free(s);
    mc_batch_free(b);
}

/* Nodes, and all that their constants hold. */
static void expect_same(const struct mc_model *a, const struct mc_model *b)
{
    assert_int_equal(a->graph->n_nodes, b->graph->n_nodes);
    for (size_t i = 0; i < a->graph->n_nodes; i++) {
        const struct mc_node *n = a->graph->nodes[i], *o = b->graph->nodes[i];
        assert_string_equal(n->op_type, o->op_type);
        assert_int_equal(n->n_in, o->n_in);
        for (size_t k = 0; k < n->n_in; k++) {
            const struct mc_tensor *t = n->in[k] ? mc_constant(n->in[k]) : NULL;
            const struct mc_tensor *u = o->in[k] ? mc_constant(o->in[k]) : NULL;
            assert_int_equal(!t, !u);
            if (!t)
                continue;
            assert_true(mc_shape_equal(&t->shape, &u->shape));
            assert_int_equal(t->bytes, u->bytes);
            bool same = memcmp(t->data, u->data, t->bytes) == 0;
            for (int64_t j = 0; !same && t->dtype == MC_DTYPE_F32 && j < mc_tensor_count(t); j++) {
                /* a norm that changes nothing rounds */
                const float x = ((const float *)(const void *)t->data)[j];
                const float y = ((const float *)(const void *)u->data)[j];
                if (!(fabsf(x - y) <= 1e-6F * fabsf(y)))
                    break;
                same = j + 1 == mc_tensor_count(t);
            }
            if (!same)
                fail_msg("%s '%s': input %zu differs", n->op_type, mc_node_label(n), k);
        }
    }
}

/* ---- weights alone ---- */

static void weights_are_signs_and_a_scale(void **state)
{
    (void)state;
    struct mc_model *m = binarize_net(), *was = binarize_net();
    json_t *report = NULL;
    if (run_pass(m, "{}", &report))
        fail_msg("%s", err.msg);
    assert_int_equal(how_many(m, "BinaryWeight"), 2);
    for (size_t k = 0; k < 2; k++) { /* both lie as [inputs, outputs] */
        const float *w = floats(mc_graph_value(was->graph, k ? "product.w" : "inner.w"));
        const struct mc_node *n = the(m, "BinaryWeight", k);
        const struct mc_tensor *bits = mc_constant(n->in[0]);
        const float *scale = floats(n->in[1]);
        assert_int_equal(bits->bytes, NET_WIDTH * NET_WIDTH / 8);
        for (int o = 0; o < NET_WIDTH; o++) {
            double sum = 0;
            for (int i = 0; i < NET_WIDTH; i++) {
                bool plus = bits->data[o * NET_WIDTH / 8 + i / 8] >> (i % 8) & 1;
                assert_int_equal(plus, w[i * NET_WIDTH + o] >= 0);
                sum += fabs((double)w[i * NET_WIDTH + o]);
            }
            assert_true(fabs(sum / NET_WIDTH - (double)scale[o]) <= 1e-6);
        }
    }
    const json_t *rows = json_object_get(report, "layers");
    static const char *const action[] = {"left", "binarised", "binarised", "left"};
    assert_int_equal(json_array_size(rows), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *r = json_array_get(rows, i);
        assert_string_equal(mc_json_string(r, "action"), action[i]);
        assert_int_equal(mc_json_string(r, "reason") != NULL, i == 0 || i == 3);
        if (i == 1 || i == 2)
            assert_true(mc_json_number(r, "bytes_after", 0) == NET_WIDTH * (NET_WIDTH / 8 + 4));
    }
    json_decref(report);
    mc_model_free(m);
    mc_model_free(was);
}

/* The call, its body and the dense weights compute the same. */
static void expanded_is_the_same(void **state)
{
    (void)state;
    static const char *const how[] = {"{}", "{\"all\": true}", "{\"activations\": true}",
                                      "{\"activations\": true, \"no-shortcut\": true}"};
    static float y[NET_SAMPLES * NET_OUT], z[NET_SAMPLES * NET_OUT];
    for (size_t i = 0; i < sizeof how / sizeof *how; i++)
        for (int k = 0; k < 2; k++) {
            struct mc_model *m = made(how[i]);
            outputs(m, y);
            build_ok(k ? mc_own_inline(m, &err) : mc_own_expand(m, &err), &err);
            build_ok(mc_verify(m, &err), &err);
            outputs(m, z);
            for (int j = 0; j < NET_SAMPLES * NET_OUT; j++)
                if (!(fabsf(y[j] - z[j]) <= 2e-5F * fmaxf(1, fabsf(y[j]))))
                    fail_msg("%s: output %d is %.9g and %.9g", how[i], j, (double)y[j],
                             (double)z[j]);
            mc_model_free(m);
        }
}

static void layers_are_chosen(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        size_t calls;
    } cases[] = {
        {"{\"all\": true}", 4},
        {"{\"only\": \"product\"}", 1},
        {"{\"skip\": \"inner\"}", 1},
        {"{\"skip\": \"first.w|last\", \"all\": true}", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mc_model *m = made(cases[i].options);
        assert_int_equal(how_many(m, "BinaryWeight"), cases[i].calls);
        mc_model_free(m);
    }
}

/* ---- activations ---- */

/* The Relu that signs would see nothing but the zeros of is gone; the one before a real layer stays. */
static void inputs_are_signs(void **state)
{
    (void)state;
    struct mc_model *m = made("{\"activations\": true}"), *was = binarize_net();
    assert_int_equal(how_many(m, "XnorGemm"), 2);
    assert_int_equal(how_many(m, "Relu"), 1);
    assert_int_equal(how_many(m, "Add"), 2); /* shortcuts; the bias is in the call */
    assert_int_equal(how_many(m, "BatchNormalization"), 0);
    assert_memory_equal(floats(the(m, "XnorGemm", 1)->in[4]),
                        floats(mc_graph_value(was->graph, "product.b")), NET_WIDTH * sizeof(float));
    mc_model_free(was);
    mc_model_free(m);
    m = made("{\"activations\": true, \"no-shortcut\": true}");
    assert_int_equal(how_many(m, "Add"), 0);
    mc_model_free(m);
}

/* What the first thresholds are: means of the layer's own input. */
static void thresholds_are_means(void **state)
{
    (void)state;
    struct mc_model *m = made("{\"activations\": true}"), *was = binarize_net();
    struct memory_data d;
    struct mc_dataset *data = net_data(&d);
    const float *t = floats(the(m, "XnorGemm", 0)->in[1]), *x = d.x;
    const float *w = floats(mc_graph_value(was->graph, "first.w"));
    const float *b = floats(mc_graph_value(was->graph, "first.b"));
    (void)data;
    for (int o = 0; o < NET_WIDTH; o++) {
        double sum = 0;
        for (int i = 0; i < NET_SAMPLES; i++) {
            sum += (double)b[o];
            for (int k = 0; k < NET_IN; k++)
                sum += (double)x[i * NET_IN + k] * (double)w[o * NET_IN + k];
        }
        assert_true(fabs(sum / NET_SAMPLES - (double)t[o]) <= 1e-5);
    }
    mc_model_free(m);
    mc_model_free(was);
}

/* ---- training ---- */

static void converted_and_finished_is_what_was(void **state)
{
    (void)state;
    static const char *const how[] = {"{}", "{\"all\": true}", "{\"activations\": true}",
                                      "{\"body\": \"fast\"}"};
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        struct mc_model *given = binarize_net(), *m = made(how[i]), *was = made(how[i]);
        struct mc_pass_ctx ctx = {.given = given};
        json_t *o = options_of(how[i]);
        build_ok(mc_pass_binarize.convert(&ctx, o, m, &err), &err);
        build_ok(mc_verify(m, &err), &err);
        assert_int_equal(how_many(was, i < 2    ? "BinaryWeight"
                                       : i == 2 ? "XnorGemm"
                                                : "BinaryGemmFast"),
                         i == 1 ? 4 : 2);
        assert_int_equal(how_many(m, "BinarizeWeight"), i == 1 ? 4 : 2);
        assert_int_equal(how_many(m, "SignSTE"), i == 2 ? 2 : 0);
        assert_int_equal(how_many(m, "BatchNormalization"), i == 2 ? 4 : 0);
        /* latent weights are those of the model before, not their signs */
        const struct mc_node *b = the(m, "BinarizeWeight", i == 1);
        const float *w = floats(mc_graph_value(given->graph, "inner.w")), *l = floats(b->in[0]);
        for (int r = 0; r < NET_WIDTH; r++)
            for (int c = 0; c < NET_WIDTH; c++)
                assert_true(l[r * NET_WIDTH + c] == w[c * NET_WIDTH + r]);
        build_ok(mc_pass_binarize.finish(&ctx, o, m, &err), &err);
        build_ok(mc_verify(m, &err), &err);
        expect_same(m, was);
        json_decref(o);
        mc_model_free(m);
        mc_model_free(was);
        mc_model_free(given);
    }
}

/* Of a file nothing but scale * sign is known; opened, it computes the same, and closed it is the same file. */
static void a_file_is_opened_again(void **state)
{
    (void)state;
    static const char *const how[] = {"{}", "{\"all\": true}", "{\"activations\": true}",
                                      "{\"body\": \"fast\"}"};
    static float y[NET_SAMPLES * NET_OUT], z[NET_SAMPLES * NET_OUT];
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        struct mc_model *m = made(how[i]), *was = made(how[i]);
        struct mc_pass_ctx ctx = {0};
        build_ok(mc_pass_binarize.reopen(&ctx, NULL, m, &err), &err);
        build_ok(mc_verify(m, &err), &err);
        assert_int_equal(how_many(m, "BatchNormalization"), 0);
        assert_int_equal(how_many(m, "Sub"), i == 2 ? 2 : 0);
        outputs(m, y);
        outputs(was, z);
        for (int j = 0; j < NET_SAMPLES * NET_OUT; j++)
            assert_true(fabsf(y[j] - z[j]) <= (i == 3 ? 0.1F : 2e-5F) * fmaxf(1, fabsf(z[j])));
        build_ok(mc_pass_binarize.finish(&ctx, NULL, m, &err), &err);
        build_ok(mc_verify(m, &err), &err);
        expect_same(m, was);
        mc_model_free(m);
        mc_model_free(was);
    }
    struct mc_model *m = binarize_net(), *was = binarize_net(); /* none of ours: left alone */
    struct mc_pass_ctx ctx = {0};
    build_ok(mc_pass_binarize.reopen(&ctx, NULL, m, &err), &err);
    build_ok(mc_pass_binarize.finish(&ctx, NULL, m, &err), &err);
    expect_same(m, was);
    mc_model_free(m);
    mc_model_free(was);
}

/* Signs or thresholds that are inputs of the model cannot be trained: the call stays. */
static void what_is_computed_stays(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct mc_model *m = made(k ? "{\"activations\": true}" : "{}");
        struct mc_node *n = (struct mc_node *)the(m, k ? "XnorGemm" : "BinaryWeight", 0);
        struct mc_pass_ctx ctx = {0};
        struct mc_value *v =
            k == 1 ? build_input(m->graph, "t", MC_DTYPE_F32, 1, DIMS(NET_WIDTH))
                   : build_input(m->graph, "p", MC_DTYPE_U8, 2, DIMS(NET_WIDTH, NET_WIDTH / 8));
        build_ok(mc_edit_set_input(n, k ? (size_t)k : 0, v, &err), &err);
        build_ok(mc_pass_binarize.reopen(&ctx, NULL, m, &err), &err);
        build_ok(mc_verify(m, &err), &err);
        assert_int_equal(how_many(m, k ? "XnorGemm" : "BinaryWeight"), 1);
        assert_int_equal(how_many(m, "BinarizeWeight"), 1);
        mc_model_free(m);
    }
}

/* A BatchNormalization of any sign, also of none, becomes thresholds and turned columns; behind a product, its scales and bias. */
static void norms_become_thresholds(void **state)
{
    (void)state;
    static float y[NET_SAMPLES * NET_OUT], z[NET_SAMPLES * NET_OUT];
    struct mc_model *given = binarize_net(), *m = made("{\"activations\": true}");
    struct mc_pass_ctx ctx = {.given = given};
    build_ok(mc_pass_binarize.convert(&ctx, NULL, m, &err), &err);
    for (size_t k = 0; k < 4; k++) { /* before signs, and behind products */
        const struct mc_node *n = the(m, "BatchNormalization", k);
        float p[4][NET_WIDTH];
        for (int i = 0; i < 4; i++)
            mc_rng_fill_normal(20 + k, (uint64_t)i, 0, p[i], NET_WIDTH);
        for (int c = 0; c < NET_WIDTH; c++) {
            p[3][c] = 0.1F + fabsf(p[3][c]);
            p[0][c] = c % 5 == 4 ? 0 : p[0][c];
        }
        for (int i = 0; i < 4; i++) {
            struct mc_shape s = mc_shape_of(1, DIMS(NET_WIDTH));
            struct mc_tensor *t;
            build_ok(mc_constant_make(p[i], &s, MC_DTYPE_F32, NULL, &t, &err), &err);
            build_ok(mc_constant_replace(n->in[i + 1], t, &err), &err);
            mc_tensor_unref(t);
        }
    }
    build_ok(mc_verify(m, &err), &err);
    outputs(m, y);
    build_ok(mc_pass_binarize.finish(&ctx, NULL, m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(how_many(m, "XnorGemm"), 2);
    outputs(m, z);
    for (int j = 0; j < NET_SAMPLES * NET_OUT; j++)
        if (!(fabsf(y[j] - z[j]) <= 2e-5F * fmaxf(1, fabsf(y[j]))))
            fail_msg("output %d is %.9g and %.9g", j, (double)y[j], (double)z[j]);
    mc_model_free(m);
    mc_model_free(given);
}

static void stages_are_inputs_then_weights(void **state)
{
    (void)state;
    struct mc_model *given = binarize_net(), *m = made("{\"activations\": true}");
    struct mc_pass_ctx ctx = {.given = given};
    struct mc_pass_stage s;
    json_t *o = options_of("{\"activations\": true}"), *alone = options_of("{}");
    build_ok(mc_pass_binarize.convert(&ctx, o, m, &err), &err);
    build_ok(mc_pass_binarize.stage(&ctx, o, 0, m, &s, &err), &err);
    assert_false(s.last);
    double share = s.share;
    assert_int_equal(mc_node_int(the(m, "BinarizeWeight", 1), "real", 0), 1);
    build_ok(mc_pass_binarize.stage(&ctx, o, 1, m, &s, &err), &err);
    assert_true(s.last && fabs(share + s.share - 1) < 1e-12 && share > 0 && s.share > 0);
    assert_null(mc_node_attr(the(m, "BinarizeWeight", 1), "real"));
    build_ok(mc_pass_binarize.stage(&ctx, alone, 0, m, &s, &err), &err);
    assert_true(s.last && s.share == 1);
    json_decref(o);
    json_decref(alone);
    mc_model_free(m);
    mc_model_free(given);
}

/* Everything in the training form learns, and what is written computes what was trained. */
static void it_learns(void **state)
{
    (void)state;
    static float y[NET_SAMPLES * NET_OUT], z[NET_SAMPLES * NET_OUT];
    struct mc_model *given = binarize_net(), *m = made("{\"activations\": true}");
    struct memory_data d;
    struct mc_pass_ctx ctx = {.given = given};
    struct mc_train_ctx how = {.seed = 1};
    json_t *o = options_of("{\"lr\": 0.01, \"holdout\": 0, \"batch\": 32}"), *r = NULL;
    build_ok(mc_pass_binarize.convert(&ctx, NULL, m, &err), &err);
    struct mc_dataset *data = net_data(&d);
    build_ok(mc_train_run(m, NULL, data, 40, o, &how, &r, &err), &err);
    const json_t *curve = json_object_get(r, "curve"), *e;
    double first = mc_json_number(json_array_get(curve, 0), "loss", NAN);
    double last = mc_json_number(json_array_get(curve, json_array_size(curve) - 1), "loss", NAN);
    if (!(last < 0.5 * first))
        fail_msg("loss %g -> %g", first, last);
    size_t i, latent = 0, norms = 0;
    json_array_foreach(json_object_get(r, "trained"), i, e)
    {
        const char *name = mc_json_string_or(e, "name", "");
        latent += !strncmp(name, "inner.w", 7) || !strncmp(name, "product.w", 9);
        norms += strstr(name, "norm.") != NULL;
    }
    assert_int_equal(latent, 2);
    assert_int_equal(norms, 8);
    json_decref(r);
    json_decref(o);
    outputs(m, y);
    build_ok(mc_pass_binarize.finish(&ctx, NULL, m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    outputs(m, z);
    size_t differ = 0; /* a value within a rounding of its threshold may be on the other side */
    for (int j = 0; j < NET_SAMPLES * NET_OUT; j++)
        differ += !(fabsf(y[j] - z[j]) <= 1e-4F * fmaxf(1, fabsf(y[j])));
    assert_true(differ <= NET_OUT);
    mc_model_free(m);
    mc_model_free(given);
}

/* ---- errors ---- */

static void expect_error(struct mc_model *m, const char *options, int code, const char *words)
{
    int rc = run_pass(m, options, NULL);
    if (rc != code || !strstr(err.msg, words))
        fail_msg("%d, '%s': not %d, '%s'", rc, rc ? err.msg : "", code, words);
    mc_model_free(m);
}

static void errors_are_named(void **state)
{
    (void)state;
    expect_error(binarize_net(), "{\"only\": \"nothing\"}", MC_EUSAGE,
                 "no layer and no weight matches");
    expect_error(binarize_net(), "{\"skip\": \"(\"}", MC_EUSAGE, "no regular expression");
    expect_error(binarize_net(), "{\"only\": \"first\"}", MC_EUNSUP, "nothing can be binarised");
    expect_error(binarize_net(), "{\"no-shortcut\": true}", MC_EUSAGE, "--activations");
    expect_error(made("{}"), "{}", MC_EUNSUP, "binarised already");
    expect_error(made("{\"all\": true, \"activations\": true}"), "{}", MC_EUNSUP,
                 "binarised already");
    struct mc_model *m = binarize_net();
    struct mc_value *w = mc_graph_value(m->graph, "inner.w");
    struct mc_tensor *t;
    float x[NET_WIDTH * NET_WIDTH];
    memcpy(x, floats(w), sizeof x);
    x[17] = NAN;
    build_ok(mc_constant_make(x, &mc_constant(w)->shape, MC_DTYPE_F32, NULL, &t, &err), &err);
    build_ok(mc_constant_replace(w, t, &err), &err);
    mc_tensor_unref(t);
    expect_error(m, "{}", MC_EDATA, "element 17 of its weight 'inner.w' is NaN");
    /* what is constant has one sign */
    m = binarize_net();
    w = mc_graph_value(m->graph, "first.w");
    float zeros[NET_WIDTH * NET_IN] = {0};
    build_ok(mc_constant_make(zeros, &mc_constant(w)->shape, MC_DTYPE_F32, NULL, &t, &err), &err);
    build_ok(mc_constant_replace(w, t, &err), &err);
    mc_tensor_unref(t);
    expect_error(m, "{\"activations\": true}", MC_EDATA, "one sign whatever the sample");
    /* no samples */
    m = binarize_net();
    struct mc_pass_ctx ctx = {0};
    json_t *o = options_of("{\"activations\": true}"), *r = NULL;
    assert_int_equal(mc_pass_binarize.run(&ctx, o, m, &r, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "--calib"));
    json_decref(o);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_signs_and_a_scale),
        cmocka_unit_test(expanded_is_the_same),
        cmocka_unit_test(layers_are_chosen),
        cmocka_unit_test(inputs_are_signs),
        cmocka_unit_test(thresholds_are_means),
        cmocka_unit_test(converted_and_finished_is_what_was),
        cmocka_unit_test(a_file_is_opened_again),
        cmocka_unit_test(what_is_computed_stays),
        cmocka_unit_test(norms_become_thresholds),
        cmocka_unit_test(stages_are_inputs_then_weights),
        cmocka_unit_test(it_learns),
        cmocka_unit_test(errors_are_named),
    };
    return cmocka_run_group_tests_name("binarize", tests, NULL, NULL);
}
