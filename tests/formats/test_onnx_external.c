#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/onnx.h"
#include "onnx_bytes.h"

static const float numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static void save_numbers(const char *name)
{
    struct buf b = {0};
    put(&b, numbers, sizeof numbers);
    save(name, b);
}

static const char *model(const char *location, const char *offset, const char *length)
{
    return save("m.onnx", make_model_with(make_external("w", location, offset, length)));
}

static void found(const char *location, const char *offset, const char *length, const float *want)
{
    struct mc_model *m;
    struct mc_err err;
    if (mc_onnx_read(model(location, offset, length), &m, &err))
        fail_msg("%s", err.msg);
    const struct mc_tensor *t = m->graph->inits[0]->tensor;
    assert_true(m->external);
    assert_int_equal(t->form, MC_TENSOR_EXTERNAL);
    assert_int_equal(t->bytes, 16);
    assert_memory_equal(t->data, want, 16);
    mc_model_free(m);
}

static void refused(const char *location, const char *offset, const char *length, int code,
                    const char *part)
{
    struct mc_model *m;
    struct mc_err err;
    const char *path = model(location, offset, length);
    int rc = mc_onnx_read(path, &m, &err);
    if (rc != code || !strstr(err.msg, part) || !strstr(err.msg, path))
        fail_msg("location '%s': code %d, wanted %d with '%s': %s", location, rc, code, part,
                 err.msg);
}

static void ranges(void **state)
{
    (void)state;
    save_numbers("w.bin");
    found("w.bin", NULL, "16", numbers);
    found("w.bin", NULL, NULL, numbers);
    found("w.bin", "16", "16", numbers + 4);
    found("./w.bin", "4", NULL, numbers + 1);
    refused("w.bin", "20", "16", MC_EFORMAT,
            "at byte 20 (16 bytes) of 'w.bin', which has only 32 bytes");
    refused("w.bin", "20", NULL, MC_EFORMAT, "which has only 32 bytes");
    refused("w.bin", "0", "12", MC_EFORMAT, "needs 16 bytes, the file has 12");
    refused("w.bin", "-4", "16", MC_EFORMAT, "offset '-4'");
    refused("w.bin", "0", "-16", MC_EFORMAT, "length '-16'");
    refused("w.bin", "0x4", "16", MC_EFORMAT, "offset '0x4'");
    refused("w.bin", " 4", "16", MC_EFORMAT, "offset ' 4'");
    refused("w.bin", "", "16", MC_EFORMAT, "offset ''");
    refused("w.bin", "18446744073709551616", "16", MC_EFORMAT, "offset '1844");
    refused("w.bin", "18446744073709551615", "16", MC_EFORMAT, "which has only 32 bytes");
}

static void locations(void **state)
{
    (void)state;
    char absolute[600], away[600], elsewhere[64] = "/tmp/mc_test_onnx.XXXXXX";
    int fd = mkstemp(elsewhere);
    assert_int_equal(write(fd, numbers, sizeof numbers), sizeof numbers);
    close(fd);
    save_numbers("w.bin");
    snprintf(absolute, sizeof absolute, "%s", path_of("w.bin"));
    snprintf(away, sizeof away, "../../../../../..%s", elsewhere);
    refused(absolute, NULL, NULL, MC_EFORMAT, "not below the model's folder");
    refused(away, NULL, NULL, MC_EFORMAT, "not below the model's folder");
    refused("..", NULL, NULL, MC_EFORMAT, "not below the model's folder");
    refused("a/../w.bin", NULL, NULL, MC_EFORMAT, "not below the model's folder");
    refused("", NULL, NULL, MC_EFORMAT, "has no location");
    refused("none.bin", NULL, NULL, MC_EOPEN, "cannot open 'none.bin', which holds its tensor 'w'");
    refused(".", NULL, NULL, MC_EFORMAT, "not a plain file");

    assert_int_equal(symlink(elsewhere, path_of("out.bin")), 0);
    refused("out.bin", NULL, NULL, MC_EFORMAT, "a link out of the model's folder");
    assert_int_equal(symlink("..", path_of("up")), 0);
    snprintf(away, sizeof away, "up/%s", strrchr(elsewhere, '/') + 1);
    refused(away, NULL, NULL, MC_EFORMAT, "a link out of the model's folder");
    assert_int_equal(symlink("w.bin", path_of("in.bin")), 0);
    found("in.bin", NULL, NULL, numbers);

    /* A reader that opened it to look would wait forever. */
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    refused("fifo", NULL, NULL, MC_EFORMAT, "not a plain file");
    unlink(elsewhere);
    unlink(path_of("up"));
}

static void a_model_from_a_pipe_has_no_folder(void **state)
{
    (void)state;
    struct mc_model *m;
    struct mc_err err;
    save_numbers("w.bin");
    int keep = dup(0);
    assert_non_null(freopen(model("w.bin", NULL, NULL), "r", stdin));
    assert_int_equal(mc_onnx_read("-", &m, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "standard input has external data"));
    dup2(keep, 0);
    close(keep);
}

static void files_are_counted_once(void **state)
{
    (void)state;
    char hex[65];
    uint64_t bytes;
    save_numbers("w.bin");
    struct buf g = make_graph();
    put_message(&g, 5, make_external("a", "w.bin", NULL, "16"));
    put_message(&g, 5, make_external("b", "./w.bin", "16", "16"));
    struct buf b = make_model(g);
    size_t size = b.n;
    assert_int_equal(mc_onnx_digest(save("two.onnx", b), hex, &bytes, NULL), 0);
    assert_int_equal(bytes, size + sizeof numbers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(locations),
        cmocka_unit_test(a_model_from_a_pipe_has_no_folder),
        cmocka_unit_test(files_are_counted_once),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_files();
    return failed;
}
