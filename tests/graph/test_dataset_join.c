/* Samples with labels and without as one data set. */
#include <stdlib.h>

#include "../run/memory_data.h"
#include "build.h"

#include "graph/dataset_join.h"

enum { A = 5, B = 7, ROW = 3 };

static float xa[A * ROW], xb[B * ROW];
static const int64_t labels_of_a[A] = {3, 0, 2, 2, 1}, labels_of_b[B] = {1, 1, 1, 1, 1, 1, 1};

static struct mc_dataset *opened(struct memory_data *m, int64_t count, const float *x,
                                 const int64_t *labels)
{
    struct mc_dataset *d = memory_open(m, "x", count, 1, (const int64_t[]){ROW}, x, labels);
    d->spec = strdup(labels ? "with" : "without"); /* a join frees what it takes over */
    assert_non_null(d->spec);
    struct mc_dataset *heap = malloc(sizeof *heap);
    assert_non_null(heap);
    *heap = *d;
    return heap;
}

static int fill(void **state)
{
    (void)state;
    for (int i = 0; i < A * ROW; i++)
        xa[i] = (float)i;
    for (int i = 0; i < B * ROW; i++)
        xb[i] = 100 + (float)i;
    return 0;
}

static void rows_come_in_the_order_asked_for(void **state)
{
    (void)state;
    struct memory_data ma, mb;
    struct mc_dataset *d;
    struct mc_err err;
    build_ok(
        mc_dataset_join(opened(&ma, A, xa, labels_of_a), opened(&mb, B, xb, labels_of_b), &d, &err),
        &err);
    assert_int_equal(d->count, A + B);
    assert_true(d->has_labels && d->partly);
    assert_string_equal(d->spec, "with + with");
    const int64_t index[] = {11, 2, 5, 0, 4, 9};
    struct mc_batch *b;
    int64_t labels[6];
    build_ok(mc_dataset_read(d, index, 6, &b, &err), &err);
    build_ok(mc_dataset_labels(d, index, 6, labels, &err), &err);
    for (int i = 0; i < 6; i++) {
        const float *row = (const float *)b->arrays[0].data + i * ROW;
        bool of_a = index[i] < A;
        assert_true(row[1] == (of_a ? xa[index[i] * ROW + 1] : xb[(index[i] - A) * ROW + 1]));
        assert_int_equal(b->labels[i], of_a ? labels_of_a[index[i]] : MC_LABEL_NONE);
        assert_int_equal(labels[i], b->labels[i]);
        assert_int_equal(b->index[i], index[i]);
    }
    mc_batch_free(b);
    for (int part = 0; part < 2; part++) { /* a batch of one side only */
        build_ok(mc_dataset_range(d, part * A, 3, &b, &err), &err);
        assert_true(((float *)b->arrays[0].data)[0] == (part ? xb[0] : xa[0]));
        mc_batch_free(b);
    }
    mc_dataset_free(d);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct memory_data ma, mb;
    struct mc_dataset *d;
    struct mc_err err;
    assert_int_equal(mc_dataset_join(opened(&ma, A, xa, NULL), opened(&mb, B, xb, NULL), &d, &err),
                     MC_EDATA);
    assert_non_null(strstr(err.msg, "no labels"));
    struct mc_dataset *sequences = opened(&ma, A, xa, NULL);
    sequences->sequence = 2;
    assert_int_equal(mc_dataset_join(sequences, opened(&mb, B, xb, NULL), &d, &err), MC_EDATA);
    assert_non_null(strstr(err.msg, "has a sequence of labels for each sample"));
    struct mc_dataset *b = opened(&mb, B, xb, NULL);
    mb.sample.dim[0] = ROW - 1;
    assert_int_equal(mc_dataset_join(opened(&ma, A, xa, labels_of_a), b, &d, &err), MC_ESHAPE);
    b = opened(&mb, B, xb, NULL);
    b->count = -1;
    assert_int_equal(mc_dataset_join(opened(&ma, A, xa, labels_of_a), b, &d, &err), MC_EDATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_in_the_order_asked_for),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
