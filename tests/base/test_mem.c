#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

static void sizes_are_checked(void **state)
{
    (void)state;
    size_t r = 7;
    assert_false(mc_size_mul(SIZE_MAX / 2, 3, &r));
    assert_int_equal(r, 7);
    assert_true(mc_size_mul(6, 7, &r));
    assert_int_equal(r, 42);
    assert_false(mc_size_add(SIZE_MAX, 1, &r));
    assert_null(mc_realloc(NULL, SIZE_MAX / 2, 3));
    assert_null(mc_alloc_aligned(SIZE_MAX));
}

static void arena_is_zeroed_and_aligned(void **state)
{
    (void)state;
    struct mc_arena a = {0};
    assert_null(mc_arena_array(&a, SIZE_MAX / 8, 16));
    for (size_t n = 0; n < 300000; n = n * 3 + 1) {
        unsigned char *p = mc_arena_alloc(&a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        if (n)
            memset(p, 0xff, n);
    }
    assert_string_equal(mc_arena_strdup(&a, "conv"), "conv");
    assert_string_equal(mc_arena_strndup(&a, "convolution", 4), "conv");
    assert_null(mc_arena_strdup(&a, NULL));
    mc_arena_free(&a);
    assert_non_null(mc_arena_alloc(&a, 8));
    mc_arena_free(&a);
}

static void array_grows(void **state)
{
    (void)state;
    int *v = NULL;
    size_t n = 0, cap = 0;
    for (; n < 1000; n++) {
        assert_true(MC_GROW(v, n, cap));
        v[n] = (int)n;
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(v[i], i);
    free(v);
}

static void error_is_one_line(void **state)
{
    (void)state;
    struct mc_err e = {0};
    assert_int_equal(mc_fail(&e, MC_ESHAPE, "Conv '%s'", "a\nb\x1b[31m"), MC_ESHAPE);
    assert_int_equal(e.code, MC_ESHAPE);
    assert_string_equal(e.msg, "Conv 'a?b?[31m'");
    mc_fail(&e, MC_EFAIL, "outer: %s", e.msg);
    assert_string_equal(e.msg, "outer: Conv 'a?b?[31m'");
    char big[2 * MC_ERR_MSG];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    mc_fail(&e, MC_EFAIL, "%s", big);
    assert_int_equal(strlen(e.msg), MC_ERR_MSG - 1);
    assert_string_equal(e.msg + MC_ERR_MSG - 5, " ...");
    assert_int_equal(mc_fail(NULL, MC_EFAIL, "%s", big), MC_EFAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(arena_is_zeroed_and_aligned),
        cmocka_unit_test(array_grows),
        cmocka_unit_test(error_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
