/* Runs of training: what comes out, what is left alone, what is refused. */
#include "train_util.h"

static double first_number(const json_t *report, const char *list, const char *key, bool last)
{
    const json_t *a = json_object_get(report, list);
    const json_t *row = json_array_get(a, last ? json_array_size(a) - 1 : 0);
    return json_number_value(json_object_get(row, key));
}

static void learns_from_labels(void **state)
{
    (void)state;
    static const char *const recipes[] = {
        "{}",
        "{\"optimizer\": \"sgd\", \"nesterov\": true}",
        "{\"optimizer\": \"adam\", \"schedule\": \"onecycle\"}",
        "{\"optimizer\": \"sgd\", \"lr\": 0.1, \"ema\": 0.9, \"clip\": 1, \"schedule\": \"step\"}",
        "{\"batch\": 10, \"accumulate\": 3, \"schedule\": \"constant\", \"loss\": \"bce\"}",
        "{\"loss\": \"mse\", \"balance\": true, \"batch\": 15}"};
    struct samples s;
    struct mc_dataset *d = make_samples(&s, 1, true);
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        struct mc_model *m = make_net(-2, false, 20);
        struct mc_err err;
        json_t *report;
        build_ok(train(m, NULL, d, 40, recipes[i], NULL, &report, &err), &err);
        double got = accuracy(m, &s, SAMPLES);
        if (!(got >= 0.93))
            fail_msg("%s: %.3f", recipes[i], got);
        assert_true(first_number(report, "curve", "loss", true) <
                    0.7 * first_number(report, "curve", "loss", false));
        assert_true(json_number_value(json_object_get(report, "lr")) > 0);
        assert_int_equal(json_array_size(json_object_get(report, "trained")), 4);
        json_decref(report);
        mc_model_free(m);
    }
}

static void learns_from_a_teacher_alone(void **state)
{
    (void)state;
    static const char *const losses[] = {"auto", "kd", "outputs", "cosine", "blocks", "mse"};
    struct samples s;
    struct mc_err err;
    make_samples(&s, 1, true);
    struct mc_model *teacher = make_net(-2, false, 40);
    build_ok(train(teacher, NULL, &s.data.d, 40, "{\"batch\": 15}", NULL, NULL, &err), &err);
    assert_true(accuracy(teacher, &s, SAMPLES) >= 0.93);
    struct mc_dataset *d = make_samples(&s, 1, false);
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        char text[64];
        json_t *report;
        snprintf(text, sizeof text, "{\"loss\": \"%s\"}", losses[i]);
        struct mc_model *m = make_net(-2, false, 20);
        build_ok(train(m, teacher, d, 60, text, NULL, &report, &err), &err);
        double got = accuracy(m, &s, SAMPLES);
        if (!(got >= 0.9))
            fail_msg("%s: %.3f", losses[i], got);
        const char *name = json_string_value(json_object_get(report, "loss"));
        assert_string_equal(name, i ? losses[i] : "kd");
        json_decref(report);
        mc_model_free(m);
    }
    mc_model_free(teacher);
}

/* Sample by sample is the same mathematics as all of them at once; so are batches added up. */
static void a_frozen_batch_and_accumulation_give_the_same(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    struct mc_dataset *d = make_samples(&s, 1, true);
    struct mc_model *one = make_net(1, false, 20), *any = make_net(-2, false, 20),
                    *added = make_net(-2, false, 20), *five = make_net(5, false, 20),
                    *all = make_net(-2, false, 20);
    static const char text[] =
        "{\"optimizer\": \"sgd\", \"lr\": 0.05, \"batch\": 15, \"holdout\": 0}";
    static const char parts[] = "{\"optimizer\": \"sgd\", \"lr\": 0.05, \"batch\": 5, "
                                "\"accumulate\": 3, \"holdout\": 0}";
    build_ok(train(any, NULL, d, 3, text, NULL, NULL, &err), &err);
    build_ok(train(one, NULL, d, 3, text, NULL, NULL, &err), &err);
    build_ok(train(added, NULL, d, 3, parts, NULL, NULL, &err), &err);
    static const char plain[] = "{\"optimizer\": \"sgd\", \"lr\": 0.05, \"holdout\": 0}";
    build_ok(train(five, NULL, d, 3, plain, NULL, NULL, &err), &err);
    build_ok(train(all, NULL, d, 3, plain, NULL, NULL, &err), &err);
    const float *w = weights_of(any, "first.w"), *w1 = weights_of(one, "first.w"),
                *w3 = weights_of(added, "first.w");
    const float *w4 = weights_of(five, "first.w"), *w5 = weights_of(all, "first.w");
    struct mc_model *before = make_net(-2, false, 20);
    const float *w0 = weights_of(before, "first.w");
    double moved = 0;
    for (int i = 0; i < WIDTH * HIDDEN; i++) {
        moved = fmax(moved, fabs((double)w[i] - (double)w0[i]));
        assert_true(fabs((double)w[i] - (double)w1[i]) < 1e-5);
        assert_true(fabs((double)w[i] - (double)w3[i]) < 1e-5);
        assert_true(fabs((double)w4[i] - (double)w5[i]) < 1e-5);
    }
    assert_true(moved > 0.01);
    mc_model_free(before);
    mc_model_free(any);
    mc_model_free(one);
    mc_model_free(added);
    mc_model_free(five);
    mc_model_free(all);
}

/* Layers whose gradients read what they read. */
static struct mc_model *make_deep(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, WIDTH));
    x = gemm(g, x, "first", WIDTH, HIDDEN, 1);
    for (int i = 0; i < 8; i++)
        x = build_unary(g, "Softplus", "act",
                        gemm(g, x, "inner", HIDDEN, HIDDEN, 10 + (uint64_t)i));
    build_output(g, gemm(g, x, "last", HIDDEN, CLASSES, 50));
    return m;
}

/* Where it is enough, a limit of memory has values computed again: batches stay whole, and weights the same bytes. */
static void memory_is_saved_by_computing_again(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    struct mc_dataset *d = make_samples(&s, 1, true);
    struct mc_model *any = make_deep(), *less = make_deep(), *untouched = make_deep();
    json_t *report;
    char text[128];
    static const char with[] =
        "{\"optimizer\": \"sgd\", \"lr\": 0.05, \"batch\": 64, \"mem\": %lld}";
    snprintf(text, sizeof text, with, 1LL << 40);
    build_ok(train(any, NULL, d, 2, text, NULL, &report, &err), &err);
    long long peak = json_integer_value(json_object_get(report, "peak_bytes"));
    assert_int_equal(json_integer_value(json_object_get(report, "recomputed")), 0);
    json_decref(report);
    snprintf(text, sizeof text, with, peak - 1);
    build_ok(train(less, NULL, d, 2, text, NULL, &report, &err), &err);
    assert_true(json_integer_value(json_object_get(report, "peak_bytes")) < peak);
    assert_int_equal(json_integer_value(json_object_get(report, "batch_at_once")), 64);
    assert_true(json_integer_value(json_object_get(report, "recomputed")) > 0);
    json_decref(report);
    assert_true(same_weights(any, less));
    assert_false(same_weights(any, untouched));
    mc_model_free(untouched);
    mc_model_free(any);
    mc_model_free(less);
}

/* A limit of memory cuts batches into parts, which changes nothing else. */
static void a_limit_of_memory_is_kept(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    struct mc_dataset *d = make_samples(&s, 1, true);
    struct mc_model *any = make_net(-2, false, 20), *part = make_net(-2, false, 20);
    static const char free_text[] = "{\"optimizer\": \"sgd\", \"lr\": 0.05, \"batch\": 64}";
    static const char tight[] =
        "{\"optimizer\": \"sgd\", \"lr\": 0.05, \"batch\": 64, \"mem\": %lld}";
    json_t *report;
    build_ok(train(any, NULL, d, 3, free_text, NULL, &report, &err), &err);
    long long peak = json_integer_value(json_object_get(report, "peak_bytes"));
    assert_int_equal(json_integer_value(json_object_get(report, "batch_at_once")), 64);
    json_decref(report);
    char text[128];
    snprintf(text, sizeof text, tight, peak * 2 / 3);
    build_ok(train(part, NULL, d, 3, text, NULL, &report, &err), &err);
    assert_true(json_integer_value(json_object_get(report, "peak_bytes")) <= peak * 2 / 3);
    int64_t parts = json_integer_value(json_object_get(report, "batch_at_once"));
    assert_true(parts < 64 && 64 % parts == 0);
    json_decref(report);
    const float *w = weights_of(any, "first.w"), *w2 = weights_of(part, "first.w");
    for (int i = 0; i < WIDTH * HIDDEN; i++)
        assert_true(fabs((double)w[i] - (double)w2[i]) < 1e-5);
    assert_int_equal(train(part, NULL, d, 3, "{\"mem\": 100}", NULL, NULL, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "--mem"));
    mc_model_free(any);
    mc_model_free(part);
}

static void frozen_weights_stay(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    struct mc_dataset *d = make_samples(&s, 1, true);
    static const char *const texts[] = {"{\"freeze\": \"^first\", \"lr\": 0.01}",
                                        "{\"train-only\": \"last\", \"lr\": 0.01}"};
    for (int i = 0; i < 2; i++) {
        struct mc_model *m = make_net(-2, false, 20), *before = make_net(-2, false, 20);
        json_t *report;
        build_ok(train(m, NULL, d, 5, texts[i], NULL, &report, &err), &err);
        size_t bytes = WIDTH * HIDDEN * sizeof(float);
        assert_memory_equal(weights_of(m, "first.w"), weights_of(before, "first.w"), bytes);
        bytes = HIDDEN * CLASSES * sizeof(float);
        assert_memory_not_equal(weights_of(m, "last.w"), weights_of(before, "last.w"), bytes);
        assert_int_equal(json_array_size(json_object_get(report, "trained")), 2);
        assert_int_equal(json_array_size(json_object_get(report, "frozen")), 2);
        json_decref(report);
        mc_model_free(m);
        mc_model_free(before);
    }
}

/* In training mode, statistics of the data get into the model; frozen, they stay. */
static void batchnorm_statistics_follow(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    struct mc_dataset *d = make_samples(&s, 1, true);
    for (int frozen = 0; frozen < 2; frozen++) {
        struct mc_model *m = make_net(-2, true, 20);
        json_t *report;
        build_ok(train(m, NULL, d, 40, frozen ? "{\"batchnorm\": \"frozen\"}" : "{}", NULL, &report,
                       &err),
                 &err);
        const float *mean = weights_of(m, "mean");
        double largest = 0;
        for (int i = 0; i < HIDDEN; i++)
            largest = fmax(largest, fabs((double)mean[i]));
        assert_true(frozen ? largest == 0 : largest > 0.1);
        assert_int_equal(json_integer_value(json_object_get(report, "batchnorms")), !frozen);
        assert_true(accuracy(m, &s, SAMPLES) >= 0.93);
        json_decref(report);
        mc_model_free(m);
    }
}

static void threads_change_nothing(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    struct mc_dataset *d = make_samples(&s, 1, true);
    struct mc_model *m[2], *teacher = make_net(-2, false, 60);
    for (int i = 0; i < 2; i++) {
        struct mc_train_ctx ctx = {.seed = 9};
        build_ok(mc_pool_new(i + 1, &ctx.pool, &err), &err);
        m[i] = make_net(-2, true, 20);
        build_ok(train(m[i], teacher, d, 4, "{\"augment\": \"noise=0.1\"}", &ctx, NULL, &err),
                 &err);
        mc_pool_free(ctx.pool);
    }
    assert_true(same_weights(m[0], m[1]));
    struct mc_train_ctx ctx = {.seed = 10};
    struct mc_model *other = make_net(-2, true, 20);
    build_ok(train(other, teacher, d, 4, "{\"augment\": \"noise=0.1\"}", &ctx, NULL, &err), &err);
    assert_false(same_weights(m[0], other));
    mc_model_free(m[0]);
    mc_model_free(m[1]);
    mc_model_free(other);
    mc_model_free(teacher);
}

/* A rate that is much too high is lowered until it works; one that no lowering helps is an error, and the model is
 * what it was. */
static void divergence_is_recovered_from(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    struct mc_dataset *d = make_samples(&s, 1, true);
    struct mc_model *m = make_net(-2, false, 20), *before = make_net(-2, false, 20);
    json_t *report;
    static const char high[] = "{\"optimizer\": \"sgd\", \"lr\": 0.3, \"loss\": \"mse\", "
                               "\"schedule\": \"constant\", \"warmup\": 0}";
    build_ok(train(m, NULL, d, 60, high, NULL, &report, &err), &err);
    size_t n = json_array_size(json_object_get(report, "recoveries"));
    assert_in_range(n, 1, 5);
    assert_true(first_number(report, "recoveries", "lr", false) == 0.3 * 0.3);
    assert_true(accuracy(m, &s, SAMPLES) >= 0.8);
    json_decref(report);
    mc_model_free(m);
    m = make_net(-2, false, 20);
    static const char absurd[] = "{\"optimizer\": \"sgd\", \"lr\": 1000, \"loss\": \"mse\", "
                                 "\"schedule\": \"constant\", \"warmup\": 0, \"weight-decay\": 10}";
    assert_int_equal(train(m, NULL, d, 60, absurd, NULL, NULL, &err), MC_EFAIL);
    assert_non_null(strstr(err.msg, "diverges"));
    assert_true(same_weights(m, before));
    mc_model_free(m);
    mc_model_free(before);
}

static json_t *log_of(json_t *report, size_t i)
{
    return json_array_get(json_object_get(report, "epochs_log"), i);
}

/* The lowest held-out loss after the beginning is what is kept, not the last one; patience ends the run. */
static void the_best_weights_are_kept(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    struct mc_dataset *d = make_samples(&s, 1, true);
    struct mc_model *m = make_net(-2, false, 20);
    json_t *report;
    build_ok(train(m, NULL, d, 60,
                   "{\"optimizer\": \"adam\", \"lr\": 0.3, \"holdout\": 0.3, \"patience\": 9, "
                   "\"schedule\": \"constant\", \"augment\": \"noise=2\"}",
                   NULL, &report, &err),
             &err);
    const json_t *best = json_object_get(report, "best");
    double lowest = INFINITY, epoch = 0;
    size_t n = json_array_size(json_object_get(report, "epochs_log"));
    for (size_t i = 1; i < n; i++) {
        double loss = json_number_value(json_object_get(log_of(report, i), "held_loss"));
        if (loss < lowest) {
            lowest = loss;
            epoch = json_number_value(json_object_get(log_of(report, i), "epoch"));
        }
    }
    assert_true(n > 10 && n < 60);
    assert_true(json_is_true(json_object_get(report, "stopped_early")));
    assert_true(json_number_value(json_object_get(best, "loss")) == lowest);
    assert_true(json_number_value(json_object_get(best, "epoch")) == epoch);
    assert_true(json_number_value(json_object_get(log_of(report, n - 1), "epoch")) == epoch + 9);
    json_decref(report);
    mc_model_free(m);
}

/* Training that only ruins it ends with the weights that it began with. */
static void ruined_weights_are_not_kept(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    struct mc_dataset *d = make_samples(&s, 1, true);
    struct mc_model *m = make_net(-2, false, 20), *before;
    build_ok(train(m, NULL, d, 40, "{}", NULL, NULL, &err), &err);
    build_ok(mc_model_clone(m, &before, &err), &err);
    json_t *report;
    build_ok(train(m, NULL, d, 2,
                   "{\"optimizer\": \"adam\", \"lr\": 30, \"holdout\": 0.2, \"schedule\": "
                   "\"constant\", \"warmup\": 0}",
                   NULL, &report, &err),
             &err);
    const json_t *best = json_object_get(report, "best");
    assert_true(json_number_value(json_object_get(best, "epoch")) == 0);
    assert_true(same_weights(m, before));
    json_decref(report);
    mc_model_free(m);
    mc_model_free(before);
}

static void bad_input_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double epochs;
        bool labels, teacher;
        int code;
        const char *says;
    } rows[] = {
        {"{}", 1, false, false, MC_EDATA, "no labels"},
        {"{\"batch\": 91}", 1, true, false, MC_EDATA, "a batch of 91 is larger than the data"},
        {"{\"freeze\": \".\"}", 1, true, false, MC_EUNSUP, "can be trained"},
        {"{\"freeze\": \"(\"}", 1, true, false, MC_EUSAGE, "("},
        {"{\"loss\": \"ctc\"}", 1, true, false, MC_EDATA, "sequence of labels"},
        {"{\"loss\": \"kd\"}", 1, true, false, MC_EUSAGE, "needs a teacher"},
        {"{\"nesterov\": true}", 1, true, false, MC_EUSAGE, "--nesterov"},
        {"{\"blocks\": [\"relu\"]}", 1, true, true, MC_EUSAGE, "--blocks"},
        {"{\"augment\": \"swirl\"}", 1, true, false, MC_EUSAGE, "swirl"},
        {"{\"augment\": \"mixup=0.2\"}", 1, false, true, MC_EDATA, "mixup"},
        {"{\"balance\": true}", 1, false, true, MC_EDATA, "labels"},
        {"{}", 0, true, false, MC_EUSAGE, "0 epochs"},
        {"{\"lr\": -1}", 1, true, false, MC_EUSAGE, "lr"},
        {"{\"unheard-of\": 1}", 1, true, false, MC_EUSAGE, "unheard-of"},
    };
    struct mc_model *teacher = make_net(-2, false, 60);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct samples s;
        struct mc_err err = {0};
        struct mc_dataset *d = make_samples(&s, 1, rows[i].labels);
        struct mc_model *m = make_net(-2, false, 20), *before = make_net(-2, false, 20);
        int rc = train(m, rows[i].teacher ? teacher : NULL, d, rows[i].epochs, rows[i].text, NULL,
                       NULL, &err);
        if (rc != rows[i].code || !strstr(err.msg, rows[i].says))
            fail_msg("%s: %d, %s", rows[i].text, rc, err.msg);
        assert_true(same_weights(m, before));
        mc_model_free(m);
        mc_model_free(before);
    }
    mc_model_free(teacher);
}

static void bad_samples_are_named(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct samples s;
        struct mc_err err = {0};
        struct mc_dataset *d = make_samples(&s, 1, true);
        if (i == 0)
            s.x[41 * WIDTH + 2] = NAN;
        else
            s.labels[17] = i == 1 ? CLASSES : -1;
        struct mc_model *m = make_net(-2, false, 20), *before = make_net(-2, false, 20);
        assert_int_equal(train(m, NULL, d, 2, "{\"lr\": 0.01}", NULL, NULL, &err), MC_EDATA);
        const char *says = i ? "17" : "41";
        if (!strstr(err.msg, says))
            fail_msg("%s", err.msg);
        assert_true(same_weights(m, before));
        mc_model_free(m);
        mc_model_free(before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_from_labels),
        cmocka_unit_test(learns_from_a_teacher_alone),
        cmocka_unit_test(a_frozen_batch_and_accumulation_give_the_same),
        cmocka_unit_test(memory_is_saved_by_computing_again),
        cmocka_unit_test(a_limit_of_memory_is_kept),
        cmocka_unit_test(frozen_weights_stay),
        cmocka_unit_test(batchnorm_statistics_follow),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(divergence_is_recovered_from),
        cmocka_unit_test(the_best_weights_are_kept),
        cmocka_unit_test(ruined_weights_are_not_kept),
        cmocka_unit_test(bad_input_is_named),
        cmocka_unit_test(bad_samples_are_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
