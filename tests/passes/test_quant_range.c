/* Histograms against counts by definition; ranges against every one of a grid, by errors and divergences computed
 * value by value. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "passes/quant/range/quant_range.h"

static struct mc_err err;
static const struct mc_quant_type u8 = {.bits = 8}, s8 = {.bits = 8, .is_signed = true},
                                  s8sym = {.bits = 8, .is_signed = true, .symmetric = true},
                                  u8sym = {.bits = 8, .symmetric = true}, u4 = {.bits = 4};

enum kind { NORMAL, RECTIFIED, SKEWED, FAR, OUTLIERS, TINY, KINDS };

static float *draw(enum kind kind, uint64_t seed, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    mc_rng_fill_normal(seed, 1, 0, x, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        float v = x[i];
        x[i] = kind == RECTIFIED  ? fmaxf(v, 0)
               : kind == SKEWED   ? (v < 0 ? v * 0.1f : v * v * v)
               : kind == FAR      ? 100 + v
               : kind == OUTLIERS ? (i % 1000 == 7 ? 60 * v : v - 0.3f)
               : kind == TINY     ? v * 1e-41f
                                  : v;
    }
    return x;
}

static struct mc_quant_hist hist_of(const float *x, int64_t n)
{
    struct mc_quant_hist h;
    assert_int_equal(mc_quant_hist_init(&h, &err), 0);
    assert_int_equal(mc_quant_hist_add(&h, x, n, &err), 0);
    return h;
}

static void expect_same(const struct mc_quant_hist *a, const struct mc_quant_hist *b)
{
    assert_true(a->width == b->width && a->first == b->first);
    assert_memory_equal(a->count, b->count, MC_QUANT_BINS * sizeof *a->count);
    assert_true(a->n == b->n && a->zeros == b->zeros);
    assert_true(a->nan == b->nan && a->infinite == b->infinite);
    assert_true(a->min == b->min && a->max == b->max);
    assert_true(fabs(a->sum - b->sum) <= 1e-10 * sqrt(a->square * (double)a->n + 1e-300));
    assert_true(fabs(a->square - b->square) <= 1e-10 * a->square);
}

/* By the definition of the header. */
static void counts(void **state)
{
    (void)state;
    enum { N = 10007 };
    for (int kind = 0; kind < KINDS; kind++) {
        float *x = draw((enum kind)kind, 3, N);
        x[17] = NAN;
        x[4096] = INFINITY;
        x[4097] = -INFINITY;
        x[9999] = NAN;
        struct mc_quant_hist h = hist_of(x, N);
        uint64_t *want = calloc(MC_QUANT_BINS, sizeof *want), zeros = 0, n = 0;
        double sum = 0, square = 0, lo = INFINITY, hi = -INFINITY;
        assert_non_null(want);
        for (int i = 0; i < N; i++) {
            double v = (double)x[i];
            if (!isfinite(v))
                continue;
            n++;
            sum += v;
            square += v * v;
            lo = fmin(lo, v);
            hi = fmax(hi, v);
            int64_t at = (int64_t)floor(v / h.width) - h.first;
            assert_true(v == 0 || (at >= 0 && at < MC_QUANT_BINS));
            if (v == 0)
                zeros++;
            else
                want[at]++;
        }
        assert_memory_equal(h.count, want, MC_QUANT_BINS * sizeof *want);
        assert_true(h.n == n && n == N - 4 && h.nan == 2 && h.infinite == 2 && h.zeros == zeros);
        assert_true(h.min == lo && h.max == hi);
        assert_true(fabs(h.sum - sum) <= 1e-10 * sqrt(square * N));
        assert_true(fabs(h.square - square) <= 1e-10 * square);
        int e;
        assert_true(frexp(h.width, &e) == 0.5);
        if (kind != FAR && kind != TINY) /* as narrow as fits */
            assert_true((hi - lo) / h.width > MC_QUANT_BINS / 2 - 2);
        free(want);
        free(x);
        mc_quant_hist_free(&h);
    }
}

/* The order of values, of calls, and cutting into histograms that are merged change nothing. */
static void order_does_not_matter(void **state)
{
    (void)state;
    enum { N = 9001 };
    for (int kind = 0; kind < KINDS; kind++) {
        float *x = draw((enum kind)kind, 11, N);
        struct mc_quant_hist all = hist_of(x, N), other, parts;
        assert_int_equal(mc_quant_hist_init(&other, &err), 0);
        assert_int_equal(mc_quant_hist_init(&parts, &err), 0);
        for (int64_t end = N, step = 1; end > 0; end -= step) { /* from behind, pieces that grow */
            step = step * 3 / 2 + 1 < end ? step * 3 / 2 + 1 : end;
            assert_int_equal(mc_quant_hist_add(&other, x + end - step, step, &err), 0);
            struct mc_quant_hist one = hist_of(x + end - step, step);
            assert_int_equal(mc_quant_hist_merge(&parts, &one, &err), 0);
            mc_quant_hist_free(&one);
        }
        expect_same(&all, &other);
        expect_same(&all, &parts);
        json_t *o = mc_quant_hist_json(&all);
        struct mc_quant_hist back;
        assert_non_null(o);
        assert_int_equal(mc_quant_hist_read(o, &back, &err), 0);
        expect_same(&all, &back);
        json_decref(o);
        mc_quant_hist_free(&all);
        mc_quant_hist_free(&other);
        mc_quant_hist_free(&parts);
        mc_quant_hist_free(&back);
        free(x);
    }
}

static const char *read_text(const char *text)
{
    json_t *o = json_loads(text, JSON_DECODE_ANY, NULL);
    struct mc_quant_hist h;
    assert_non_null(o);
    int rc = mc_quant_hist_read(o, &h, &err);
    json_decref(o);
    assert_int_equal(rc, MC_EDATA);
    return err.msg;
}

#define HIST(n, lo, hi, bins)                                                                      \
    "{\"count\":" n ",\"zeros\":0,\"nan\":0,\"infinite\":0,\"min\":" lo ",\"max\":" hi             \
    ",\"sum\":0,\"square\":0,\"bins\":" bins "}"

static void bad_files(void **state)
{
    (void)state;
    assert_non_null(strstr(read_text("3"), "not an object"));
    assert_non_null(strstr(read_text("{\"count\":-1}"), "count"));
    assert_non_null(strstr(read_text(HIST("1", "2", "1", "[]")), "between"));
    assert_non_null(strstr(read_text(HIST("1", "0", "1e300", "[]")), "between"));
    assert_non_null(strstr(read_text(HIST("1", "0", "1", "[1]")), "pairs"));
    assert_non_null(strstr(read_text(HIST("1", "0", "1", "[2047,1]")), "pair 0"));
    assert_non_null(strstr(read_text(HIST("1", "0", "1", "[-1,1]")), "pair 0"));
    assert_non_null(strstr(read_text(HIST("1", "0", "1", "[3,2]")), "hold 2"));
    assert_non_null(strstr(read_text(HIST("1", "0", "0", "[0,1]")), "pair 0"));
    assert_non_null(strstr(read_text(HIST("1", "0", "1",
                                          "[3,9223372036854775807,4,9223372036854775807,"
                                          "5,9223372036854775807]")),
                           "overflow"));
}

/* Mean squared error of values, one by one. */
static double error_by_value(const float *x, int64_t n, const struct mc_quant_type *t,
                             const struct mc_quant_param *p)
{
    int32_t lo, hi;
    mc_quant_type_limits(t, &lo, &hi);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double q = fmin(fmax(rint((double)x[i] / (double)p->scale) + p->zero, lo), hi);
        double d = (double)x[i] - (q - p->zero) * (double)p->scale;
        sum += d * d;
    }
    return sum / (double)n;
}

/* The histogram's own error is that of the values; no range of a grid has less. */
static void least_squares(void **state)
{
    (void)state;
    enum { N = 50000, GRID = 60 };
    const struct mc_quant_type *types[] = {&u8, &s8, &s8sym, &u8sym, &u4};
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t k = 0; k < sizeof types / sizeof *types && kind != TINY; k++) {
            float *x = draw((enum kind)kind, 5, N);
            struct mc_quant_hist h = hist_of(x, N);
            struct mc_quant_param best, p;
            mc_quant_range(&h, types[k], MC_QUANT_MSE, 0, &best);
            double e = mc_quant_hist_error(&h, types[k], &best);
            double direct = error_by_value(x, N, types[k], &best);
            assert_true(fabs(e - direct) <= 0.03 * direct);
            for (int i = 0; i < GRID; i++)
                for (int j = 0; j < GRID; j++) {
                    if (types[k]->symmetric && i != j)
                        continue;
                    mc_quant_param_of(h.min * exp2(-i / 6.0), h.max * exp2(-j / 6.0), types[k], &p);
                    double other = mc_quant_hist_error(&h, types[k], &p);
                    if (!(e <= other * 1.003))
                        fail_msg("kind %d type %zu: %g, but %g at (%d, %d)", kind, k, e, other, i,
                                 j);
                }
            free(x);
            mc_quant_hist_free(&h);
        }
}

/* Kullback-Leibler divergence of one window, as the paper has it: two distributions as arrays. */
static double divergence(const double *c, int n, int a, int b, int levels)
{
    double p[2 * MC_QUANT_BINS], q[2 * MC_QUANT_BINS] = {0}, all = 0, left = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        int at = i < a ? a : i >= b ? b - 1 : i;
        if (i == 0)
            memset(p, 0, sizeof p);
        p[at] += c[i];
        all += c[i];
    }
    for (int j = 0; j < levels; j++) {
        int from = a + (int)((int64_t)j * (b - a) / levels);
        int to = a + (int)((int64_t)(j + 1) * (b - a) / levels);
        double mass = 0, filled = 0;
        for (int i = from; i < to; i++) {
            mass += c[i];
            filled += p[i] > 0;
        }
        for (int i = from; i < to; i++)
            q[i] = p[i] > 0 ? mass / filled : 0;
        left += mass;
    }
    for (int i = a; i < b; i++) {
        if (p[i] > 0 && q[i] <= 0)
            return INFINITY;
        if (p[i] > 0)
            sum += p[i] / all * log((p[i] / all) / (q[i] / left));
    }
    return left > 0 ? sum : INFINITY;
}

static void entropy(void **state)
{
    (void)state;
    enum { N = 200000 };
    static const struct {
        enum kind kind;
        bool folded;
    } of[] = {
        {NORMAL, true}, {OUTLIERS, true}, {RECTIFIED, false}, {RECTIFIED, true}, {SKEWED, true}};
    for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
        float *x = draw(of[k].kind, 21, N);
        struct mc_quant_hist h = hist_of(x, N);
        const struct mc_quant_type *t = of[k].folded ? &s8sym : &u8;
        int levels = of[k].folded ? 128 : 256, n = 0;
        double c[2 * MC_QUANT_BINS] = {0}, best = INFINITY, at = 0;
        for (int64_t i = 0; i < MC_QUANT_BINS; i++) {
            int64_t bin = h.first + i < 0 ? -1 - (h.first + i) : h.first + i;
            c[bin] += (double)h.count[i];
            n = h.count[i] && bin >= n ? (int)bin + 1 : n;
        }
        for (int b = n; b >= levels; b--) {
            double d = divergence(c, n, 0, b, levels);
            if (d < best) {
                best = d;
                at = b * h.width;
            }
        }
        struct mc_quant_param p, want;
        mc_quant_range(&h, t, MC_QUANT_ENTROPY, 0, &p);
        at = fmin(at, fmax(-h.min, h.max));
        mc_quant_param_of(of[k].folded ? -at : 0, at, t, &want);
        if (!(fabsf(p.scale - want.scale) <= 1e-6f * want.scale))
            fail_msg("case %zu: scale %g, not %g", k, (double)p.scale, (double)want.scale);
        assert_int_equal(p.zero, want.zero);
        free(x);
        mc_quant_hist_free(&h);
    }
}

/* Two ends: what is found has no better neighbour that moves one end. */
static void entropy_of_two_ends(void **state)
{
    (void)state;
    enum { N = 100000 };
    float *x = draw(OUTLIERS, 31, N);
    struct mc_quant_hist h = hist_of(x, N);
    int n = (int)(floor(h.max / h.width) - (double)h.first) + 1, zero = (int)-h.first;
    double c[2 * MC_QUANT_BINS] = {0};
    for (int i = 0; i < MC_QUANT_BINS; i++)
        c[i] = (double)h.count[i];
    struct mc_quant_param p;
    mc_quant_range(&h, &u8, MC_QUANT_ENTROPY, 0, &p);
    double lo = (0 - p.zero) * (double)p.scale, hi = (255 - p.zero) * (double)p.scale;
    int a = (int)rint(lo / h.width) + zero, b = (int)rint(hi / h.width) + zero;
    double found = INFINITY;
    for (int i = -2; i <= 2;
         i++) /* the zero point was rounded: the ends are known within its step */
        for (int j = -2; j <= 2; j++)
            if (a + i >= 0 && b + j <= n)
                found = fmin(found, divergence(c, n, a + i, b + j, 256));
    assert_true(isfinite(found));
    for (int e = n; e >= a + 256 && e > zero; e--)
        assert_true(found <= divergence(c, n, a, e, 256) * 1.02);
    assert_true(hi - lo < 0.7 * (h.max - h.min)); /* a few outliers do not set the range */
    mc_quant_hist_free(&h);
    free(x);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void percentiles(void **state)
{
    (void)state;
    enum { N = 100000 };
    for (int kind = 0; kind < KINDS; kind++) {
        float *x = draw((enum kind)kind, 41, N);
        struct mc_quant_hist h = hist_of(x, N);
        struct mc_quant_param p, want;
        mc_quant_range(&h, &u8, MC_QUANT_PERCENTILE, 99, &p);
        qsort(x, N, sizeof *x, by_value);
        mc_quant_param_of((double)x[N / 200], (double)x[N - 1 - N / 200], &u8, &want);
        if (kind != TINY) {
            assert_true(fabs((double)(p.scale - want.scale)) * 255 <= 2 * h.width);
            assert_true(abs(p.zero - want.zero) <= 1);
        }
        mc_quant_range(&h, &s8sym, MC_QUANT_PERCENTILE, 99, &p);
        for (int i = 0; i < N; i++)
            x[i] = fabsf(x[i]);
        qsort(x, N, sizeof *x, by_value);
        if (kind != TINY)
            assert_true(fabs((double)p.scale * 127 - (double)x[N - 1 - N / 100]) <= 2 * h.width);
        mc_quant_range(&h, &s8sym, MC_QUANT_PERCENTILE, 100, &p);
        if (kind != TINY)
            assert_true(fabs((double)p.scale * 127 - (double)x[N - 1]) <= 1e-6 * (double)x[N - 1]);
        free(x);
        mc_quant_hist_free(&h);
    }
}

/* Whatever a value holds, a range comes out that holds 0 and is no worse than the extremes. */
static void odd_values(void **state)
{
    (void)state;
    static const float one[] = {3.25f}, minus[] = {-1e-3f, -1e-3f}, zeros[] = {0, -0.0f, 0},
                       none[] = {NAN, INFINITY}, tiny[] = {1e-45f, -3e-42f},
                       huge[] = {FLT_MAX, -FLT_MAX}, binary[] = {0, 1, 1, 0},
                       wide[] = {1e-38f, 3e38f}, near[] = {1, 1.0000001f};
    static const struct {
        const float *x;
        int64_t n;
    } of[] = {{one, 1},  {minus, 2},  {zeros, 3}, {none, 2}, {tiny, 2},
              {huge, 2}, {binary, 4}, {wide, 2},  {near, 2}, {one, 0}};
    const struct mc_quant_type *types[] = {&u8, &s8, &s8sym, &u8sym, &u4};
    for (size_t k = 0; k < sizeof of / sizeof *of; k++)
        for (size_t j = 0; j < sizeof types / sizeof *types; j++)
            for (int method = 0; method <= MC_QUANT_MSE; method++) {
                struct mc_quant_hist h = hist_of(of[k].x, of[k].n);
                struct mc_quant_param p;
                int32_t lo, hi;
                mc_quant_range(&h, types[j], (enum mc_quant_range_method)method, 99.99, &p);
                mc_quant_type_limits(types[j], &lo, &hi);
                assert_true(p.scale >= FLT_MIN && p.scale <= FLT_MAX);
                assert_in_range(p.zero - lo, 0, hi - lo);
                if (types[j]->symmetric)
                    assert_int_equal(p.zero, types[j]->is_signed ? 0 : 128);
                for (int64_t i = 0; i < of[k].n && of[k].x != none && of[k].x != tiny; i++) {
                    double d = sqrt(error_by_value(of[k].x + i, 1, types[j], &p));
                    if (!(d <= (of[k].x == huge ? 1.01 : 0.51) *
                                   (double)p.scale)) /* huge: none is infinite */
                        fail_msg("case %zu type %zu method %d: value %g is off by %g", k, j, method,
                                 (double)of[k].x[i], d);
                }
                if (of[k].x == one && of[k].n)
                    assert_true(error_by_value(one, 1, types[j], &p) <= 1e-12);
                if (of[k].x == zeros)
                    assert_true(p.scale == 1);
                if (h.n && h.min >= 0 && !types[j]->symmetric)
                    assert_int_equal(p.zero, lo <= 0 && h.max == 0 ? 0 : lo);
                mc_quant_hist_free(&h);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),      cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(bad_files),   cmocka_unit_test(least_squares),
        cmocka_unit_test(entropy),     cmocka_unit_test(entropy_of_two_ends),
        cmocka_unit_test(percentiles), cmocka_unit_test(odd_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
