#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/batch.h"
#include "cli/exits.h"

static struct mc_err err;

/* ---- patterns ---- */

static struct mc_batch_model named(const char *rel, const char *path)
{
    return (struct mc_batch_model){.rel = (char *)rel, .path = (char *)path};
}

static void check_fill(const char *pattern, const struct mc_batch_model *m, const char *expected)
{
    char *text = NULL;
    assert_int_equal(mc_batch_fill(pattern, m, &text, &err), 0);
    assert_string_equal(text, expected);
    free(text);
}

static void patterns(void **state)
{
    (void)state;
    struct mc_batch_model m = named("a/b c/x.y.ONNX", "zoo/a/b c/x.y.ONNX");
    check_fill("{dir}/{stem}.npz", &m, "zoo/a/b c/x.y.npz");
    check_fill("data/{rel}.npz:{name}", &m, "data/a/b c/x.y.npz:x.y.ONNX");
    check_fill("fashion-mnist:test", &m, "fashion-mnist:test");
    check_fill("", &m, "");
    check_fill("{{dir}} }} {{{stem}}}", &m, "{dir} } {x.y}");
    m = named("x.onnx", "x.onnx");
    check_fill("{dir}/{rel}", &m, "./x");
    m = named("{dir}.onnx", "d/{dir}.onnx"); /* what is filled in is no pattern */
    check_fill("{stem}", &m, "{dir}");
    static const char *const wrong[] = {"{}", "{Stem}", "{stem", "a{", "{stems}", "{ste}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *text = NULL;
        assert_int_equal(mc_batch_fill(wrong[i], &m, &text, &err), MC_EUSAGE);
        assert_null(text);
        assert_non_null(strstr(err.msg, "{rel}"));
    }
}

/* ---- the end of a process ---- */

static char *folder;

static char *in_folder(const char *name)
{
    char *path;
    assert_true(asprintf(&path, "%s/%s", folder, name) > 0);
    return path;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* What is told of a model whose process ended so. */
static void check_end(struct mc_process_end end, const char *report, enum mc_batch_status status,
                      const char *reason)
{
    struct mc_batch_job b = {.limits = {.memory = 500000000, .seconds = 90}};
    struct mc_batch_model m = {.out = in_folder("out.onnx"), .partial = in_folder("report.json")};
    unlink(m.partial);
    if (report)
        put(m.partial, report);
    assert_true(mc_batch_judge(&b, &m, &end));
    assert_int_equal(m.status, status);
    if (reason)
        assert_string_equal(m.reason, reason);
    else
        assert_null(m.reason);
    assert_false(m.stale);
    unlink(m.partial);
    free(m.out);
    free(m.partial);
    free(m.reason);
    json_decref(m.result);
}

static void ends(void **state)
{
    (void)state;
    const struct mc_process_end crash = {.status = -1, .signal = SIGSEGV};
    const struct mc_process_end killed = {.status = -1, .signal = SIGKILL};
    check_end((struct mc_process_end){.status = 0}, "{}", MC_BATCH_DONE, NULL);
    check_end((struct mc_process_end){.status = MC_EXIT_GATE, .line = "mcompress run: too far"},
              "{}", MC_BATCH_GATE, "too far");
    check_end((struct mc_process_end){.status = MC_EXIT_INPUT, .line = "mcompress run: a: b: c"},
              "{}", MC_BATCH_FAILED, "a: b: c");
    check_end((struct mc_process_end){.status = MC_EXIT_FAILED, .line = "not ours: x"}, NULL,
              MC_BATCH_FAILED, "not ours: x");
    check_end((struct mc_process_end){.status = 127}, NULL, MC_BATCH_FAILED,
              "ended with status 127 and said nothing");
    check_end(crash, "{}", MC_BATCH_FAILED, "crashed: segmentation fault");
    check_end(killed, NULL, MC_BATCH_FAILED,
              "killed from outside; the machine may have run out of memory (give --mem-limit, or a "
              "smaller -j)");
    check_end((struct mc_process_end){.status = -1, .signal = SIGKILL, .over_memory = true}, NULL,
              MC_BATCH_FAILED, "needed more than 500 MB of memory (--mem-limit)");
    check_end((struct mc_process_end){.status = 1, .line = "mcompress run: out of memory"}, NULL,
              MC_BATCH_FAILED, "needed more than 500 MB of memory (--mem-limit)");
    check_end((struct mc_process_end){.status = 130, .over_time = true, .line = "mcompress run: x"},
              NULL, MC_BATCH_FAILED, "took longer than 1 min 30 s (--time-limit)");
    /* In time after all: what is written is whole. */
    check_end((struct mc_process_end){.status = 0, .over_time = true}, "{}", MC_BATCH_DONE, NULL);
    check_end((struct mc_process_end){.status = 0}, NULL, MC_BATCH_FAILED,
              "ended well, but left no report");
    check_end((struct mc_process_end){.status = 0}, "{\"input\": ", MC_BATCH_FAILED,
              "ended well, but left no report");
    check_end((struct mc_process_end){.status = 0}, "[]", MC_BATCH_FAILED,
              "ended well, but left no report");
    struct mc_batch_job b = {.limits = {0, 0}};
    struct mc_batch_model m = {.out = in_folder("out.onnx"), .partial = in_folder("report.json")};
    assert_false(mc_batch_judge(&b, &m, &(struct mc_process_end){.status = 130, .stopped = true}));
    assert_int_equal(m.status, MC_BATCH_TODO);
    free(m.out);
    free(m.partial);
}

/* ---- keys ---- */

static void check_key(struct mc_batch_job *b, const char *before, bool same)
{
    struct mc_batch_model m = named("m.onnx", "m.onnx");
    json_object_clear(b->prints);
    assert_int_equal(mc_batch_key(b, &m, &err), 0);
    assert_int_equal(strlen(m.key), 64);
    assert_int_equal(!strcmp(m.key, before), same);
}

static const char *key_of(struct mc_batch_job *b, char ret[65])
{
    struct mc_batch_model m = named("m.onnx", "m.onnx");
    json_object_clear(b->prints);
    assert_int_equal(mc_batch_key(b, &m, &err), 0);
    memcpy(ret, m.key, 65);
    return ret;
}

static void recipe(struct mc_batch_job *b, const char *text)
{
    mc_recipe_free(b->steps);
    free(b->recipe_text);
    b->recipe = text;
    assert_int_equal(mc_batch_recipe(b, &err), 0);
}

static void keys(void **state)
{
    (void)state;
    char key[65], other[65];
    struct mc_batch_job b = {.options = json_object(), .prints = json_object()};
    char *data = in_folder("data"), *file = in_folder("data/a.png");
    mkdir(data, 0777);
    put(file, "one");
    recipe(&b, "svd:keep=0.5");
    json_object_set_new(b.options, "data", json_string(data));
    key_of(&b, key);
    check_key(&b, key, true);
    recipe(&b, "svd:keep=.50");
    check_key(&b, key, true);
    recipe(&b, "svd:keep=0.6");
    check_key(&b, key, false);
    recipe(&b, "svd:keep=0.5");
    check_key(&b, key, true);
    put(file, "more");
    check_key(&b, key, false); /* a file in a folder of samples */
    put(file, "one");
    key_of(&b, other);
    char *second = in_folder("data/b.png");
    put(second, "");
    check_key(&b, other, false);
    unlink(second);
    check_key(&b, other, true);
    json_object_set_new(b.options, "seed", json_integer(7));
    check_key(&b, other, false);
    json_object_del(b.options, "seed");
    b.data_optional = true;
    check_key(&b, other, false);
    unlink(file);
    rmdir(data);
    free(data);
    free(file);
    free(second);
    mc_recipe_free(b.steps);
    free(b.recipe_text);
    json_decref(b.options);
    json_decref(b.prints);
}

int main(void)
{
    char name[] = "/tmp/test_batch.XXXXXX";
    folder = mkdtemp(name);
    if (!folder)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(ends),
        cmocka_unit_test(keys),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return rc;
}
