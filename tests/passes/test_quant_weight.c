/* Integers of weights against the definition in double, element by element, over layouts, types and cuts. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "passes/quant/range/quant_weight.h"

static struct mc_err err;

struct layout {
    int rank;
    int64_t dim[4];
    struct mc_quant_cut cut;
};

static const struct layout layouts[] = {
    {2, {37, 50}, {-1, 0}},      {2, {300, 37}, {1, 0}},     {2, {37, 300}, {0, 0}},
    {2, {40, 9}, {0, 0}},        {4, {5, 70, 3, 3}, {0, 0}}, {4, {6, 35, 2, 2}, {1, 0}},
    {4, {70, 33, 3, 3}, {1, 0}}, {2, {70, 37}, {0, 32}},     {2, {37, 70}, {1, 32}},
    {2, {3, 1000}, {1, 512}},    {3, {2, 70, 19}, {1, 16}},  {4, {3, 40, 2, 2}, {1, 16}},
    {1, {21}, {0, 0}},           {1, {21}, {-1, 0}},         {2, {1, 1}, {1, 0}},
    {2, {64, 48}, {1, 0}},       {3, {2, 64, 32}, {1, 64}},  {2, {5, 7}, {0, 32}},
};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

/* Part of an element, by the definition of DequantizeLinear: per tensor, per axis, blocked. */
static int64_t part_of(const struct layout *l, int64_t e, int64_t *ret_parts)
{
    int64_t at[4], rest = e, part = 0, parts = 1;
    for (int k = l->rank - 1; k >= 0; k--) {
        at[k] = rest % l->dim[k];
        rest /= l->dim[k];
    }
    if (l->cut.axis < 0) {
        *ret_parts = 1;
        return 0;
    }
    for (int k = 0; k < l->rank; k++) {
        int64_t i = at[k], n = l->dim[k];
        if (!l->cut.block && k != l->cut.axis)
            continue;
        if (l->cut.block && k == l->cut.axis) {
            i /= l->cut.block;
            n = (n + l->cut.block - 1) / l->cut.block;
        }
        part = part * n + i;
        parts *= n;
    }
    *ret_parts = parts;
    return part;
}

static struct mc_tensor *tensor_of(const struct layout *l, enum mc_dtype dtype, uint64_t seed,
                                   float **ret_x)
{
    struct mc_shape shape = mc_shape_of(l->rank, l->dim);
    struct mc_tensor *t;
    void *data;
    int64_t n = mc_shape_count(&shape);
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    mc_rng_fill_normal(seed, 3, 0, x, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] * 0.05f + 0.02f;
    assert_int_equal(mc_tensor_new(dtype, &shape, NULL, &t, &data, &err), 0);
    assert_int_equal(mc_dtype_from_f32((int)dtype, x, data, (size_t)n, &err), 0);
    assert_int_equal(mc_dtype_to_f32((int)dtype, data, x, (size_t)n, &err), 0);
    *ret_x = x;
    return t;
}

static void floats_of(const struct mc_tensor *t, float **ret)
{
    size_t n = (size_t)mc_tensor_count(t);
    *ret = malloc((n + 1) * sizeof **ret);
    assert_non_null(*ret);
    assert_int_equal(mc_dtype_to_f32((int)t->dtype, t->data, *ret, n, &err), 0);
}

static const struct mc_quant_type types[] = {
    {8, true, true, false},  {8, true, true, true},    {8, false, false, false},
    {8, true, false, false}, {8, false, true, false},  {7, true, true, false},
    {4, true, true, false},  {4, false, false, false}, {4, false, true, false},
    {2, true, true, false},  {2, false, false, false}, {3, true, true, true},
    {5, true, false, false},
};
enum { TYPES = sizeof types / sizeof *types };

/* Nearest integers under the scales that were chosen; those scales reach the extremes of their parts. */
static void check_made(const struct layout *l, const struct mc_quant_type *t, const float *x,
                       const struct mc_quant_weight *w, bool minmax, double slack)
{
    float *q, *s, *z = NULL, *back;
    int32_t lo, hi;
    int64_t n = mc_tensor_count(w->q), parts;
    part_of(l, 0, &parts);
    mc_quant_type_limits(t, &lo, &hi);
    assert_int_equal(mc_dtype_info((int)w->q->dtype)->bits, t->bits > 4 ? 8 : t->bits > 2 ? 4 : 2);
    assert_int_equal(mc_dtype_info((int)w->q->dtype)->kind,
                     t->is_signed ? MC_KIND_INT : MC_KIND_UINT);
    assert_int_equal(mc_tensor_count(w->scale), parts);
    floats_of(w->q, &q);
    floats_of(w->scale, &s);
    if (w->zero) {
        assert_int_equal(w->zero->dtype, w->q->dtype);
        assert_true(mc_shape_equal(&w->zero->shape, &w->scale->shape));
        floats_of(w->zero, &z);
    }
    double error = 0, square = 0;
    double *least = calloc((size_t)parts, sizeof *least),
           *most = calloc((size_t)parts, sizeof *most);
    assert_true(least && most);
    assert_int_equal(mc_quant_weight_f32(w->q, w->scale, w->zero, &l->cut, &back, &err), 0);
    for (int64_t i = 0; i < n; i++) {
        int64_t p = part_of(l, i, &parts);
        double zero = z ? (double)z[p] : 0, v = (double)x[i], scale = (double)s[p];
        double exact = v / scale + zero, d;
        assert_true(q[i] >= (float)lo && q[i] <= (float)hi);
        double nearest = fmin(fmax(exact, lo), hi);
        if (!(fabs((double)q[i] - nearest) <= 0.5 + 1e-4))
            fail_msg("element %d: %g for %g", (int)i, (double)q[i], exact);
        d = v - ((double)q[i] - zero) * scale;
        assert_true(fabs((double)back[i] - (v - d)) <= 1e-6 * (fabs(v) + scale));
        error += d * d;
        square += v * v;
        least[p] = fmin(least[p], v);
        most[p] = fmax(most[p], v);
    }
    for (int64_t p = 0; p < parts && minmax; p++) {
        struct mc_quant_param want;
        mc_quant_param_of(least[p], most[p], t, &want);
        assert_true(fabs((double)(s[p] - want.scale)) <= slack * (double)want.scale);
        assert_int_equal(z ? (int)z[p] : 0, want.zero);
    }
    assert_true(fabs(w->error_square - error) <= 1e-4 * error + 1e-12 * square);
    assert_true(fabs(w->error - sqrt(error / square)) <= 1e-4 * w->error + 1e-6);
    free(q);
    free(s);
    free(z);
    free(back);
    free(least);
    free(most);
}

static void by_definition(void **state)
{
    (void)state;
    static const enum mc_dtype of[] = {MC_DTYPE_F32, MC_DTYPE_F16, MC_DTYPE_BF16, MC_DTYPE_F64};
    struct mc_pool *pool;
    assert_int_equal(mc_pool_new(3, &pool, &err), 0);
    for (int i = 0; i < LAYOUTS; i++)
        for (int k = 0; k < TYPES; k++)
            for (int mse = 0; mse < 2; mse++) {
                const struct layout *l = &layouts[i];
                enum mc_dtype dtype = of[(i + k) % 4], scale = of[(i + k) % 3];
                float *x;
                struct mc_tensor *t = tensor_of(l, dtype, (uint64_t)(100 * i + k), &x);
                struct mc_quant_weight w, one;
                enum mc_quant_range_method method = mse ? MC_QUANT_MSE : MC_QUANT_MINMAX;
                assert_int_equal(mc_quant_weight_make(t, "w", &types[k], &l->cut, method, scale,
                                                      pool, NULL, &w, &err),
                                 0);
                check_made(l, &types[k], x, &w, !mse, scale == MC_DTYPE_F32 ? 1e-6 : 1e-2);
                assert_int_equal(mc_quant_weight_make(t, "w", &types[k], &l->cut, method, scale,
                                                      NULL, NULL, &one, &err),
                                 0);
                assert_true(one.error == w.error && one.q->bytes == w.q->bytes);
                assert_memory_equal(one.q->data, w.q->data, w.q->bytes);
                mc_quant_weight_free(&w);
                mc_quant_weight_free(&one);
                mc_tensor_unref(t);
                free(x);
            }
    mc_pool_free(pool);
}

/* Two tasks for more threads than that: whichever takes them. */
static void many_threads(void **state)
{
    (void)state;
    static const struct layout l = {2, {64, 1024}, {0, 0}};
    struct mc_pool *pool;
    float *x;
    struct mc_tensor *t = tensor_of(&l, MC_DTYPE_F32, 7, &x);
    assert_int_equal(mc_pool_new(8, &pool, &err), 0);
    for (int i = 0; i < 200; i++) {
        struct mc_quant_weight w;
        assert_int_equal(mc_quant_weight_make(t, "w", &types[0], &l.cut, MC_QUANT_MINMAX,
                                              MC_DTYPE_F32, pool, NULL, &w, &err),
                         0);
        mc_quant_weight_free(&w);
    }
    mc_pool_free(pool);
    mc_tensor_unref(t);
    free(x);
}

static double error_under(const float *x, int64_t n, const struct mc_quant_type *t,
                          const struct mc_quant_param *p)
{
    int32_t lo, hi;
    double sum = 0;
    mc_quant_type_limits(t, &lo, &hi);
    for (int64_t i = 0; i < n; i++) {
        double q = fmin(fmax(rint((double)x[i] / (double)p->scale) + p->zero, lo), hi);
        double d = (double)x[i] - (q - p->zero) * (double)p->scale;
        sum += d * d;
    }
    return sum;
}

/* One part against each of a fine grid of ranges. Of few values the error has many narrow valleys: there the mean over
 * parts counts. */
static void least_squares(void **state)
{
    (void)state;
    static const int64_t sizes[] = {9, 32, 64, 300, 2000};
    for (int k = 0; k < TYPES; k++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            double found = 0, extremes = 0, grid = 0;
            for (uint64_t seed = 0; seed < 10; seed++) {
                struct layout l = {1, {sizes[i]}, {-1, 0}};
                float *x;
                int64_t n = sizes[i];
                struct mc_tensor *t = tensor_of(&l, MC_DTYPE_F32, seed, &x);
                struct mc_quant_weight w;
                assert_int_equal(mc_quant_weight_make(t, "w", &types[k], &l.cut, MC_QUANT_MSE,
                                                      MC_DTYPE_F32, NULL, NULL, &w, &err),
                                 0);
                double lo = 0, hi = 0, best = INFINITY;
                struct mc_quant_param p;
                for (int64_t e = 0; e < n; e++) {
                    lo = fmin(lo, (double)x[e]);
                    hi = fmax(hi, (double)x[e]);
                }
                mc_quant_param_of(lo, hi, &types[k], &p);
                double plain = error_under(x, n, &types[k], &p);
                int more = types[k].symmetric ? 1 : 8;
                for (int a = 0; a < 200; a++)
                    for (int b = 0; b < more; b++) {
                        double r = exp2(-a / 100.0), tilt = exp2((b - more / 2) / 24.0);
                        mc_quant_param_of(lo * r * tilt, hi * r / tilt, &types[k], &p);
                        best = fmin(best, error_under(x, n, &types[k], &p));
                    }
                assert_true(w.error_square <= plain * 1.0001);
                found += w.error_square;
                extremes += plain;
                grid += best;
                mc_quant_weight_free(&w);
                mc_tensor_unref(t);
                free(x);
            }
            if (getenv("MC_TEST_SHOW"))
                printf("type %d n %d: found %g grid %g extremes %g\n", k, (int)sizes[i], found,
                       grid, extremes);
            if (!(found <= grid * (types[k].symmetric ? 1.02 : 1.05)))
                fail_msg("type %d, %d values: %g, not %g (extremes %g)", k, (int)sizes[i], found,
                         grid, extremes);
        }
}

/* Scales are of their type before rounding to them; channels of zeros get 1; odd values are named. */
static void odd_weights(void **state)
{
    (void)state;
    struct layout l = {2, {3, 40}, {0, 0}};
    float *x;
    struct mc_tensor *t = tensor_of(&l, MC_DTYPE_F32, 1, &x);
    float *data = mc_storage_data(t->storage);
    struct mc_quant_weight w;
    memset(data + 40, 0, 40 * sizeof *data);
    for (int i = 80; i < 120; i++)
        data[i] *= 1e-41f;
    for (int mse = 0; mse < 2; mse++) {
        assert_int_equal(mc_quant_weight_make(t, "w", &types[0], &l.cut,
                                              mse ? MC_QUANT_MSE : MC_QUANT_MINMAX, MC_DTYPE_F32,
                                              NULL, NULL, &w, &err),
                         0);
        const float *scale = (const float *)w.scale->data;
        assert_true(scale[1] == 1);
        assert_true(scale[2] >= FLT_MIN);
        assert_null(w.zero);
        for (int i = 40; i < 80; i++)
            assert_int_equal(w.q->data[i], 0);
        mc_quant_weight_free(&w);
    }
    for (int i = 80; i < 120; i++)
        data[i] = i % 2 ? FLT_MAX : -FLT_MAX;
    assert_int_equal(mc_quant_weight_make(t, "w", &types[2], &l.cut, MC_QUANT_MSE, MC_DTYPE_F32,
                                          NULL, NULL, &w, &err),
                     0);
    assert_true(isfinite(w.error) && w.error < 0.01);
    mc_quant_weight_free(&w);
    data[95] = NAN;
    assert_int_equal(mc_quant_weight_make(t, "conv.weight", &types[0], &l.cut, MC_QUANT_MSE,
                                          MC_DTYPE_F32, NULL, NULL, &w, &err),
                     MC_EDATA);
    assert_non_null(strstr(err.msg, "'conv.weight': element 95 is NaN"));
    data[95] = 0;
    data[7] = -INFINITY;
    assert_int_equal(mc_quant_weight_make(t, "conv.weight", &types[0], &l.cut, MC_QUANT_MINMAX,
                                          MC_DTYPE_F32, NULL, NULL, &w, &err),
                     MC_EDATA);
    assert_non_null(strstr(err.msg, "element 7 is infinite"));
    mc_tensor_unref(t);
    free(x);
}

static void empty_weights(void **state)
{
    (void)state;
    static const struct layout of[] = {{2, {0, 4}, {1, 0}},
                                       {2, {0, 4}, {0, 0}},
                                       {2, {4, 0}, {0, 0}},
                                       {2, {4, 0}, {1, 32}},
                                       {1, {0}, {-1, 0}}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        struct mc_shape shape = mc_shape_of(of[i].rank, of[i].dim);
        struct mc_tensor *t;
        struct mc_quant_weight w;
        float *back;
        assert_int_equal(mc_tensor_new(MC_DTYPE_F32, &shape, NULL, &t, NULL, &err), 0);
        assert_int_equal(mc_quant_weight_make(t, "w", &types[0], &of[i].cut, MC_QUANT_MSE,
                                              MC_DTYPE_F32, NULL, NULL, &w, &err),
                         0);
        assert_true(w.error == 0);
        assert_int_equal(mc_quant_weight_f32(w.q, w.scale, w.zero, &of[i].cut, &back, &err), 0);
        free(back);
        mc_quant_weight_free(&w);
        mc_tensor_unref(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_definition), cmocka_unit_test(many_threads),
        cmocka_unit_test(least_squares), cmocka_unit_test(odd_weights),
        cmocka_unit_test(empty_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
