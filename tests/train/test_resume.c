/* A run that was stopped, or killed, and taken up again ends with the same bytes as one that was not. */
#include "train_util.h"

static char dir[] = "/tmp/mc_test_resume.XXXXXX";
static char file[64];

static const struct recipe {
    const char *text;
    bool norm, teacher;
    int64_t every;
} recipes[] = {
    {"{\"batch\": 25, \"lr\": 0.01, \"holdout\": 0.2}", false, false, 1},
    {"{\"batch\": 20, \"accumulate\": 2, \"optimizer\": \"sgd\", \"ema\": 0.9, \"augment\": "
     "\"noise=0.1\"}",
     true, true, 2},
    {"{\"batch\": 30, \"optimizer\": \"sgd\", \"lr\": 3, \"schedule\": \"constant\", \"loss\": "
     "\"mse\", \"holdout\": 0.2}",
     false, false, 1}, /* with ways back */
};

enum { RECIPES = sizeof recipes / sizeof *recipes, EPOCHS = 3 };

struct watcher {
    int calls, stop_at; /* ask for an interrupt at that call; 0: never */
    bool keep;          /* a copy of the checkpoint as it is at each call */
};

static void copy_file(const char *from, const char *to)
{
    char block[4096];
    FILE *in = fopen(from, "rb"), *out = in ? fopen(to, "wb") : NULL;
    for (size_t n; out && (n = fread(block, 1, sizeof block, in));)
        assert_int_equal(fwrite(block, 1, n, out), n);
    if (in)
        fclose(in);
    if (out)
        fclose(out);
}

static void told(void *ctx, const char *what, double done, double total)
{
    struct watcher *w = ctx;
    (void)what;
    (void)done;
    (void)total;
    w->calls++;
    if (w->calls == w->stop_at)
        mc_interrupt_request();
    if (w->keep) {
        char to[80];
        snprintf(to, sizeof to, "%s.%d", file, w->calls);
        copy_file(file, to);
    }
}

static int go(const struct recipe *r, struct mc_model *m, const char *checkpoint, struct watcher *w,
              json_t **ret_report, struct mc_err *err)
{
    struct samples s;
    struct mc_progress p = {told, w};
    struct mc_dataset *d = make_samples(&s, 1, true);
    struct mc_model *teacher = r->teacher ? make_net(-2, false, 60) : NULL;
    struct mc_train_ctx ctx = {
        .seed = 7, .progress = &p, .checkpoint = checkpoint, .checkpoint_every = r->every};
    int rc = train(m, teacher, d, EPOCHS, r->text, &ctx, ret_report, err);
    mc_model_free(teacher);
    return rc;
}

static struct mc_model *fresh(const struct recipe *r)
{
    return make_net(-2, r->norm, 20);
}

/* Curves and logs too, but for the seconds. */
static void expect_same_report(json_t *a, json_t *b)
{
    static const char *const keys[] = {"curve", "best", "recoveries", "lr", "updates", "lr_found"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i])))
            fail_msg("'%s' of the reports differ", keys[i]);
    const json_t *la = json_object_get(a, "epochs_log"), *lb = json_object_get(b, "epochs_log");
    assert_int_equal(json_array_size(la), json_array_size(lb));
    for (size_t i = 0; i < json_array_size(la); i++)
        assert_true(json_equal(json_object_get(json_array_get(la, i), "held_loss"),
                               json_object_get(json_array_get(lb, i), "held_loss")));
}

static void stopped_anywhere(void **state)
{
    (void)state;
    for (int i = 0; i < RECIPES; i++) {
        const struct recipe *r = &recipes[i];
        struct mc_model *whole = fresh(r);
        struct watcher w = {0};
        struct mc_err err;
        json_t *report, *again;
        build_ok(go(r, whole, NULL, &w, &report, &err), &err);
        assert_true(w.calls > 5);
        for (int at = 1; at <= w.calls; at++) {
            struct mc_model *m = fresh(r), *before = fresh(r);
            struct watcher stop = {.stop_at = at}, on = {0};
            unlink(file);
            int rc = go(r, m, file, &stop, NULL, &err);
            mc_interrupt_clear();
            if (rc) { /* the last call comes when there is nothing left to stop */
                assert_int_equal(rc, MC_EINTR);
                assert_non_null(strstr(err.msg, file));
                assert_true(same_weights(m, before));
                build_ok(go(r, m, file, &on, &again, &err), &err);
                expect_same_report(report, again);
                json_decref(again);
            } else {
                assert_int_equal(at, w.calls);
            }
            if (!same_weights(m, whole))
                fail_msg("recipe %d, stopped at call %d: other weights", i, at);
            mc_model_free(m);
            mc_model_free(before);
        }
        json_decref(report);
        mc_model_free(whole);
        unlink(file);
    }
}

static void killed_anywhere(void **state)
{
    (void)state;
    for (int i = 0; i < RECIPES; i++) {
        const struct recipe *r = &recipes[i];
        struct mc_model *whole = fresh(r);
        struct watcher w = {.keep = true};
        struct mc_err err;
        build_ok(go(r, whole, file, &w, NULL, &err), &err);
        int found = 0;
        for (int at = 1; at <= w.calls; at++) {
            char name[80];
            snprintf(name, sizeof name, "%s.%d", file, at);
            struct watcher on = {0};
            struct mc_model *m = fresh(r);
            found += access(name, F_OK) == 0;
            build_ok(go(r, m, name, &on, NULL, &err), &err);
            if (!same_weights(m, whole))
                fail_msg("recipe %d, killed at call %d: other weights", i, at);
            mc_model_free(m);
            unlink(name);
        }
        assert_true(found > 3);
        /* what is done is not done again */
        struct watcher idle = {0};
        struct mc_model *m = fresh(r);
        build_ok(go(r, m, file, &idle, NULL, &err), &err);
        assert_int_equal(idle.calls, 1); /* the plan */
        assert_true(same_weights(m, whole));
        mc_model_free(m);
        mc_model_free(whole);
        unlink(file);
    }
}

static void checkpoints_of_other_runs_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
        uint64_t net, seed;
        double epochs;
        bool teacher;
    } rows[] = {
        {"{\"lr\": 0.01}", "another model", 21, 7, 2, false},
        {"{\"lr\": 0.01}", "another seed", 20, 8, 2, false},
        {"{\"lr\": 0.01}", "another number of epochs", 20, 7, 3, false},
        {"{\"lr\": 0.02}", "other options", 20, 7, 2, false},
        {"{\"lr\": 0.01}", "another teacher", 20, 7, 2, true},
    };
    struct samples s;
    struct mc_err err;
    struct mc_dataset *d = make_samples(&s, 1, true);
    struct mc_train_ctx ctx = {.seed = 7, .checkpoint = file};
    struct mc_model *m = make_net(-2, false, 20), *teacher = make_net(-2, false, 60);
    build_ok(train(m, NULL, d, 2, "{\"lr\": 0.01}", &ctx, NULL, &err), &err);
    mc_model_free(m);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        m = make_net(-2, false, rows[i].net);
        ctx.seed = rows[i].seed;
        int rc = train(m, rows[i].teacher ? teacher : NULL, d, rows[i].epochs, rows[i].text, &ctx,
                       NULL, &err);
        assert_int_equal(rc, MC_EFORMAT);
        if (!strstr(err.msg, rows[i].says) || !strstr(err.msg, file))
            fail_msg("%s: %s", rows[i].says, err.msg);
        mc_model_free(m);
    }
    /* where nothing can be written, nothing is begun */
    struct watcher w = {0};
    struct mc_progress p = {told, &w};
    struct mc_train_ctx nowhere = {.progress = &p, .checkpoint = "/proc/no/such/folder/run"};
    m = make_net(-2, false, 20);
    assert_int_equal(train(m, NULL, d, 2, "{}", &nowhere, NULL, &err), MC_EIO);
    assert_int_equal(w.calls, 1);
    mc_model_free(m);
    /* cut short */
    assert_int_equal(truncate(file, 1000), 0);
    m = make_net(-2, false, 20);
    ctx.seed = 7;
    assert_int_equal(train(m, NULL, d, 2, "{\"lr\": 0.01}", &ctx, NULL, &err), MC_EFORMAT);
    assert_non_null(strstr(err.msg, "cut short"));
    mc_model_free(m);
    mc_model_free(teacher);
    unlink(file);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(file, sizeof file, "%s/run", dir);
    const struct CMUnitTest tests[] = {cmocka_unit_test(stopped_anywhere),
                                       cmocka_unit_test(killed_anywhere),
                                       cmocka_unit_test(checkpoints_of_other_runs_are_refused)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return rc;
}
