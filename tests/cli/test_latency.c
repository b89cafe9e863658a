#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "cli/latency.h"

static void quantiles(void **state)
{
    (void)state;
    const double x[] = {1, 2, 4, 8, 16};
    assert_true(mc_latency_quantile(x, 5, 0) == 1 && mc_latency_quantile(x, 5, 1) == 16);
    assert_true(mc_latency_quantile(x, 5, 0.5) == 4);
    assert_true(mc_latency_quantile(x, 4, 0.5) == 3);
    assert_true(fabs(mc_latency_quantile(x, 5, 0.9) - 12.8) < 1e-12);
    assert_true(mc_latency_quantile(x, 1, 0.9) == 1);
}

/* Chance that fewer than k of n coins show heads, by lgamma. */
static double below(int n, int k)
{
    double p = 0;
    for (int i = 0; i < k; i++)
        p += exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) - n * log(2));
    return p;
}

/* The ranks are the narrowest symmetric ones that hold a median with 95 %. */
static void ranks_of_the_median(void **state)
{
    (void)state;
    for (int n = 1; n <= 101; n++) {
        int low, high;
        mc_latency_ranks(n, &low, &high);
        assert_int_equal(low + high, n - 1);
        assert_true(low >= 0 && low <= high);
        if (n >= 6)
            assert_true(1 - 2 * below(n, low + 1) >= 0.95 - 1e-9);
        else
            assert_int_equal(low, 0);
        if (2 * (low + 2) <= n)
            assert_true(1 - 2 * below(n, low + 2) < 0.95);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles),
        cmocka_unit_test(ranks_of_the_median),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
