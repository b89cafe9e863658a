#include "run_util.h"

#include "base/interrupt.h"
#include "graph/run/observe.h"
#include "memory_data.h"

enum { SAMPLES = 11, WIDTH = 3 };

static float samples[SAMPLES * WIDTH];

/* y = relu(x I); the first axis of x is `batch` (-2: free). */
static struct mc_model *model(int64_t batch)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(batch, WIDTH));
    struct mc_value *w = f32_const(g, "w", 2, DIMS(3, 3), F(1, 0, 0, 0, 1, 0, 0, 0, 1));
    build_output(g, build_unary(g, "Relu", "y", build_binary(g, "MatMul", "h", x, w)));
    return m;
}

struct seen {
    int64_t next, batches, largest;
    double sum;
};

/* Every sample once, in order, with the values that belong to it. */
static int look(void *ctx, const struct mc_array *const *values, int64_t first,
                const struct mc_batch *batch, struct mc_err *err)
{
    (void)err;
    struct seen *s = ctx;
    assert_int_equal(first, s->next);
    assert_string_equal(values[0]->name, "h");
    assert_string_equal(values[1]->name, "y");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mc_shape_count(&values[i]->shape), batch->n * WIDTH);
        assert_int_equal(values[i]->bytes, (size_t)(batch->n * WIDTH) * sizeof(float));
    }
    const float *h = values[0]->data, *y = values[1]->data;
    for (int64_t i = 0; i < batch->n * WIDTH; i++) {
        float x = samples[first * WIDTH + i];
        assert_true(h[i] == x && y[i] == (x > 0 ? x : 0));
        s->sum += (double)h[i];
    }
    s->next += batch->n;
    s->batches++;
    s->largest = batch->n > s->largest ? batch->n : s->largest;
    return 0;
}

static const char *const names[] = {"h", "y"};

static struct seen observe(struct mc_model *m, struct mc_dataset *d,
                           const struct mc_observe_opts *o)
{
    struct seen s = {.next = o->first};
    struct mc_err err;
    int64_t n = -1;
    build_ok(mc_observe(m->graph, d, names, 2, o, look, &s, &n, &err), &err);
    assert_int_equal(n, s.next - o->first);
    return s;
}

static int fill(void **state)
{
    (void)state;
    mc_rng_fill_normal(1, 0, 0, samples, SAMPLES * WIDTH);
    return 0;
}

static void free_batches(void **state)
{
    (void)state;
    struct memory_data data;
    struct mc_dataset *d = memory_open(&data, "x", SAMPLES, 1, DIMS(WIDTH), samples, NULL);
    struct mc_model *m = model(-2);
    struct mc_observe_opts o = {.count = -1};
    struct seen s = observe(m, d, &o);
    assert_int_equal(s.next, SAMPLES);
    assert_int_equal(s.batches, 1);
    o.batch = 4;
    s = observe(m, d, &o);
    assert_int_equal(s.next, SAMPLES);
    assert_int_equal(s.batches, 3);
    assert_int_equal(s.largest, 4);
    o = (struct mc_observe_opts){.first = 2, .count = 5, .batch = 2};
    s = observe(m, d, &o);
    assert_int_equal(s.next, 7);
    assert_int_equal(s.batches, 3);
    /* A source of unknown length ends with a short batch. */
    d->count = -1;
    o = (struct mc_observe_opts){.count = -1, .batch = 4};
    assert_int_equal(observe(m, d, &o).next, SAMPLES);
    o.count = 100;
    assert_int_equal(observe(m, d, &o).next, SAMPLES);
    mc_model_free(m);
}

static void frozen_batches_are_filled_up(void **state)
{
    (void)state;
    for (int64_t frozen = 1; frozen <= 12; frozen++) {
        struct memory_data data;
        struct mc_dataset *d = memory_open(&data, "x", SAMPLES, 1, DIMS(WIDTH), samples, NULL);
        struct mc_model *m = model(frozen);
        struct seen s = observe(m, d, &(struct mc_observe_opts){.count = -1, .batch = 5});
        assert_int_equal(s.next, SAMPLES);
        assert_int_equal(s.batches, (SAMPLES + frozen - 1) / frozen);
        mc_model_free(m);
    }
}

static void whole_samples_run_one_by_one(void **state)
{
    (void)state;
    struct memory_data data;
    /* Each sample is the model's whole input [1, WIDTH]; the batch's array has one axis more. */
    struct mc_dataset *d = memory_open(&data, "x", SAMPLES, 2, DIMS(1, WIDTH), samples, NULL);
    d->whole = true;
    struct mc_model *m = model(1);
    struct seen s = observe(m, d, &(struct mc_observe_opts){.count = -1, .batch = 4});
    assert_int_equal(s.batches, SAMPLES);
    mc_model_free(m);
}

/* The graph says that any batch goes, but holds a Reshape to one sample. */
static void a_batch_size_hidden_inside_is_found(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, WIDTH));
    struct mc_value *one = build_const(g, "one", MC_DTYPE_I64, 2 - 1, DIMS(2), DIMS(1, -1));
    struct mc_value *w = f32_const(g, "w", 2, DIMS(3, 3), F(1, 0, 0, 0, 1, 0, 0, 0, 1));
    struct mc_value *r = build_binary(g, "Reshape", "r", x, one);
    build_output(g, build_unary(g, "Relu", "y", build_binary(g, "MatMul", "h", r, w)));
    struct memory_data data;
    struct mc_dataset *d = memory_open(&data, "x", SAMPLES, 1, DIMS(WIDTH), samples, NULL);
    struct seen s = observe(m, d, &(struct mc_observe_opts){.count = -1});
    assert_int_equal(s.next, SAMPLES);
    assert_int_equal(s.largest, 1);
    /* A batch that was asked for is not changed behind one's back. */
    struct mc_err err;
    struct mc_observe_opts o = {.count = -1, .batch = 4};
    assert_int_equal(mc_observe(g, d, names, 2, &o, look, &(struct seen){0}, NULL, &err),
                     MC_ESHAPE);
    mc_model_free(m);
}

static int stop(void *ctx, const struct mc_array *const *values, int64_t first,
                const struct mc_batch *batch, struct mc_err *err)
{
    (void)values, (void)batch;
    ++*(int *)ctx;
    return first >= 4 ? mc_fail(err, MC_EFAIL, "enough") : 0;
}

static void errors_stop(void **state)
{
    (void)state;
    struct memory_data data;
    struct mc_dataset *d = memory_open(&data, "x", SAMPLES, 1, DIMS(WIDTH), samples, NULL);
    struct mc_model *m = model(-2);
    struct mc_err err;
    int calls = 0;
    struct mc_observe_opts o = {.count = -1, .batch = 2};
    assert_int_equal(mc_observe(m->graph, d, names, 2, &o, stop, &calls, NULL, &err), MC_EFAIL);
    assert_int_equal(calls, 3);
    assert_string_equal(err.msg, "enough");
    mc_interrupt_request();
    assert_int_equal(mc_observe(m->graph, d, names, 2, &o, stop, &calls, NULL, &err), MC_EINTR);
    mc_interrupt_clear();
    assert_int_equal(calls, 3);
    o.first = SAMPLES;
    assert_int_equal(mc_observe(m->graph, d, names, 2, &o, stop, &calls, NULL, &err), MC_EDATA);
    d->count = -1;
    assert_int_equal(mc_observe(m->graph, d, names, 2, &o, stop, &calls, NULL, &err), MC_EDATA);
    d->count = 0;
    o.first = 0;
    assert_int_equal(mc_observe(m->graph, d, names, 2, &o, stop, &calls, NULL, &err), MC_EDATA);
    mc_model_free(m);
}

/* Steps of every kind: products with what joins them, views, parts, results in place, sizes known from data. */
static struct mc_model *many_steps(int64_t batch)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(batch, WIDTH));
    struct mc_value *w = random_const(g, "w", 2, DIMS(WIDTH, 32), 3);
    struct mc_value *v = random_const(g, "v", 2, DIMS(16, 32), 4);
    struct mc_value *shape = build_const(g, "shape", MC_DTYPE_I64, 1, DIMS(3), DIMS(-1, 2, 16));
    struct mc_value *row = random_const(g, "row", 1, DIMS(32), 5);
    struct mc_value *h = build_binary(g, "Add", "sum", build_binary(g, "MatMul", "h", x, w), row);
    struct mc_value *y = build_unary(g, "Relu", "y", h);
    struct mc_value *r = build_binary(g, "Reshape", "r", y, shape);
    struct mc_value *p = build_binary(g, "MatMul", "p", r, v);
    struct mc_value *t = build_unary(g, "Sigmoid", "t", build_unary(g, "Tanh", "u", p));
    struct mc_value *found = build_unary(g, "NonZero", "found", y);
    struct mc_value *f = build_unary(g, "Identity", "same", build_binary(g, "Mul", "f", t, p));
    struct mc_node *cast;
    struct mc_value *c = build_node(g, "Cast", "c", 1, &found, &cast);
    build_ok(mc_edit_attr_int(cast, "to", MC_DTYPE_F32, NULL), NULL);
    build_output(g, f);
    build_output(g, build_unary(g, "Exp", "e", c));
    return m;
}

enum { WATCHED = 10 };
static const char *const watched[WATCHED] = {"x", "h", "sum", "y", "r", "p", "u", "t", "f", "c"};

struct total {
    double sum[WATCHED], square[WATCHED];
    int64_t n[WATCHED], calls;
};

static void add_value(struct total *t, size_t i, const struct mc_array *a)
{
    assert_string_equal(a->name, watched[i]);
    assert_int_equal(a->dtype, MC_DTYPE_F32);
    int64_t n = mc_shape_count(&a->shape);
    assert_int_equal(a->bytes, (size_t)n * sizeof(float));
    for (int64_t k = 0; k < n; k++) {
        double e = (double)((const float *)a->data)[k];
        t->sum[i] += e;
        t->square[i] += e * e * (double)(k + 1);
    }
    t->n[i] += n;
}

static int keep_all(void *ctx, const struct mc_array *const *values, int64_t first,
                    const struct mc_batch *batch, struct mc_err *err)
{
    (void)first, (void)batch, (void)err;
    for (size_t i = 0; i < WATCHED; i++)
        add_value(ctx, i, values[i]);
    return 0;
}

static int passing(void *ctx, size_t i, const struct mc_array *value, int64_t n, struct mc_err *err)
{
    struct total *t = ctx;
    (void)err;
    t->calls++;
    if (i < 4 && i > 0)
        assert_int_equal(value->shape.dim[0], n);
    add_value(ctx, i, value);
    return 0;
}

static void values_in_passing(void **state)
{
    (void)state;
    for (int64_t frozen = -2; frozen <= 4; frozen += 3) {
        struct memory_data data;
        struct mc_dataset *d = memory_open(&data, "x", SAMPLES, 1, DIMS(WIDTH), samples, NULL);
        struct mc_model *m = many_steps(frozen);
        struct mc_observe_opts o = {.count = -1, .batch = 4};
        struct total kept = {0}, passed = {0};
        struct mc_err err;
        int64_t n;
        build_ok(mc_observe(m->graph, d, watched, WATCHED, &o, keep_all, &kept, NULL, &err), &err);
        build_ok(mc_observe_passing(m->graph, d, watched, WATCHED, &o, passing, &passed, &n, &err),
                 &err);
        assert_int_equal(n, SAMPLES);
        assert_int_equal(passed.calls, WATCHED * (frozen == 1 ? SAMPLES : 3));
        for (int i = 0; i < WATCHED; i++) {
            assert_int_equal(kept.n[i], passed.n[i]);
            assert_true(fabs(kept.sum[i] - passed.sum[i]) <= 1e-5 * (1 + fabs(kept.sum[i])));
            assert_true(fabs(kept.square[i] - passed.square[i]) <= 1e-5 * (1 + kept.square[i]));
        }
        assert_int_equal(mc_observe_passing(m->graph, d, (const char *const[]){"zz"}, 1, &o,
                                            passing, &passed, &n, &err),
                         MC_EUSAGE);
        mc_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_batches),
        cmocka_unit_test(frozen_batches_are_filled_up),
        cmocka_unit_test(whole_samples_run_one_by_one),
        cmocka_unit_test(a_batch_size_hidden_inside_is_found),
        cmocka_unit_test(errors_stop),
        cmocka_unit_test(values_in_passing),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
