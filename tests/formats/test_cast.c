/* Conversion of samples: what fits comes out as C converts it, what does not is refused by element. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "formats/cast.h"

static const enum mc_dtype ints[] = {MC_DTYPE_BOOL, MC_DTYPE_U8,  MC_DTYPE_I8,
                                     MC_DTYPE_U16,  MC_DTYPE_I16, MC_DTYPE_U32,
                                     MC_DTYPE_I32,  MC_DTYPE_U64, MC_DTYPE_I64};
enum { N_INTS = sizeof ints / sizeof *ints };

/* Independent of the table of types: the bounds as stdint.h has them. */
static const struct {
    __int128 lo, hi;
} range[N_INTS] = {{0, 1},
                   {0, UINT8_MAX},
                   {INT8_MIN, INT8_MAX},
                   {0, UINT16_MAX},
                   {INT16_MIN, INT16_MAX},
                   {0, UINT32_MAX},
                   {INT32_MIN, INT32_MAX},
                   {0, UINT64_MAX},
                   {INT64_MIN, INT64_MAX}};

static void store(int type, __int128 v, void *p)
{
    switch (ints[type]) {
    case MC_DTYPE_BOOL: *(bool *)p = v != 0; break;
    case MC_DTYPE_U8: *(uint8_t *)p = (uint8_t)v; break;
    case MC_DTYPE_I8: *(int8_t *)p = (int8_t)v; break;
    case MC_DTYPE_U16: *(uint16_t *)p = (uint16_t)v; break;
    case MC_DTYPE_I16: *(int16_t *)p = (int16_t)v; break;
    case MC_DTYPE_U32: *(uint32_t *)p = (uint32_t)v; break;
    case MC_DTYPE_I32: *(int32_t *)p = (int32_t)v; break;
    case MC_DTYPE_U64: *(uint64_t *)p = (uint64_t)v; break;
    case MC_DTYPE_I64: *(int64_t *)p = (int64_t)v; break;
    default: fail();
    }
}

static void between_integers(void **state)
{
    (void)state;
    int checked = 0;
    for (int from = 0; from < N_INTS; from++)
        for (int to = 0; to < N_INTS; to++)
            for (int edge = 0; edge < N_INTS; edge++)
                for (int step = -3; step < 3; step++) {
                    __int128 v = (step < 0 ? range[edge].lo : range[edge].hi) + step % 2;
                    if (v < range[from].lo || v > range[from].hi)
                        continue;
                    bool fits = v >= range[to].lo && v <= range[to].hi;
                    uint64_t src = 0, dst = 0x5555555555555555, want = dst;
                    struct mc_cast_fault fault;
                    store(from, v, &src);
                    int rc = mc_cast(ints[from], &src, ints[to], &dst, 1, &fault);
                    assert_int_equal(rc, fits ? 0 : MC_EDTYPE);
                    if (fits) {
                        store(to, v, &want);
                        assert_memory_equal(&dst, &want, 8);
                    }
                    checked++;
                }
    assert_true(checked > 1500);
}

static void floats_to_integers(void **state)
{
    (void)state;
    const double good[] = {0, 1, -0.0};
    const double half_bad[] = {0.5, 1e-30, INFINITY, -INFINITY, 0x1p64, -0x1p64};
    struct mc_cast_fault fault;
    for (int to = 0; to < N_INTS; to++) {
        uint64_t dst;
        for (size_t i = 0; i < 3; i++) {
            dst = 0;
            assert_int_equal(mc_cast(MC_DTYPE_F64, &good[i], ints[to], &dst, 1, &fault), 0);
            assert_int_equal(dst, (uint64_t)good[i]);
        }
        for (size_t i = 0; i < sizeof half_bad / sizeof *half_bad; i++)
            assert_int_equal(mc_cast(MC_DTYPE_F64, &half_bad[i], ints[to], &dst, 1, &fault),
                             MC_EDTYPE);
        double v = NAN;
        assert_int_equal(mc_cast(MC_DTYPE_F64, &v, ints[to], &dst, 1, &fault), MC_EDATA);
        assert_true(fault.nan);
        /* One above and one below the range, where f64 can tell. */
        if (range[to].hi <= UINT32_MAX) {
            v = (double)range[to].hi;
            assert_int_equal(mc_cast(MC_DTYPE_F64, &v, ints[to], &dst, 1, &fault), 0);
            v += 1;
            assert_int_equal(mc_cast(MC_DTYPE_F64, &v, ints[to], &dst, 1, &fault), MC_EDTYPE);
            v = (double)range[to].lo - 1;
            assert_int_equal(mc_cast(MC_DTYPE_F64, &v, ints[to], &dst, 1, &fault), MC_EDTYPE);
        }
    }
    double v = 0x1p63;
    uint64_t u;
    int64_t s;
    assert_int_equal(mc_cast(MC_DTYPE_F64, &v, MC_DTYPE_U64, &u, 1, &fault), 0);
    assert_true(u == UINT64_C(1) << 63);
    assert_int_equal(mc_cast(MC_DTYPE_F64, &v, MC_DTYPE_I64, &s, 1, &fault), MC_EDTYPE);
    v = -0x1p63;
    assert_int_equal(mc_cast(MC_DTYPE_F64, &v, MC_DTYPE_I64, &s, 1, &fault), 0);
    assert_true(s == INT64_MIN);
}

static void to_floats(void **state)
{
    (void)state;
    struct mc_cast_fault fault;
    double wide[1100];
    float narrow[1100], same[1100];
    for (int i = 0; i < 1100; i++)
        wide[i] = (i - 500) * 1.1e-3 * (i % 7 ? 1 : 1e30);
    wide[3] = INFINITY;
    wide[4] = -INFINITY;
    assert_int_equal(mc_cast(MC_DTYPE_F64, wide, MC_DTYPE_F32, narrow, 1100, &fault), 0);
    for (int i = 0; i < 1100; i++)
        assert_true(narrow[i] == (float)wide[i]);
    assert_int_equal(mc_cast(MC_DTYPE_F32, narrow, MC_DTYPE_F32, same, 1100, &fault), 0);
    assert_memory_equal(narrow, same, sizeof same);
    /* A number that only the wider type has is an error, not infinity. */
    wide[1025] = 1e39;
    assert_int_equal(mc_cast(MC_DTYPE_F64, wide, MC_DTYPE_F32, narrow, 1100, &fault), MC_EDTYPE);
    assert_int_equal(fault.at, 1025);
    assert_string_equal(fault.value, "1e+39");
    uint16_t half;
    float f = 65504, over = 65520; /* largest binary16; halfway to the next, which does not exist */
    assert_int_equal(mc_cast(MC_DTYPE_F32, &f, MC_DTYPE_F16, &half, 1, &fault), 0);
    assert_int_equal(half, 0x7bff);
    assert_int_equal(mc_cast(MC_DTYPE_F32, &over, MC_DTYPE_F16, &half, 1, &fault), MC_EDTYPE);
    int64_t big = INT64_C(9007199254740993);
    assert_int_equal(mc_cast(MC_DTYPE_I64, &big, MC_DTYPE_F32, &f, 1, &fault), 0);
    assert_true(f == 9007199254740992.0f);
    /* NaN is found wherever it is, in every float type, converted or not. */
    for (int at = 0; at < 1100; at += 157) {
        same[at] = NAN;
        assert_int_equal(mc_cast(MC_DTYPE_F32, same, MC_DTYPE_F32, narrow, 1100, &fault), MC_EDATA);
        assert_int_equal(fault.at, at);
        assert_int_equal(mc_cast(MC_DTYPE_F32, same, MC_DTYPE_F64, wide, 1100, &fault), MC_EDATA);
        assert_int_equal(fault.at, at);
        same[at] = 0;
    }
    uint16_t nan16[3] = {0, 0x7c00, 0x7c01};
    assert_int_equal(mc_cast(MC_DTYPE_F16, nan16, MC_DTYPE_F16, nan16, 3, &fault), MC_EDATA);
    assert_int_equal(fault.at, 2);
    float pair[4] = {1, 2, 3, NAN};
    assert_int_equal(mc_cast(MC_DTYPE_C64, pair, MC_DTYPE_C64, pair, 2, &fault), MC_EDATA);
    assert_int_equal(fault.at, 1);
}

static void bytes_reversed(void **state)
{
    (void)state;
    uint8_t b[16], c[16];
    for (int i = 0; i < 16; i++)
        b[i] = c[i] = (uint8_t)i;
    mc_cast_swap(MC_DTYPE_U8, c, 16);
    assert_memory_equal(b, c, 16);
    mc_cast_swap(MC_DTYPE_I16, c, 8);
    assert_memory_equal(c, "\1\0\3\2", 4);
    memcpy(c, b, 16);
    mc_cast_swap(MC_DTYPE_C128, c, 1); /* its two halves stay where they are */
    assert_memory_equal(c, "\7\6\5\4\3\2\1\0\17\16\15\14\13\12\11\10", 16);
}

static void what_can_be_converted(void **state)
{
    (void)state;
    assert_true(mc_cast_possible(MC_DTYPE_BOOL, MC_DTYPE_BF16));
    assert_true(mc_cast_possible(MC_DTYPE_C64, MC_DTYPE_C64));
    assert_false(mc_cast_possible(MC_DTYPE_C64, MC_DTYPE_C128));
    assert_false(mc_cast_possible(MC_DTYPE_F32, MC_DTYPE_C64));
    assert_false(mc_cast_possible(MC_DTYPE_F32, MC_DTYPE_STRING));
    assert_false(mc_cast_possible(MC_DTYPE_F32, MC_DTYPE_I4));
    assert_false(mc_cast_possible(MC_DTYPE_F32, MC_DTYPE_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(between_integers),
        cmocka_unit_test(floats_to_integers),
        cmocka_unit_test(to_floats),
        cmocka_unit_test(bytes_reversed),
        cmocka_unit_test(what_can_be_converted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
