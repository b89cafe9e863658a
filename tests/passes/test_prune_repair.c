/* What stays makes up for what went: exactly where it can, and not at all where that brings nothing. */
#include "svd_util.h"

#include <math.h>

#include "base/threads.h"
#include "passes/couple/coupling.h"
#include "passes/prune/prune_repair.h"

static struct mc_err err;

enum { IN = 6, MID = 8, SIZE = 5, PIXELS = SIZE * SIZE };

struct cut { /* a model, what went of it, and what is left */
    struct mc_model *before, *after;
    struct mc_coupling *c;
    bool *gone;
};

/* Positions of an axis of the named value go: those whose bit is set. */
static struct cut cut_axis(struct mc_model *m, const char *name, int axis, unsigned which)
{
    struct cut k = {.before = m};
    build_ok(mc_coupling_find(m, &k.c, &err), &err);
    k.gone = calloc((size_t)k.c->n_units + 1, sizeof *k.gone);
    assert_non_null(k.gone);
    const struct mc_units *u = mc_coupling_axis(k.c, mc_graph_value(m->graph, name), axis);
    assert_non_null(u);
    for (int64_t i = 0; i < u->n; i++)
        if (which >> i & 1)
            k.gone[u->unit[i * u->per]] = true;
    build_ok(mc_model_clone(m, &k.after, &err), &err);
    build_ok(mc_cut(k.c, k.after, k.gone, 0, &err), &err);
    return k;
}

static struct cut cut(struct mc_model *m, const char *name, unsigned which)
{
    return cut_axis(m, name, 1, which);
}

static void cut_free(struct cut *k)
{
    mc_coupling_free(k->c);
    mc_model_free(k->before);
    mc_model_free(k->after);
    free(k->gone);
}

/* The "repair" of the report; the model is verified. */
static json_t *repair(struct cut *k, struct mc_pass_ctx *ctx)
{
    json_t *r = json_object();
    build_ok(mc_prune_repair(ctx, k->before, k->c, k->gone, k->after, r, &err), &err);
    build_ok(mc_verify(k->after, &err), &err);
    json_t *o = json_incref(json_object_get(r, "repair"));
    assert_non_null(o);
    json_decref(r);
    return o;
}

static bool was_kept(const json_t *r)
{
    return json_is_true(json_object_get(r, "kept"));
}

static const float *content(const struct mc_model *m, const char *name)
{
    const struct mc_tensor *t = mc_constant(mc_graph_value(m->graph, name));
    assert_non_null(t);
    return (const float *)t->data;
}

static float *image(int64_t n)
{
    return gaussian(21, n * IN * PIXELS);
}

static struct mc_value *conv(struct mc_graph *g, const char *name, struct mc_value *x, int64_t m,
                             int64_t c, int64_t size, int64_t groups, struct mc_value *bias,
                             uint64_t seed)
{
    char w[32];
    struct mc_node *n;
    snprintf(w, sizeof w, "%s_w", name);
    struct mc_value *in[] = {x, random_const(g, w, 4, DIMS(m, c, size, size), seed), bias};
    struct mc_value *y = build_node(g, "Conv", name, bias ? 3 : 2, in, &n);
    int64_t p = size / 2;
    build_ok(mc_edit_attr_ints(n, "pads", DIMS(p, p, p, p), 4, &err), &err);
    build_ok(mc_edit_attr_int(n, "group", groups, &err), &err);
    return y;
}

/* Channel `to` of a constant [channels, each] is twice what `from` is. */
static void twice(struct mc_model *m, const char *name, int64_t each, int to, int from, float by)
{
    float *x = (float *)content(m, name);
    for (int64_t i = 0; i < each; i++)
        x[to * each + i] = by * x[from * each + i];
}

/* ---- exactly ---- */

/* x -> Conv of eight channels, of which 1 is twice channel 0, and 5 channel 4 -> Relu -> what reads them. */
static struct mc_model *with_copies(int way)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, IN, SIZE, SIZE)), *in[3];
    struct mc_value *y =
        conv(g, "make", x, MID, IN, 3, 1, random_const(g, "b", 1, DIMS(MID), 2), 1);
    struct mc_node *n;
    y = build_unary(g, "Relu", "relu", y);
    if (way == 0) {
        y = conv(g, "read", y, 4, MID, 3, 1, random_const(g, "rb", 1, DIMS(4), 4), 3);
    } else if (way == 1) {
        y = conv(g, "read", y, 6, MID / 2, 3, 2, NULL, 3);
    } else if (way == 2) {
        y = conv(g, "deep", y, MID, 1, 3, MID, random_const(g, "db", 1, DIMS(MID), 6), 5);
        y = conv(g, "read", build_unary(g, "Relu", "relu2", y), 4, MID, 1, 1, NULL, 3);
    } else if (way == 3) {
        in[0] = y;
        in[1] = random_const(g, "read_w", 4, DIMS(MID, 3, 2, 2), 3);
        y = build_node(g, "ConvTranspose", "read", 2, in, &n);
    } else if (way == 4) {
        y = build_unary(g, "Flatten", "flat", y);
        in[0] = y;
        in[1] = random_const(g, "read_w", 2, DIMS(7, MID * PIXELS), 3);
        in[2] = random_const(g, "rb", 1, DIMS(7), 4);
        y = build_node(g, "Gemm", "read", 3, in, &n);
        build_ok(mc_edit_attr_int(n, "transB", 1, &err), &err);
    } else {
        in[0] = y;
        y = build_node(g, "Transpose", "move", 1, in, &n);
        build_ok(mc_edit_attr_ints(n, "perm", DIMS(0, 2, 3, 1), 4, &err), &err);
        y = build_binary(g, "MatMul", "read", y, random_const(g, "read_w", 2, DIMS(MID, 5), 3));
        y = build_binary(g, "Add", "add", y, random_const(g, "rb", 1, DIMS(5), 4));
    }
    build_output(g, y);
    twice(m, "make_w", IN * 9, 1, 0, 2);
    twice(m, "b", 1, 1, 0, 2);
    twice(m, "make_w", IN * 9, 5, 4, 1);
    twice(m, "b", 1, 5, 4, 1);
    if (way == 2) { /* both channels have to be alike behind it as well */
        twice(m, "deep_w", 9, 1, 0, 1);
        twice(m, "deep_w", 9, 5, 4, 1);
        float *b = (float *)content(m, "db");
        b[1] = 2 * b[0];
        b[5] = b[4];
    }
    return m;
}

static void copies_are_made_up_for(void **state)
{
    (void)state;
    enum { COUNT = 256 };
    float *x = image(COUNT);
    for (int way = 0; way < 6; way++) {
        struct memory_data d;
        struct mc_pass_ctx ctx =
            svd_ctx(memory_open(&d, "x", COUNT, 3, DIMS(IN, SIZE, SIZE), x, NULL));
        struct cut k = cut(with_copies(way), "make", 1U << 1 | 1U << 5);
        int64_t n;
        const int64_t dims[] = {COUNT, IN, SIZE, SIZE};
        float *should = output_of(k.before, 4, dims, x, &n),
              *was = output_of(k.after, 4, dims, x, &n);
        json_t *r = repair(&k, &ctx);
        float *is = output_of(k.after, 4, dims, x, &n);
        print_message("way %d: %g -> %g\n", way, relative(should, was, n), relative(should, is, n));
        assert_true(was_kept(r));
        assert_int_equal(mc_json_number(r, "layers", -1), 1);
        assert_int_equal(mc_json_number(r, "skipped", -1), 0);
        assert_true(relative(should, was, n) > 1e-2);
        assert_true(relative(should, is, n) <= 1e-8); /* 1e-4 of the root mean square */
        json_decref(r);
        free(should);
        free(was);
        free(is);
        cut_free(&k);
    }
    free(x);
}

/* A node that is the same for every sample: the bias takes all of it over, and no weight changes. */
static void the_bias_takes_a_constant_over(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *in[] = {build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN)),
                             random_const(g, "w1", 2, DIMS(IN, MID), 1),
                             random_const(g, "b1", 1, DIMS(MID), 2)};
    struct mc_value *h = build_node(g, "Gemm", "one", 3, in, &n);
    struct mc_value *in2[] = {build_unary(g, "Relu", "relu", h),
                              random_const(g, "w2", 2, DIMS(MID, 4), 3),
                              random_const(g, "b2", 1, DIMS(4), 4)};
    build_output(g, build_node(g, "Gemm", "two", 3, in2, &n));
    for (int i = 0; i < IN; i++)
        ((float *)content(m, "w1"))[i * MID + 3] = 0;
    ((float *)content(m, "b1"))[3] = 0.75F;
    float *x = gaussian(5, COUNT * IN);
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", COUNT, 1, DIMS(IN), x, NULL));
    struct cut k = cut(m, "one", 1U << 3);
    json_t *r = repair(&k, &ctx);
    assert_true(was_kept(r));
    for (int j = 0; j < 4; j++) {
        double b = content(m, "b2")[j] + 0.75 * content(m, "w2")[3 * 4 + j];
        assert_true(fabs(content(k.after, "b2")[j] - b) <= 1e-5);
        for (int i = 0; i < MID - 1; i++)
            assert_true(fabs(content(k.after, "w2")[i * 4 + j] -
                             content(m, "w2")[(i + (i >= 3)) * 4 + j]) <= 1e-5);
    }
    json_decref(r);
    free(x);
    cut_free(&k);
}

/* ---- cells ---- */

enum { STEPS = 5 };

/* Of eight states, of which 1 is what state 0 is; read by a product. */
static struct mc_model *with_cell(const char *op, int64_t gates)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, STEPS, IN));
    struct mc_node *n;
    struct mc_value *first = build_node(g, "Transpose", "first", 1, &x, &n);
    build_ok(mc_edit_attr_ints(n, "perm", DIMS(1, 0, 2), 3, &err), &err);
    int64_t rows = gates * MID, one = 1;
    struct mc_value *in[] = {first, random_const(g, "W", 3, DIMS(1, rows, IN), 1),
                             random_const(g, "R", 3, DIMS(1, rows, MID), 2),
                             random_const(g, "B", 2, DIMS(1, 2 * rows), 3)};
    struct mc_value *y = build_node(g, op, "cell", 4, in, &n);
    build_ok(mc_edit_attr_int(n, "hidden_size", MID, &err), &err);
    for (int i = 0; i < gates; i++) {
        memcpy((float *)content(m, "W") + (i * MID + 1) * IN, content(m, "W") + i * MID * IN,
               IN * sizeof(float));
        memcpy((float *)content(m, "R") + (i * MID + 1) * MID, content(m, "R") + i * MID * MID,
               MID * sizeof(float));
        for (int k = 0; k < 2; k++)
            ((float *)content(m, "B"))[k * rows + i * MID + 1] =
                content(m, "B")[k * rows + i * MID];
    }
    struct mc_value *sq[] = {y, build_const(g, "axes", MC_DTYPE_I64, 1, DIMS(1), &one)};
    y = build_node(g, "Squeeze", "squeeze", 2, sq, &n);
    y = build_node(g, "Transpose", "back", 1, &y, &n);
    build_ok(mc_edit_attr_ints(n, "perm", DIMS(1, 0, 2), 3, &err), &err);
    build_output(g, build_binary(g, "MatMul", "read", y, random_const(g, "V", 2, DIMS(MID, 3), 4)));
    return m;
}

static void states_are_made_up_for(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static const struct {
        const char *op;
        int64_t gates;
    } ops[] = {{"LSTM", 4}, {"GRU", 3}, {"RNN", 1}};
    float *x = gaussian(5, COUNT * STEPS * IN);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct memory_data d;
        struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", COUNT, 2, DIMS(STEPS, IN), x, NULL));
        struct cut k = cut_axis(with_cell(ops[i].op, ops[i].gates), "back", 2, 1U << 1);
        const int64_t dims[] = {COUNT, STEPS, IN};
        int64_t n;
        float *should = output_of(k.before, 3, dims, x, &n),
              *was = output_of(k.after, 3, dims, x, &n);
        json_t *r = repair(&k, &ctx);
        float *is = output_of(k.after, 3, dims, x, &n);
        print_message("%s: %g -> %g\n", ops[i].op, relative(should, was, n),
                      relative(should, is, n));
        assert_true(was_kept(r));
        assert_int_equal(mc_json_number(r, "layers", -1), 2);
        assert_int_equal(mc_json_number(r, "skipped", -1), 0);
        assert_true(relative(should, was, n) > 1e-2);
        assert_true(relative(should, is, n) <= 1e-6);
        json_decref(r);
        free(should);
        free(was);
        free(is);
        cut_free(&k);
    }
    free(x);
}

/* ---- norms ---- */

static float *value_of(struct mc_model *m, const char *name, int64_t n, const float *x)
{
    struct mc_session *s = session_of(m, &(struct mc_session_opts){.only = &name, .n_only = 1});
    run_x(s, 4, DIMS(n, IN, SIZE, SIZE), x);
    const struct mc_array *a = mc_session_output(s, 0);
    float *y = malloc(a->bytes);
    assert_non_null(y);
    memcpy(y, a->data, a->bytes);
    mc_session_free(s);
    return y;
}

/* Conv, Relu, two convolutions with one weight, which cannot be fitted, their sum, BatchNormalization. */
static struct mc_model *with_norm(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, IN, SIZE, SIZE));
    struct mc_value *y = conv(g, "make", x, MID, IN, 3, 1, NULL, 1);
    float var[4] = {1, 2, 3, 0.5F};
    struct mc_node *n;
    y = build_unary(g, "Relu", "relu", y);
    struct mc_value *one = conv(g, "one", y, 4, MID, 1, 1, NULL, 3);
    struct mc_value *in2[] = {build_unary(g, "Tanh", "tanh", y), one->producer->in[1]};
    y = build_binary(g, "Add", "read", one, build_node(g, "Conv", "two", 2, in2, &n));
    struct mc_value *in[] = {
        y, random_const(g, "scale", 1, DIMS(4), 5), random_const(g, "shift", 1, DIMS(4), 6),
        random_const(g, "mean", 1, DIMS(4), 7), f32_const(g, "var", 1, DIMS(4), var)};
    build_output(g, build_node(g, "BatchNormalization", "norm", 5, in, &n));
    return m;
}

static void statistics_are_measured_anew(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    float *x = image(COUNT);
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", COUNT, 3, DIMS(IN, SIZE, SIZE), x, NULL));
    struct cut k = cut(with_norm(), "make", 1U << 2 | 1U << 6);
    json_t *r = repair(&k, &ctx);
    assert_true(was_kept(r));
    assert_int_equal(mc_json_number(r, "layers", -1), 0);
    assert_int_equal(mc_json_number(r, "skipped", -1), 2);
    assert_int_equal(mc_json_number(r, "norms", -1), 1);
    float *y = value_of(k.after, "read", COUNT, x);
    float *is = value_of(k.after, "norm", COUNT, x), *should = value_of(k.before, "norm", COUNT, x);
    for (int c = 0; c < 4; c++) {
        double sum = 0, square = 0, e = 0, ey = 0, ee = 0, yy = 0, rows = COUNT * PIXELS;
        for (int s = 0; s < COUNT; s++)
            for (int p = 0; p < PIXELS; p++) {
                int64_t i = (s * 4 + c) * PIXELS + p;
                double lack = (double)should[i] - is[i];
                sum += y[i];
                square += (double)y[i] * y[i];
                e += lack;
                ey += lack * is[i];
                ee += lack * lack;
                yy += (double)is[i] * is[i];
            }
        double mean = sum / rows, var = square / rows - mean * mean;
        assert_true(fabs(content(k.after, "mean")[c] - mean) <= 1e-4);
        assert_true(fabs(content(k.after, "var")[c] - var) <= 1e-4 * var);
        /* no other scale and shift are closer */
        assert_true(ee > 0);
        assert_true(fabs(e) / rows <= 1e-4 * sqrt(yy / rows));
        assert_true(fabs(ey) <= 1e-3 * sqrt(ee * yy));
    }
    json_decref(r);
    free(x);
    free(y);
    free(is);
    free(should);
    cut_free(&k);
}

/* ---- what stays as it is ---- */

/* Conv, Relu, Conv, Relu, Conv: of the second's channels some go, so that the third alone has something to make up for. */
static struct mc_model *three(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, IN, SIZE, SIZE));
    struct mc_value *y =
        conv(g, "one", x, MID, IN, 3, 1, random_const(g, "b1", 1, DIMS(MID), 2), 1);
    y = conv(g, "two", build_unary(g, "Relu", "relu", y), MID, MID, 3, 1,
             random_const(g, "b2", 1, DIMS(MID), 4), 3);
    y = conv(g, "three", build_unary(g, "Relu", "relu2", y), 4, MID, 3, 1,
             random_const(g, "b3", 1, DIMS(4), 6), 5);
    build_output(g, y);
    return m;
}

static bool same_as(const struct mc_model *a, const struct mc_model *b, const char *name)
{
    const struct mc_tensor *t = mc_constant(mc_graph_value(a->graph, name));
    const struct mc_tensor *u = mc_constant(mc_graph_value(b->graph, name));
    return t->bytes == u->bytes && !memcmp(t->data, u->data, t->bytes);
}

static bool all_same(const struct mc_model *a, const struct mc_model *b)
{
    static const char *const names[] = {"one_w", "b1", "two_w", "b2", "three_w", "b3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!same_as(a, b, names[i]))
            return false;
    return true;
}

static void what_stands_before_is_left_alone(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    float *x = image(COUNT);
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", COUNT, 3, DIMS(IN, SIZE, SIZE), x, NULL));
    struct cut k = cut(three(), "two", 3), plain = cut(three(), "two", 3);
    json_t *r = repair(&k, &ctx);
    assert_true(was_kept(r));
    assert_int_equal(mc_json_number(r, "layers", -1), 1);
    assert_true(same_as(k.after, plain.after, "one_w") && same_as(k.after, plain.after, "two_w"));
    assert_false(same_as(k.after, plain.after, "three_w"));
    json_decref(r);
    free(x);
    cut_free(&k);
    cut_free(&plain);
}

/* The samples that judge are of another kind: what fits those of calibration is worse on them. */
static void what_judges_worse_is_taken_back(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    float *x = image(COUNT), *z = image(COUNT);
    for (int i = 0; i < COUNT * IN * PIXELS; i++) {
        x[i] = 0.02F * x[i] - 1;
        z[i] = 0.02F * z[i] + 3;
    }
    struct memory_data d, t;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", COUNT, 3, DIMS(IN, SIZE, SIZE), x, NULL));
    ctx.train = memory_open(&t, "x", COUNT, 3, DIMS(IN, SIZE, SIZE), z, NULL);
    struct cut k = cut(three(), "two", 3), plain = cut(three(), "two", 3);
    json_t *r = repair(&k, &ctx);
    assert_int_equal(mc_json_number(r, "layers", -1), 1);
    assert_false(was_kept(r));
    assert_true(mc_json_number(r, "divergence_after", 0) >=
                mc_json_number(r, "divergence_before", 1e9));
    assert_true(all_same(k.after, plain.after));
    json_decref(r);
    free(x);
    free(z);
    cut_free(&k);
    cut_free(&plain);
}

static void without_samples_it_says_so(void **state)
{
    (void)state;
    struct mc_pass_ctx ctx = svd_ctx(NULL);
    struct cut k = cut(three(), "two", 3), plain = cut(three(), "two", 3);
    json_t *r = repair(&k, &ctx);
    assert_false(was_kept(r));
    assert_string_equal(mc_json_string(r, "reason"), "there are no samples");
    assert_true(all_same(k.after, plain.after));
    json_decref(r);
    cut_free(&k);
    cut_free(&plain);
}

static void samples_of_nan_change_nothing(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    float *x = image(COUNT);
    x[17 * IN * PIXELS] = NAN;
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", COUNT, 3, DIMS(IN, SIZE, SIZE), x, NULL));
    struct cut k = cut(three(), "two", 3), plain = cut(three(), "two", 3);
    json_t *r = repair(&k, &ctx);
    assert_false(was_kept(r));
    assert_true(all_same(k.after, plain.after));
    json_decref(r);
    free(x);
    cut_free(&k);
    cut_free(&plain);
}

static void the_same_for_any_thread_count(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    float *x = image(COUNT);
    struct cut k[2];
    for (int i = 0; i < 2; i++) {
        struct memory_data d;
        struct mc_pass_ctx ctx =
            svd_ctx(memory_open(&d, "x", COUNT, 3, DIMS(IN, SIZE, SIZE), x, NULL));
        k[i] = cut(three(), "one", 5);
        build_ok(mc_pool_new(i ? 3 : 1, &ctx.pool, &err), &err);
        json_t *r = repair(&k[i], &ctx);
        assert_true(was_kept(r));
        assert_int_equal(mc_json_number(r, "layers", -1), 2); /* the third's input has errors */
        json_decref(r);
        mc_pool_free(ctx.pool);
    }
    assert_true(all_same(k[0].after, k[1].after));
    cut_free(&k[0]);
    cut_free(&k[1]);
    free(x);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_made_up_for),
        cmocka_unit_test(the_bias_takes_a_constant_over),
        cmocka_unit_test(states_are_made_up_for),
        cmocka_unit_test(statistics_are_measured_anew),
        cmocka_unit_test(what_stands_before_is_left_alone),
        cmocka_unit_test(what_judges_worse_is_taken_back),
        cmocka_unit_test(without_samples_it_says_so),
        cmocka_unit_test(samples_of_nan_change_nothing),
        cmocka_unit_test(the_same_for_any_thread_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
