/* Circulant blocks of a matrix: by definition, by what least squares says of the residual, and by the closed form of both.
 *   test_circulant_form [SEED] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "passes/circulant/circulant_order.h"

static struct mc_err err;
static uint64_t seed = 1;
static struct mc_linalg *la;

static const struct mc_circulant_form forms[] = {
    {8, 12, 1, 4}, {8, 8, 1, 8}, {7, 5, 1, 1}, {10, 9, 1, 4},  {3, 8, 1, 4},  {6, 6, 9, 3},
    {5, 7, 2, 3},  {1, 1, 1, 1}, {4, 3, 4, 2}, {16, 24, 1, 6}, {9, 4, 1, 16},
};
enum { N_FORMS = sizeof forms / sizeof *forms };

static int64_t columns_of(const struct mc_circulant_form *f)
{
    return f->channels * f->taps;
}

static float *drawn(uint64_t stream, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    mc_rng_fill_normal(seed, stream, 0, x, (size_t)n);
    return x;
}

static float *zeros(int64_t n)
{
    float *x = calloc((size_t)n + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

/* Number of the column that element (i, c) of W has, by the definition alone. */
static int64_t number_of(const struct mc_circulant_form *f, int64_t i, int64_t c, int64_t t)
{
    int64_t q = (f->channels + f->b - 1) / f->b, k = i % f->b - c % f->b;
    k = k < 0 ? k + f->b : k;
    return (((i / f->b) * q + c / f->b) * f->b + k) * f->taps + t;
}

/* Sums of x [m, n] over the elements that share a number. */
static double *sums_of(const struct mc_circulant_form *f, const double *x)
{
    double *s = calloc((size_t)mc_circulant_form_count(f) + 1, sizeof *s);
    assert_non_null(s);
    for (int64_t i = 0; i < f->m; i++)
        for (int64_t c = 0; c < f->channels; c++)
            for (int64_t t = 0; t < f->taps; t++)
                s[number_of(f, i, c, t)] += x[(i * f->channels + c) * f->taps + t];
    return s;
}

static void expect_zero(const double *x, int64_t n, double tolerance, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(x[i]) <= tolerance))
            fail_msg("seed %llu: %s %lld is %g", (unsigned long long)seed, what, (long long)i,
                     x[i]);
}

/* ---- tests ---- */

static void a_column_that_is_one_gives_its_diagonal(void **state)
{
    (void)state;
    struct mc_circulant_form f = {4, 4, 1, 4};
    float w[16];
    for (int k = 0; k < 4; k++) {
        float col[4] = {0};
        col[k] = 1;
        mc_circulant_form_dense(&f, col, w);
        for (int r = 0; r < 4; r++)
            for (int c = 0; c < 4; c++)
                assert_true(w[r * 4 + c] == ((r - c + 4) % 4 == k ? 1 : 0));
        for (int r = 0; r < 4; r++) /* the first column of the block is the column */
            assert_true(w[r * 4] == col[r]);
    }
}

static void dense_follows_the_definition_and_projects_back(void **state)
{
    (void)state;
    for (int i = 0; i < N_FORMS; i++) {
        const struct mc_circulant_form *f = &forms[i];
        int64_t n = columns_of(f), count = mc_circulant_form_count(f);
        float *col = drawn(2, count), *w = zeros(f->m * n), *again = zeros(count);
        mc_circulant_form_dense(f, col, w);
        for (int64_t r = 0; r < f->m; r++)
            for (int64_t c = 0; c < f->channels; c++)
                for (int64_t t = 0; t < f->taps; t++)
                    assert_true(w[(r * f->channels + c) * f->taps + t] ==
                                col[number_of(f, r, c, t)]);
        mc_circulant_form_nearest(f, w, again);
        for (int64_t r = 0; r < f->m; r++)
            for (int64_t c = 0; c < f->channels; c++)
                for (int64_t t = 0; t < f->taps; t++) {
                    int64_t k = number_of(f, r, c, t);
                    assert_true(fabsf(again[k] - col[k]) <= 1e-6F * (1 + fabsf(col[k])));
                }
        assert_true(fabs(mc_circulant_form_energy(f, w, again) - 1) <= 1e-5);
        free(col);
        free(w);
        free(again);
    }
}

/* A point of a subspace is nearest where the residual is orthogonal to it: to every diagonal. */
static void nearest_leaves_an_orthogonal_residual(void **state)
{
    (void)state;
    for (int i = 0; i < N_FORMS; i++) {
        const struct mc_circulant_form *f = &forms[i];
        int64_t n = columns_of(f), count = mc_circulant_form_count(f);
        float *w = drawn(3, f->m * n), *col = zeros(count), *near = zeros(f->m * n);
        double *left = calloc((size_t)(f->m * n) + 1, sizeof *left), all = 0, lost = 0;
        mc_circulant_form_nearest(f, w, col);
        mc_circulant_form_dense(f, col, near);
        for (int64_t k = 0; k < f->m * n; k++) {
            left[k] = (double)w[k] - near[k];
            lost += left[k] * left[k];
            all += (double)w[k] * w[k];
        }
        double *s = sums_of(f, left);
        expect_zero(s, count, 1e-5, "residual along diagonal");
        assert_true(fabs(1 - lost / all - mc_circulant_form_energy(f, w, col)) <= 1e-5);
        free(s);
        free(left);
        free(w);
        free(col);
        free(near);
    }
}

static void blocks_of_one_are_the_weight(void **state)
{
    (void)state;
    struct mc_circulant_form f = {7, 5, 3, 1};
    float *w = drawn(4, 105), *col = zeros(105), *back = zeros(105);
    assert_int_equal(mc_circulant_form_count(&f), 105);
    mc_circulant_form_nearest(&f, w, col);
    mc_circulant_form_dense(&f, col, back);
    assert_memory_equal(w, back, 105 * sizeof *w);
    free(w);
    free(col);
    free(back);
}

struct problem {
    float *x, *y, *second, *cross; /* x [rows, n], y [rows, m] */
    int64_t rows, m, n;
};

static struct problem problem_of(const struct mc_circulant_form *f, int64_t rows)
{
    struct problem p = {.rows = rows, .m = f->m, .n = columns_of(f)};
    p.x = drawn(5, rows * p.n);
    p.y = drawn(6, rows * p.m);
    p.second = zeros(p.n * p.n);
    p.cross = zeros(p.m * p.n);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 1; j < p.n; j++) /* neighbours are alike */
            p.x[r * p.n + j] = 0.6F * p.x[r * p.n + j - 1] + 0.8F * p.x[r * p.n + j];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < p.n; j++) {
            const float *x = p.x + r * p.n;
            for (int64_t k = 0; k < p.m; k++)
                p.cross[k * p.n + j] += p.y[r * p.m + k] * x[j] / (float)rows;
            for (int64_t k = 0; k <= j; k++)
                p.second[j * p.n + k] += x[j] * x[k] / (float)rows;
        }
    return p;
}

static void problem_free(struct problem *p)
{
    free(p->x);
    free(p->y);
    free(p->second);
    free(p->cross);
}

/* Mean |y - W x|² over the rows themselves, and its gradient by W. */
static double loss_of(const struct problem *p, const float *w, double *gradient)
{
    double loss = 0;
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t k = 0; k < p->m; k++) {
            double e = p->y[r * p->m + k];
            for (int64_t j = 0; j < p->n; j++)
                e -= (double)w[k * p->n + j] * p->x[r * p->n + j];
            loss += e * e / (double)p->rows;
            for (int64_t j = 0; gradient && j < p->n; j++)
                gradient[k * p->n + j] -= 2 * e * p->x[r * p->n + j] / (double)p->rows;
        }
    return loss;
}

/* The gradient along every diagonal is 0 there, and what is said to be kept is what the loss lacks of |y|². */
static void a_fit_is_where_the_loss_is_least(void **state)
{
    (void)state;
    for (int i = 0; i < N_FORMS; i++) {
        const struct mc_circulant_form *f = &forms[i];
        struct problem p = problem_of(f, 4 * columns_of(f) + 20);
        int64_t count = mc_circulant_form_count(f);
        float *col = zeros(count), *w = zeros(p.m * p.n);
        double *gradient = calloc((size_t)(p.m * p.n) + 1, sizeof *gradient), kept, all = 0;
        assert_int_equal(mc_circulant_form_fit(f, la, p.second, p.cross, 1e-7, col, &kept, &err),
                         0);
        mc_circulant_form_dense(f, col, w);
        double loss = loss_of(&p, w, gradient);
        double *s = sums_of(f, gradient);
        expect_zero(s, count, 2e-4, "gradient of number");
        for (int64_t k = 0; k < p.rows * p.m; k++)
            all += (double)p.y[k] * p.y[k] / (double)p.rows;
        if (!(fabs(all - kept - loss) <= 1e-4 * all))
            fail_msg("form %d: %g of %g is kept, the loss is %g", i, kept, all, loss);
        free(s);
        free(gradient);
        free(col);
        free(w);
        problem_free(&p);
    }
}

/* Inputs that are independent and alike tell no direction from another. */
static void white_inputs_give_the_nearest(void **state)
{
    (void)state;
    for (int i = 0; i < N_FORMS; i++) {
        const struct mc_circulant_form *f = &forms[i];
        int64_t n = columns_of(f), count = mc_circulant_form_count(f);
        float *w = drawn(7, f->m * n), *second = zeros(n * n);
        float *col = zeros(count), *near = zeros(count);
        for (int64_t j = 0; j < n; j++)
            second[j * n + j] = 1;
        assert_int_equal(mc_circulant_form_fit(f, la, second, w, 1e-7, col, NULL, &err), 0);
        mc_circulant_form_nearest(f, w, near);
        for (int64_t k = 0; k < count; k++)
            if (!(fabsf(col[k] - near[k]) <= 1e-5F))
                fail_msg("form %d: number %lld is %g, nearest %g", i, (long long)k, col[k],
                         near[k]);
        free(w);
        free(second);
        free(col);
        free(near);
    }
}

/* The order is one, and what it is said to explain is what a fit in that order explains. */
static void an_order_explains_more(void **state)
{
    (void)state;
    static const struct mc_circulant_form of[] = {
        {16, 12, 1, 4}, {24, 16, 1, 8}, {18, 9, 1, 4}, {12, 6, 4, 3}};
    for (int i = 0; i < 4; i++) {
        const struct mc_circulant_form *f = &of[i];
        struct problem p = problem_of(f, 400);
        int64_t order[32], seen[32] = {0}, whole = f->m / f->b * f->b;
        double before, after, kept, last;
        bool large;
        float *cross = zeros(p.m * p.n), *col = zeros(mc_circulant_form_count(f));
        assert_int_equal(mc_circulant_order(f, la, p.second, p.cross, 1e-4, 1e6, order, &before,
                                            &after, &large, &err),
                         0);
        assert_false(large);
        int64_t same[32];
        double none;
        assert_int_equal(mc_circulant_order(f, la, p.second, p.cross, 1e-4, 100, same, &none, &none,
                                            &large, &err),
                         0);
        assert_true(large && same[0] == 0 && same[f->m - 1] == f->m - 1);
        for (int64_t k = 0; k < f->m; k++) {
            assert_in_range(order[k], 0, f->m - 1);
            assert_int_equal(seen[order[k]]++, 0);
            if (k >= whole)
                assert_int_equal(order[k], k);
            memcpy(cross + k * p.n, p.cross + order[k] * p.n, (size_t)p.n * sizeof *cross);
        }
        struct mc_circulant_form g = *f;
        g.m = whole;
        assert_int_equal(mc_circulant_form_fit(&g, la, p.second, p.cross, 1e-4, col, &kept, &err),
                         0);
        assert_true(fabs(before / kept - 1) <= 1e-2);
        assert_int_equal(mc_circulant_form_fit(&g, la, p.second, cross, 1e-4, col, &last, &err), 0);
        assert_true(fabs(after / last - 1) <= 1e-2);
        if (!(last > 1.02 * kept))
            fail_msg("form %d: %g is explained, %g in the order", i, kept, last);
        free(cross);
        free(col);
        problem_free(&p);
    }
}

/* Numbers of a covariance that are none are an error. */
static void nan_is_an_error(void **state)
{
    (void)state;
    struct mc_circulant_form f = {4, 4, 1, 2};
    float second[16] = {NAN}, cross[16] = {0}, col[8];
    assert_int_equal(mc_circulant_form_fit(&f, la, second, cross, 1e-3, col, NULL, &err), MC_EDATA);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_column_that_is_one_gives_its_diagonal),
        cmocka_unit_test(dense_follows_the_definition_and_projects_back),
        cmocka_unit_test(nearest_leaves_an_orthogonal_residual),
        cmocka_unit_test(blocks_of_one_are_the_weight),
        cmocka_unit_test(a_fit_is_where_the_loss_is_least),
        cmocka_unit_test(white_inputs_give_the_nearest),
        cmocka_unit_test(an_order_explains_more),
        cmocka_unit_test(nan_is_an_error),
    };
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 0);
    if (mc_linalg_new("cpu", &la, &err))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mc_linalg_free(la);
    return failed;
}
