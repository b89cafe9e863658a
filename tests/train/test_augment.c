#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "train/augment.h"
#include "train/mixup.h"

enum { N = 64, H = 7, W = 7, C = 3, EACH = C * H * W };

static struct mc_err err;

/* Where pixel (c, y, x) lies in a sample of a layout. */
enum layout { NCHW, NHWC, NHW, NF, LAYOUTS };

static int64_t at(enum layout l, int c, int y, int x)
{
    return l == NHWC ? (y * W + x) * C + c : (c * H + y) * W + x;
}

static int channels(enum layout l)
{
    return l == NCHW || l == NHWC ? C : 1;
}

/* Positive values, all different in a sample; samples lie on no line. */
static double pixel(int i, int c, int y, int x)
{
    return 1 + i + 10 * c + 40 * y + 350 * x + i * (y + 1) * (x + 2) % 5;
}

static struct mc_batch *batch(enum layout l, enum mc_dtype t)
{
    static const struct mc_shape shapes[] = {
        {4, {N, C, H, W}}, {4, {N, H, W, C}}, {3, {N, H, W}}, {2, {N, H * W}}};
    struct mc_array like = {"x", t, shapes[l], NULL, 0};
    struct mc_batch *b;
    assert_int_equal(mc_batch_new(N, 1, &like, true, &b, &err), 0);
    int64_t each = mc_shape_count(&b->arrays[0].shape) / N;
    for (int i = 0; i < N; i++) {
        b->labels[i] = i % 5;
        b->index[i] = i;
        for (int c = 0; c < channels(l); c++)
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++) {
                    int64_t k = i * each + at(l, c, y, x);
                    if (t == MC_DTYPE_F32)
                        ((float *)b->arrays[0].data)[k] = (float)pixel(i, c, y, x);
                    else if (t == MC_DTYPE_F64)
                        ((double *)b->arrays[0].data)[k] = pixel(i, c, y, x);
                    else
                        ((uint8_t *)b->arrays[0].data)[k] = (uint8_t)(pixel(i, c, y, x) / 10);
                }
    }
    return b;
}

static double get(const struct mc_batch *b, enum layout l, int i, int c, int y, int x)
{
    const struct mc_array *a = &b->arrays[0];
    int64_t k = i * (mc_shape_count(&a->shape) / N) + at(l, c, y, x);
    return a->dtype == MC_DTYPE_F32   ? (double)((const float *)a->data)[k]
           : a->dtype == MC_DTYPE_F64 ? ((const double *)a->data)[k]
                                      : ((const uint8_t *)a->data)[k];
}

static void change(const char *text, uint64_t seed, int64_t epoch, int64_t first,
                   struct mc_batch *b)
{
    struct mc_augment a;
    if (mc_augment_parse(text, &a, &err) || mc_augment_check(&a, b, &err) ||
        mc_augment_batch(&a, seed, epoch, first, b, NULL, 0, &err))
        fail_msg("%s", err.msg);
}

/* Value that the original has at (y, x), by how the picture is continued beyond its edge. */
static double beyond(const struct mc_batch *was, enum layout l, int i, int c, int y, int x,
                     bool mirrored)
{
    if (mirrored) {
        y = abs(y);
        x = abs(x);
        y = y < H ? y : 2 * H - 2 - y;
        x = x < W ? x : 2 * W - 2 - x;
    }
    if (y >= 0 && y < H && x >= 0 && x < W)
        return get(was, l, i, c, y, x);
    double least = INFINITY;
    for (int k = 0; k < H * W; k++)
        least = fmin(least, get(was, l, i, c, k / W, k % W));
    return least;
}

static bool moved_by(const struct mc_batch *was, const struct mc_batch *is, enum layout l, int i,
                     int dy, int dx, bool flip, bool mirrored)
{
    for (int c = 0; c < channels(l); c++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++) {
                int from = x - dx;
                bool inside = from >= 0 && from < W;
                double want = beyond(was, l, i, c, y - dy, from, mirrored);
                if (flip && inside)
                    want = beyond(was, l, i, c, y - dy, W - 1 - from, mirrored);
                if (get(is, l, i, c, y, x) != want)
                    return false;
            }
    return true;
}

/* Each sample is the original moved by one of the ways the word allows; all of them occur. */
static void expect_moves(const char *text, enum layout l, enum mc_dtype t, int by, bool flip,
                         bool mirrored)
{
    struct mc_batch *was = batch(l, t), *is = batch(l, t);
    int found[2][9][9] = {0}, ways = 0, all = 0;
    change(text, 11, 2, 1000, is);
    for (int i = 0; i < N; i++) {
        int fits = 0;
        for (int f = 0; f <= flip; f++)
            for (int dy = -by; dy <= by; dy++)
                for (int dx = -by; dx <= by; dx++)
                    if (moved_by(was, is, l, i, dy, dx, f, mirrored)) {
                        fits++;
                        found[f][dy + by][dx + by]++;
                    }
        if (!fits)
            fail_msg("%s, layout %d: sample %d is no moved original", text, l, i);
    }
    for (int f = 0; f <= flip; f++)
        for (int k = 0; k < (2 * by + 1) * (2 * by + 1); k++) {
            all++;
            ways += found[f][k / (2 * by + 1)][k % (2 * by + 1)] > 0;
        }
    if (ways < all - all / 3) /* 64 samples miss few of up to 18 ways */
        fail_msg("%s, layout %d: %d of %d ways occur", text, l, ways, all);
    mc_batch_free(was);
    mc_batch_free(is);
}

static void pictures_move(void **state)
{
    (void)state;
    for (int l = 0; l < LAYOUTS; l++)
        for (int t = 0; t < 3; t++) {
            static const enum mc_dtype types[] = {MC_DTYPE_F32, MC_DTYPE_F64, MC_DTYPE_U8};
            expect_moves("flip", (enum layout)l, types[t], 0, true, false);
            expect_moves("shift=1", (enum layout)l, types[t], 1, false, false);
            expect_moves("crop=1", (enum layout)l, types[t], 1, false, true);
        }
    expect_moves("flip,shift=1", NCHW, MC_DTYPE_F32, 1, true, false);
    expect_moves("crop=2", NHWC, MC_DTYPE_F32, 2, false, true);
}

static void squares_are_cut(void **state)
{
    (void)state;
    for (int l = 0; l < LAYOUTS; l++) {
        enum { SIDE = 3 };
        struct mc_batch *was = batch((enum layout)l, MC_DTYPE_F32);
        struct mc_batch *is = batch((enum layout)l, MC_DTYPE_F32);
        change("cutout=3", 3, 0, 0, is);
        int whole = 0;
        for (int i = 0; i < N; i++)
            for (int c = 0; c < channels((enum layout)l); c++) {
                double mean = 0;
                int y0 = H, y1 = -1, x0 = W, x1 = -1, count = 0;
                for (int k = 0; k < H * W; k++)
                    mean += get(was, (enum layout)l, i, c, k / W, k % W) / (H * W);
                for (int y = 0; y < H; y++)
                    for (int x = 0; x < W; x++) {
                        double z = get(is, (enum layout)l, i, c, y, x);
                        if (z == get(was, (enum layout)l, i, c, y, x))
                            continue;
                        assert_true(fabs(z - mean) < 1e-3 * mean);
                        y0 = y < y0 ? y : y0;
                        y1 = y > y1 ? y : y1;
                        x0 = x < x0 ? x : x0;
                        x1 = x > x1 ? x : x1;
                        count++;
                    }
                assert_true(y1 - y0 < SIDE && x1 - x0 < SIDE);
                /* the pixel in the middle is the mean already: it may not show */
                assert_in_range(count, (y1 - y0 + 1) * (x1 - x0 + 1) - 1,
                                (y1 - y0 + 1) * (x1 - x0 + 1));
                whole += count >= SIDE * SIDE - 1;
            }
        assert_true(whole > 0);
        mc_batch_free(was);
        mc_batch_free(is);
    }
}

static void noise_is_normal(void **state)
{
    (void)state;
    struct mc_batch *was = batch(NCHW, MC_DTYPE_F32), *is = batch(NCHW, MC_DTYPE_F32);
    change("noise=2", 3, 0, 0, is);
    double sum = 0, square = 0;
    const float *a = was->arrays[0].data, *b = is->arrays[0].data;
    for (int k = 0; k < N * EACH; k++) {
        double d = (double)b[k] - (double)a[k];
        sum += d;
        square += d * d;
    }
    double n = N * EACH, mean = sum / n, deviation = sqrt(square / n - mean * mean);
    /* four times the standard errors of both */
    assert_true(fabs(mean) < 4 * 2 / sqrt(n) && fabs(deviation - 2) < 4 * 2 / sqrt(2 * n));
    mc_batch_free(was);
    mc_batch_free(is);
}

/* x = t x + (1 - t) y: t can be had from the labels' probabilities, then the pixels must agree. */
static void samples_mix(void **state)
{
    (void)state;
    enum { CLASSES = 5 };
    struct mc_batch *was = batch(NF, MC_DTYPE_F64), *is = batch(NF, MC_DTYPE_F64);
    float probs[N * CLASSES];
    struct mc_augment a;
    assert_int_equal(mc_augment_parse("mixup=1", &a, &err), 0);
    assert_int_equal(mc_augment_batch(&a, 8, 1, 0, is, probs, CLASSES, &err), 0);
    int mixed = 0;
    for (int i = 0; i < N; i++) {
        const float *p = probs + i * CLASSES;
        bool found = false;
        for (int j = 0; j < N && !found; j++) {
            double t = is->labels[i] == is->labels[j] ? NAN : (double)p[is->labels[i]];
            double x = get(was, NF, i, 0, 3, 3), y = get(was, NF, j, 0, 3, 3);
            double z = get(is, NF, i, 0, 3, 3);
            if (isnan(t)) /* of one class: any t */
                t = x == y ? 1 : (z - y) / (x - y);
            found = t >= -1e-9 && t <= 1 + 1e-9;
            for (int k = 0; k < H * W && found; k++) {
                double want = t * get(was, NF, i, 0, k / W, k % W) +
                              (1 - t) * get(was, NF, j, 0, k / W, k % W);
                found = fabs(want - get(is, NF, i, 0, k / W, k % W)) < 1e-4 * want;
            }
            if (found && is->labels[i] != is->labels[j]) {
                assert_true(fabs(p[is->labels[i]] + p[is->labels[j]] - 1) < 1e-6);
                mixed++;
            }
        }
        assert_true(found);
    }
    assert_true(mixed > N / 2);
    mc_batch_free(was);
    mc_batch_free(is);
}

/* Moments of Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)). */
static void beta_has_its_moments(void **state)
{
    (void)state;
    static const double as[] = {0.05, 0.2, 1, 2, 30};
    for (size_t k = 0; k < sizeof as / sizeof *as; k++) {
        enum { DRAWS = 20000 };
        double sum = 0, square = 0, want = 1 / (4 * (2 * as[k] + 1));
        for (int i = 0; i < DRAWS; i++) {
            double t = mc_mixup_beta(as[k], 1, 77, (uint64_t)i);
            assert_true(t >= 0 && t <= 1);
            sum += t;
            square += (t - 0.5) * (t - 0.5);
        }
        assert_true(fabs(sum / DRAWS - 0.5) < 4 * sqrt(want / DRAWS));
        /* the fourth moment is at most 1/16 of ... below: (t - 1/2)^2 <= 1/4 */
        assert_true(fabs(square / DRAWS - want) < 4 * 0.5 * sqrt(want / DRAWS));
    }
}

/* The draw belongs to the place in the epoch: cut into other batches, the same bytes; in another epoch not. */
static void place_decides(void **state)
{
    (void)state;
    static const char words[] = "flip,shift=2,crop=2,cutout=3,noise=0.1";
    struct mc_batch *one = batch(NCHW, MC_DTYPE_F32), *two = batch(NCHW, MC_DTYPE_F32);
    struct mc_batch part = *two;
    struct mc_array a = two->arrays[0];
    enum { FIRST = 24 };
    change(words, 5, 3, 40, one);
    for (int k = 0; k < 2; k++) {
        part.n = k ? N - FIRST : FIRST;
        a = two->arrays[0];
        a.shape.dim[0] = part.n;
        a.data = (float *)a.data + (k ? FIRST * EACH : 0);
        a.bytes = (size_t)part.n * EACH * sizeof(float);
        part.arrays = &a;
        change(words, 5, 3, k ? 40 + FIRST : 40, &part);
    }
    assert_memory_equal(one->arrays[0].data, two->arrays[0].data, one->arrays[0].bytes);
    mc_batch_free(two);
    two = batch(NCHW, MC_DTYPE_F32);
    change(words, 5, 4, 40, two);
    assert_memory_not_equal(one->arrays[0].data, two->arrays[0].data, one->arrays[0].bytes);
    mc_batch_free(one);
    mc_batch_free(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_move),        cmocka_unit_test(squares_are_cut),
        cmocka_unit_test(noise_is_normal),      cmocka_unit_test(samples_mix),
        cmocka_unit_test(beta_has_its_moments), cmocka_unit_test(place_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
