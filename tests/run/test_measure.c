#include "run_util.h"

#include "graph/run/measure.h"
#include "measure_numbers.h"
#include "memory_data.h"

enum { SAMPLES = 8, CLASSES = 6 };

/* Scores of 8 samples; with the bias, 2, 3 and 5 change their class. Sample 2 is one tie. */
static const float scores[SAMPLES * CLASSES] = {
    2, 1, 0, -1, -2, -3, 0, 3, 1, 1, 0,    0,    1,  1,  1, 1, 1, 1, -1, -2, 4,  3.5f, 0,  0,
    0, 0, 0, 5,  1,  1,  1, 0, 0, 0, 0.9f, 0.5f, 90, 80, 0, 0, 0, 0, -5, -4, -3, -2,   -1, 0,
};
static const float bias[CLASSES] = {0, 0, 0, 1, 0.25f, 0};
static const int64_t labels[SAMPLES] = {0, 1, 0, 2, 3, 4, 1, 0};

/* tail(x + bias), where bias or tail may be NULL. */
static struct mc_model *model(const float *b, const char *tail)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *y = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, CLASSES));
    if (b)
        y = build_binary(g, "Add", "sum", y, f32_const(g, "b", 1, DIMS(CLASSES), b));
    build_output(g, build_unary(g, tail ? tail : "Identity", "y", y));
    return m;
}

static struct mc_dataset *open_data(struct memory_data *d, const int64_t *l)
{
    return memory_open(d, "x", SAMPLES, 1, DIMS(CLASSES), scores, l);
}

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.12g is not %.12g", got, want);
}

/* The numbers are numpy's: see tests/run/measure_numbers.py. */
static void numbers_are_those_of_numpy(void **state)
{
    (void)state;
    struct mc_model *a = model(NULL, NULL), *b = model(bias, NULL);
    for (int64_t batch = 0; batch <= 9; batch++) {
        struct memory_data data;
        struct mc_measure_opts o = {.run = {.count = -1, .batch = batch}};
        struct mc_measure r;
        struct mc_err err;
        build_ok(mc_measure(b->graph, a->graph, open_data(&data, labels), &o, &r, &err), &err);
        assert_true(r.model.labelled && r.reference.labelled);
        assert_int_equal(r.model.samples, SAMPLES);
        assert_int_equal(r.model.classes, CLASSES);
        near(r.reference.top1, REF_TOP1, 0);
        near(r.reference.top5, REF_TOP5, 0);
        near(r.reference.loss, REF_LOSS, 1e-9);
        near(r.model.top1, TOP1, 0);
        near(r.model.top5, TOP5, 0);
        near(r.model.loss, LOSS, 1e-9);
        assert_int_equal(r.agreement.samples, SAMPLES);
        near(r.agreement.top1, AGREE, 0);
        near(r.agreement.cosine, COSINE, 1e-12);
        near(r.agreement.sqnr_db, SQNR, 1e-9);
        near(r.agreement.max_abs, 1, 0);
        near(r.agreement.max_rel, 1.0 / 90, 1e-15);
        near(r.drop.value, DROP, 1e-15);
        near(r.drop.low, DROP_LOW, 1e-12);
        near(r.drop.high, DROP_HIGH, 1e-12);
    }
    mc_model_free(a);
    mc_model_free(b);
}

static struct mc_measure measure(struct mc_model *m, struct mc_model *ref, const int64_t *l,
                                 struct mc_measure_opts o)
{
    struct memory_data data;
    struct mc_measure r;
    struct mc_err err;
    o.run.count = -1;
    build_ok(mc_measure(m->graph, ref ? ref->graph : NULL, open_data(&data, l), &o, &r, &err),
             &err);
    return r;
}

static void a_model_alone(void **state)
{
    (void)state;
    struct mc_model *a = model(NULL, NULL);
    struct mc_measure r = measure(a, NULL, labels, (struct mc_measure_opts){0});
    near(r.model.loss, REF_LOSS, 1e-9);
    assert_int_equal(r.reference.samples, 0);
    assert_int_equal(r.agreement.samples, 0);
    r = measure(a, NULL, NULL, (struct mc_measure_opts){0});
    assert_false(r.model.labelled);
    assert_int_equal(r.model.samples, SAMPLES);
    mc_model_free(a);
}

/* The loss of probabilities is that of the logits before them; classes do not change. */
static void losses_know_the_last_layer(void **state)
{
    (void)state;
    static const char *const tail[] = {"Softmax", "LogSoftmax"};
    for (int i = 0; i < 2; i++) {
        struct mc_model *a = model(NULL, tail[i]);
        struct mc_measure r = measure(a, NULL, labels, (struct mc_measure_opts){0});
        near(r.model.top1, REF_TOP1, 0);
        near(r.model.loss, REF_LOSS, 1e-5);
        mc_model_free(a);
    }
}

static void agreement_without_labels(void **state)
{
    (void)state;
    struct mc_model *a = model(NULL, NULL), *b = model(bias, NULL);
    struct mc_measure r = measure(b, a, NULL, (struct mc_measure_opts){0});
    near(r.agreement.top1, AGREE, 0);
    near(r.drop.value, 1 - AGREE, 1e-15);
    assert_true(r.drop.low < r.drop.value && r.drop.value < r.drop.high && r.drop.low >= -1);
    /* A model agrees with itself, without claiming certainty from 8 samples. */
    r = measure(a, a, labels, (struct mc_measure_opts){0});
    near(r.agreement.top1, 1, 0);
    near(r.agreement.cosine, 1, 0);
    assert_true(isinf(r.agreement.sqnr_db) && r.agreement.sqnr_db > 0);
    near(r.agreement.max_abs, 0, 0);
    near(r.agreement.max_rel, 0, 0);
    near(r.drop.value, 0, 0);
    assert_true(r.drop.high > 0.01);
    mc_model_free(a);
    mc_model_free(b);
}

static void fails(struct mc_model *m, struct mc_model *ref, struct mc_dataset *d,
                  const char *output, int code, const char *part)
{
    struct mc_measure_opts o = {.run = {.count = -1, .batch = 3}, .output = output};
    struct mc_measure r;
    struct mc_err err;
    assert_int_equal(mc_measure(m->graph, ref ? ref->graph : NULL, d, &o, &r, &err), code);
    if (!strstr(err.msg, part))
        fail_msg("'%s' does not say '%s'", err.msg, part);
}

static void errors_name_the_sample(void **state)
{
    (void)state;
    struct mc_model *a = model(NULL, NULL), *b = model(bias, NULL);
    struct memory_data data;
    int64_t bad[SAMPLES];
    memcpy(bad, labels, sizeof bad);
    bad[4] = 6;
    struct mc_dataset *d = open_data(&data, bad);
    fails(a, NULL, d, NULL, MC_EDATA, "sample 4 has label 6, but the model has 6 classes");
    bad[4] = -1;
    fails(a, NULL, d, NULL, MC_EDATA, "sample 4 has label -1");
    float x[SAMPLES * CLASSES];
    memcpy(x, scores, sizeof x);
    x[5 * CLASSES + 2] = NAN;
    d = memory_open(&data, "x", SAMPLES, 1, DIMS(CLASSES), x, labels);
    fails(a, NULL, d, NULL, MC_EDATA, "output 'y' is NaN at element 2 of sample 5");
    fails(a, NULL, d, "z", MC_EUSAGE, "no output 'z'");
    struct mc_model *two = model(NULL, NULL);
    build_output(two->graph, build_unary(two->graph, "Neg", "n", mc_graph_value(two->graph, "x")));
    fails(two, b, d, NULL, MC_ESHAPE, "2 outputs, the reference 1");
    mc_model_free(a);
    mc_model_free(b);
    mc_model_free(two);
}

/* Outputs that are no class score: the second of two counts on demand, and has agreement only. */
static void other_outputs(void **state)
{
    (void)state;
    struct mc_model *m[2];
    for (int i = 0; i < 2; i++) {
        m[i] = model(i ? bias : NULL, NULL);
        struct mc_graph *g = m[i]->graph;
        struct mc_value *three = build_const(g, "three", MC_DTYPE_I64, 1, DIMS(3), DIMS(-1, 2, 3));
        build_output(g, build_binary(g, "Reshape", "r", mc_graph_value(g, "y"), three));
    }
    struct mc_measure r = measure(m[1], m[0], labels, (struct mc_measure_opts){0});
    near(r.model.top1, TOP1, 0);           /* "y" is of rank 2 */
    near(r.agreement.sqnr_db, SQNR, 1e-9); /* over both, which are equal */
    r = measure(m[1], m[0], labels, (struct mc_measure_opts){.output = "r"});
    assert_false(r.model.labelled);
    near(r.agreement.top1, -1, 0);
    near(r.agreement.cosine, COSINE, 1e-12);
    near(r.drop.value, 1 - COSINE, 1e-12);
    mc_model_free(m[0]);
    mc_model_free(m[1]);
}

/* One probability decides between two classes. */
static void one_score_is_binary(void **state)
{
    (void)state;
    static const float x[4] = {2, -1, 0.5f, -3};
    static const int64_t l[4] = {1, 0, 0, 0};
    for (int i = 0; i < 2; i++) {
        struct mc_model *m = build_model(17);
        struct mc_value *v = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-2, 1));
        build_output(m->graph, build_unary(m->graph, i ? "Sigmoid" : "Identity", "y", v));
        struct memory_data data;
        struct mc_dataset *d = memory_open(&data, "x", 4, 1, DIMS(1), x, l);
        struct mc_measure_opts o = {.run = {.count = -1}};
        struct mc_measure r;
        struct mc_err err;
        build_ok(mc_measure(m->graph, NULL, d, &o, &r, &err), &err);
        near(r.model.top1, 0.75, 0);
        assert_int_equal(r.model.classes, 2);
        near(r.model.top5, -1, 0);
        /* ln(1+e^-2), ln(1+e^-1), ln(1+e^.5), ln(1+e^-3) */
        double want = (log1p(exp(-2)) + log1p(exp(-1)) + log1p(exp(0.5)) + log1p(exp(-3))) / 4;
        near(r.model.loss, want, 1e-6);
        mc_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_those_of_numpy), cmocka_unit_test(a_model_alone),
        cmocka_unit_test(losses_know_the_last_layer), cmocka_unit_test(agreement_without_labels),
        cmocka_unit_test(errors_name_the_sample),     cmocka_unit_test(other_outputs),
        cmocka_unit_test(one_score_is_binary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
