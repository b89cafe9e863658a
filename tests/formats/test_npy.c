/* Headers of .npy files: all spellings that NumPy writes or reads, and none that it would have to run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "files.h"
#include "formats/npy.h"

static const uint8_t zeros[4096];

static int read_header(struct buf b, struct mc_narray *a, struct mc_err *err)
{
    struct mc_narray_file f;
    assert_int_equal(mc_narray_file_open(save("x.npy", b), &f, err), 0);
    *a = (struct mc_narray){.what = "'x.npy'", .src = f.src};
    int rc = mc_npy_read(a, err);
    mc_narray_file_close(&f);
    return rc;
}

static void every_dtype(void **state)
{
    (void)state;
    static const struct {
        const char *descr;
        enum mc_dtype dtype;
        size_t item;
    } cases[] = {{"|b1", MC_DTYPE_BOOL, 1}, {"|i1", MC_DTYPE_I8, 1},    {"|u1", MC_DTYPE_U8, 1},
                 {"<i2", MC_DTYPE_I16, 2},  {"<u2", MC_DTYPE_U16, 2},   {"<i4", MC_DTYPE_I32, 4},
                 {"<u4", MC_DTYPE_U32, 4},  {"<i8", MC_DTYPE_I64, 8},   {"<u8", MC_DTYPE_U64, 8},
                 {"<f2", MC_DTYPE_F16, 2},  {"<f4", MC_DTYPE_F32, 4},   {"<f8", MC_DTYPE_F64, 8},
                 {"<c8", MC_DTYPE_C64, 8},  {"<c16", MC_DTYPE_C128, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int form = 0; form < 3; form++) {
            char descr[8];
            struct mc_narray a;
            struct mc_err err = {0};
            snprintf(descr, sizeof descr, "%s", cases[i].descr);
            if (*descr == '<' && form == 1)
                *descr = '>';
            if (form == 2)
                *descr = '='; /* native, which is little endian here */
            if (read_header(make_npy(1, descr, false, "(3, 2)", zeros, 6 * cases[i].item), &a,
                            &err))
                fail_msg("%s: %s", descr, err.msg);
            assert_int_equal(a.dtype, cases[i].dtype);
            assert_int_equal(a.swap, *descr == '>');
            assert_int_equal(a.skip % 64, 0);
            assert_false(a.fortran || a.image || a.layout);
        }
}

static void shapes_and_versions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rank;
        int64_t dim[4];
        size_t count;
    } cases[] = {{"()", 0, {0}, 1},
                 {"(5,)", 1, {5}, 5},
                 {"(5L, 2L)", 2, {5, 2}, 10},
                 {"(  2,3 ,1,2 )", 4, {2, 3, 1, 2}, 12},
                 {"(0, 7)", 2, {0, 7}, 0}};
    for (int version = 1; version <= 3; version++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            struct mc_narray a;
            assert_int_equal(read_header(make_npy(version, "<f4", i % 2, cases[i].text, zeros,
                                                  4 * cases[i].count),
                                         &a, NULL),
                             0);
            assert_int_equal(a.shape.rank, cases[i].rank);
            assert_memory_equal(a.shape.dim, cases[i].dim, 8 * (size_t)cases[i].rank);
            assert_int_equal(a.fortran, i % 2);
        }
}

/* A file with this text for a header. */
static struct buf raw_header(const char *text)
{
    struct buf b = {0};
    put(&b, "\x93NUMPY\1\0", 8);
    put_le(&b, strlen(text), 2);
    put(&b, text, strlen(text));
    put(&b, zeros, 16);
    return b;
}

static void headers_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *words;
    } cases[] = {
        {"{'shape':(4,),'fortran_order':False,'descr':\"<f4\"}", 0, ""}, /* any order, no comma */
        {"", MC_EFORMAT, "'{'"},
        {"{", MC_EFORMAT, "quotes"},
        {"{}", MC_EFORMAT, "lacks 'descr'"},
        {"{'descr': '<f4', 'fortran_order': False, }", MC_EFORMAT, "lacks 'shape'"},
        {"{'descr': '<f4', 'descr': '<f4'}", MC_EFORMAT, "unexpected 'descr'"},
        {"{'descr': '<f4', 'evil': 1}", MC_EFORMAT, "unexpected 'evil'"},
        {"{'descr': __import__('os').system('true')}", MC_EFORMAT, "quotes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}; exit()", MC_EFORMAT,
         "nothing more"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (4,)}", MC_EFORMAT, "True or False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': [4]}", MC_EFORMAT, "brackets"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4", MC_EFORMAT, "',' or ')'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}", MC_EFORMAT, "dimension"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2**9,)}", MC_EFORMAT, "',' or ')'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", MC_EFORMAT,
         "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", MC_EFORMAT,
         "too large"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952,)}", MC_EFORMAT,
         "too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}", MC_EFORMAT, "truncated"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", MC_EFORMAT, "4 bytes follow"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,4)}",
         MC_EUNSUP, "more than 12 axes"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (4,)}", MC_EUNSUP, "pickle"},
        {"{'descr': '<U4', 'fortran_order': False, 'shape': (1,)}", MC_EUNSUP, "'<U4'"},
        {"{'descr': '<f16', 'fortran_order': False, 'shape': (1,)}", MC_EUNSUP, "'<f16'"},
        {"{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (2,)}", MC_EUNSUP, "'<M8[ns]'"},
        {"{'descr': 'f', 'fortran_order': False, 'shape': (4,)}", MC_EUNSUP, "'f'"},
        {"{'descr': '', 'fortran_order': False, 'shape': (4,)}", MC_EUNSUP, "''"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,)}", MC_EUNSUP, "records"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mc_narray a;
        struct mc_err err = {0};
        int rc = read_header(raw_header(cases[i].text), &a, &err);
        if (rc != cases[i].code || (rc && !strstr(err.msg, cases[i].words)))
            fail_msg("%s\ngave %d: %s", cases[i].text, rc, err.msg);
        assert_true(!rc || strstr(err.msg, "'x.npy'"));
    }
}

static void broken_before_the_text(void **state)
{
    (void)state;
    struct mc_narray a;
    struct mc_err err;
    struct buf b = make_npy(1, "<f4", false, "(4,)", zeros, 16);
    b.p[6] = 4;
    assert_int_equal(read_header(b, &a, &err), MC_EUNSUP);
    assert_non_null(strstr(err.msg, "version 4"));
    b = make_npy(2, "<f4", false, "(4,)", zeros, 16);
    b.p[11] = 0x7f; /* a header of 2 GB */
    assert_int_equal(read_header(b, &a, &err), MC_EFORMAT);
    b = make_npy(1, "<f4", false, "(4,)", zeros, 16);
    b.p[20] = 0;
    assert_int_equal(read_header(b, &a, &err), MC_EFORMAT);
    assert_non_null(strstr(err.msg, "zero byte"));
    b = make_npy(1, "<f4", false, "(4,)", zeros, 16);
    b.p[1] = 'n';
    assert_int_equal(read_header(b, &a, &err), MC_EFORMAT);
}

static int clean(void **state)
{
    (void)state;
    remove_files();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype),
        cmocka_unit_test(shapes_and_versions),
        cmocka_unit_test(headers_that_are_none),
        cmocka_unit_test(broken_before_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
