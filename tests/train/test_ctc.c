/* Training on sequences of labels. */
#include "train_util.h"

#include "train/inputs.h"
#include "train/loss.h"

enum { N = 3, T = 4, C = 3, S = 3 };

static const int64_t sequences[N * S] = {1, 2, -1, 2, 2, -1, 1, -1, -1};
static float z[T * N * C];

/* ---- the loss by its definition ---- */

static double log_prob(bool batch_first, int t, int i, int c)
{
    const float *row = z + (batch_first ? i * T + t : t * N + i) * C;
    double sum = 0;
    for (int k = 0; k < C; k++)
        sum += exp((double)row[k]);
    return (double)row[c] - log(sum);
}

/* Whether a path becomes sample i's labels: repeats merged, then blanks left out. */
static bool spells(const int *path, int i, int blank, const int64_t *rows)
{
    int at = 0, last = blank;
    for (int t = 0; t < T; t++) {
        bool again = path[t] == last;
        last = path[t];
        if (again || last == blank)
            continue;
        if (at == S || rows[i * S + at] != last)
            return false;
        at++;
    }
    return at == S || rows[i * S + at] < 0;
}

/* Mean of minus the logarithm of the sum over all paths. */
static double by_all_paths(bool batch_first, int blank, const int64_t *rows)
{
    double loss = 0;
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int k = 0; k < 81; k++) {
            int path[T];
            double logs = 0;
            for (int t = 0, rest = k; t < T; t++, rest /= C) {
                path[t] = rest % C;
                logs += log_prob(batch_first, t, i, path[t]);
            }
            sum += spells(path, i, blank, rows) ? exp(logs) : 0;
        }
        loss -= log(sum) / N;
    }
    return loss;
}

/* ---- one loss graph ---- */

enum form { PLAIN, LOG_SOFTMAX, SOFTMAX, SWAPPED, FLAT };

static struct mc_value *swap(struct mc_graph *g, const char *name, struct mc_value *v)
{
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *y = build_node(g, "Transpose", name, 1, &v, &n);
    build_ok(mc_edit_attr_ints(n, "perm", (const int64_t[]){1, 0, 2}, 3, &err), &err);
    return y;
}

/* x -> y of the same shape, with scores x; the batch is on axis 0 or 1 of both. */
static struct mc_model *model_of(enum form form, bool batch_first)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-2, T, C)), *v;
    v = build_unary(g, "Identity", "inner", x);
    if (!batch_first)
        v = swap(g, "in", v);
    if (form == LOG_SOFTMAX)
        v = build_unary(g, "LogSoftmax", "y", v);
    if (form == SOFTMAX || form == SWAPPED)
        v = build_unary(g, "Softmax", "soft", v);
    if (form == SWAPPED)
        v = swap(g, "there", swap(g, "back", swap(g, "again", v)));
    if (form == FLAT) {
        struct mc_value *rows = build_const(g, "rows", MC_DTYPE_I64, 1, DIMS(2), DIMS(-1, C));
        struct mc_value *like = build_unary(g, "Shape", "like", v);
        v = build_unary(g, "Softmax", "soft", build_binary(g, "Reshape", "flat", v, rows));
        v = build_binary(g, "Reshape", "y", v, like);
    }
    build_output(g, v);
    return m;
}

/* Of scores z, which are [N,T,C] as the input of every model is. */
static double loss_of(enum form form, bool batch_first, int blank, const int64_t *rows)
{
    struct mc_model *m = model_of(form, batch_first);
    struct mc_side side;
    struct mc_loss loss;
    struct mc_err err;
    struct mc_loss_opts o = {.sequence = S, .blank = blank, .data = "set"};
    build_ok(mc_side_new(m, NULL, &side, &err), &err);
    build_ok(mc_loss_build(&side, NULL, &o, &loss, &err), &err);
    assert_string_equal(loss.name, "ctc");
    assert_true(loss.labels && loss.sequence.labels == S && loss.sequence.classes == C);
    assert_true(loss.sequence.steps == T);
    struct mc_session *s = session_of(side.m, NULL);
    struct mc_array in[] = {
        array_of("x", MC_DTYPE_F32, 3, DIMS(N, T, C), z),
        array_of(MC_LOSS_LABELS, MC_DTYPE_I64, 2, DIMS(N, S), (void *)(uintptr_t)rows)};
    run_ok(s, in, 2);
    const struct mc_array *a = mc_session_value(s, MC_LOSS_VALUE);
    assert_non_null(a);
    double got = *(const float *)a->data;
    mc_session_free(s);
    mc_loss_free(&loss);
    mc_side_free(&side);
    mc_model_free(m);
    return got;
}

static void loss_is_that_of_all_paths(void **state)
{
    (void)state;
    int64_t other[N * S];
    mc_rng_fill_normal(11, 1, 0, z, N * T * C);
    for (int i = 0; i < N * S; i++) /* the same with the last class as the blank */
        other[i] = sequences[i] - (sequences[i] > 0);
    for (int form = PLAIN; form <= FLAT; form++)
        for (int first = 0; first < 2; first++) {
            double want = by_all_paths(true, 0, sequences);
            double got = loss_of((enum form)form, first, 0, sequences);
            if (!(fabs(got - want) <= 1e-5 * want))
                fail_msg("form %d, batch first %d: %.9g, not %.9g", form, first, got, want);
            want = by_all_paths(true, C - 1, other);
            got = loss_of((enum form)form, first, C - 1, other);
            if (!(fabs(got - want) <= 1e-5 * want))
                fail_msg("form %d, blank %d: %.9g, not %.9g", form, C - 1, got, want);
        }
}

/* ---- training ---- */

enum { COUNT = 64, STEPS = 8, LONGEST = 3, FEATURES = 5, LETTERS = 4 };

struct spoken {
    float x[COUNT * STEPS * FEATURES];
    int64_t labels[COUNT * LONGEST];
    struct memory_data data;
};

/* Each letter is two steps of its sound, and silence before and after. */
static struct mc_dataset *speak(struct spoken *s)
{
    float sound[LETTERS * FEATURES];
    mc_rng_fill_normal(1, 1, 0, sound, LETTERS * FEATURES);
    mc_rng_fill_normal(1, 2, 0, s->x, COUNT * STEPS * FEATURES);
    for (int i = 0; i < COUNT; i++) {
        int n = 1 + i % LONGEST;
        for (int k = 0; k < LONGEST; k++)
            s->labels[i * LONGEST + k] = k < n ? 1 + (i / 3 + k * (1 + i % 2)) % (LETTERS - 1) : -1;
        for (int t = 0; t < STEPS; t++) {
            int k = (t - 1) / 2;
            int64_t letter = t > 0 && k < n ? s->labels[i * LONGEST + k] : 0;
            for (int f = 0; f < FEATURES; f++) {
                float *x = &s->x[(i * STEPS + t) * FEATURES + f];
                *x = 0.1f * *x + sound[letter * FEATURES + f];
            }
        }
    }
    struct mc_dataset *d =
        memory_open(&s->data, "x", COUNT, 2, DIMS(STEPS, FEATURES), s->x, s->labels);
    d->has_labels = false;
    d->sequence = LONGEST;
    return d;
}

static struct mc_value *layer(struct mc_graph *g, const char *name, struct mc_value *x, int in,
                              int out, uint64_t seed)
{
    char w[32];
    snprintf(w, sizeof w, "%s.w", name);
    return build_binary(g, "MatMul", name, x, random_const(g, w, 2, DIMS(in, out), seed));
}

/* [batch,STEPS,FEATURES] -> [STEPS,batch,LETTERS], or batch first. */
static struct mc_model *listener(int64_t batch, bool batch_first)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(batch, STEPS, FEATURES));
    struct mc_value *v = build_unary(g, "Relu", "relu", layer(g, "first", x, FEATURES, 16, 7));
    v = layer(g, "last", v, 16, LETTERS, 8);
    if (!batch_first)
        v = swap(g, "turned", v);
    build_output(g, build_unary(g, "LogSoftmax", "y", v));
    return m;
}

static double entry(const json_t *report, const char *name)
{
    return json_number_value(json_object_get(json_object_get(report, "best"), name));
}

static void training_lowers_it(void **state)
{
    (void)state;
    static const char text[] = "{\"lr\": 0.02, \"batch\": 16, \"holdout\": 0.25}";
    double first = 0;
    for (int kind = 0; kind < 3; kind++) { /* steps first, batch first, a frozen batch */
        struct spoken s;
        struct mc_dataset *d = speak(&s);
        struct mc_model *m = listener(kind == 2 ? 4 : -2, kind != 0);
        struct mc_err err = {0};
        json_t *report;
        build_ok(train(m, NULL, d, 20, text, NULL, &report, &err), &err);
        assert_string_equal(json_string_value(json_object_get(report, "loss")), "ctc");
        assert_true(json_is_null(json_object_get(json_object_get(report, "best"), "top1")));
        double before = entry(report, "before"), after = entry(report, "loss");
        if (!(before > 2 && after < 0.2 * before))
            fail_msg("kind %d: %g to %g", kind, before, after);
        if (kind == 0)
            first = before;
        assert_true(fabs(before - first) <= 1e-4 * first); /* the order of axes changes nothing */
        json_decref(report);
        mc_model_free(m);
    }
}

static void teacher_goes_with_alpha(void **state)
{
    (void)state;
    static const char *const text[] = {"{\"lr\": 0.02}", "{\"lr\": 0.02, \"alpha\": 1}"};
    static const char *const name[] = {"ctc", "outputs"};
    for (int i = 0; i < 2; i++) {
        struct spoken s;
        struct mc_dataset *d = speak(&s);
        struct mc_model *m = listener(-2, true), *teacher = listener(-2, true);
        struct mc_err err = {0};
        json_t *report;
        build_ok(train(m, teacher, d, 1, text[i], NULL, &report, &err), &err);
        assert_string_equal(json_string_value(json_object_get(report, "loss")), name[i]);
        json_decref(report);
        mc_model_free(m);
        mc_model_free(teacher);
    }
}

static void what_cannot_be_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t place, label; /* one of sample 5's that is changed */
        int code;
        const char *says;
    } rows[] = {
        {"{}", 0, LETTERS, MC_EDATA, "sample 5 has label 4, but the model has 4 classes"},
        {"{}", 0, 0, MC_EDATA, "sample 5 has label 0, but the model has 4 classes, of which 0"},
        {"{\"blank\": 2}", 0, 2, MC_EDATA, "of which 2 is the blank"},
        {"{\"blank\": 4}", 0, 1, MC_EUSAGE, "--blank 4"},
        {"{\"loss\": \"ce\"}", 0, 1, MC_EDATA,
         "'memory' has sequences of labels, which --loss ctc"},
        {"{\"loss\": \"mse\"}", 0, 1, MC_EDATA, "one class number for each sample"},
        {"{\"loss\": \"kd\"}", 0, 1, MC_EUSAGE, "needs a teacher"},
        {"{\"balance\": true}", 0, 1, MC_EDATA, "not one class number"},
        {"{\"augment\": \"mixup=0.2\"}", 0, 1, MC_EDATA, "not one class number"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct spoken s;
        struct mc_dataset *d = speak(&s);
        struct mc_model *m = listener(-2, true), *before = listener(-2, true);
        struct mc_err err = {0};
        s.labels[5 * LONGEST + rows[i].place] = rows[i].label;
        int rc = train(m, NULL, d, 1, rows[i].text, NULL, NULL, &err);
        if (rc != rows[i].code || !strstr(err.msg, rows[i].says))
            fail_msg("%s: %d, %s", rows[i].text, rc, err.msg);
        assert_true(same_weights(m, before));
        mc_model_free(m);
        mc_model_free(before);
    }
}

/* Three labels and a repeat need four steps of three. */
static void labels_must_fit_the_steps(void **state)
{
    (void)state;
    struct spoken s;
    struct mc_dataset *d = speak(&s);
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 3, DIMS(-2, STEPS, FEATURES));
    struct mc_value *cut[] = {x, build_const(m->graph, "from", MC_DTYPE_I64, 1, DIMS(1), DIMS(0)),
                              build_const(m->graph, "to", MC_DTYPE_I64, 1, DIMS(1), DIMS(3)),
                              build_const(m->graph, "axis", MC_DTYPE_I64, 1, DIMS(1), DIMS(1))};
    x = build_node(m->graph, "Slice", "cut", 4, cut, NULL);
    build_output(m->graph, layer(m->graph, "last", x, FEATURES, LETTERS, 9));
    struct mc_err err = {0};
    build_ok(train(m, NULL, d, 1, "{\"lr\": 0.01, \"holdout\": 0}", NULL, NULL, &err), &err);
    for (int k = 0; k < LONGEST; k++)
        s.labels[7 * LONGEST + k] = 1 + k / 2; /* 1 1 2 */
    assert_int_equal(train(m, NULL, d, 1, "{\"lr\": 0.01}", NULL, NULL, &err), MC_EDATA);
    if (!strstr(err.msg, "the 3 labels of sample 7 need 4 steps of the output, which has 3"))
        fail_msg("%s", err.msg);
    mc_model_free(m);
}

/* Where the steps are not known ahead, the run of the loss tells. */
static void steps_that_are_known_late(void **state)
{
    (void)state;
    static const int64_t rows[N * S] = {1, 2, -1, 2, 2, -1, 1, -1, -1};
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 3, DIMS(-2, -3, C));
    build_output(m->graph, build_unary(m->graph, "Identity", "y", x));
    struct mc_side side;
    struct mc_loss loss;
    struct mc_err err;
    struct mc_loss_opts o = {.sequence = S, .data = "set"};
    build_ok(mc_side_new(m, NULL, &side, &err), &err);
    build_ok(mc_loss_build(&side, NULL, &o, &loss, &err), &err);
    assert_int_equal(loss.sequence.steps, 0);
    struct mc_session *s = session_of(side.m, NULL);
    for (int64_t steps = 3; steps >= 2; steps--) {
        struct mc_array in[] = {
            array_of("x", MC_DTYPE_F32, 3, DIMS(N, steps, C), z),
            array_of(MC_LOSS_LABELS, MC_DTYPE_I64, 2, DIMS(N, S), (void *)(uintptr_t)rows)};
        int rc = mc_session_run(s, in, 2, &err);
        assert_int_equal(rc, steps == 3 ? 0 : MC_EDATA);
    }
    if (!strstr(err.msg, "the 2 labels of sample 1 need 3 steps, and it has 2"))
        fail_msg("%s", err.msg);
    mc_session_free(s);
    mc_loss_free(&loss);
    mc_side_free(&side);
    mc_model_free(m);
}

/* Scores of another form, and axes that could each be the batch. */
static void outputs_that_are_no_sequence(void **state)
{
    (void)state;
    static const struct {
        int rank;
        int64_t dims[3];
        const char *says;
    } rows[] = {
        {2, {-2, 4}, "but output 'y' is [?,4]"},
        {3, {4, 4, 3}, "of which no axis or either may be the batch"},
        {3, {-2, 4, -3}, "whose classes are not known"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_model *m = build_model(17);
        struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, rows[i].rank, rows[i].dims);
        build_output(m->graph, build_unary(m->graph, "Relu", "y", x));
        struct mc_side side;
        struct mc_loss loss;
        struct mc_err err;
        struct mc_loss_opts o = {.sequence = S, .data = "set"};
        build_ok(mc_side_new(m, NULL, &side, &err), &err);
        assert_int_equal(mc_loss_build(&side, NULL, &o, &loss, &err), MC_ESHAPE);
        if (!strstr(err.msg, rows[i].says))
            fail_msg("case %d: %s", (int)i, err.msg);
        mc_side_free(&side);
        mc_model_free(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_is_that_of_all_paths),    cmocka_unit_test(training_lowers_it),
        cmocka_unit_test(teacher_goes_with_alpha),      cmocka_unit_test(what_cannot_be_is_named),
        cmocka_unit_test(labels_must_fit_the_steps),    cmocka_unit_test(steps_that_are_known_late),
        cmocka_unit_test(outputs_that_are_no_sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
