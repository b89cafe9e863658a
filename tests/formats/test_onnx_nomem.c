/* Memory ends at every allocation in turn: reading and writing say so and leak nothing (under ASan). The
 * linker routes the allocations of this program through the functions below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/onnx.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

static long left = -1; /* allocations until memory ends; negative: never */
static const char *corpus;

static bool ended(void)
{
    if (left > 0)
        left--;
    return left == 0;
}

void *__wrap_malloc(size_t n)
{
    return ended() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return ended() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return ended() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return ended() ? NULL : __real_aligned_alloc(align, n);
}

static int read_and_write(const char *path, struct mc_err *err)
{
    struct mc_model *m;
    struct mc_onnx_staged *s;
    char hex[65];
    uint64_t bytes;
    int rc = mc_onnx_read(path, &m, err);
    if (rc)
        return rc;
    rc = mc_onnx_stage(m, "-", NULL, &s, err);
    mc_model_free(m);
    if (rc)
        return rc;
    rc = mc_onnx_staged_digest(s, hex, &bytes, err);
    mc_onnx_staged_abort(s);
    return rc;
}

/* Returns how many allocations the file takes. */
static long each_allocation_fails(const char *path)
{
    for (long n = 1;; n++) {
        struct mc_err err = {0};
        left = n;
        int rc = read_and_write(path, &err);
        bool all_used = left == 0;
        left = -1;
        if (!rc)
            return all_used ? -1 : n; /* a failure that nobody noticed is one, too */
        if (rc != MC_ENOMEM || !err.msg[0])
            fail_msg("'%s', allocation %ld: code %d, %s", path, n, rc, err.msg);
    }
}

static void memory_ends(void **state)
{
    (void)state;
    long total = 0;
    DIR *d = opendir(corpus);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", corpus, e->d_name);
        if (e->d_name[0] == '.')
            continue;
        long n = each_allocation_fails(path);
        if (n < 0)
            fail_msg("'%s': an allocation failed and the result was used", path);
        total += n;
    }
    closedir(d);
    assert_true(total > 100);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    corpus = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
