/* Clusters of rows: what is made of multiples is found, errors are what they say, no row is better off elsewhere. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "passes/share/share_cluster.h"

enum { M = 24, N = 15 };

static void products(const float *x, float *gram)
{
    for (int i = 0; i < M; i++)
        for (int j = 0; j < M; j++) {
            gram[i * M + j] = 0;
            for (int l = 0; l < N; l++)
                gram[i * M + j] += x[i * N + l] * x[j * N + l];
        }
}

/* By definition: rows against the multiples of their directions; *ret_elsewhere: the least by which another direction would be
 * worse for a row. */
static double measure(const float *x, int64_t k, bool scaled, const int32_t *of, const float *part,
                      const float *scale, double *ret_elsewhere)
{
    double c[M][N] = {{0}}, sum = 0;
    *ret_elsewhere = INFINITY;
    for (int i = 0; i < M; i++)
        for (int l = 0; l < N; l++)
            c[of[i]][l] += (double)part[i] * (double)x[i * N + l];
    for (int i = 0; i < M; i++) {
        double own = 0;
        for (int l = 0; l < N; l++)
            own += pow((double)x[i * N + l] - (double)scale[i] * c[of[i]][l], 2);
        for (int64_t a = 0; a < k; a++) {
            double dot = 0, square = 0, e = 0;
            for (int l = 0; l < N; l++) {
                dot += (double)x[i * N + l] * c[a][l];
                square += c[a][l] * c[a][l];
            }
            double s = !scaled ? 1 : square > 0 ? dot / square : 0;
            for (int l = 0; l < N; l++)
                e += pow((double)x[i * N + l] - s * c[a][l], 2);
            *ret_elsewhere = fmin(*ret_elsewhere, e - own);
        }
        sum += own;
    }
    return sum;
}

static void errors_are_what_they_say(void **state)
{
    float x[M * N], gram[M * M], part[M], scale[M];
    int32_t of[M];
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++)
        for (int scaled = 0; scaled < 2; scaled++)
            for (int64_t k = 1; k <= M; k += 4) {
                double error, found, elsewhere, last = INFINITY;
                mc_rng_fill_normal(seed, 0, 0, x, M * N);
                products(x, gram);
                assert_int_equal(
                    mc_share_cluster(gram, M, k, scaled, 1, of, part, scale, &error, NULL), 0);
                found = measure(x, k, scaled, of, part, scale, &elsewhere);
                assert_true(fabs(found - error) <= 1e-3 * M * N);
                assert_true(elsewhere > -1e-2);
                assert_true(found < last);
                last = found;
                bool there[M] = {0};
                for (int i = 0; i < M; i++) {
                    assert_in_range(of[i], 0, k - 1);
                    there[of[i]] = true;
                }
                for (int64_t a = 0; a < k; a++)
                    assert_true(there[a]);
            }
}

/* Rows of three directions, scaled by anything but zero, of either sign. */
static void multiples_are_found(void **state)
{
    float base[3 * N], x[M * N], gram[M * M], part[M], scale[M];
    int32_t of[M];
    double error, elsewhere;
    (void)state;
    mc_rng_fill_normal(5, 0, 0, base, 3 * N);
    for (int i = 0; i < M; i++) {
        float s = (i % 2 ? -1 : 1) * (0.2F + mc_rng_uniform(5, 1, (uint64_t)i));
        for (int l = 0; l < N; l++)
            x[i * N + l] = s * base[i % 3 * N + l];
    }
    products(x, gram);
    assert_int_equal(mc_share_cluster(gram, M, 3, true, 1, of, part, scale, &error, NULL), 0);
    assert_true(measure(x, 3, true, of, part, scale, &elsewhere) < 1e-6);
    for (int i = 3; i < M; i++)
        assert_int_equal(of[i], of[i % 3]);
}

static void all_rows_stay(void **state)
{
    float x[M * N], gram[M * M], part[M], scale[M];
    int32_t of[M];
    double error;
    (void)state;
    mc_rng_fill_normal(6, 0, 0, x, M * N);
    products(x, gram);
    assert_int_equal(mc_share_cluster(gram, M, M, true, 1, of, part, scale, &error, NULL), 0);
    for (int i = 0; i < M; i++)
        assert_true(of[i] == i && part[i] == 1 && scale[i] == 1);
    assert_true(error == 0);
}

static void rows_of_zeros_and_what_is_not_finite(void **state)
{
    float gram[M * M] = {0}, part[M], scale[M];
    int32_t of[M];
    double error;
    struct mc_err err = {0};
    (void)state;
    assert_int_equal(mc_share_cluster(gram, M, 4, true, 1, of, part, scale, &error, NULL), 0);
    assert_true(error == 0);
    for (int i = 0; i < M; i++)
        assert_true(isfinite(part[i]) && isfinite(scale[i]));
    gram[7] = NAN;
    assert_int_equal(mc_share_cluster(gram, M, 4, true, 1, of, part, scale, &error, &err),
                     MC_EDATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_what_they_say),
        cmocka_unit_test(multiples_are_found),
        cmocka_unit_test(all_rows_stay),
        cmocka_unit_test(rows_of_zeros_and_what_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
