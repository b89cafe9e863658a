/* Codes of matrices against the error by its definition, in double, and against the nearest entries. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "passes/share/share_code.h"

enum { M = 24, N = 150 }; /* columns beyond two blocks */

struct problem {
    float w[M * N], k[2][N * N], g[M];
    const float *parts[2];
    struct mc_share_matrix x;
};

/* Neighbouring inputs that hang together: Cholesky factor of 0.8^|i - j|. */
static struct problem *make(uint64_t seed, int64_t parts)
{
    struct problem *p = calloc(1, sizeof *p);
    mc_rng_fill_normal(seed, 0, 0, p->w, M * N);
    for (int part = 0; part < 2; part++) {
        for (int j = 0; j < N; j++)
            for (int l = 0; l <= j; l++)
                p->k[part][j * N + l] = powf(part ? 0.9F : 0.8F, (float)(j - l)) * (l ? 0.6F : 1);
        p->parts[part] = p->k[part];
    }
    for (int i = 0; i < M; i++)
        p->g[i] = 0.2F + mc_rng_uniform(seed, 2, (uint64_t)i);
    p->x = (struct mc_share_matrix){M, N, parts, p->w, p->parts, NULL, p->g};
    return p;
}

static double by_definition(const struct mc_share_matrix *x, const float *q)
{
    double sum = 0;
    for (int64_t i = 0; i < x->m; i++)
        for (int64_t l = 0; l < x->n; l++) {
            double d = 0;
            const float *k = x->k[i / (x->m / x->parts)];
            for (int64_t j = l; j < x->n; j++)
                d += (double)(x->w[i * x->n + j] - q[i * x->n + j]) * (double)k[j * x->n + l];
            sum += (double)x->g[i] * d * d;
        }
    return sum;
}

static void errors_are_what_they_say_and_smaller(void **state)
{
    struct mc_linalg *la;
    float *q = malloc(M * N * sizeof *q);
    (void)state;
    assert_int_equal(mc_linalg_new("cpu", &la, NULL), 0);
    for (int parts = 1; parts <= 2; parts++)
        for (int scaled = 0; scaled < 2; scaled++) {
            struct problem *p = make(5, parts);
            struct mc_share_code c, plain;
            assert_int_equal(mc_share_encode(la, &p->x, 3, scaled, false, &c, NULL), 0);
            mc_share_decode(&p->x, &c, q);
            assert_float_equal(c.error, by_definition(&p->x, q), 1e-3 * c.error);
            struct mc_share_matrix alone = p->x;
            alone.k = NULL;
            alone.g = NULL;
            assert_int_equal(mc_share_encode(la, &alone, 3, scaled, false, &plain, NULL), 0);
            mc_share_decode(&p->x, &plain, q);
            assert_true(c.error < 0.5 * by_definition(&p->x, q));
            for (int i = 1; i < 8; i++)
                assert_true(c.entry[i - 1] <= c.entry[i]);
            mc_share_code_free(&c);
            mc_share_code_free(&plain);
            free(p);
        }
    mc_linalg_free(la);
    free(q);
}

static void a_diagonal_norm_takes_the_nearest(void **state)
{
    struct mc_linalg *la;
    struct problem *p = make(6, 1);
    struct mc_share_code c;
    uint8_t index[M * N];
    (void)state;
    memset(p->k[0], 0, sizeof p->k[0]);
    for (int j = 0; j < N; j++)
        p->k[0][j * N + j] = 1 + (float)(j % 3);
    assert_int_equal(mc_linalg_new("cpu", &la, NULL), 0);
    assert_int_equal(mc_share_encode(la, &p->x, 4, false, false, &c, NULL), 0);
    mc_codebook_nearest(p->w, M * N, c.entry, 16, index);
    int other = 0;
    for (int i = 0; i < M * N; i++)
        other += index[i] != c.index[i];
    assert_true(other <= 2); /* where two are as near, rounding may differ */
    mc_share_code_free(&c);
    mc_linalg_free(la);
    free(p);
}

static void few_values_come_out_exactly(void **state)
{
    struct mc_linalg *la;
    struct problem *p = make(7, 2);
    struct mc_share_code c;
    float q[M * N];
    (void)state;
    for (int i = 0; i < M * N; i++)
        p->w[i] = 0.37F * (float)mc_rng_below(1, 0, (uint64_t)i, 8) - 1;
    assert_int_equal(mc_linalg_new("cpu", &la, NULL), 0);
    assert_int_equal(mc_share_encode(la, &p->x, 3, false, false, &c, NULL), 0);
    mc_share_decode(&p->x, &c, q);
    assert_memory_equal(q, p->w, sizeof q);
    assert_true(c.error == 0);
    mc_share_code_free(&c);
    mc_linalg_free(la);
    free(p);
}

/* Rows of very different sizes. */
static void scales_help_rows_of_other_sizes(void **state)
{
    struct mc_linalg *la;
    struct problem *p = make(8, 1);
    struct mc_share_code plain, scaled;
    (void)state;
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++)
            p->w[i * N + j] *= powf(2, (float)(i % 6));
    for (int i = 0; i < M; i++)
        p->g[i] = powf(4, -(float)(i % 6));
    assert_int_equal(mc_linalg_new("cpu", &la, NULL), 0);
    assert_int_equal(mc_share_encode(la, &p->x, 3, false, false, &plain, NULL), 0);
    assert_int_equal(mc_share_encode(la, &p->x, 3, true, false, &scaled, NULL), 0);
    assert_true(scaled.error < 0.5 * plain.error);
    mc_share_code_free(&plain);
    mc_share_code_free(&scaled);
    mc_linalg_free(la);
    free(p);
}

static void what_is_not_finite_is_named(void **state)
{
    struct mc_linalg *la;
    struct problem *p = make(9, 1);
    struct mc_share_code c;
    struct mc_err err = {0};
    (void)state;
    p->w[11] = INFINITY;
    assert_int_equal(mc_linalg_new("cpu", &la, NULL), 0);
    assert_int_equal(mc_share_encode(la, &p->x, 3, false, false, &c, &err), MC_EDATA);
    mc_linalg_free(la);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_what_they_say_and_smaller),
        cmocka_unit_test(a_diagonal_norm_takes_the_nearest),
        cmocka_unit_test(few_values_come_out_exactly),
        cmocka_unit_test(scales_help_rows_of_other_sizes),
        cmocka_unit_test(what_is_not_finite_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
