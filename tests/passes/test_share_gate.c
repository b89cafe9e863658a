/* Shared gates against alternating least squares, and what is shared already. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "passes/share/share_gate.h"

enum { D = 2, G = 4, H = 5, M = 7, ROWS = D * G * H };

struct net {
    float w[ROWS * M], k[D][M * M], g[ROWS], w0[D * H * M], a[ROWS];
    const float *parts[D];
    struct mc_share_matrix x;
};

static struct net *make(uint64_t seed, bool norms)
{
    struct net *t = calloc(1, sizeof *t);
    mc_rng_fill_normal(seed, 0, 0, t->w, ROWS * M);
    for (int p = 0; p < D; p++) {
        for (int j = 0; j < M; j++)
            for (int l = 0; l <= j; l++)
                t->k[p][j * M + l] =
                    (j == l) + 0.4F * mc_rng_normal(seed, 1 + (uint64_t)p, (uint64_t)(j * M + l));
        t->parts[p] = t->k[p];
    }
    for (int i = 0; i < ROWS; i++)
        t->g[i] = 0.1F + mc_rng_uniform(seed, 9, (uint64_t)i);
    t->x = (struct mc_share_matrix){.m = ROWS, .n = M, .parts = norms ? D : 1, .w = t->w};
    t->x.k = norms ? t->parts : NULL;
    t->x.g = norms ? t->g : NULL;
    return t;
}

/* Error by its definition. */
static double measure(const struct net *t)
{
    double sum = 0;
    for (int row = 0; row < ROWS; row++) {
        int dir = row / (G * H), unit = row % H;
        const float *w0 = t->w0 + (dir * H + unit) * M;
        for (int l = 0; l < M; l++) {
            double d = 0;
            for (int j = 0; j < M; j++) {
                double e = (double)t->w[row * M + j] - (double)t->a[row] * (double)w0[j];
                d += e * (t->x.k ? (double)t->k[dir][j * M + l] : j == l);
            }
            sum += (t->x.g ? (double)t->g[row] : 1) * d * d;
        }
    }
    return sum;
}

/* Nudging any number makes it worse. */
static void no_other_numbers_are_better(void **state)
{
    (void)state;
    for (int norms = 0; norms < 2; norms++) {
        struct net *t = make(3, norms);
        double error, total, found;
        assert_int_equal(mc_share_gate_fit(&t->x, D, G, t->w0, t->a, &error, &total, NULL), 0);
        found = measure(t);
        assert_float_equal(found, error, 1e-4 * total);
        assert_true(error < 0.8 * total);
        for (int i = 0; i < D * H * M + ROWS; i++)
            for (int sign = -1; sign < 2; sign += 2) {
                float *v = i < D * H * M ? &t->w0[i] : &t->a[i - D * H * M], was = *v;
                *v += 0.05F * (float)sign;
                assert_true(measure(t) > found - 1e-6 * total);
                *v = was;
            }
        free(t);
    }
}

/* From many random starts alternating least squares finds nothing better (norm: the plain one). */
static void alternating_least_squares_is_no_better(void **state)
{
    struct net *t = make(4, false);
    double error, total;
    (void)state;
    assert_int_equal(mc_share_gate_fit(&t->x, D, G, t->w0, t->a, &error, &total, NULL), 0);
    for (int start = 0; start < 20; start++) {
        mc_rng_fill_normal(100 + (uint64_t)start, 0, 0, t->a, ROWS);
        for (int round = 0; round < 100; round++) {
            for (int u = 0; u < D * H; u++)
                for (int l = 0; l < M; l++) {
                    double wa = 0, aa = 0;
                    for (int i = 0; i < G; i++) {
                        int row = (u / H * G + i) * H + u % H;
                        wa += (double)t->w[row * M + l] * (double)t->a[row];
                        aa += (double)t->a[row] * (double)t->a[row];
                    }
                    t->w0[u * M + l] = (float)(wa / aa);
                }
            for (int row = 0; row < ROWS; row++) {
                const float *w0 = t->w0 + (row / (G * H) * H + row % H) * M;
                double ww = 0, w = 0;
                for (int l = 0; l < M; l++) {
                    w += (double)t->w[row * M + l] * (double)w0[l];
                    ww += (double)w0[l] * (double)w0[l];
                }
                t->a[row] = (float)(w / ww);
            }
        }
        assert_true(measure(t) > error * (1 - 1e-4));
    }
    free(t);
}

static void gates_that_are_one_stay(void **state)
{
    struct net *t = make(5, true);
    double error, total;
    (void)state;
    for (int row = 0; row < ROWS; row++)
        for (int l = 0; l < M; l++)
            t->w[row * M + l] = t->w[(row / (G * H) * G * H + row % H) * M + l];
    assert_int_equal(mc_share_gate_fit(&t->x, D, G, t->w0, t->a, &error, &total, NULL), 0);
    for (int row = 0; row < ROWS; row++)
        for (int l = 0; l < M; l++)
            assert_float_equal(t->a[row] * t->w0[(row / (G * H) * H + row % H) * M + l],
                               t->w[row * M + l], 1e-5);
    free(t);
}

static void odd_weights(void **state)
{
    struct net *t = make(6, false);
    struct mc_err err = {0};
    double error, total;
    (void)state;
    for (int i = 0; i < ROWS * M; i++)
        t->w[i] = 0;
    assert_int_equal(mc_share_gate_fit(&t->x, D, G, t->w0, t->a, &error, &total, NULL), 0);
    assert_true(error == 0 && total == 0 && t->w0[3] == 0 && isfinite(t->a[0]));
    assert_int_equal(mc_share_gate_fit(&t->x, D, 3, t->w0, t->a, &error, &total, &err), MC_ESHAPE);
    t->w[5] = NAN;
    assert_int_equal(mc_share_gate_fit(&t->x, D, G, t->w0, t->a, &error, &total, &err), MC_EDATA);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_other_numbers_are_better),
        cmocka_unit_test(alternating_least_squares_is_no_better),
        cmocka_unit_test(gates_that_are_one_stay),
        cmocka_unit_test(odd_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
