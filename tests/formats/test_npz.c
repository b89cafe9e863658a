/* .npy and .npz as samples: how arrays meet inputs, and archives that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "files.h"
#include "open.h"

static void npy_batch_and_whole(void **state)
{
    (void)state;
    float v[24];
    for (int i = 0; i < 24; i++)
        v[i] = (float)i - 3;
    const char *path = save("a.npy", make_npy(1, "<f4", false, "(2, 3, 4)", v, sizeof v));
    static const struct {
        int rank;
        int64_t dims[4];
        bool whole;
    } fits[] = {{3, {-2, 3, 4}, false},
                {3, {7, -1, 4}, false},
                {2, {3, 4}, true},
                {2, {-2, 4}, true},
                {2, {-2, -2}, true}};
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
        struct mc_dataset *d =
            open_one(path, input("x", MC_DTYPE_F32, fits[i].rank, fits[i].dims), "mean=1,std=9");
        assert_int_equal(d->count, 2);
        assert_int_equal(d->whole, fits[i].whole);
        struct mc_batch *b = range(d, 0, 2);
        assert_int_equal(b->arrays[0].shape.rank, 3);
        assert_int_equal(b->arrays[0].bytes, sizeof v);
        assert_memory_equal(b->arrays[0].data, v, sizeof v);
        mc_batch_free(b);
        mc_dataset_free(d);
    }
    struct mc_dataset *d = open_one(path, input("x", MC_DTYPE_I8, DIMS(-2, 3, 4)), NULL);
    struct mc_batch *b = range(d, 1, 1);
    assert_int_equal(((int8_t *)b->arrays[0].data)[11], 20);
    mc_batch_free(b);
    mc_dataset_free(d);
    refused_one(path, input("x", MC_DTYPE_U8, DIMS(-2, 3, 4)), MC_EDTYPE,
                "-3 in sample 0 does not fit input 'x' of type uint8");
    refused_one(path, input("x", MC_DTYPE_STRING, DIMS(-2, 3, 4)), MC_EDTYPE, "string");
    /* No guessing of layouts outside images. */
    refused_one(path, input("x", MC_DTYPE_F32, DIMS(-2, 12)), MC_ESHAPE, "[3,4]");
    refused_one(path, input("x", MC_DTYPE_F32, DIMS(-2, 1, 3, 4)), MC_ESHAPE, "[?,1,3,4]");
    v[17] = NAN;
    path = save("a.npy", make_npy(1, "<f4", false, "(2, 3, 4)", v, sizeof v));
    refused_one(path, input("x", MC_DTYPE_F32, DIMS(-2, 3, 4)), MC_EDATA,
                "a.npy': sample 1 holds NaN, for input 'x'");
    path = save("a.npy", make_npy(1, "<f4", false, "()", v, 4));
    refused_one(path, input("x", MC_DTYPE_F32, DIMS(-2)), MC_ESHAPE, "single value");
    struct mc_array two[] = {input("a", MC_DTYPE_F32, DIMS(-2)),
                             input("b", MC_DTYPE_F32, DIMS(-2))};
    struct mc_sample_opts o = {.inputs = two, .n_inputs = 2};
    path = save("a.npy", make_npy(1, "<f4", false, "(3,)", v, 12));
    refused(path, &o, MC_EDATA, "the model has 2 inputs ('a', 'b')");
    o.n_inputs = 0;
    refused(path, &o, MC_EUSAGE, "no inputs");
}

static struct buf floats(const char *shape, size_t n)
{
    float v[64];
    for (size_t i = 0; i < n; i++)
        v[i] = (float)i;
    return make_npy(1, "<f4", false, shape, v, n * 4);
}

static void npz_names(void **state)
{
    (void)state;
    struct mc_array in[] = {input("block/in:0", MC_DTYPE_F32, DIMS(-2, 2)),
                            input("ids", MC_DTYPE_I64, DIMS(-2))};
    struct mc_sample_opts o = {.inputs = in, .n_inputs = 2};
    for (unsigned how = 0; how < 8; how++) {
        struct zip_member m[] = {
            zip_member("ids.npy",
                       make_npy(1, ">i4", false, "(3,)", "\0\0\0\1\0\0\1\0\377\377\377\377", 12),
                       how),
            zip_member("spare.npy", floats("(64,)", 64), how),
            zip_member("block/in:0.npy", floats("(3, 2)", 6), how),
            zip_member("labels.npy", make_npy(1, "|u1", false, "(3,)", "\1\0\4", 3), how)};
        struct mc_dataset *d;
        if (mc_samples_open(save("n.npz", make_zip(m, 4)), &o, &d, &err))
            fail_msg("how %u: %s", how, err.msg);
        assert_true(d->has_labels && d->classes == 5 && d->count == 3);
        struct mc_batch *b;
        for (int backward = 0; backward < 2; backward++) {
            int64_t index[3] = {backward ? 2 : 0, 1, backward ? 0 : 2};
            assert_int_equal(mc_dataset_read(d, index, 3, &b, &err), 0);
            assert_int_equal(b->n_arrays, 2);
            for (int i = 0; i < 3; i++) {
                assert_true(((float *)b->arrays[0].data)[2 * i + 1] == (float)(2 * index[i] + 1));
                assert_int_equal(((int64_t *)b->arrays[1].data)[i],
                                 ((int64_t[]){1, 256, -1})[index[i]]);
                assert_int_equal(b->labels[i], ((int64_t[]){1, 0, 4})[index[i]]);
            }
            mc_batch_free(b);
        }
        mc_dataset_free(d);
    }
}

/* Rows of integers are sequences, ended by the first negative number. */
static void npz_sequences(void **state)
{
    (void)state;
    static const int32_t rows[] = {3, 1, 3, -1, 9, 9, 0, 0, 5};
    static const int64_t want[] = {3, 1, 3, -1, -1, -1, 0, 0, 5};
    struct mc_array in = input("x", MC_DTYPE_F32, DIMS(-2, 2));
    for (int list = 0; list < 2; list++) { /* one array, and an array for each sample */
        struct zip_member m[4];
        int n = 0;
        static const char *const names[] = {"x_0.npy", "x_1.npy", "x_2.npy"};
        if (!list)
            m[n++] = zip_member("x.npy", floats("(3, 2)", 6), 0);
        for (; list && n < 3; n++)
            m[n] = zip_member(names[n], floats("(2,)", 2), 0);
        m[n++] = zip_member("labels.npy", make_npy(1, "<i4", false, "(3, 3)", rows, 36), 0);
        const char *path = save("s.npz", make_zip(m, n));
        struct mc_dataset *d = open_one(path, in, NULL);
        assert_false(d->has_labels);
        assert_true(d->sequence == 3 && d->classes == 6 && d->count == 3);
        struct mc_batch *b;
        int64_t index[] = {2, 0, 1}, label;
        assert_int_equal(mc_dataset_read(d, index, 3, &b, &err), 0);
        assert_true(b->sequences && !b->labels);
        for (int i = 0; i < 9; i++)
            assert_int_equal(b->sequences[i], want[index[i / 3] * 3 + i % 3]);
        mc_batch_free(b);
        assert_int_equal(mc_dataset_labels(d, index, 1, &label, &err), MC_EDATA);
        assert_non_null(strstr(err.msg, "has a sequence of labels for each sample"));
        mc_dataset_free(d);
        struct mc_sample_opts bare = {.inputs = &in, .n_inputs = 1, .no_labels = true};
        assert_int_equal(mc_samples_open(path, &bare, &d, &err), 0);
        assert_true(!d->sequence && !d->has_labels);
        mc_dataset_free(d);
    }
}

/* Integers that are no sequences. */
static void npz_one_hot(void **state)
{
    (void)state;
    static const struct {
        const char *descr, *shape, *data;
        size_t n;
        const char *words;
    } rows[] = {
        {"|u1", "(3, 2)", "\1\0\0\1\1\0", 6, "one-hot"},
        {"|b1", "(3, 2)", "\1\1\0\1\1\0", 6, "one-hot"},
        {"|u1", "(3, 1, 2)", "\2\0\0\1\1\0", 6, "give one class number"},
        {"|u1", "(3, 0)", "", 0, "one-hot"},
        {"|u1", "(2, 2)", "\1\2\0\1", 4, "2 labels for 3 samples"},
        {"<u4", "(3, 2)", "\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\377\377\377\177", 24,
         "2147483647, of sample 2, is no class"},
    };
    struct mc_array in = input("x", MC_DTYPE_F32, DIMS(-2, 2));
    struct mc_sample_opts o = {.inputs = &in, .n_inputs = 1};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct zip_member m[] = {
            zip_member("x.npy", floats("(3, 2)", 6), 0),
            zip_member("labels.npy",
                       make_npy(1, rows[i].descr, false, rows[i].shape, rows[i].data, rows[i].n),
                       0)};
        refused(save("bad.npz", make_zip(m, 2)), &o, MC_EDATA, rows[i].words);
    }
    /* ones and zeros, but not one 1 in each row */
    struct zip_member m[] = {
        zip_member("x.npy", floats("(3, 2)", 6), 0),
        zip_member("labels.npy", make_npy(1, "|u1", false, "(3, 2)", "\1\1\0\1\1\0", 6), 0)};
    struct mc_dataset *d = open_one(save("s.npz", make_zip(m, 2)), in, NULL);
    assert_int_equal(d->sequence, 2);
    mc_dataset_free(d);
}

static void npz_that_do_not_serve(void **state)
{
    (void)state;
    struct mc_array in[] = {input("a", MC_DTYPE_F32, DIMS(-2, 2)),
                            input("b", MC_DTYPE_F32, DIMS(-2))};
    struct mc_sample_opts o = {.inputs = in, .n_inputs = 2}, one = {.inputs = in, .n_inputs = 1};
    static const struct {
        const char *name[3], *shape[3];
        size_t n[3];
        int code;
        const char *words;
        int n_inputs;
    } cases[] = {
        {{"a.npy", "c.npy"}, {"(2, 2)", "(2,)"}, {4, 2}, MC_EDATA, "input 'b'; it has 'a', 'c'", 2},
        {{"x.npy", "c.npy"}, {"(2, 2)", "(2,)"}, {4, 2}, MC_EDATA, "input 'a'; it has 'x', 'c'", 1},
        {{"a.npy", "b.npy"},
         {"(2, 2)", "(3,)"},
         {4, 3},
         MC_EDATA,
         "has 3 samples, the array for input 'a' has 2",
         2},
        {{"a.npy", "b.npy"}, {"(2, 2)", "(2, 1)"}, {4, 2}, MC_ESHAPE, "disagree", 2},
        {{"a.npy", "a.npy"}, {"(2, 2)", "(2, 2)"}, {4, 4}, MC_EFORMAT, "two arrays named 'a'", 1},
        {{"a.npy", "labels.npy"}, {"(2, 2)", "(2,)"}, {4, 2}, MC_EDATA, "must be integers", 1},
        {{"a.npy", "labels.npy"}, {"(2, 2)", "(2, 9)"}, {4, 18}, MC_EDATA, "probabilities", 1},
        {{"a.npy", "x.npy"}, {"(2, 3)", "(2,)"}, {6, 2}, MC_ESHAPE, "array 'a' of", 1},
        {{"labels.npy", "x"}, {"(2,)", "(2, 2)"}, {2, 4}, MC_EDATA, "must be integers", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct zip_member m[3];
        int n = 0;
        for (; n < 3 && cases[i].name[n]; n++)
            m[n] = zip_member(cases[i].name[n], floats(cases[i].shape[n], cases[i].n[n]), 0);
        refused(save("bad.npz", make_zip(m, n)), cases[i].n_inputs == 1 ? &one : &o, cases[i].code,
                cases[i].words);
    }
    refused(save("bad.npz", make_zip(NULL, 0)), &o, MC_EDATA, "it has none");
    /* The only array serves the only input, and labels are not forced on an input called so. */
    struct zip_member m[2] = {zip_member("arr_0.npy", floats("(2, 2)", 4), 0)};
    struct mc_dataset *d = open_one(save("ok.npz", make_zip(m, 1)), in[0], NULL);
    mc_dataset_free(d);
    m[0] = zip_member("labels.npy", floats("(2, 2)", 4), 0);
    d = open_one(save("ok.npz", make_zip(m, 1)), input("labels", MC_DTYPE_F32, DIMS(-2, 2)), NULL);
    assert_false(d->has_labels);
    mc_dataset_free(d);
    m[0] = zip_member("a.npy", floats("(2, 2)", 4), 0);
    char spec[1024];
    snprintf(spec, sizeof spec, "%s:%s", save("ok.npz", make_zip(m, 1)), "y");
    refused(spec, &one, MC_EUSAGE, "array 'labels'");
    m[0] = zip_member("a.npy", floats("(2, 2)", 4), 0);
    refused(save("ok.npz.gz", make_gz(make_zip(m, 1))), &one, MC_EUNSUP, "gunzip it");
}

static void zips_that_lie(void **state)
{
    (void)state;
    struct mc_array in = input("a", MC_DTYPE_F32, DIMS(-2, 2));
    struct mc_sample_opts o = {.inputs = &in, .n_inputs = 1};
    for (unsigned how = 0; how < 2; how++) {
        struct zip_member m = zip_member("a.npy", floats("(20, 2)", 40), how);
        m.crc ^= 0x10;
        refused(save("z.npz", make_zip(&m, 1)), &o, MC_EFORMAT, "CRC-32");
        m = zip_member("a.npy", floats("(20, 2)", 40), how);
        m.data.p[m.data.n / 2] ^= 1; /* one bit of the content, in the middle */
        refused(save("z.npz", make_zip(&m, 1)), &o, MC_EFORMAT, "array 'a' of");
        m = zip_member("a.npy", floats("(20, 2)", 40), how);
        m.flags = 1;
        refused(save("z.npz", make_zip(&m, 1)), &o, MC_EUNSUP, "encrypted");
        m = zip_member("a.npy", floats("(20, 2)", 40), how);
        m.method = 14;
        refused(save("z.npz", make_zip(&m, 1)), &o, MC_EUNSUP, "zip method 14");
        m = zip_member("a.npy", floats("(20, 2)", 40), how);
        m.packed += 100000;
        refused(save("z.npz", make_zip(&m, 1)), &o, MC_EFORMAT, "beyond the end");
        m = zip_member("a.npy", floats("(20, 2)", 40), how);
        m.length += 8;
        refused(save("z.npz", make_zip(&m, 1)), &o, MC_EFORMAT, how ? "bytes follow" : "two sizes");
    }
    /* A bomb: a header that promises terabytes, and sizes that confirm it. */
    struct zip_member m =
        zip_member("a.npy", make_npy(1, "<f4", false, "(549755813888, 2)", "01234567", 8),
                   ZIP_DEFLATE | ZIP_64);
    m.length = m.content.n - 8 + (UINT64_C(1) << 42);
    refused(save("z.npz", make_zip(&m, 1)), &o, MC_EFORMAT, "truncated");
    /* The content goes on where header and sizes end. */
    m = zip_member("a.npy", floats("(2, 2)", 40), ZIP_DEFLATE);
    m.length = m.content.n - 36 * 4;
    refused(save("z.npz", make_zip(&m, 1)), &o, MC_EFORMAT, "longer than its header says");
}

/* An archive of one member "a.npy", plain or zip64; the directory ends with its last 22 bytes. */
static struct buf archive(unsigned how)
{
    struct zip_member m = zip_member("a.npy", floats("(2, 2)", 4), how);
    return make_zip(&m, 1);
}

static void broken_directories(void **state)
{
    (void)state;
    struct mc_array in = input("a", MC_DTYPE_F32, DIMS(-2, 2));
    struct mc_sample_opts o = {.inputs = &in, .n_inputs = 1};
    enum { CENTRAL = 46 + 5 }; /* the one entry, without zip64 fields */
    static const struct {
        int from_end; /* of the byte that changes */
        uint8_t value;
        int code;
        const char *words;
    } cases[] = {
        {18, 1, MC_EUNSUP, "split"},
        {12, 9, MC_EFORMAT, "outside the file"},  /* entries without room */
        {10, 99, MC_EFORMAT, "outside the file"}, /* more bytes than there are before it */
        {3, 1, MC_EFORMAT, "outside the file"},   /* far behind the end */
        {6, 0, MC_EFORMAT, "damaged"},            /* at another place of the file */
        {2, 1, MC_EFORMAT, "no zip directory"},   /* a comment that is not there */
        {22 + CENTRAL, 'Q', MC_EFORMAT, "damaged"},
        {22 + CENTRAL - 28, 99, MC_EFORMAT, "damaged"}, /* a name longer than the entry */
        {22 + 4, 0, MC_EFORMAT, "damaged"},             /* a zero in the name */
        {22 + 5 + 4, 99, MC_EFORMAT, "not where"},      /* of the local header */
        {22 + 5 + 1, 99, MC_EFORMAT, "not where"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = archive(0);
        b.p[b.n - (size_t)cases[i].from_end] = cases[i].value;
        refused(save("d.npz", b), &o, cases[i].code, cases[i].words);
    }
    /* zip64: the locator, the record it points to, and the extra field of the entry. */
    enum { LOCATOR = 22 + 20, RECORD = LOCATOR + 56, EXTRA = RECORD + 28 };
    static const struct {
        int from_end;
        uint8_t value;
        const char *words;
    } wide[] = {
        {LOCATOR - 9, 9, "not where it should be"}, {LOCATOR - 15, 9, "not where it should be"},
        {RECORD, 'Q', "not where it should be"},    {RECORD - 36, 9, "outside the file"},
        {EXTRA, 2, "lacks its zip64 sizes"},        {EXTRA - 2, 8, "lacks its zip64 sizes"},
        {EXTRA - 2, 99, "lacks its zip64 sizes"}};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        struct buf b = archive(ZIP_64);
        b.p[b.n - (size_t)wide[i].from_end] = wide[i].value;
        refused(save("d.npz", b), &o, MC_EFORMAT, wide[i].words);
    }
    struct buf b = archive(0);
    b.n = 21;
    refused(save("d.npz", b), &o, MC_EFORMAT, "truncated");
    /* A local header of which only the magic number fits into the file. */
    b = archive(0);
    b.p[b.n - 31] = (uint8_t)b.n;
    b.p[b.n - 2] = 4;
    put(&b, "PK\3\4", 4);
    assert_true(b.n < 256 + 4);
    refused(save("d.npz", b), &o, MC_EFORMAT, "not where");
    /* A comment behind the directory is fine. */
    b = archive(0);
    b.p[b.n - 2] = 5;
    put(&b, "hello", 5);
    struct mc_dataset *d = open_one(save("d.npz", b), in, NULL);
    mc_dataset_free(d);
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
        cmocka_unit_test(npy_batch_and_whole),   cmocka_unit_test(npz_names),
        cmocka_unit_test(npz_sequences),         cmocka_unit_test(npz_one_hot),
        cmocka_unit_test(npz_that_do_not_serve), cmocka_unit_test(zips_that_lie),
        cmocka_unit_test(broken_directories),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
