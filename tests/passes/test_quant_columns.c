/* Rounding column by column against all roundings there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "passes/quant/repair/quant_columns.h"

static struct mc_err err;

static float *normal(uint64_t seed, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    mc_rng_fill_normal(seed, 3, 0, x, (size_t)n);
    return x;
}

/* Mean of x xᵀ over rows of which neighbours are alike; lower triangle, above it NaN. */
static float *moments(uint64_t seed, int64_t rows, int64_t n)
{
    float *x = normal(seed, rows * n), *h = calloc((size_t)(n * n), sizeof *h);
    assert_non_null(h);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 1; j < n; j++)
            x[r * n + j] =
                0.9f * x[r * n + j - 1] + 0.5f * x[r * n + j] * (float)(1 + j % 3) + 0.3f;
    for (int64_t j = 0; j < n; j++)
        for (int64_t k = 0; k < n; k++) {
            double s = 0;
            for (int64_t r = 0; r < rows; r++)
                s += (double)x[r * n + j] * (double)x[r * n + k];
            h[j * n + k] = k > j ? NAN : (float)(s / (double)rows);
        }
    free(x);
    return h;
}

/* e H eᵀ of output i by its definition, H with the damping in it. */
static double error_of(const struct mc_quant_columns *c, const float *h, double damping, int64_t i)
{
    double sum = 0, mean = 0;
    for (int64_t j = 0; j < c->n; j++)
        mean += h[j * c->n + j] / (double)c->n;
    for (int64_t j = 0; j < c->n; j++)
        for (int64_t k = 0; k < c->n; k++) {
            double e[2], v = j > k ? h[j * c->n + k] : h[k * c->n + j];
            for (int t = 0; t < 2; t++) {
                int64_t at = (t ? k : j) * c->m + i, s = c->each ? at : i;
                e[t] = c->w[at] - c->scale[s] * (c->q[at] - (c->zero ? c->zero[s] : 0));
            }
            sum += e[0] * e[1] * (v + (j == k ? damping * mean : 0));
        }
    return sum;
}

static double best_of(struct mc_quant_columns *c, const float *h, double damping, int64_t i,
                      int64_t j)
{
    double best = INFINITY;
    if (j == c->n)
        return error_of(c, h, damping, i);
    for (float q = c->low; q <= c->high; q++) {
        c->q[j * c->m + i] = q;
        best = fmin(best, best_of(c, h, damping, i, j + 1));
    }
    return best;
}

static void fill(struct mc_quant_columns *c, uint64_t seed, bool each, bool zero, float low,
                 float high)
{
    int64_t all = c->m * c->n, scales = each ? all : c->m;
    float *s = normal(seed + 1, scales), *z = zero ? normal(seed + 2, scales) : NULL;
    for (int64_t i = 0; i < scales; i++) {
        s[i] = 0.5f + 0.2f * fabsf(s[i]);
        if (z)
            z[i] = rintf(z[i]);
    }
    c->w = normal(seed, all);
    c->scale = s;
    c->zero = z;
    c->each = each;
    c->low = low;
    c->high = high;
    c->q = calloc((size_t)all, sizeof *c->q);
    assert_non_null(c->q);
    for (int64_t j = 0; j < all; j++) {
        int64_t at = each ? j : j % c->m;
        c->q[j] = fminf(fmaxf(rintf(c->w[j] / s[at] + (z ? z[at] : 0)), low), high);
    }
}

static void release(struct mc_quant_columns *c)
{
    free((void *)(uintptr_t)c->w);
    free((void *)(uintptr_t)c->scale);
    free((void *)(uintptr_t)c->zero);
    free(c->q);
}

static void tiny_layers_come_near_the_optimum(void **state)
{
    (void)state;
    struct mc_linalg *la;
    double plain = 0, ours = 0, optimum = 0;
    assert_int_equal(mc_linalg_new("cpu", &la, &err), 0);
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct mc_quant_columns c = {.m = 1 + (int64_t)(seed % 3), .n = 1 + (int64_t)(seed % 6)};
        double sum = 0;
        fill(&c, seed * 10, seed & 1, seed & 2, -2, 2);
        float *h = moments(seed, seed % 5 ? 50 : 2, c.n);
        for (int64_t i = 0; i < c.m; i++)
            plain += error_of(&c, h, 0.01, i);
        assert_int_equal(mc_quant_round_columns(la, h, 0.01, 8, &c, &err), 0);
        assert_true(c.after <= c.before);
        for (int64_t i = 0; i < c.m; i++)
            sum += error_of(&c, h, 0.01, i);
        assert_true(fabs(sum - c.after) <= 1e-4 * (c.before + 1e-6));
        for (int64_t j = 0; j < c.m * c.n; j++)
            assert_true(c.q[j] >= -2 && c.q[j] <= 2 && c.q[j] == rintf(c.q[j]));
        ours += sum;
        for (int64_t i = 0; i < c.m; i++)
            optimum += best_of(&c, h, 0.01, i, 0);
        free(h);
        release(&c);
    }
    print_message("rounded %g, ours %g, optimum %g\n", plain, ours, optimum);
    assert_true(ours < 1.1 * optimum && ours < 0.7 * plain && ours >= optimum * 0.9999);
    mc_linalg_free(la);
}

/* Sizes around the block of 64; no single integer can move and make it better. */
static void no_integer_can_be_moved_for_the_better(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 63, 64, 65, 131, 200};
    struct mc_linalg *la;
    assert_int_equal(mc_linalg_new("cpu", &la, &err), 0);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct mc_quant_columns c = {.m = 3, .n = sizes[k]};
        fill(&c, 90 + k, k & 1, k & 2, -8, 7);
        float *h = moments(k, 400, c.n);
        assert_int_equal(mc_quant_round_columns(la, h, 0.01, 100, &c, &err), 0);
        print_message("%d inputs: %g becomes %g\n", (int)c.n, c.before, c.after);
        assert_true(c.after < c.before || c.n == 1);
        double is = error_of(&c, h, 0.01, 1);
        for (int64_t j = 0; j < c.n; j += 1 + c.n / 20)
            for (int d = -1; d < 2; d += 2) {
                float was = c.q[j * c.m + 1];
                if (was + (float)d < c.low || was + (float)d > c.high)
                    continue;
                c.q[j * c.m + 1] = was + (float)d;
                assert_true(error_of(&c, h, 0.01, 1) >= is * (1 - 1e-3));
                c.q[j * c.m + 1] = was;
            }
        free(h);
        release(&c);
    }
    mc_linalg_free(la);
}

static void inputs_that_say_nothing_are_errors(void **state)
{
    (void)state;
    struct mc_linalg *la;
    struct mc_quant_columns c = {.m = 2, .n = 3};
    float h[9] = {0};
    assert_int_equal(mc_linalg_new("cpu", &la, &err), 0);
    fill(&c, 4, false, false, -8, 7);
    assert_int_equal(mc_quant_round_columns(la, h, 0.01, 2, &c, &err), MC_EDATA);
    h[0] = NAN;
    assert_int_equal(mc_quant_round_columns(la, h, 0.01, 2, &c, &err), MC_EDATA);
    release(&c);
    mc_linalg_free(la);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_layers_come_near_the_optimum),
        cmocka_unit_test(no_integer_can_be_moved_for_the_better),
        cmocka_unit_test(inputs_that_say_nothing_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
