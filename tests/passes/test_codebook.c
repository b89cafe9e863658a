/* Codebooks against all partitions of few values, the exact programme of many, and Max's table for the normal distribution. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "passes/share/codebook.h"

static double cost(const float *x, const float *w, int64_t n, int k, const float *entry)
{
    uint8_t *index = malloc((size_t)n);
    mc_codebook_nearest(x, n, entry, k, index);
    double e = mc_codebook_error(x, w, n, entry, index);
    free(index);
    return e;
}

static int by_value(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* x sorted: least error of x[0..n) under k entries, by trying every start of the last one. */
static double least(const float *x, const float *w, int64_t n, int k)
{
    double *now = malloc(2 * (size_t)(n + 1) * sizeof *now), *before = now + n + 1;
    for (int64_t i = 0; i <= n; i++)
        before[i] = i ? INFINITY : 0;
    for (int c = 0; c < k; c++) {
        for (int64_t i = 0; i <= n; i++) {
            double sw = 0, sx = 0, sxx = 0;
            now[i] = before[i];
            for (int64_t j = i; j-- > 0;) {
                double v = (double)x[j], u = w ? (double)w[j] : 1;
                sw += u;
                sx += u * v;
                sxx += u * v * v;
                double e = before[j] + (sw > 0 ? fmax(0, sxx - sx * sx / sw) : 0);
                now[i] = e < now[i] ? e : now[i];
            }
        }
        for (int64_t i = 0; i <= n; i++)
            before[i] = now[i];
    }
    double ret = before[n];
    free(now);
    return ret;
}

static void few_values_are_optimal(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        uint64_t seed = 7 + (uint64_t)round;
        int64_t n = 1 + (int64_t)mc_rng_below(seed, 0, 0, 24);
        int k = 1 + (int)mc_rng_below(seed, 0, 1, 8);
        float x[24], w[24], entry[8];
        for (int64_t i = 0; i < n; i++) {
            x[i] = round % 3 ? mc_rng_normal(seed, 1, (uint64_t)i)
                             : (float)mc_rng_below(seed, 2, (uint64_t)i, 6);
            w[i] = mc_rng_uniform(seed, 3, (uint64_t)i);
        }
        qsort(x, (size_t)n, sizeof *x, by_value);
        const float *weight = round % 2 ? w : NULL;
        assert_int_equal(mc_codebook_fit(x, weight, n, k, entry, NULL), 0);
        double is = cost(x, weight, n, k, entry), best = least(x, weight, n, k);
        assert_true(is <= best * (1 + 1e-5) + 1e-9);
        for (int i = 1; i < k; i++)
            assert_true(entry[i - 1] <= entry[i]);
    }
}

static void many_values_are_nearly_optimal(void **state)
{
    enum { N = 6000 };
    float *x = malloc(2 * N * sizeof *x), *w = x + N, entry[8];
    (void)state;
    for (int i = 0; i < N; i++) {
        x[i] = powf(mc_rng_normal(3, 0, (uint64_t)i), 3);
        w[i] = mc_rng_uniform(3, 1, (uint64_t)i);
    }
    qsort(x, N, sizeof *x, by_value);
    assert_int_equal(mc_codebook_fit(x, w, N, 8, entry, NULL), 0);
    assert_true(cost(x, w, N, 8, entry) <= 1.001 * least(x, w, N, 8));
    free(x);
}

static double quantile(double p)
{
    double lo = -10, hi = 10;
    for (int i = 0; i < 60; i++) {
        double mid = (lo + hi) / 2;
        if (0.5 * erfc(-mid / sqrt(2)) < p)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* Max, Quantizing for Minimum Distortion, 1960, table I. */
static void normal_values_reach_the_known_error(void **state)
{
    static const struct {
        int k;
        double error;
    } table[] = {{1, 1}, {2, 0.3634}, {4, 0.1175}, {8, 0.03454}, {16, 0.009497}};
    enum { N = 50000 };
    float *x = malloc(N * sizeof *x), entry[16];
    (void)state;
    for (int i = 0; i < N; i++)
        x[i] = (float)quantile((i + 0.5) / N);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(mc_codebook_fit(x, NULL, N, table[i].k, entry, NULL), 0);
        assert_float_equal(cost(x, NULL, N, table[i].k, entry) / N, table[i].error,
                           2e-3 * table[i].error);
    }
    free(x);
}

static void as_many_entries_as_values_change_nothing(void **state)
{
    float x[1000], entry[256];
    uint8_t index[1000];
    (void)state;
    for (int i = 0; i < 1000; i++)
        x[i] = (float)((i * 37) % 256) / 3.0F - 20;
    assert_int_equal(mc_codebook_fit(x, NULL, 1000, 256, entry, NULL), 0);
    mc_codebook_nearest(x, 1000, entry, 256, index);
    for (int i = 0; i < 1000; i++)
        assert_memory_equal(&entry[index[i]], &x[i], sizeof *x);
}

static void heavy_weights_pull(void **state)
{
    const float x[3] = {0, 1, 2}, w[3] = {1, 0, 3};
    float entry[1];
    (void)state;
    assert_int_equal(mc_codebook_fit(x, w, 3, 1, entry, NULL), 0);
    assert_float_equal(entry[0], 1.5, 1e-6);
}

static void what_is_not_finite_is_named(void **state)
{
    const float x[2] = {0, NAN}, y[2] = {0, 1}, w[2] = {1, -1};
    float entry[2];
    struct mc_err err = {0};
    (void)state;
    assert_int_equal(mc_codebook_fit(x, NULL, 2, 2, entry, &err), MC_EDATA);
    assert_int_equal(mc_codebook_fit(y, w, 2, 2, entry, &err), MC_EDATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_values_are_optimal),
        cmocka_unit_test(many_values_are_nearly_optimal),
        cmocka_unit_test(normal_values_reach_the_known_error),
        cmocka_unit_test(as_many_entries_as_values_change_nothing),
        cmocka_unit_test(heavy_weights_pull),
        cmocka_unit_test(what_is_not_finite_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
