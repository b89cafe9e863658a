/* Samples mixed from others: what stands where in them. */
#include "svd_util.h"

#include "passes/fit/mixed_samples.h"

static struct mc_err err;

enum { COUNT = 6, MORE = 60, HIGH = 8, WIDE = 10, EACH = 2 * HIGH * WIDE };

/* Every element says whose it is and where: 1000 times the sample, and the place. */
static float *numbered(void)
{
    float *x = malloc(COUNT * EACH * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < COUNT * EACH; i++)
        x[i] = (float)(i / EACH * 1000 + i % EACH);
    return x;
}

static struct mc_batch *read_all(struct mc_dataset *of, uint64_t seed)
{
    struct mc_dataset *d;
    struct mc_batch *b;
    build_ok(mc_mixed_samples(of, COUNT, MORE, seed, &d, &err), &err);
    assert_int_equal(d->count, COUNT + MORE);
    build_ok(mc_dataset_range(d, 0, COUNT + MORE, &b, &err), &err);
    mc_dataset_free(d);
    assert_int_equal(b->n, COUNT + MORE);
    assert_int_equal(b->n_arrays, 1);
    assert_null(b->labels);
    return b;
}

static void a_box_of_another_stands_in_its_own_place(void **state)
{
    (void)state;
    float *x = numbered();
    struct memory_data m;
    struct mc_dataset *of = memory_open(&m, "x", COUNT, 3, DIMS(2, HIGH, WIDE), x, NULL);
    struct mc_batch *b = read_all(of, 1);
    const float *y = b->arrays[0].data;
    int mixed = 0;
    assert_memory_equal(y, x, COUNT * EACH * sizeof *x);
    for (int s = COUNT; s < COUNT + MORE; s++) {
        int own = s % COUNT, others = 0, other = own;
        int low[2] = {HIGH, WIDE}, high[2] = {-1, -1};
        for (int i = 0; i < EACH; i++) {
            int v = (int)y[s * EACH + i], at[2] = {i / WIDE % HIGH, i % WIDE};
            assert_int_equal(v % 1000, i); /* nothing moved */
            if (v / 1000 == own)
                continue;
            assert_true(other == own || other == v / 1000); /* one partner, */
            other = v / 1000;
            others++;
            for (int k = 0; k < 2; k++) {
                low[k] = at[k] < low[k] ? at[k] : low[k];
                high[k] = at[k] > high[k] ? at[k] : high[k];
            }
        }
        if (!others)
            continue;
        mixed++;
        assert_int_equal(other % 2, own % 2); /* of its own half, */
        int tall = high[0] - low[0] + 1, broad = high[1] - low[1] + 1;
        assert_int_equal(others, 2 * tall * broad); /* a box in both channels, */
        assert_true(tall >= HIGH / 4 && tall <= 3 * HIGH / 4);
        assert_true(broad >= WIDE / 4 && broad <= 3 * WIDE / 4);
    }
    assert_true(mixed > MORE / 3); /* one in three draws itself */
    mc_batch_free(b);
    free(x);
}

static void the_same_for_the_same_seed(void **state)
{
    (void)state;
    float *x = numbered();
    struct memory_data m;
    struct mc_dataset *of = memory_open(&m, "x", COUNT, 3, DIMS(2, HIGH, WIDE), x, NULL), *d;
    struct mc_batch *a = read_all(of, 1), *b = read_all(of, 1), *c = read_all(of, 2), *one;
    size_t bytes = a->arrays[0].bytes;
    assert_memory_equal(a->arrays[0].data, b->arrays[0].data, bytes);
    assert_memory_not_equal(a->arrays[0].data, c->arrays[0].data, bytes);
    /* and whatever else is read with it */
    build_ok(mc_mixed_samples(of, COUNT, MORE, 1, &d, &err), &err);
    build_ok(mc_dataset_range(d, COUNT + 7, 1, &one, &err), &err);
    assert_memory_equal((const float *)a->arrays[0].data + (COUNT + 7) * EACH, one->arrays[0].data,
                        EACH * sizeof(float));
    mc_batch_free(a);
    mc_batch_free(b);
    mc_batch_free(c);
    mc_batch_free(one);
    mc_dataset_free(d);
    free(x);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_box_of_another_stands_in_its_own_place),
        cmocka_unit_test(the_same_for_the_same_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
