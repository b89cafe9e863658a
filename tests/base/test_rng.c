#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/rng.h"

/* Known answers of Philox4x32-10 from the authors' Random123 distribution (kat_vectors). */
static void philox_known_answers(void **state)
{
    (void)state;
    uint32_t w[4];
    mc_rng_words(0, 0, 0, w);
    assert_int_equal(w[0], 0x6627e8d5);
    assert_int_equal(w[1], 0xe169c58d);
    assert_int_equal(w[2], 0xbc57ac4c);
    assert_int_equal(w[3], 0x9b00dbd8);
    mc_rng_words(UINT64_MAX, UINT64_MAX, UINT64_MAX, w);
    assert_int_equal(w[0], 0x408f276d);
    assert_int_equal(w[1], 0x41c83b0e);
    assert_int_equal(w[2], 0xa20bc7c6);
    assert_int_equal(w[3], 0x6d5451fd);
}

static void fills_do_not_depend_on_where_they_start(void **state)
{
    (void)state;
    float a[64], b[64];
    mc_rng_fill_uniform(3, 1, 0, a, 64);
    for (size_t at = 0; at < 64; at += 7)
        mc_rng_fill_uniform(3, 1, at, b + at, at + 7 < 64 ? 7 : 64 - at);
    assert_memory_equal(a, b, sizeof a);
    mc_rng_fill_normal(3, 1, 0, a, 64);
    for (size_t at = 0; at < 64; at += 5)
        mc_rng_fill_normal(3, 1, at, b + at, at + 5 < 64 ? 5 : 64 - at);
    assert_memory_equal(a, b, sizeof a);
}

static void moments(void **state)
{
    (void)state;
    enum { N = 100000 };
    static float x[N];
    double s = 0, q = 0;
    mc_rng_fill_normal(11, 0, 0, x, N);
    for (int i = 0; i < N; i++) {
        assert_true(isfinite(x[i]));
        s += x[i];
        q += x[i] * x[i];
    }
    /* five standard errors: 1/sqrt(N) and sqrt(2/N) */
    assert_true(fabs(s / N) < 5 / sqrt(N));
    assert_true(fabs(q / N - 1) < 5 * sqrt(2.0 / N));
    mc_rng_fill_uniform(11, 0, 0, x, N);
    for (int i = 0; i < N; i++)
        assert_true(x[i] >= 0 && x[i] < 1);
}

static void permutation_holds_each_once(void **state)
{
    (void)state;
    int64_t p[1000];
    int seen[1000] = {0}, moved = 0;
    mc_rng_permute(5, 0, p, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_in_range(p[i], 0, 999);
        seen[p[i]]++;
        moved += p[i] != i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 1);
    assert_true(moved > 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(fills_do_not_depend_on_where_they_start),
        cmocka_unit_test(moments),
        cmocka_unit_test(permutation_holds_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
