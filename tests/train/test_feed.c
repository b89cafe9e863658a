#include "../run/memory_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>

#include <cmocka.h>

#include "train/feed.h"

enum { N = 103, W = 16, BATCH = 10 };

static struct mc_err err;
static float pixels[N * W];
static int64_t labels[N], all[N];

/* A sample's first element is its number; class c has about c + 1 of 10 samples. */
static struct mc_dataset *data(struct memory_data *m)
{
    static const int64_t shape[] = {W};
    for (int i = 0; i < N; i++) {
        all[i] = i;
        labels[i] = i % 10 < 1 ? 0 : i % 10 < 3 ? 1 : i % 10 < 6 ? 2 : 3;
        for (int k = 0; k < W; k++)
            pixels[i * W + k] = (float)(k ? sin(i * W + k) : i);
    }
    return memory_open(m, "x", N, 1, shape, pixels, labels);
}

static struct mc_feed *open_feed(struct mc_dataset *d, const struct mc_feed_opts *o)
{
    struct mc_feed *f = NULL;
    int rc = mc_feed_new(d, all, N, o, &f, &err);
    if (rc)
        fail_msg("%s", err.msg);
    return f;
}

static const struct mc_feed_batch *next(struct mc_feed *f)
{
    const struct mc_feed_batch *b = NULL;
    if (mc_feed_next(f, &b, &err))
        fail_msg("%s", err.msg);
    return b;
}

/* Numbers of the samples of one epoch, with their content checked. */
static void epoch_of(struct mc_feed *f, int64_t *ret)
{
    int64_t at = 0;
    for (int64_t i = 0; i < mc_feed_batches(f); i++) {
        const struct mc_feed_batch *b = next(f);
        int64_t want = N - at < BATCH ? N - at : BATCH;
        assert_int_equal(b->data->n, want);
        for (int64_t k = 0; k < want; k++) {
            int64_t s = b->data->index[k];
            assert_true(s >= 0 && s < N);
            assert_memory_equal((float *)b->data->arrays[0].data + k * W, pixels + s * W,
                                W * sizeof(float));
            assert_int_equal(b->data->labels[k], labels[s]);
            ret[at++] = s;
        }
    }
    assert_int_equal(at, N);
}

static void each_once_in_another_order(void **state)
{
    (void)state;
    struct memory_data m;
    struct mc_feed *f = open_feed(data(&m), &(struct mc_feed_opts){.batch = BATCH, .seed = 5});
    int64_t order[2][N], seen[N] = {0};
    assert_int_equal(mc_feed_batches(f), 11);
    epoch_of(f, order[0]);
    epoch_of(f, order[1]);
    for (int i = 0; i < N; i++)
        seen[order[0][i]]++;
    for (int i = 0; i < N; i++)
        assert_int_equal(seen[i], 1);
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    assert_memory_not_equal(order[0], all, sizeof all);
    mc_feed_free(f);

    f = open_feed(&m.d, &(struct mc_feed_opts){.batch = BATCH, .seed = 6});
    epoch_of(f, order[1]);
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    mc_feed_free(f);

    f = open_feed(&m.d,
                  &(struct mc_feed_opts){
                      .batch = BATCH, .in_order = true, .augment = "noise=3", .balance = true});
    epoch_of(f, order[1]);
    assert_memory_equal(order[1], all, sizeof all);
    epoch_of(f, order[1]);
    assert_memory_equal(order[1], all, sizeof all);
    mc_feed_free(f);
}

/* Begun anywhere, a feed gives what it would have given there; augmentation included. */
static void seeks(void **state)
{
    (void)state;
    enum { EPOCHS = 3, BATCHES = 11 };
    static float want[EPOCHS * BATCHES][BATCH * W];
    static int64_t which[EPOCHS * BATCHES][BATCH];
    struct memory_data m;
    struct mc_feed_opts o = {
        .batch = BATCH, .seed = 9, .augment = "noise=0.1,shift,flip,mixup", .classes = 4};
    struct mc_feed *f = open_feed(data(&m), &o);
    for (int i = 0; i < EPOCHS * BATCHES; i++) {
        const struct mc_feed_batch *b = next(f);
        memcpy(want[i], b->data->arrays[0].data, (size_t)b->data->n * W * sizeof(float));
        memcpy(which[i], b->data->index, (size_t)b->data->n * sizeof(int64_t));
    }
    mc_feed_free(f);
    f = open_feed(&m.d, &o);
    static const int steps[] = {32, 0, 11, 10, 25, 26, 31, 5};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_int_equal(mc_feed_seek(f, steps[i] / BATCHES, steps[i] % BATCHES, &err), 0);
        for (int k = steps[i]; k < steps[i] + 3 && k < EPOCHS * BATCHES; k++) {
            const struct mc_feed_batch *b = next(f);
            size_t n = (size_t)b->data->n;
            assert_memory_equal(b->data->index, which[k], n * sizeof(int64_t));
            assert_memory_equal(b->data->arrays[0].data, want[k], n * W * sizeof(float));
        }
    }
    assert_int_equal(mc_feed_seek(f, 0, BATCHES, &err), MC_EUSAGE);
    assert_int_equal(mc_feed_seek(f, -1, 0, &err), MC_EUSAGE);
    mc_feed_free(f);
}

static void balances(void **state)
{
    (void)state;
    struct memory_data m;
    struct mc_dataset *d = data(&m);
    struct mc_feed *f =
        open_feed(d, &(struct mc_feed_opts){.batch = BATCH, .seed = 2, .balance = true});
    int64_t order[2][N];
    for (int e = 0; e < 2; e++) {
        int classes[4] = {0}, seen[N] = {0};
        epoch_of(f, order[e]);
        for (int i = 0; i < N; i++) {
            classes[labels[order[e][i]]]++;
            seen[order[e][i]]++;
        }
        for (int c = 0; c < 4; c++)
            assert_in_range(classes[c], N / 4, N / 4 + 1);
        for (int i = 0; i < N; i++) { /* a class comes round before a sample of it comes again */
            int members = 0, low = N, high = 0;
            for (int k = 0; k < N; k++)
                if (labels[k] == labels[i]) {
                    members++;
                    low = seen[k] < low ? seen[k] : low;
                    high = seen[k] > high ? seen[k] : high;
                }
            assert_true(members > 0 && high - low <= 1);
        }
    }
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    mc_feed_free(f);
    d->has_labels = false;
    assert_int_equal(
        mc_feed_new(d, all, N, &(struct mc_feed_opts){.batch = 4, .balance = true}, &f, &err),
        MC_EDATA);
}

/* What goes wrong in the thread comes out at the batch it belongs to, stays, and is gone after a seek. */
static void errors_come_out(void **state)
{
    (void)state;
    struct memory_data m;
    struct mc_dataset *d = data(&m);
    struct mc_feed *f;
    const struct mc_feed_batch *b;
    for (int k = 0; k < 3; k++) {
        const float bad[] = {NAN, INFINITY, -INFINITY};
        data(&m);
        pixels[57 * W + 11 + k] = bad[k];
        f = open_feed(d, &(struct mc_feed_opts){.batch = BATCH, .in_order = true});
        for (int i = 0; i < 5; i++)
            next(f);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(mc_feed_next(f, &b, &err), MC_EDATA);
            assert_string_equal(err.msg, "'memory': sample 57 has NaN or infinity for input 'x'");
        }
        assert_int_equal(mc_feed_seek(f, 0, 6, &err), 0);
        assert_int_equal(next(f)->data->index[0], 60);
        mc_feed_free(f);
    }
    data(&m);
    all[20] = N;
    f = open_feed(d, &(struct mc_feed_opts){.batch = BATCH, .in_order = true});
    next(f);
    next(f);
    assert_int_equal(mc_feed_next(f, &b, &err), MC_EDATA);
    mc_feed_free(f);
}

static void refuses(void **state)
{
    (void)state;
    struct memory_data m;
    struct mc_dataset *d = data(&m);
    struct mc_feed *f = NULL;
    static const struct {
        struct mc_feed_opts o;
        int64_t n;
        int code;
        const char *part;
    } cases[] = {
        {{.batch = 0}, N, MC_EUSAGE, "at least one sample"},
        {{.batch = 4}, 0, MC_EDATA, "no samples to train on"},
        {{.batch = 4, .augment = "flap"}, N, MC_EUSAGE, "'flap' is none of flip, shift=N"},
        {{.batch = 4, .augment = "flip,"}, N, MC_EUSAGE, "'' is none of"},
        {{.batch = 4, .augment = "shift=1.5"}, N, MC_EUSAGE, "whole number of pixels"},
        {{.batch = 4, .augment = "noise=-1"}, N, MC_EUSAGE, "noise takes a number"},
        {{.batch = 4, .augment = "noise="}, N, MC_EUSAGE, "noise takes a number"},
        {{.batch = 4, .augment = "noise=1x"}, N, MC_EUSAGE, "noise takes a number"},
        {{.batch = 4, .augment = "mixup=nan"}, N, MC_EUSAGE, "mixup takes a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(mc_feed_new(d, all, cases[i].n, &cases[i].o, &f, &err), cases[i].code);
        if (!strstr(err.msg, cases[i].part))
            fail_msg("'%s' does not say '%s'", err.msg, cases[i].part);
    }
    m.sample.dim[0] = W - 1; /* no square */
    assert_int_equal(
        mc_feed_new(d, all, N, &(struct mc_feed_opts){.batch = 4, .augment = "flip"}, &f, &err),
        MC_ESHAPE);
    if (!strstr(err.msg, "float [1,15]"))
        fail_msg("%s", err.msg);
    assert_null(f);
    mc_feed_free(NULL);
}

/* Freed while the thread reads, before it did, and with a batch waiting. */
static void freed_in_any_state(void **state)
{
    (void)state;
    struct memory_data m;
    struct mc_dataset *d = data(&m);
    for (int reads = 0; reads < 4; reads++)
        for (int i = 0; i < 20; i++) {
            struct mc_feed *f = open_feed(
                d, &(struct mc_feed_opts){.batch = 50, .seed = 1, .augment = "noise,mixup"});
            for (int k = 0; k < reads; k++)
                next(f);
            if (i % 2)
                assert_int_equal(mc_feed_seek(f, 3, 0, &err), 0);
            mc_feed_free(f);
        }
}

static void mixes_labels(void **state)
{
    (void)state;
    struct memory_data m;
    struct mc_dataset *d = data(&m);
    struct mc_feed_opts o = {.batch = BATCH, .seed = 3, .augment = "mixup=1", .classes = 4};
    struct mc_feed *f = open_feed(d, &o);
    for (int i = 0; i < 5; i++) {
        const struct mc_feed_batch *b = next(f);
        assert_non_null(b->probs);
        for (int64_t k = 0; k < b->data->n; k++) {
            double sum = 0;
            for (int c = 0; c < 4; c++)
                sum += (double)b->probs[k * 4 + c];
            assert_true(fabs(sum - 1) < 1e-6 && b->probs[k * 4 + b->data->labels[k]] > 0);
        }
    }
    mc_feed_free(f);
    o.classes = 3; /* label 3 is too high */
    f = open_feed(d, &o);
    const struct mc_feed_batch *b;
    assert_int_equal(mc_feed_next(f, &b, &err), MC_EDATA);
    assert_non_null(strstr(err.msg, "none of the 3 classes"));
    mc_feed_free(f);
}

static void splits(void **state)
{
    (void)state;
    struct memory_data m;
    struct mc_dataset *d = data(&m);
    int64_t *train, *held, *again, n_train, n_held, n;
    for (int with = 0; with < 2; with++) {
        d->has_labels = with;
        assert_int_equal(mc_feed_split(d, 0.2, 4, &train, &n_train, &held, &n_held, &err), 0);
        assert_int_equal(n_train + n_held, N);
        int seen[N] = {0}, classes[4] = {0};
        for (int64_t i = 0; i < n_train; i++)
            seen[train[i]]++;
        for (int64_t i = 0; i < n_held; i++) {
            seen[held[i]]++;
            classes[labels[held[i]]]++;
            assert_true(!i || held[i] > held[i - 1]);
        }
        for (int i = 0; i < N; i++)
            assert_int_equal(seen[i], 1);
        if (with) { /* of 11, 21, 31 and 40 samples */
            assert_int_equal(classes[0], 2);
            assert_int_equal(classes[1], 4);
            assert_int_equal(classes[2], 6);
            assert_int_equal(classes[3], 8);
        } else {
            assert_int_equal(n_held, 21);
        }
        free(train);
        assert_int_equal(mc_feed_split(d, 0.2, 5, &train, &n_train, &again, &n, &err), 0);
        assert_true(n != n_held || memcmp(held, again, (size_t)n * sizeof *held));
        free(train);
        free(held);
        free(again);
    }
    assert_int_equal(mc_feed_split(d, 0, 4, &train, &n_train, &held, &n_held, &err), 0);
    assert_int_equal(n_held, 0);
    assert_memory_equal(train, all, sizeof all);
    free(train);
    free(held);
    d->count = 2;
    assert_int_equal(mc_feed_split(d, 0.01, 4, &train, &n_train, &held, &n_held, &err), 0);
    assert_int_equal(n_held, 1);
    free(train);
    free(held);
    assert_int_equal(mc_feed_split(d, 0.99, 4, &train, &n_train, &held, &n_held, &err), 0);
    assert_int_equal(n_train, 1);
    free(train);
    free(held);
    assert_int_equal(mc_feed_split(d, 1, 4, &train, &n_train, &held, &n_held, &err), MC_EUSAGE);
    assert_int_equal(mc_feed_split(d, NAN, 4, &train, &n_train, &held, &n_held, &err), MC_EUSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_once_in_another_order),
        cmocka_unit_test(seeks),
        cmocka_unit_test(balances),
        cmocka_unit_test(errors_come_out),
        cmocka_unit_test(refuses),
        cmocka_unit_test(freed_in_any_state),
        cmocka_unit_test(mixes_labels),
        cmocka_unit_test(splits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
