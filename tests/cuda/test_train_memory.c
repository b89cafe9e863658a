/* Training on a GPU that has less and less memory: batches run in parts, in the same updates and with the same results;
 * where not even one sample fits, it says so, and the model is as it was. */
#include "../run/gpu_util.h"
#include "../train/train_util.h"

enum { IN = 64, INNER = 128, BATCH = 256, COUNT = 640 };

static float points[COUNT * IN];
static int64_t answers[COUNT];

/* Rounding of sums in another order, through some steps of an optimiser without roots. */
static const double CLOSE = 1e-4;

static struct mc_model *wide_net(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, IN));
    x = build_unary(g, "Tanh", "curve", gemm(g, x, "first", IN, INNER, 3));
    build_output(g, gemm(g, x, "last", INNER, CLASSES, 5));
    return m;
}

struct outcome {
    struct mc_model *m;
    json_t *report; /* NULL: *err says why */
    struct mc_err err;
    int rc;
    size_t peak, fixed; /* of the device: by the sessions, and by staging memory */
};

/* limit: bytes that the device has; 0: as many as it likes. */
static struct outcome run(size_t limit)
{
    char text[32];
    struct outcome o = {.m = wide_net()};
    struct memory_data memory;
    struct mc_dataset *d = memory_open(&memory, "x", COUNT, 1, DIMS(IN), points, answers);
    struct gpu_pool pool = gpu_pool_open();
    struct mc_gpu_memory used;
    const struct mc_train_ctx ctx = {.seed = 5, .pool = pool.pool};
    snprintf(text, sizeof text, "%zu", limit);
    if (limit)
        assert_int_equal(setenv("MC_SIM_MEMORY", text, 1), 0);
    o.rc =
        train(o.m, NULL, d, 2, "{\"batch\":256,\"lr\":0.05,\"optimizer\":\"sgd\",\"holdout\":0.2}",
              &ctx, &o.report, &o.err);
    assert_int_equal(unsetenv("MC_SIM_MEMORY"), 0);
    mc_gpu_memory(pool.gpu, &used);
    o.peak = used.peak;
    o.fixed = used.workspace;
    gpu_pool_close(&pool);
    return o;
}

static void drop(struct outcome *o)
{
    json_decref(o->report);
    mc_model_free(o->m);
}

static double entry(const json_t *list, size_t i, const char *key)
{
    return json_number_value(json_object_get(json_array_get(list, i), key));
}

static void expect_close(const char *what, double got, double want)
{
    if (!(fabs(got - want) <= CLOSE * (1 + fabs(want))))
        fail_msg("%s is %.9g, not %.9g", what, got, want);
}

static void compare(const struct outcome *got, const struct outcome *want)
{
    static const char *const weights[] = {"first.w", "first.b", "last.w", "last.b"};
    static const int sizes[] = {IN * INNER, INNER, INNER * CLASSES, CLASSES};
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < sizes[k]; i++)
            expect_close(weights[k], (double)weights_of(got->m, weights[k])[i],
                         (double)weights_of(want->m, weights[k])[i]);
    static const char *const lists[] = {"curve", "epochs_log"};
    static const char *const keys[] = {"loss", "held_loss"};
    for (int k = 0; k < 2; k++) {
        const json_t *a = json_object_get(got->report, lists[k]);
        const json_t *b = json_object_get(want->report, lists[k]);
        assert_int_equal(json_array_size(a), json_array_size(b));
        assert_true(json_array_size(a) > 1);
        for (size_t i = 0; i < json_array_size(a); i++)
            expect_close(lists[k], entry(a, i, keys[k]), entry(b, i, keys[k]));
    }
}

static int64_t whole(const struct outcome *o, const char *key)
{
    return json_integer_value(json_object_get(o->report, key));
}

static void less_and_less(void **state)
{
    (void)state;
    mc_rng_fill_normal(9, 1, 0, points, COUNT * IN);
    for (int i = 0; i < COUNT; i++)
        answers[i] = points[i * IN] + points[i * IN + 1] > 0 ? i % 2 : 2;
    struct outcome all = run(0);
    assert_int_equal(all.rc, 0);
    assert_int_equal(whole(&all, "batch_at_once"), BATCH);
    assert_null(json_object_get(all.report, "batch_why"));
    int64_t last = BATCH;
    int sizes = 0;
    bool fails = false;
    for (int k = 20; k > 0; k--) {
        size_t limit = all.fixed + all.peak * (size_t)k / 16;
        struct outcome o = run(limit);
        if (o.rc) {
            struct mc_model *untouched = wide_net();
            fails = true;
            assert_int_equal(o.rc, MC_ENOMEM);
            if (!strstr(o.err.msg, "not even a step on 1 sample fits: "))
                fail_msg("%s", o.err.msg);
            assert_true(same_weights(o.m, untouched));
            mc_model_free(untouched);
            drop(&o);
            continue;
        }
        assert_false(fails);
        int64_t at_once = whole(&o, "batch_at_once");
        char want[64];
        const char *why = json_string_value(json_object_get(o.report, "batch_why"));
        snprintf(want, sizeof want, "batch 256 as %d x %d: ", (int)(BATCH / at_once), (int)at_once);
        assert_true(at_once <= last && BATCH % at_once == 0);
        assert_int_equal(why == NULL, at_once == BATCH);
        if (why && strncmp(why, want, strlen(want)) != 0)
            fail_msg("%s", why);
        assert_int_equal(whole(&o, "updates"), whole(&all, "updates"));
        print_message("%zu bytes: %d at once\n", limit, (int)at_once);
        compare(&o, &all);
        sizes += at_once < last;
        last = at_once;
        drop(&o);
    }
    assert_true(sizes > 1 && fails);
    drop(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(less_and_less)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
