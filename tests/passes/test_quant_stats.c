/* Statistics of values against sums in double over the same values, kept by a run of their own. */
#include "svd_util.h"

#include "base/threads.h"
#include "graph/run/observe.h"
#include "passes/quant/range/quant_stats.h"

enum { N = 53, C = 3, H = 6, W = 5, OUT = 7, FLAT = OUT * H * W };

static struct mc_err err;

/* A convolution, its activation, a view, a product; a count of what is above 0; a constant that is read as a value. */
static struct mc_model *network(bool frozen)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-2, C, H, W));
    struct mc_value *k = random_const(g, "k", 4, DIMS(OUT, C, 1, 1), 2);
    struct mc_value *w = random_const(g, "w", 2, DIMS(FLAT, 4), 3);
    struct mc_value *shape =
        build_const(g, "shape", MC_DTYPE_I64, 1, DIMS(2), DIMS(frozen ? 1 : -1, FLAT));
    struct mc_value *h = build_unary(g, "Relu", "h", build_binary(g, "Conv", "conv", x, k));
    struct mc_value *f = build_binary(g, "Reshape", "f", h, shape);
    struct mc_value *y = build_binary(g, "MatMul", "y", f, w);
    struct mc_value *found = build_unary(g, "Shape", "size", y);
    build_output(g, y);
    build_output(g, found);
    build_output(g, build_unary(g, "Exp", "c", w));
    return m;
}

static const struct mc_quant_want want[] = {{"x", 1},  {"h", -1},   {"f", 1},  {"h", 1},
                                            {"y", -1}, {"size", 0}, {"c", -1}, {"conv", -1}};
enum { WANT = sizeof want / sizeof *want };

static float *samples_of(uint64_t seed, int64_t n)
{
    float *x = gaussian(seed, n * C * H * W);
    for (int64_t i = 0; i < n * C * H * W; i++)
        x[i] = x[i] * (1 + (float)(i / (H * W) % C)) + 0.5f;
    return x;
}

static struct mc_quant_stats *collect(struct mc_model *m, const float *x, int64_t n,
                                      struct mc_pool *pool)
{
    struct memory_data d;
    struct mc_pass_ctx ctx = {.calib = memory_open(&d, "x", n, 3, DIMS(C, H, W), x, NULL),
                              .calib_count = n,
                              .pool = pool};
    struct mc_quant_stats *s;
    build_ok(mc_quant_stats_collect(&ctx, m, want, WANT, &s, &err), &err);
    assert_int_equal(s->samples, n);
    return s;
}

/* Bytes of all samples, one behind the other. */
struct kept {
    float *x;
    int64_t n, row, channels, inner;
};

static int keep(void *ctx, const struct mc_array *const *values, int64_t first,
                const struct mc_batch *b, struct mc_err *e)
{
    (void)e, (void)first;
    struct kept *k = ctx;
    int64_t n = mc_shape_count(&values[0]->shape);
    k->x = realloc(k->x, (size_t)(k->n + n) * sizeof *k->x);
    assert_non_null(k->x);
    memcpy(k->x + k->n, values[0]->data, (size_t)n * sizeof *k->x);
    k->n += n;
    k->row = n / b->n;
    return 0;
}

static void check_value(struct mc_model *m, const float *x, const struct mc_quant_stat *s, int axis)
{
    struct memory_data d;
    struct kept k = {0};
    struct mc_observe_opts o = {.count = N};
    struct mc_dataset *data = memory_open(&d, "x", N, 3, DIMS(C, H, W), x, NULL);
    build_ok(mc_observe(m->graph, data, &s->name, 1, &o, keep, &k, NULL, &err), &err);
    struct mc_quant_hist h;
    build_ok(mc_quant_hist_init(&h, &err), &err);
    build_ok(mc_quant_hist_add(&h, k.x, k.n, &err), &err);
    assert_true(s->hist.n == (uint64_t)k.n && s->hist.zeros == h.zeros);
    assert_true(fabs(s->hist.min - h.min) <= 1e-5 && fabs(s->hist.max - h.max) <= 1e-5);
    assert_true(fabs(s->hist.square - h.square) <= 1e-5 * h.square);
    assert_true(s->hist.width == h.width);
    mc_quant_hist_free(&h);
    assert_int_equal(s->axis, axis);
    int64_t inner = axis == 1 && k.row != FLAT ? H * W : strcmp(s->name, "h") ? 1 : H * W;
    int64_t channels = axis < 0 ? 0 : axis == 1 ? k.row / inner : 0;
    assert_int_equal(s->channels, channels);
    for (int64_t c = 0; c < channels; c++) {
        double lo = INFINITY, hi = -INFINITY, sum = 0;
        for (int64_t i = 0; i < k.n; i++)
            if (i / inner % channels == c) {
                lo = fmin(lo, (double)k.x[i]);
                hi = fmax(hi, (double)k.x[i]);
                sum += (double)k.x[i];
            }
        assert_true(fabs((double)s->ch_min[c] - lo) <= 1e-5 &&
                    fabs((double)s->ch_max[c] - hi) <= 1e-5);
        assert_true(fabs(s->ch_sum[c] - sum) <= 1e-4 * (1 + fabs(sum)));
        assert_int_equal(s->ch_n, k.n / channels);
    }
    free(k.x);
}

static void expect_same(const struct mc_quant_stats *a, const struct mc_quant_stats *b,
                        double tolerance)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->samples, b->samples);
    assert_string_equal(a->digest, b->digest);
    for (size_t i = 0; i < a->n; i++) {
        const struct mc_quant_stat *p = &a->item[i], *q = mc_quant_stats_of(b, p->name);
        assert_non_null(q);
        assert_true(p->hist.n == q->hist.n && p->hist.nan == q->hist.nan);
        assert_true(p->hist.min == q->hist.min && p->hist.max == q->hist.max);
        assert_memory_equal(p->hist.count, q->hist.count, MC_QUANT_BINS * sizeof *p->hist.count);
        assert_true(fabs(p->hist.sum - q->hist.sum) <= tolerance * sqrt(p->hist.square));
        assert_int_equal(p->axis, q->axis);
        assert_int_equal(p->channels, q->channels);
        assert_true(p->ch_n == q->ch_n);
        for (int64_t c = 0; c < p->channels; c++) {
            assert_true(p->ch_min[c] == q->ch_min[c] && p->ch_max[c] == q->ch_max[c]);
            assert_true(fabs(p->ch_sum[c] - q->ch_sum[c]) <= tolerance * (1 + fabs(p->ch_sum[c])));
        }
    }
}

static void all_values(void **state)
{
    (void)state;
    float *x = samples_of(1, N);
    for (int frozen = 0; frozen < 2; frozen++) {
        struct mc_model *m = network(frozen);
        struct mc_pool *pool;
        build_ok(mc_pool_new(3, &pool, &err), &err);
        struct mc_quant_stats *s = collect(m, x, N, NULL), *other = collect(m, x, N, pool);
        expect_same(s, other, 0);
        assert_int_equal(s->n, 5);
        assert_null(mc_quant_stats_of(s, "size"));
        assert_null(mc_quant_stats_of(s, "c"));
        check_value(m, x, mc_quant_stats_of(s, "x"), 1);
        check_value(m, x, mc_quant_stats_of(s, "h"), 1);
        check_value(m, x, mc_quant_stats_of(s, "f"), 1);
        check_value(m, x, mc_quant_stats_of(s, "y"), -1);
        mc_quant_stats_free(s);
        mc_quant_stats_free(other);
        mc_pool_free(pool);
        mc_model_free(m);
    }
    free(x);
}

static void saved_and_merged(void **state)
{
    (void)state;
    float *x = samples_of(2, N);
    struct mc_model *m = network(false);
    struct mc_quant_stats *all = collect(m, x, N, NULL), *a = collect(m, x, 20, NULL), *back;
    struct mc_quant_stats *b = collect(m, x + 20 * C * H * W, N - 20, NULL);
    build_ok(mc_quant_stats_merge(a, b, &err), &err);
    expect_same(all, a, 1e-9);
    json_t *o = mc_quant_stats_json(all);
    assert_non_null(o);
    build_ok(mc_quant_stats_read(o, m, &back, &err), &err);
    expect_same(all, back, 0);
    mc_quant_stats_free(back);
    /* A person writes a range. */
    json_t *value = json_array_get(json_object_get(o, "values"), 1);
    assert_int_equal(
        json_object_set_new(value, "range", json_pack("{s:f,s:i}", "scale", 0.25, "zero", 3)), 0);
    build_ok(mc_quant_stats_read(o, m, &back, &err), &err);
    assert_true(back->item[1].fixed && back->item[1].param.scale == 0.25f &&
                back->item[1].param.zero == 3);
    assert_false(back->item[0].fixed);
    build_ok(mc_quant_stats_merge(a, back, &err), &err);
    assert_true(mc_quant_stats_of(a, back->item[1].name)->fixed);
    mc_quant_stats_free(back);
    assert_int_equal(
        json_object_set_new(value, "range", json_pack("{s:f,s:i}", "scale", -1.0, "zero", 3)), 0);
    assert_int_equal(mc_quant_stats_read(o, m, &back, &err), MC_EDATA);
    json_decref(o);
    mc_quant_stats_free(all);
    mc_quant_stats_free(a);
    mc_quant_stats_free(b);
    mc_model_free(m);
    free(x);
}

static void another_model(void **state)
{
    (void)state;
    float *x = samples_of(3, 4);
    struct mc_model *m = network(false), *other = build_model(17), *shaped = build_model(17);
    struct mc_value *in = build_input(other->graph, "x", MC_DTYPE_F32, 4, DIMS(-2, C, H, W));
    build_output(other->graph, build_unary(other->graph, "Relu", "h", in));
    in = build_input(shaped->graph, "x", MC_DTYPE_F32, 4, DIMS(-2, C, H, 1));
    build_output(shaped->graph, build_unary(shaped->graph, "Relu", "h", in));
    struct mc_quant_stats *s = collect(m, x, 4, NULL), *back;
    json_t *o = mc_quant_stats_json(s);
    assert_int_equal(mc_quant_stats_read(o, other, &back, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "no value 'f'"));
    struct mc_quant_stats *t;
    struct memory_data d;
    struct mc_pass_ctx ctx = {.calib = memory_open(&d, "x", 4, 3, DIMS(C, H, W), x, NULL),
                              .calib_count = 4};
    build_ok(mc_quant_stats_collect(&ctx, other, want, 2, &t, &err), &err);
    assert_int_equal(mc_quant_stats_merge(s, t, &err), MC_EUSAGE);
    json_t *p = mc_quant_stats_json(t);
    assert_int_equal(mc_quant_stats_read(p, shaped, &back, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "another model"));
    /* Not a file of statistics at all, or a broken one. */
    json_t *odd = json_array();
    assert_int_equal(mc_quant_stats_read(odd, m, &back, &err), MC_EDATA);
    assert_int_equal(json_object_del(json_array_get(json_object_get(p, "values"), 0), "histogram"),
                     0);
    assert_int_equal(mc_quant_stats_read(p, other, &back, &err), MC_EDATA);
    assert_non_null(strstr(err.msg, "'x'"));
    json_decref(odd);
    json_decref(o);
    json_decref(p);
    mc_quant_stats_free(s);
    mc_quant_stats_free(t);
    ctx.calib = NULL;
    assert_int_equal(mc_quant_stats_collect(&ctx, m, want, WANT, &s, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "--form weight"));
    mc_model_free(m);
    mc_model_free(other);
    mc_model_free(shaped);
    free(x);
}

/* Odd numbers are counted, and spoil nothing. */
static void odd_samples(void **state)
{
    (void)state;
    float *x = samples_of(4, N);
    struct mc_model *m = network(false);
    x[5] = NAN;
    x[C * H * W + 40] = INFINITY;
    struct mc_quant_stats *s = collect(m, x, N, NULL);
    const struct mc_quant_stat *in = mc_quant_stats_of(s, "x");
    assert_int_equal(in->hist.nan, 1);
    assert_int_equal(in->hist.infinite, 1);
    assert_int_equal(in->hist.n, N * C * H * W - 2);
    for (int c = 0; c < C; c++)
        assert_true(isfinite(in->ch_min[c]) && isfinite(in->ch_max[c]) && isfinite(in->ch_sum[c]));
    mc_quant_stats_free(s);
    mc_model_free(m);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_values),
        cmocka_unit_test(saved_and_merged),
        cmocka_unit_test(another_model),
        cmocka_unit_test(odd_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
