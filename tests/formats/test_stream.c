/* Streams and rows: bytes come out as they went in, in any order, and damage is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/rng.h"
#include "files.h"
#include "formats/rows.h"

enum { COUNT = 5000, ROW = 900 }; /* 4.5 MB: several chunks of the stream */

static uint8_t *content(size_t n)
{
    uint8_t *p = malloc(n);
    for (size_t i = 0; i < n; i++) /* half noise, half runs: deflate makes matches and literals */
        p[i] = (uint8_t)(i / 1000 % 2 ? i / 1000 : (i * 2654435761u) >> 13);
    return p;
}

static struct mc_narray rows_of(struct mc_narray_file *f, size_t skip)
{
    return (struct mc_narray){.what = "'rows'",
                              .src = f->src,
                              .skip = skip,
                              .dtype = MC_DTYPE_U8,
                              .shape = {2, {COUNT, ROW}}};
}

/* Row i of the array must be bytes [i ROW, (i + 1) ROW) of the content. */
static void expect_rows(struct mc_rows *r, const uint8_t *all, const int64_t *index, int64_t n)
{
    uint8_t *got = malloc((size_t)n * ROW);
    struct mc_err err = {0};
    int rc = mc_rows_read(r, index, n, got, &err);
    if (rc)
        fail_msg("%s", err.msg);
    for (int64_t i = 0; i < n; i++)
        assert_memory_equal(got + i * ROW, all + index[i] * ROW, ROW);
    free(got);
}

static void check_orders(struct mc_narray_file *f, size_t skip, const uint8_t *all)
{
    struct mc_narray a = rows_of(f, skip);
    bool plain = f->src.form == MC_STREAM_PLAIN;
    struct mc_rows *r;
    assert_int_equal(mc_rows_new(&a, NULL, &r, NULL), 0);
    assert_int_equal(mc_rows_bytes(r), ROW);
    int64_t index[64];
    for (int pass = 0; pass < 2; pass++) /* file order, twice */
        for (int64_t i = 0; i < COUNT; i += 50) {
            for (int k = 0; k < 50; k++)
                index[k] = i + k;
            expect_rows(r, all, index, 50);
        }
    expect_rows(r, all, (int64_t[]){0, 3, 3, 3, 700, COUNT - 1}, 6); /* gaps and repeats */
    assert_false(mc_rows_spilled(r));
    expect_rows(r, all, (int64_t[]){0}, 1);
    for (int k = 0; k < 64; k++)
        index[k] = mc_rng_below(3, 0, (uint64_t)k, COUNT);
    expect_rows(r, all, index, 64);
    assert_int_equal(mc_rows_spilled(r), !plain);
    expect_rows(r, all, (int64_t[]){COUNT - 1, 0}, 2);
    struct mc_err err;
    uint8_t one[ROW];
    assert_int_equal(mc_rows_read(r, (int64_t[]){COUNT}, 1, one, &err), MC_EDATA);
    assert_int_equal(mc_rows_read(r, (int64_t[]){-1}, 1, one, &err), MC_EDATA);
    mc_rows_free(r);
}

static void any_order(void **state)
{
    (void)state;
    uint8_t *all = content(COUNT * ROW);
    for (int gz = 0; gz < 2; gz++) {
        struct buf b = {0};
        put(&b, "header!", 7);
        put(&b, all, COUNT * ROW);
        struct mc_narray_file f;
        assert_int_equal(mc_narray_file_open(save("rows", gz ? make_gz(b) : b), &f, NULL), 0);
        assert_int_equal(f.src.form, gz ? MC_STREAM_GZIP : MC_STREAM_PLAIN);
        assert_memory_equal(f.head, "header!", 7);
        check_orders(&f, 7, all);
        mc_narray_file_close(&f);
    }
    free(all);
}

static void members_of_gzip_join(void **state)
{
    (void)state;
    uint8_t *all = content(COUNT * ROW);
    struct buf file = {0};
    size_t cuts[] = {0, 1, 1000000, 1000000, COUNT * ROW};
    for (int i = 0; i < 4; i++) {
        struct buf part = {0};
        put(&part, all + cuts[i], cuts[i + 1] - cuts[i]);
        part = make_gz(part);
        put(&file, part.p, part.n);
        buf_free(&part);
    }
    struct mc_narray_file f;
    assert_int_equal(mc_narray_file_open(save("joined.gz", file), &f, NULL), 0);
    check_orders(&f, 0, all);
    mc_narray_file_close(&f);
    free(all);
}

/* Reading to the end and reading out of order both see the error; the head does not. */
static void expect_damage(struct buf b, bool crc, uint32_t value, const char *words)
{
    struct mc_narray_file f;
    struct mc_err err = {0};
    struct mc_rows *r;
    uint8_t *all = malloc(COUNT * ROW);
    assert_int_equal(mc_narray_file_open(save("damaged", b), &f, &err), 0);
    struct mc_narray a = rows_of(&f, 0);
    a.src.has_crc = crc;
    a.src.crc = value;
    for (int backward = 0; backward < 2; backward++) {
        assert_int_equal(mc_rows_new(&a, NULL, &r, NULL), 0);
        assert_int_equal(mc_rows_read(r, (int64_t[]){0, 1}, 2, all, &err), 0);
        int64_t *index = malloc(COUNT * sizeof *index);
        for (int64_t i = 0; i < COUNT; i++)
            index[i] = backward ? COUNT - 1 - i : i;
        for (int again = 0; again < 2; again++) {
            assert_int_equal(mc_rows_read(r, index, COUNT, all, &err), MC_EFORMAT);
            assert_non_null(strstr(err.msg, words));
        }
        assert_int_equal(mc_rows_read(r, (int64_t[]){0, 1}, 2, all, &err), 0);
        free(index);
        mc_rows_free(r);
    }
    mc_narray_file_close(&f);
    free(all);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    uint8_t *all = content(COUNT * ROW + 1);
    uint32_t crc = (uint32_t)crc32(0, all, COUNT * ROW);
    struct buf b = {0};
    put(&b, all, COUNT * ROW);
    struct buf gz = make_gz(b), t = {0};
    put(&t, gz.p, gz.n - 1);
    expect_damage(t, false, 0, "too early");
    t = (struct buf){0};
    put(&t, gz.p, gz.n);
    put(&t, "junk", 4);
    expect_damage(t, false, 0, "bytes follow");
    t = (struct buf){0};
    put(&t, gz.p, gz.n);
    put(&t, "\x1f", 1); /* half a magic number */
    expect_damage(t, false, 0, "bytes follow");
    t = (struct buf){0};
    put(&t, gz.p, gz.n);
    t.p[t.n - 8] ^= 1; /* the CRC in the trailer */
    expect_damage(t, false, 0, "incorrect data check");
    buf_free(&gz);
    b = (struct buf){0};
    put(&b, all, COUNT * ROW + 1);
    expect_damage(make_gz(b), false, 0, "longer than its header says");
    b = (struct buf){0};
    put(&b, all, COUNT * ROW - 1);
    expect_damage(make_gz(b), false, 0, "ends after 4499999 bytes");
    b = (struct buf){0};
    put(&b, all, COUNT * ROW);
    expect_damage(b, true, crc ^ 1, "CRC-32");
    free(all);
}

/* Half of a file serves those who want its first rows, in any order; what is missing is missed when it is read. */
static void read_as_far_as_asked(void **state)
{
    (void)state;
    uint8_t *all = content(COUNT * ROW), got[2 * ROW];
    struct buf b = {0}, half = {0};
    put(&b, all, COUNT * ROW);
    b = make_gz(b);
    put(&half, b.p, b.n / 2);
    buf_free(&b);
    struct mc_narray_file f;
    struct mc_rows *r;
    struct mc_err err;
    assert_int_equal(mc_narray_file_open(save("half.gz", half), &f, NULL), 0);
    struct mc_narray a = rows_of(&f, 0);
    assert_int_equal(mc_rows_new(&a, NULL, &r, NULL), 0);
    expect_rows(r, all, (int64_t[]){9, 3, 5}, 3);
    assert_true(mc_rows_spilled(r));
    expect_rows(r, all, (int64_t[]){0, 1, 40, 700}, 4); /* onward, past what was spilled */
    expect_rows(r, all, (int64_t[]){700, 41}, 2);
    expect_rows(r, all, (int64_t[]){11, 1000, 12}, 3);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(mc_rows_read(r, (int64_t[]){COUNT - 1, 7}, 2, got, &err), MC_EFORMAT);
        assert_non_null(strstr(err.msg, "too early"));
        expect_rows(r, all, (int64_t[]){1000, 8, 41, 999}, 4);
    }
    mc_rows_free(r);
    mc_narray_file_close(&f);
    free(all);
}

static void column_major(void **state)
{
    (void)state;
    /* Element (i, j, k) of a [5,3,4] array holds 100 i + 10 j + k and lies at i + 5 (j + 3 k). */
    uint8_t data[60], got[12];
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 4; k++)
                data[i + 5 * (j + 3 * k)] = (uint8_t)(i * 50 + j * 10 + k);
    for (int gz = 0; gz < 2; gz++) {
        struct buf b = {0};
        put(&b, data, sizeof data);
        struct mc_narray_file f;
        assert_int_equal(mc_narray_file_open(save("fortran", gz ? make_gz(b) : b), &f, NULL), 0);
        struct mc_narray a = rows_of(&f, 0);
        a.fortran = true;
        a.shape = (struct mc_shape){3, {5, 3, 4}};
        struct mc_rows *r;
        assert_int_equal(mc_rows_new(&a, NULL, &r, NULL), 0);
        for (int64_t i = 0; i < 5; i++) {
            assert_int_equal(mc_rows_read(r, &i, 1, got, NULL), 0);
            for (int j = 0; j < 3; j++)
                for (int k = 0; k < 4; k++)
                    assert_int_equal(got[j * 4 + k], i * 50 + j * 10 + k);
        }
        mc_rows_free(r);
        mc_narray_file_close(&f);
    }
}

struct reader {
    struct mc_rows *r;
    const uint8_t *all;
    uint64_t stream;
    int bad;
};

static void *read_many(void *ctx)
{
    struct reader *me = ctx;
    uint8_t got[4 * ROW];
    for (uint64_t t = 0; t < 200; t++) {
        int64_t index[4], first = mc_rng_below(9, me->stream, t, COUNT - 4);
        bool sorted = t % 2;
        for (int k = 0; k < 4; k++)
            index[k] = sorted ? first + k : first + 3 - k;
        if (t < 20) /* all threads start in file order, together */
            for (int k = 0; k < 4; k++)
                index[k] = (int64_t)t * 4 + k;
        if (mc_rows_read(me->r, index, 4, got, NULL))
            me->bad++;
        for (int k = 0; k < 4; k++)
            me->bad += memcmp(got + k * ROW, me->all + index[k] * ROW, ROW) != 0;
    }
    return NULL;
}

static void many_threads(void **state)
{
    (void)state;
    uint8_t *all = content(COUNT * ROW);
    struct buf b = {0};
    put(&b, all, COUNT * ROW);
    struct mc_narray_file f;
    assert_int_equal(mc_narray_file_open(save("threads", make_gz(b)), &f, NULL), 0);
    struct mc_narray a = rows_of(&f, 0);
    struct reader me[4];
    pthread_t thread[4];
    struct mc_rows *r;
    assert_int_equal(mc_rows_new(&a, NULL, &r, NULL), 0);
    for (int i = 0; i < 4; i++) {
        me[i] = (struct reader){r, all, (uint64_t)i, 0};
        assert_int_equal(pthread_create(&thread[i], NULL, read_many, &me[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(me[i].bad, 0);
    }
    mc_rows_free(r);
    mc_narray_file_close(&f);
    free(all);
}

static void no_room_to_spill(void **state)
{
    (void)state;
    uint8_t *all = content(COUNT * ROW), got[2 * ROW];
    struct buf b = {0};
    put(&b, all, COUNT * ROW);
    struct mc_narray_file f;
    struct mc_err err;
    assert_int_equal(mc_narray_file_open(save("spill", make_gz(b)), &f, NULL), 0);
    struct mc_narray a = rows_of(&f, 0);
    struct mc_rows *r;
    assert_int_equal(mc_rows_new(&a, path_of("missing"), &r, NULL), 0);
    assert_int_equal(mc_rows_read(r, (int64_t[]){0, 1}, 2, got, &err), 0); /* needs none */
    assert_int_equal(mc_rows_read(r, (int64_t[]){1, 0}, 2, got, &err), MC_EIO);
    assert_non_null(strstr(err.msg, "missing"));
    mc_rows_free(r);
    mc_narray_file_close(&f);
    free(all);
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
        cmocka_unit_test(any_order),         cmocka_unit_test(members_of_gzip_join),
        cmocka_unit_test(damage_is_noticed), cmocka_unit_test(read_as_far_as_asked),
        cmocka_unit_test(column_major),      cmocka_unit_test(many_threads),
        cmocka_unit_test(no_room_to_spill),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
