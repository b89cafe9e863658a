/* Agreement of outputs: decisions at positions, labels, numbers of unlike channels. */
#include "svd_util.h"

#include "passes/search/search_agree.h"

static struct mc_err err;

/* A graph whose output is `op` of its input. */
static struct mc_model *ends_with(const char *op, int64_t axis)
{
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 3, DIMS(-1, -1, -1));
    struct mc_value *y = build_unary(m->graph, op, "y", x);
    if (axis)
        assert_int_equal(mc_edit_attr_int(y->producer, "axis", axis, &err), 0);
    build_output(m->graph, y);
    return m;
}

struct result {
    double agree, kl, noise;
};

/* Of a and b, samples along the first axis. */
static struct result compare(const char *op, int64_t axis, int rank, const int64_t *dims,
                             const float *a, const float *b, enum mc_agree_kind kind)
{
    struct mc_model *m = ends_with(op, axis);
    struct mc_shape shape = mc_shape_of(rank, dims);
    struct mc_array array = {.dtype = MC_DTYPE_F32, .shape = shape, .data = (void *)(uintptr_t)a};
    struct mc_agree_of of = {0};
    struct mc_agreement g = {0};
    assert_int_equal(mc_agree_look(&of, m->graph->outputs[0], &array, dims[0], false, &err), 0);
    assert_int_equal(of.kind, kind);
    mc_agree_keep(&of, &shape, a);
    assert_int_equal(mc_agreement_init(&of, &g, &err), 0);
    mc_agreement_add(&of, &g, &shape, false, a, b);
    struct result r = {g.agree / g.samples, g.kl / g.samples, mc_agreement_noise(&of, &g)};
    mc_agreement_free(&g);
    mc_agree_free(&of);
    mc_model_free(m);
    return r;
}

/* One-hot with a little for the others. */
static void line(float *p, int n, const char *text)
{
    for (int t = 0; text[t]; t++)
        for (int c = 0; c < n; c++)
            p[t * n + c] = c == text[t] - '0' ? 0.7f : 0.3f / (float)(n - 1);
}

/* A line is read as a whole, without its blanks and repetitions. */
static void test_lines(void **state)
{
    float a[2 * 6 * 4], b[2 * 6 * 4];
    (void)state;
    line(a, 4, "001020");
    line(a + 24, 4, "003000");
    line(b, 4, "010022"); /* the same, elsewhere */
    line(b + 24, 4, "003010");
    struct result r = compare("Softmax", -1, 3, DIMS(2, 6, 4), a, b, MC_AGREE_CLASSES);
    assert_true(fabs(r.agree - 0.5) < 1e-12);
    double one = 0.7 * log(0.7 / 0.1) + 0.1 * log(0.1 / 0.7);
    /* differing positions: 1, 2, 4, 5 of the first line... counted here */
    int differ = 0;
    for (int t = 0; t < 6; t++)
        differ += "001020"[t] != "010022"[t];
    differ += 1;
    assert_true(fabs(r.kl - one * differ / 12) < 1e-6);
    assert_true(isnan(r.noise));
}

/* Classes of a map count position by position. */
static void test_maps(void **state)
{
    float a[2 * 2 * 2 * 2], b[2 * 2 * 2 * 2];
    (void)state;
    for (int i = 0; i < 16; i++)
        a[i] = i / 4 % 2 ? 0.9f : 0.1f;
    memcpy(b, a, sizeof a);
    b[0] = 0.8f; /* class 0 of sample 0 at position 0 */
    b[4] = 0.2f;
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 4, DIMS(-1, 2, 2, 2));
    struct mc_value *y = build_unary(m->graph, "Softmax", "y", x);
    assert_int_equal(mc_edit_attr_int(y->producer, "axis", 1, &err), 0);
    build_output(m->graph, y);
    struct mc_shape shape = mc_shape_of(4, DIMS(2, 2, 2, 2));
    struct mc_array array = {.dtype = MC_DTYPE_F32, .shape = shape, .data = a};
    struct mc_agree_of of = {0};
    struct mc_agreement g;
    assert_int_equal(mc_agree_look(&of, y, &array, 2, false, &err), 0);
    assert_int_equal(of.kind, MC_AGREE_CLASSES);
    assert_int_equal(mc_agreement_init(&of, &g, &err), 0);
    mc_agreement_add(&of, &g, &shape, false, a, b);
    assert_true(fabs(g.agree / g.samples - (0.75 + 1) / 2) < 1e-12);
    mc_agreement_free(&g);
    mc_agree_free(&of);
    mc_model_free(m);
}

/* Of data without a batch axis a sample is one vector: of scores, or of ratings. */
static void test_vectors(void **state)
{
    static const struct {
        float a[3], b[3];
        enum mc_agree_kind kind;
    } of[] = {{{-1, 2, 1.9f}, {-1, 1.9f, 2}, MC_AGREE_CLASSES},
              {{4.6f, 3.9f, 1.2f}, {4.6f, 3.9f, 1.3f}, MC_AGREE_NUMBERS}};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct mc_model *m = ends_with("Relu", 0);
        struct mc_shape shape = mc_shape_of(1, DIMS(3));
        struct mc_array array = {
            .dtype = MC_DTYPE_F32, .shape = shape, .data = (void *)(uintptr_t)of[i].a};
        struct mc_agree_of o = {0};
        struct mc_agreement g = {0};
        assert_int_equal(mc_agree_look(&o, m->graph->outputs[0], &array, 1, true, &err), 0);
        assert_int_equal(o.kind, of[i].kind);
        mc_agree_keep(&o, &shape, of[i].a);
        assert_int_equal(mc_agreement_init(&o, &g, &err), 0);
        mc_agreement_add(&o, &g, &shape, false, of[i].a, of[i].b);
        if (i == 0)
            assert_true(g.samples == 1 && g.agree == 0 && g.kl > 0);
        else
            assert_true(mc_agreement_noise(&o, &g) > 1e-4);
        mc_agreement_free(&g);
        mc_agree_free(&o);
        mc_model_free(m);
    }
}

/* Of labels those count that either has. */
static void test_labels(void **state)
{
    const float a[2 * 4] = {0.9f, 0.8f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f};
    const float b[2 * 4] = {0.9f, 0.3f, 0.1f, 0.7f, 0.1f, 0.1f, 0.1f, 0.1f};
    (void)state;
    struct result r = compare("Sigmoid", 0, 2, DIMS(2, 4), a, b, MC_AGREE_LABELS);
    assert_true(fabs(r.agree - (1.0 / 3 + 1) / 2) < 1e-12);
}

/* Errors of scores beside boxes ten thousand times as large are seen. */
static void test_channels(void **state)
{
    enum { N = 64 };
    float a[N * 2 * 3], b[N * 2 * 3];
    (void)state;
    for (int i = 0; i < N * 2 * 3; i++) {
        float sign = i * 7919 % 13 < 6 ? 1.0f : -1.0f;
        a[i] = sign * (i / 3 % 2 ? 0.01f : 300.0f);
        b[i] = i / 3 % 2 ? 0 : a[i]; /* all scores are lost */
    }
    struct result r = compare("Relu", 0, 3, DIMS(N, 2, 3), a, b, MC_AGREE_NUMBERS);
    assert_true(r.noise > 0.9 && r.noise < 1.1);
    assert_true(isnan(r.agree));
}

/* An embedding is no choice among its numbers; a NaN is infinitely far. */
static void test_numbers(void **state)
{
    float a[4 * 32], b[4 * 32];
    (void)state;
    for (int i = 0; i < 4 * 32; i++) {
        a[i] = 0.1f * (float)(i * 31 % 17 - 8) / 8;
        b[i] = a[i] * 1.1f;
    }
    struct result r = compare("Tanh", 0, 2, DIMS(4, 32), a, b, MC_AGREE_NUMBERS);
    assert_true(r.noise > 0.009 && r.noise < 0.011);
    b[5] = NAN;
    r = compare("Tanh", 0, 2, DIMS(4, 32), a, b, MC_AGREE_NUMBERS);
    assert_true(isinf(r.noise));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),    cmocka_unit_test(test_maps),
        cmocka_unit_test(test_vectors),  cmocka_unit_test(test_labels),
        cmocka_unit_test(test_channels), cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
