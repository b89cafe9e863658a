#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/blob.h"

static char dir[] = "/tmp/mc_test_blob.XXXXXX";
static char file[64];

static void write_two(void)
{
    struct mc_blob_out *o;
    struct mc_err err;
    assert_int_equal(mc_blob_create(file, "test", 3, &o, &err), 0);
    mc_blob_put(o, "one", "0123456789", 10);
    mc_blob_put(o, "none", NULL, 0);
    double two[100];
    for (int i = 0; i < 100; i++)
        two[i] = i / 7.0;
    mc_blob_put(o, "two", two, sizeof two);
    assert_int_equal(mc_blob_commit(o, &err), 0);
}

static void blocks_come_back(void **state)
{
    (void)state;
    write_two();
    struct mc_blob *b;
    struct mc_err err;
    assert_int_equal(mc_blob_open(file, "test", 3, &b, &err), 0);
    size_t n;
    const void *p = mc_blob_get(b, "one", &n);
    assert_non_null(p);
    assert_int_equal(n, 10);
    assert_memory_equal(p, "0123456789", 10);
    assert_non_null(mc_blob_get(b, "none", &n));
    assert_int_equal(n, 0);
    p = mc_blob_get(b, "two", &n);
    assert_int_equal(n, 100 * sizeof(double));
    assert_true(((const double *)p)[99] == 99 / 7.0);
    assert_int_equal((uintptr_t)p % 64, 0);
    assert_null(mc_blob_get(b, "tw", &n));
    mc_blob_close(b);
    assert_int_equal(mc_blob_open(file, "other", 3, &b, &err), MC_EFORMAT);
    assert_non_null(strstr(err.msg, "is no other file"));
    assert_int_equal(mc_blob_open(file, "test", 4, &b, &err), MC_EFORMAT);
    assert_non_null(strstr(err.msg, "version 3"));
}

/* Every file that ends too early, and every changed byte, is refused. */
static void damage_is_found(void **state)
{
    (void)state;
    write_two();
    static uint8_t bytes[4096];
    FILE *f = fopen(file, "rb");
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_true(n > 1000 && n < sizeof bytes);
    struct mc_blob *b;
    for (size_t cut = 0; cut < n; cut += 13) {
        f = fopen(file, "wb");
        fwrite(bytes, 1, cut, f);
        fclose(f);
        assert_int_equal(mc_blob_open(file, "test", 3, &b, NULL), MC_EFORMAT);
    }
    for (size_t at = 0; at < n; at += 11) {
        bytes[at] ^= 4;
        f = fopen(file, "wb");
        fwrite(bytes, 1, n, f);
        fclose(f);
        bytes[at] ^= 4;
        assert_int_equal(mc_blob_open(file, "test", 3, &b, NULL), MC_EFORMAT);
    }
    unlink(file);
    assert_int_equal(mc_blob_open(file, "test", 3, &b, NULL), MC_EOPEN);
}

static void abort_leaves_the_old_file(void **state)
{
    (void)state;
    write_two();
    struct mc_blob_out *o;
    struct mc_blob *b;
    assert_int_equal(mc_blob_create(file, "test", 9, &o, NULL), 0);
    mc_blob_put(o, "x", "y", 1);
    mc_blob_abort(o);
    assert_int_equal(mc_blob_open(file, "test", 3, &b, NULL), 0);
    mc_blob_close(b);
    unlink(file);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(file, sizeof file, "%s/f", dir);
    const struct CMUnitTest tests[] = {cmocka_unit_test(blocks_come_back),
                                       cmocka_unit_test(damage_is_found),
                                       cmocka_unit_test(abort_leaves_the_old_file)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return rc;
}
