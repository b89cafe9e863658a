/* Shapes, tensors and batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/dataset.h"
#include "graph/tensor.h"

static void counts_are_checked(void **state)
{
    (void)state;
    struct mc_shape s = mc_shape_of(3, (int64_t[]){2, 3, 4});
    assert_int_equal(mc_shape_count(&s), 24);
    assert_int_equal(mc_shape_span(&s, 1, 3), 12);
    assert_int_equal(mc_shape_span(&s, 1, 1), 1);
    assert_true(mc_shape_known(&s));
    s.dim[1] = -2;
    assert_int_equal(mc_shape_count(&s), -1);
    assert_int_equal(mc_shape_span(&s, 2, 3), 4);
    assert_false(mc_shape_known(&s));
    s = mc_shape_of(3, (int64_t[]){INT64_MAX, 3, 4});
    assert_int_equal(mc_shape_count(&s), -1);
    s.dim[2] = 0; /* nothing, whatever the others say */
    assert_int_equal(mc_shape_count(&s), 0);
    s.dim[1] = -1;
    assert_int_equal(mc_shape_count(&s), -1);
    s.rank = 0;
    assert_int_equal(mc_shape_count(&s), 1);
    assert_int_equal(mc_shape_axis(-2, 3), 1);
    assert_int_equal(mc_shape_axis(2, 3), 2);
    assert_int_equal(mc_shape_axis(3, 3), -1);
    assert_int_equal(mc_shape_axis(-4, 3), -1);
    assert_int_equal(mc_shape_axis(INT64_MIN, 3), -1);
    assert_int_equal(mc_shape_axis(0, 0), -1);
}

static void shapes_as_text(void **state)
{
    (void)state;
    char text[MC_SHAPE_TEXT];
    struct mc_shape s = mc_shape_of(3, (int64_t[]){-2, 1, 28});
    assert_string_equal(mc_shape_text(&s, text), "[?,1,28]");
    s.rank = 0;
    assert_string_equal(mc_shape_text(&s, text), "[]");
    s.rank = MC_RANK_MAX;
    for (int i = 0; i < MC_RANK_MAX; i++)
        s.dim[i] = INT64_MAX;
    assert_int_equal(strlen(mc_shape_text(&s, text)), 12 * 20 + 1);
}

/* One row per case; -9 in the result: they do not fit. */
static void shapes_broadcast(void **state)
{
    (void)state;
    static const struct {
        int64_t a, b, want;
    } rows[] = {{3, 3, 3},    {3, 1, 3},    {1, 3, 3},   {1, 1, 1},  {0, 1, 0},  {3, 2, -9},
                {0, 3, -9},   {-2, 1, -2},  {1, -2, -2}, {-2, 3, 3}, {3, -2, 3}, {-2, -2, -2},
                {-2, -3, -1}, {-1, -1, -1}, {-1, 1, -1}, {-2, 0, 0}, {1, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_shape a = mc_shape_of(2, (int64_t[]){rows[i].a, 7});
        struct mc_shape b = mc_shape_of(3, (int64_t[]){5, rows[i].b, 1}), r;
        bool fits = mc_shape_broadcast(&a, &b, &r);
        assert_int_equal(fits, rows[i].want != -9);
        if (fits)
            assert_true(r.rank == 3 && r.dim[0] == 5 && r.dim[1] == rows[i].want && r.dim[2] == 7);
    }
    struct mc_shape a = mc_shape_of(1, (int64_t[]){-2}), b = a;
    assert_true(mc_shape_equal(&a, &b));
    a.dim[0] = b.dim[0] = MC_DIM_ANY;
    assert_false(mc_shape_equal(&a, &b));
    b.rank = 0;
    assert_false(mc_shape_equal(&a, &b));
}

static void tensors_are_checked(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_tensor *t;
    void *data;
    struct mc_shape s = mc_shape_of(2, (int64_t[]){3, 5});
    assert_int_equal(mc_tensor_new(MC_DTYPE_I4, &s, NULL, &t, &data, &err), 0);
    assert_true(t->bytes == 8 && (uintptr_t)data % MC_ALIGN == 0 && mc_tensor_count(t) == 15);
    for (size_t i = 0; i < t->bytes; i++)
        assert_int_equal(t->data[i], 0);
    assert_ptr_equal(mc_tensor_ref(t), t);
    mc_tensor_unref(t);
    mc_tensor_unref(t);
    mc_tensor_unref(NULL);
    assert_int_equal(mc_tensor_new(MC_DTYPE_STRING, &s, NULL, &t, &data, &err), MC_EDTYPE);
    assert_int_equal(mc_tensor_new(MC_DTYPE_NONE, &s, NULL, &t, &data, &err), MC_EDTYPE);
    s.dim[0] = -2;
    assert_int_equal(mc_tensor_new(MC_DTYPE_F32, &s, NULL, &t, &data, &err), MC_ESHAPE);
    s.dim[0] = INT64_MAX / 5;
    assert_int_equal(mc_tensor_new(MC_DTYPE_F64, &s, NULL, &t, &data, &err), MC_ESHAPE);
    s.rank = MC_RANK_MAX + 1;
    assert_int_equal(mc_tensor_new(MC_DTYPE_F32, &s, NULL, &t, &data, &err), MC_ESHAPE);
    s = mc_shape_of(1, (int64_t[]){0});
    assert_int_equal(mc_tensor_new(MC_DTYPE_F32, &s, NULL, &t, &data, &err), 0);
    assert_true(t->bytes == 0 && t->data);
    mc_tensor_unref(t);
}

static void release(void *owner)
{
    ++*(int *)owner;
}

static void views_keep_their_storage(void **state)
{
    (void)state;
    struct mc_err err;
    static const uint8_t bytes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    int released = 0;
    struct mc_storage *st;
    struct mc_tensor *t, *u, *v;
    struct mc_shape two = mc_shape_of(1, (int64_t[]){2});
    assert_int_equal(mc_storage_foreign(bytes, 16, release, &released, &st, &err), 0);
    assert_int_equal(mc_tensor_view(MC_DTYPE_F32, &two, st, 7, &t, &err), 0);
    assert_true(t->data == bytes + 7 && t->bytes == 8);
    assert_int_equal(mc_tensor_view(MC_DTYPE_F32, &two, st, 9, &u, &err), MC_EFORMAT);
    assert_non_null(strstr(err.msg, "needs 8 bytes, only 7"));
    assert_int_equal(mc_tensor_view(MC_DTYPE_F32, &two, st, SIZE_MAX, &u, &err), MC_EFORMAT);
    assert_int_equal(mc_tensor_view(MC_DTYPE_F32, &two, NULL, 0, &u, &err), MC_EFORMAT);
    assert_int_equal(mc_tensor_view(MC_DTYPE_NONE, &two, st, 12, &u, &err), 0);
    assert_int_equal(u->bytes, 4); /* a type nobody knows: all there is */
    mc_storage_unref(st);
    assert_int_equal(released, 0);
    mc_tensor_unref(u);
    mc_tensor_unref(t);
    assert_int_equal(released, 1);

    assert_int_equal(mc_tensor_view(MC_DTYPE_STRING, &two, NULL, 0, &v, &err), 0);
    assert_int_equal(mc_tensor_set_extra(v, "ab", 2, &err), 0);
    assert_int_equal(mc_tensor_set_extra(v, "cde", 3, &err), 0);
    assert_true(!v->data && v->extra.size == 3 && memcmp(v->extra.data, "cde", 3) == 0);
    mc_tensor_unref(v);
}

static void large_tensors_spill(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_spill *spill;
    struct mc_tensor *t;
    uint8_t *data;
    assert_int_equal(mc_spill_new(NULL, &spill, &err), 0);
    struct mc_shape s = mc_shape_of(1, (int64_t[]){MC_SPILL_FROM});
    assert_int_equal(mc_tensor_new(MC_DTYPE_U8, &s, spill, &t, (void **)&data, &err), 0);
    assert_true(data[0] == 0 && data[MC_SPILL_FROM - 1] == 0);
    data[MC_SPILL_FROM - 1] = 9;
    assert_int_equal(t->data[MC_SPILL_FROM - 1], 9);
    mc_tensor_unref(t);
    mc_spill_free(spill);
}

static void batches_are_one_block(void **state)
{
    (void)state;
    struct mc_err err;
    struct mc_batch *b;
    struct mc_array like[2] = {{"x", MC_DTYPE_U8, {2, {-1, 3}}, NULL, 0},
                               {"y", MC_DTYPE_F64, {1, {-1}}, NULL, 0}};
    assert_int_equal(mc_batch_new(5, 2, like, true, &b, &err), 0);
    assert_true(b->n == 5 && b->n_arrays == 2 && b->arrays[0].bytes == 15);
    assert_true(b->arrays[0].shape.dim[0] == 5 && b->arrays[1].bytes == 40);
    for (int i = 0; i < 2; i++) {
        assert_int_equal((uintptr_t)b->arrays[i].data % MC_ALIGN, 0);
        for (size_t k = 0; k < b->arrays[i].bytes; k++)
            assert_int_equal(((uint8_t *)b->arrays[i].data)[k], 0);
        memset(b->arrays[i].data, 0xff, b->arrays[i].bytes);
    }
    for (int i = 0; i < 5; i++)
        assert_int_equal(b->labels[i], 0);
    mc_batch_free(b);
    assert_int_equal(mc_batch_new(0, 2, like, false, &b, &err), 0);
    assert_null(b->labels);
    mc_batch_free(b);
    mc_batch_free(NULL);
    assert_int_equal(mc_batch_new(INT64_MAX, 2, like, false, &b, &err), MC_ENOMEM);
    assert_int_equal(mc_batch_new(-1, 2, like, false, &b, &err), MC_ENOMEM);
    like[0].shape.dim[1] = -2;
    assert_int_equal(mc_batch_new(5, 2, like, false, &b, &err), MC_ESHAPE);
    like[0].shape.rank = 0;
    assert_int_equal(mc_batch_new(5, 2, like, false, &b, &err), MC_ESHAPE);
}

/* A source of the numbers 0, 1, 2, … */
static int count_read(void *self, const int64_t *index, int64_t n, struct mc_batch **ret,
                      struct mc_err *err)
{
    const struct mc_array like = {"i", MC_DTYPE_I64, {1, {-1}}, NULL, 0};
    (void)self;
    int rc = mc_batch_new(n, 1, &like, false, ret, err);
    for (int64_t i = 0; !rc && i < n; i++)
        ((int64_t *)(*ret)->arrays[0].data)[i] = index[i];
    return rc;
}

static void datasets_check_sample_numbers(void **state)
{
    (void)state;
    static const struct mc_dataset_class class = {.read = count_read, .free = release};
    int freed = 0;
    struct mc_err err;
    struct mc_batch *b;
    struct mc_dataset *d = calloc(1, sizeof *d);
    *d = (struct mc_dataset){
        .class = &class, .self = &freed, .spec = strdup("numbers"), .count = 10};
    assert_int_equal(mc_dataset_range(d, 7, 3, &b, &err), 0);
    assert_int_equal(((int64_t *)b->arrays[0].data)[2], 9);
    mc_batch_free(b);
    assert_int_equal(mc_dataset_range(d, 8, 3, &b, &err), MC_EDATA);
    assert_non_null(strstr(err.msg, "'numbers'"));
    assert_int_equal(mc_dataset_range(d, -1, 1, &b, &err), MC_EDATA);
    assert_int_equal(mc_dataset_range(d, INT64_MAX, 2, &b, &err), MC_EDATA);
    d->count = -1;
    assert_int_equal(mc_dataset_range(d, 1000, 1, &b, &err), 0);
    mc_batch_free(b);
    mc_dataset_free(d);
    assert_int_equal(freed, 1);
    mc_dataset_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_checked),       cmocka_unit_test(shapes_as_text),
        cmocka_unit_test(shapes_broadcast),         cmocka_unit_test(tensors_are_checked),
        cmocka_unit_test(views_keep_their_storage), cmocka_unit_test(large_tensors_spill),
        cmocka_unit_test(batches_are_one_block),    cmocka_unit_test(datasets_check_sample_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
