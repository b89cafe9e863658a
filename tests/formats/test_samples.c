/* Specs to datasets: images and their layouts, labels, names, and errors that name what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "files.h"
#include "open.h"

/* ---- images ---- */

static const char *images(const char *name, int rank, const uint32_t *dims)
{
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= dims[i];
    uint8_t *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 7);
    const char *path = save(name, make_idx(8, rank, dims, p, n));
    free(p);
    return path;
}

static void images_fit_the_usual_layouts(void **state)
{
    (void)state;
    const char *path = images("grey.idx", 3, (uint32_t[]){4, 2, 3});
    static const struct {
        int rank;
        int64_t want[5], got[5];
    } fits[] = {{4, {-2, 1, 2, 3}, {0, 1, 2, 3}},   {3, {-2, 2, 3}, {0, 2, 3}},
                {4, {-2, 2, 3, 1}, {0, 2, 3, 1}},   {2, {-2, 6}, {0, 6}},
                {4, {1, -1, -1, -1}, {0, 1, 2, 3}}, {2, {-1, -3}, {0, 6}},
                {3, {8, -1, 3}, {0, 2, 3}}};
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
        struct mc_dataset *d =
            open_one(path, input("x", MC_DTYPE_F32, fits[i].rank, fits[i].want), NULL);
        assert_int_equal(d->count, 4);
        assert_false(d->whole || d->has_labels);
        struct mc_batch *b = range(d, 1, 3);
        assert_string_equal(b->arrays[0].name, "x");
        assert_int_equal(b->arrays[0].shape.rank, fits[i].rank);
        assert_int_equal(b->arrays[0].shape.dim[0], 3);
        assert_memory_equal(b->arrays[0].shape.dim + 1, fits[i].got + 1,
                            8 * (size_t)(fits[i].rank - 1));
        const float *x = b->arrays[0].data;
        for (int k = 0; k < 18; k++)
            assert_true(x[k] == (float)(uint8_t)((k + 6) * 7) / 255.0f);
        assert_null(b->labels);
        mc_batch_free(b);
        mc_dataset_free(d);
    }
    refused_one(path, input("x", MC_DTYPE_F32, DIMS(-2, 3, 2, 3)), MC_ESHAPE,
                "shape [2,3] each, input 'x' takes [?,3,2,3]");
    refused_one(path, input("x", MC_DTYPE_F32, DIMS(-2, 5)), MC_ESHAPE, "[?,5]");
}

static void planes_become_channels(void **state)
{
    (void)state;
    const char *path = images("colour.idx", 4, (uint32_t[]){2, 3, 2, 2});
    const char *pre = "scale=1,mean=1:2:3,std=1:2:4";
    for (int nhwc = 0; nhwc < 2; nhwc++) {
        struct mc_array in = nhwc ? input("x", MC_DTYPE_F64, DIMS(-2, 2, 2, 3))
                                  : input("x", MC_DTYPE_F64, DIMS(-2, 3, 2, 2));
        struct mc_dataset *d = open_one(path, in, pre);
        struct mc_batch *b = range(d, 0, 2);
        const double *x = b->arrays[0].data;
        for (int i = 0; i < 2; i++)
            for (int c = 0; c < 3; c++)
                for (int p = 0; p < 4; p++) {
                    double v = (uint8_t)((i * 12 + c * 4 + p) * 7);
                    double want = (v - (c + 1)) / (1 << c);
                    assert_true(x[i * 12 + (nhwc ? p * 3 + c : c * 4 + p)] == want);
                }
        mc_batch_free(b);
        mc_dataset_free(d);
        /* Bytes are rearranged alike. */
        in.dtype = MC_DTYPE_U8;
        d = open_one(path, in, NULL);
        b = range(d, 1, 1);
        const uint8_t *u = b->arrays[0].data;
        for (int c = 0; c < 3; c++)
            for (int p = 0; p < 4; p++)
                assert_int_equal(u[nhwc ? p * 3 + c : c * 4 + p], (uint8_t)((12 + c * 4 + p) * 7));
        mc_batch_free(b);
        mc_dataset_free(d);
    }
    struct mc_array in = input("x", MC_DTYPE_U8, DIMS(-2, 3, 2, 2));
    struct mc_sample_opts o = {.inputs = &in, .n_inputs = 1, .preprocess = "scale=1/255"};
    refused(path, &o, MC_EDTYPE, "takes the pixels as they are");
    o.preprocess = "scale=1";
    struct mc_dataset *d;
    assert_int_equal(mc_samples_open(path, &o, &d, &err), 0);
    mc_dataset_free(d);
    in.dtype = MC_DTYPE_F32;
    o.preprocess = "resize=7";
    refused(path, &o, MC_EUNSUP, "resize");
    o.preprocess = "mean=1:2";
    refused(path, &o, MC_ESHAPE, "2 values for images of 3 channels");
    in.dtype = MC_DTYPE_I8;
    o.preprocess = NULL;
    refused(path, &o, MC_EDTYPE, "133 in sample 1 does not fit input 'x' of type int8");
}

static void other_idx_types(void **state)
{
    (void)state;
    static const struct {
        uint8_t code;
        int bytes;
        uint64_t two[2];
        double value[2];
    } types[] = {{9, 1, {0xff, 5}, {-1, 5}},
                 {0xb, 2, {0x8000, 258}, {-32768, 258}},
                 {0xc, 4, {0xfffffffe, 0x10203}, {-2, 66051}},
                 {0xd, 4, {0x3fc00000, 0xff800000}, {1.5, -INFINITY}},
                 {0xe, 8, {0x3ff8000000000000, 0xc000000000000000}, {1.5, -2}}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct buf b = make_idx(types[i].code, 2, (uint32_t[]){1, 2}, NULL, 0);
        for (int k = 0; k < 2; k++)
            put_be(&b, types[i].two[k], types[i].bytes);
        const char *path = save("t.idx", make_gz(b));
        struct mc_dataset *d = open_one(path, input("x", MC_DTYPE_F32, DIMS(-2, 2)), "scale=1/9");
        struct mc_batch *batch = range(d, 0, 1);
        for (int k = 0; k < 2; k++) /* no pixels: nothing is scaled */
            assert_true(((float *)batch->arrays[0].data)[k] == (float)types[i].value[k]);
        mc_batch_free(batch);
        mc_dataset_free(d);
    }
}

static void idx_with_labels(void **state)
{
    (void)state;
    char spec[1024], same[1024], x[512];
    snprintf(x, sizeof x, "%s", images("x.idx", 3, (uint32_t[]){3, 2, 2}));
    const char *y = save("y.idx", make_gz(make_idx(8, 1, (uint32_t[]){3}, "\2\0\7", 3)));
    struct mc_array in = input("x", MC_DTYPE_F32, DIMS(-2, 4));
    snprintf(spec, sizeof spec, "%s:%s", x, y);
    struct mc_dataset *d = open_one(spec, in, NULL), *bare = open_one(x, in, "scale=1");
    assert_true(d->has_labels && d->classes == 8 && d->count == 3);
    assert_false(bare->has_labels || bare->classes);
    assert_string_equal(d->id, bare->id); /* the same samples, with and without labels */
    assert_int_equal(strlen(d->id), 64);
    struct mc_batch *b;
    assert_int_equal(mc_dataset_read(d, (int64_t[]){2, 0, 2}, 3, &b, &err), 0);
    assert_true(b->labels[0] == 7 && b->labels[1] == 2 && b->labels[2] == 7);
    mc_batch_free(b);
    mc_dataset_free(d);
    snprintf(same, sizeof same, "%.*s./%s", (int)(strrchr(x, '/') + 1 - x), x, strrchr(x, '/') + 1);
    d = open_one(same, in, NULL);
    assert_string_equal(d->id, bare->id); /* another name for the file */
    mc_dataset_free(d);
    mc_dataset_free(bare);

    struct mc_sample_opts o = {.inputs = &in, .n_inputs = 1, .no_labels = true};
    assert_int_equal(mc_samples_open(spec, &o, &d, &err), 0);
    assert_false(d->has_labels);
    mc_dataset_free(d);

    static const struct {
        uint8_t type;
        int rank;
        uint32_t dims[2];
        const char *data;
        size_t n;
        int code;
        const char *words;
    } bad[] = {
        {8, 1, {2}, "\1\2", 2, MC_EDATA, "2 labels for 3 samples"},
        {9, 1, {3}, "\1\377\2", 3, MC_EDATA, "-1, of sample 1, is no class number"},
        {8, 2, {3, 2}, "\0\1\1\0\0\1", 6, MC_EDATA, "one-hot"},
        {13, 1, {3}, "abcdabcdabcd", 12, MC_EDATA, "must be integers"},
        {8, 1, {3}, "\1\2", 2, MC_EFORMAT, "truncated"},
        {8, 1, {3}, "\1\2\3\4", 4, MC_EFORMAT, "1 bytes follow"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        save("y.idx", make_idx(bad[i].type, bad[i].rank, bad[i].dims, bad[i].data, bad[i].n));
        refused_one(spec, in, bad[i].code, bad[i].words);
    }
    struct buf wide = make_idx(0xc, 1, (uint32_t[]){3}, NULL, 0);
    for (int i = 0; i < 3; i++)
        put_be(&wide, 1000 + (uint64_t)i, 4);
    save("y.idx", wide);
    d = open_one(spec, in, NULL);
    assert_int_equal(d->classes, 1003);
    mc_dataset_free(d);
    save("y.idx", make_npy(1, "<i8", false, "(3, 1)", (int64_t[]){4, 5, 6}, 24));
    d = open_one(spec, in, NULL);
    assert_int_equal(d->classes, 7);
    mc_dataset_free(d);
    snprintf(spec, sizeof spec, "%s:%s", x, path_of("none"));
    refused_one(spec, in, MC_EOPEN, "none");
    snprintf(spec, sizeof spec, "%s:", x);
    refused_one(spec, in, MC_EUSAGE, "no file of labels");
}

static void broken_idx(void **state)
{
    (void)state;
    struct mc_array in = input("x", MC_DTYPE_F32, DIMS(-2, 4));
    uint8_t px[12] = {0};
    refused_one(save("b", make_idx(8, 3, (uint32_t[]){3, 2, 2}, px, 11)), in, MC_EFORMAT,
                "truncated: [3,2,2] of uint8 needs 28 bytes, at most 27 are there");
    refused_one(save("b", make_gz(make_idx(8, 3, (uint32_t[]){3, 2, 2}, px, 11))), in, MC_EFORMAT,
                "truncated");
    refused_one(save("b", make_idx(8, 3, (uint32_t[]){2, 2, 2}, px, 12)), in, MC_EFORMAT,
                "4 bytes follow");
    refused_one(save("b", make_idx(7, 3, (uint32_t[]){3, 2, 2}, px, 12)), in, MC_EFORMAT,
                "no .npz, .npy, .csv or IDX");
    refused_one(save("b.npz", make_idx(7, 3, (uint32_t[]){3, 2, 2}, px, 12)), in, MC_EFORMAT,
                "does not start like a .npz file");
    refused_one(save("b", make_idx(8, 0, NULL, px, 12)), in, MC_EFORMAT, "no .npz");
    refused_one(save("b", (struct buf){0}), in, MC_EFORMAT, "no .npz");
    refused_one(save("b", make_idx(8, 3, (uint32_t[]){UINT32_MAX, UINT32_MAX, UINT32_MAX}, px, 12)),
                in, MC_EFORMAT, "too large");
    refused_one(save("b", make_gz(make_idx(8, 3, (uint32_t[]){UINT32_MAX, 2, 2}, px, 12))), in,
                MC_EFORMAT, "truncated");
    refused_one(save("b", make_idx(8, 3, (uint32_t[]){0, 2, 2}, px, 0)), in, MC_EDATA,
                "no samples");
    struct buf idx = make_idx(8, 3, (uint32_t[]){3, 2, 2}, px, 12);
    idx.n = 9;
    refused_one(save("b", idx), in, MC_EFORMAT, "inside its header");
}

/* ---- names ---- */

static void fashion_mnist(void **state)
{
    (void)state;
    struct stat st;
    if (stat("/usr/share/datasets/fashion-mnist", &st))
        skip(); /* package dataset-fashion-mnist */
    struct mc_array in = input("x", MC_DTYPE_F32, DIMS(-2, 1, 28, 28));
    struct mc_dataset *d = open_one("fashion-mnist:test", in, NULL);
    assert_true(d->count == 10000 && d->has_labels && d->classes == 10);
    /* Sum over samples of (sum of pixels) * (label + 1), as Python's gzip and numpy read the files. */
    int64_t sum = 0, seen[10] = {0};
    for (int64_t i = 0; i < 10000; i += 250) {
        struct mc_batch *b = range(d, i, 250);
        const float *x = b->arrays[0].data;
        for (int k = 0; k < 250; k++) {
            int64_t pixels = 0;
            for (int p = 0; p < 784; p++)
                pixels += (int64_t)lrintf(x[k * 784 + p] * 255);
            sum += pixels * (b->labels[k] + 1);
            seen[b->labels[k]]++;
        }
        mc_batch_free(b);
    }
    assert_int_equal(sum, 3113926560);
    for (int c = 0; c < 10; c++)
        assert_int_equal(seen[c], 1000);
    mc_dataset_free(d);
    refused_one("fashion-mnist:tset", in, MC_EUSAGE, "fashion-mnist:train or fashion-mnist:test");
    refused_one("fashion-mnist", in, MC_EUSAGE, "fashion-mnist:train");
}

static void names_below_the_data_folder(void **state)
{
    (void)state;
    struct mc_array in = input("x", MC_DTYPE_F32, DIMS(-2, 4));
    char folder[512], name[512];
    snprintf(folder, sizeof folder, "%s", path_of("mnist"));
    snprintf(name, sizeof name, "%s", path_of("."));
    setenv("MCOMPRESS_DATA", name, 1);
    refused_one("mnist:test", in, MC_EOPEN, "put t10k-images-idx3-ubyte.gz");
    assert_int_equal(mkdir(folder, 0700), 0);
    images("mnist/t10k-images-idx3-ubyte", 3, (uint32_t[]){2, 2, 2});
    save("mnist/t10k-labels-idx1-ubyte.gz", make_gz(make_idx(8, 1, (uint32_t[]){2}, "\3\1", 2)));
    struct mc_dataset *d = open_one("mnist:test", in, NULL);
    assert_true(d->count == 2 && d->classes == 4);
    mc_dataset_free(d);
    remove(path_of("mnist/t10k-images-idx3-ubyte"));
    remove(path_of("mnist/t10k-labels-idx1-ubyte.gz"));
    remove(folder);
    unsetenv("MCOMPRESS_DATA");
    refused_one("cifar:test", in, MC_EOPEN, "no data set of that name");
    refused_one("/nowhere/x.npz", in, MC_EOPEN, "/nowhere/x.npz");
    refused_one("", in, MC_EUSAGE, "give a file");
}

static void a_colon_in_the_name(void **state)
{
    (void)state;
    char spec[1024];
    struct mc_array in = input("x", MC_DTYPE_F32, DIMS(-2, 4));
    const char *y = save("c:y", make_idx(8, 1, (uint32_t[]){3}, "\1\2\3", 3));
    const char *x = images("a:b", 3, (uint32_t[]){3, 2, 2});
    struct mc_dataset *d = open_one(x, in, NULL);
    assert_false(d->has_labels);
    mc_dataset_free(d);
    snprintf(spec, sizeof spec, "%s:%s", x, y);
    d = open_one(spec, in, NULL);
    assert_int_equal(d->classes, 4);
    mc_dataset_free(d);
}

static void kinds_are_listed(void **state)
{
    (void)state;
    const char *help, *name;
    size_t n = 0;
    bool npz = false, test = false;
    for (; (name = mc_samples_kind(n, &help)); n++) {
        assert_true(*name && *help);
        npz |= !strcmp(name, "npz");
        test |= !strcmp(name, "fashion-mnist:test");
    }
    assert_true(npz && test && n >= 5);
    assert_null(mc_samples_kind(n + 1, &help));
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
        cmocka_unit_test(images_fit_the_usual_layouts),
        cmocka_unit_test(planes_become_channels),
        cmocka_unit_test(other_idx_types),
        cmocka_unit_test(idx_with_labels),
        cmocka_unit_test(broken_idx),
        cmocka_unit_test(fashion_mnist),
        cmocka_unit_test(names_below_the_data_folder),
        cmocka_unit_test(a_colon_in_the_name),
        cmocka_unit_test(kinds_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
