#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "graph/dtype.h"

static struct mc_map golden; /* made by tests/golden/dtype.py */
static const uint8_t *at;

static const uint8_t *take(size_t bytes)
{
    const uint8_t *p = at;
    at += bytes;
    assert_true(at <= golden.data + golden.size);
    return p;
}

static uint32_t bits_of(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static void same_float(int dtype, size_t i, float got, float want)
{
    if (isnan(want) ? !isnan(got) : bits_of(got) != bits_of(want))
        fail_msg("%s element %zu: %a, should be %a", mc_dtype_name(dtype), i, (double)got,
                 (double)want);
}

static void same_code(int dtype, size_t i, unsigned got, unsigned want)
{
    if (got != want)
        fail_msg("%s element %zu: code 0x%x, should be 0x%x", mc_dtype_name(dtype), i, got, want);
}

static const int floats[] = {MC_DTYPE_F16,        MC_DTYPE_BF16,   MC_DTYPE_F8E4M3FN,
                             MC_DTYPE_F8E4M3FNUZ, MC_DTYPE_F8E5M2, MC_DTYPE_F8E5M2FNUZ,
                             MC_DTYPE_F4E2M1,     MC_DTYPE_F8E8M0};
enum { N_FLOATS = sizeof floats / sizeof *floats };

/* Code i of n codes of a type, unpacked. */
static unsigned code_at(int dtype, const uint8_t *codes, size_t i)
{
    switch (mc_dtype_info(dtype)->bits) {
    case 16: return (unsigned)codes[2 * i] | (unsigned)codes[2 * i + 1] << 8;
    case 4: return codes[i / 2] >> (i % 2 * 4) & 15;
    default: return codes[i];
    }
}

static void same_bits_as_ml_dtypes(void **state)
{
    (void)state;
    uint32_t n;
    at = golden.data;
    memcpy(&n, take(sizeof n), sizeof n);
    float *x = malloc(n * sizeof *x);
    double *wide = malloc(n * sizeof *wide);
    uint8_t *codes = malloc(2 * n + 1);
    assert_true(x && wide && codes && n > 500);
    memcpy(x, take(n * sizeof *x), n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        wide[i] = x[i];
    for (size_t k = 0; k < N_FLOATS; k++) {
        int t = floats[k], bytes = mc_dtype_info(t)->bits == 16 ? 2 : 1;
        const uint8_t *want = take(n * (size_t)bytes);
        for (int from = 0; from < 2; from++) {
            memset(codes, 0xa5, 2 * n + 1);
            /* One byte off: unaligned. */
            int rc = from ? mc_dtype_from_f32(t, x, codes + 1, n, NULL)
                          : mc_dtype_from_f64(t, wide, codes + 1, n, NULL);
            assert_int_equal(rc, 0);
            for (size_t i = 0; i < n; i++) {
                unsigned w = bytes == 2 ? code_at(MC_DTYPE_F16, want, i) : want[i];
                same_code(t, i, code_at(t, codes + 1, i), w);
            }
        }
    }
    for (size_t k = 2; k < N_FLOATS; k++) {
        size_t count = floats[k] == MC_DTYPE_F4E2M1 ? 16 : 256;
        uint8_t all[256];
        float got[256], want[256];
        for (size_t i = 0; i < count; i++)
            all[i] = (uint8_t)i;
        for (size_t i = 0; count == 16 && i < 8; i++)
            all[i] = (uint8_t)((2 * i + 1) << 4 | 2 * i);
        memcpy(want, take(count * sizeof *want), count * sizeof *want);
        assert_int_equal(mc_dtype_to_f32(floats[k], all, got, count, NULL), 0);
        for (size_t i = 0; i < count; i++)
            same_float(floats[k], i, got[i], want[i]);
    }
    free(x);
    free(wide);
    free(codes);
}

/* After same_bits_as_ml_dtypes: the rest of the file. */
static void packed_as_onnx(void **state)
{
    (void)state;
    static const int types[] = {MC_DTYPE_U4, MC_DTYPE_I4, MC_DTYPE_U2, MC_DTYPE_I2};
    enum { N = 13 };
    for (size_t k = 0; k < 4; k++) {
        const uint8_t *values = take(N);
        size_t bytes;
        assert_true(mc_dtype_bytes(types[k], N, &bytes));
        const uint8_t *packed = take(bytes);
        float x[N];
        double wide[N];
        int64_t numbers[N];
        uint8_t out[N];
        assert_int_equal(mc_dtype_to_f32(types[k], packed, x, N, NULL), 0);
        assert_int_equal(mc_dtype_to_f64(types[k], packed, wide, N, NULL), 0);
        assert_int_equal(mc_dtype_to_i64(types[k], packed, numbers, N, NULL), 0);
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(numbers[i], (int8_t)values[i]);
            assert_true(x[i] == (float)numbers[i] && wide[i] == (double)numbers[i]);
        }
        memset(out, 0xff, sizeof out);
        assert_int_equal(mc_dtype_from_f32(types[k], x, out, N, NULL), 0);
        assert_memory_equal(out, packed, bytes);
    }
    assert_ptr_equal(at, golden.data + golden.size);
}

/* Every code of a type with two bytes: it comes back, and what lies between two neighbours goes to the nearer
 * one, from the exact middle to the even one. */
static void nearest_even_everywhere(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        int t = floats[k];
        unsigned infinity = t == MC_DTYPE_F16 ? 0x7c00 : 0x7f80;
        for (unsigned code = 0; code < infinity; code++) {
            uint16_t pair[2] = {(uint16_t)code, (uint16_t)(code + 1)}, got[6];
            double v[2], x[6];
            float f[2];
            assert_int_equal(mc_dtype_to_f64(t, pair, v, 2, NULL), 0);
            assert_int_equal(mc_dtype_to_f32(t, pair, f, 2, NULL), 0);
            assert_true((double)f[0] == v[0] && (double)f[1] == v[1]);
            double step = code + 1 < infinity ? v[1] - v[0] : ldexp(1, t == MC_DTYPE_F16 ? 5 : 120);
            double middle = v[0] + step / 2;
            x[0] = v[0];
            x[1] = middle;
            x[2] = nextafter(middle, 0);
            x[3] = nextafter(middle, INFINITY);
            x[4] = -middle;
            x[5] = -v[0];
            assert_int_equal(mc_dtype_from_f64(t, x, got, 6, NULL), 0);
            unsigned even = code + (code & 1);
            unsigned want[6] = {code, even, code, code + 1, even | 0x8000, code | 0x8000};
            for (size_t i = 0; i < 6; i++)
                same_code(t, code, got[i], want[i]);
            float one = (float)middle; /* exact: at most 12 significant bits */
            assert_int_equal(mc_dtype_from_f32(t, &one, got, 1, NULL), 0);
            same_code(t, code, got[0], even);
        }
    }
}

static void integers_saturate(void **state)
{
    (void)state;
    static const struct {
        int dtype;
        double lo, hi;
    } rows[] = {{MC_DTYPE_U8, 0, 255},
                {MC_DTYPE_I8, -128, 127},
                {MC_DTYPE_U16, 0, 65535},
                {MC_DTYPE_I16, -32768, 32767},
                {MC_DTYPE_U32, 0, 4294967295.0},
                {MC_DTYPE_I32, -2147483648.0, 2147483647.0},
                {MC_DTYPE_U64, 0, 0x1p64},
                {MC_DTYPE_I64, -0x1p63, 0x1p63},
                {MC_DTYPE_U4, 0, 15},
                {MC_DTYPE_I4, -8, 7},
                {MC_DTYPE_U2, 0, 3},
                {MC_DTYPE_I2, -2, 1}};
    static const double x[] = {1e30, -1e30, INFINITY, -INFINITY, NAN, 0.5, 1.5, -0.5, -1.5, 1};
    enum { N = sizeof x / sizeof *x };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        double lo = rows[k].lo, hi = rows[k].hi;
        double want[N] = {hi, lo, hi, lo, 0, 0, hi < 2 ? hi : 2, 0, lo > -2 ? lo : -2, 1};
        uint8_t raw[8 * N + 1];
        double back[N];
        assert_int_equal(mc_dtype_from_f64(rows[k].dtype, x, raw + 1, N, NULL), 0);
        assert_int_equal(mc_dtype_to_f64(rows[k].dtype, raw + 1, back, N, NULL), 0);
        for (size_t i = 0; i < N; i++)
            if (!(back[i] == want[i]))
                fail_msg("%s of %g: %g, should be %g", mc_dtype_name(rows[k].dtype), x[i], back[i],
                         want[i]);
    }
    int64_t edge[2];
    const uint64_t large[2] = {UINT64_MAX, 5};
    assert_int_equal(mc_dtype_to_i64(MC_DTYPE_U64, large, edge, 2, NULL), 0);
    assert_true(edge[0] == INT64_MAX && edge[1] == 5);
    const double below = 0x1.fffffffffffffp62;
    assert_int_equal(mc_dtype_from_f64(MC_DTYPE_I64, &below, edge, 1, NULL), 0);
    assert_true(edge[0] == 0x7ffffffffffffc00);
}

static void wide_integers_round_once(void **state)
{
    (void)state;
    /* 2^24 + 1 + 2^-40 in units of 2^40: as double it ties, and then goes the wrong way. */
    const int64_t i = ((int64_t)1 << 62) + ((int64_t)1 << 38) + 1;
    float f;
    assert_int_equal(mc_dtype_to_f32(MC_DTYPE_I64, &i, &f, 1, NULL), 0);
    assert_true(f == 0x1.000002p62f);
    assert_true((float)(double)i != f);
}

static void sizes_and_names(void **state)
{
    (void)state;
    size_t b = 99;
    assert_true(mc_dtype_bytes(MC_DTYPE_U4, 5, &b) && b == 3);
    assert_true(mc_dtype_bytes(MC_DTYPE_I2, 5, &b) && b == 2);
    assert_true(mc_dtype_bytes(MC_DTYPE_C128, 3, &b) && b == 48);
    assert_true(mc_dtype_bytes(MC_DTYPE_F32, 0, &b) && b == 0);
    assert_false(mc_dtype_bytes(MC_DTYPE_F64, INT64_MAX, &b));
    assert_false(mc_dtype_bytes(MC_DTYPE_F32, -1, &b));
    assert_false(mc_dtype_bytes(MC_DTYPE_STRING, 1, &b));
    assert_false(mc_dtype_bytes(999, 1, &b));
    assert_string_equal(mc_dtype_name(-1), "undefined");
    assert_string_equal(mc_dtype_name(MC_DTYPE_COUNT), "undefined");
    struct mc_err err;
    float f;
    for (int t = 0; t < MC_DTYPE_COUNT; t++) {
        const struct mc_dtype_info *info = mc_dtype_info(t);
        assert_non_null(info->name);
        int want = info->kind == MC_KIND_OTHER ? MC_EDTYPE : 0;
        uint8_t raw[16] = {0};
        assert_int_equal(mc_dtype_to_f32(t, raw, &f, 1, &err), want);
        assert_int_equal(mc_dtype_from_f32(t, &f, raw, 0, &err), want);
    }
}

int main(int argc, char **argv)
{
    struct mc_err err;
    if (argc != 2 || mc_map_open(argv[1], &golden, &err)) {
        fprintf(stderr, "test_dtype GOLDEN: %s\n", argc == 2 ? err.msg : "no file given");
        return 2;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_as_ml_dtypes),   cmocka_unit_test(packed_as_onnx),
        cmocka_unit_test(nearest_even_everywhere),  cmocka_unit_test(integers_saturate),
        cmocka_unit_test(wide_integers_round_once), cmocka_unit_test(sizes_and_names),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mc_map_close(&golden);
    return failed;
}
