/* Losses against their formulas, and how one is picked. */
#include "../run/run_util.h"

#include "train/inputs.h"
#include "train/loss.h"

enum { N = 5, C = 4 };

static uint64_t seed = 3;
static float z[N * C], zt[N * C], targets[N * C];
static int64_t labels[N] = {1, 0, 3, 3, 2};

static void draw(void)
{
    mc_rng_fill_normal(seed, 1, 0, z, N * C);
    mc_rng_fill_normal(seed, 2, 0, zt, N * C);
    memset(targets, 0, sizeof targets);
    for (int i = 0; i < N; i++)
        targets[i * C + labels[i]] = 1;
}

/* x [batch,c] -> Identity -> (op) -> y, and perhaps a second output x² of rank 3. */
static struct mc_model *model_of(int64_t c, const char *op, bool second)
{
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-2, c));
    struct mc_value *v = build_unary(m->graph, "Identity", "inner", x);
    if (op)
        v = build_unary(m->graph, op, "y", v);
    build_output(m->graph, v);
    if (second) {
        struct mc_value *q = build_binary(m->graph, "Mul", "square", v, v);
        struct mc_value *axes = build_const(m->graph, "axes", MC_DTYPE_I64, 1, DIMS(1), DIMS(2));
        build_output(m->graph, build_binary(m->graph, "Unsqueeze", "deep", q, axes));
    }
    return m;
}

struct made {
    struct mc_model *m, *teacher;
    struct mc_side s, t;
    struct mc_loss loss;
    struct mc_err err;
    int rc;
};

static void make(struct made *d, struct mc_model *m, struct mc_model *teacher,
                 struct mc_loss_opts o)
{
    *d = (struct made){.m = m, .teacher = teacher};
    o.data = o.data ? o.data : "set";
    o.temperature = o.temperature > 0 ? o.temperature : 2;
    build_ok(mc_side_new(m, NULL, &d->s, &d->err), &d->err);
    if (teacher)
        build_ok(mc_side_new(teacher, NULL, &d->t, &d->err), &d->err);
    d->rc = mc_loss_build(&d->s, teacher ? &d->t : NULL, &o, &d->loss, &d->err);
}

static void drop(struct made *d)
{
    mc_loss_free(&d->loss);
    mc_side_free(&d->s);
    mc_side_free(&d->t);
    mc_model_free(d->m);
    mc_model_free(d->teacher);
}

/* The loss for x = z and zt as every value of the teacher. */
static double value(struct made *d, int64_t c)
{
    build_ok(d->rc, &d->err);
    struct mc_session *s = session_of(d->s.m, NULL);
    struct mc_array in[8] = {array_of("x", MC_DTYPE_F32, 2, DIMS(N, c), z)};
    int n = 1;
    if (d->loss.labels)
        in[n++] = array_of(MC_LOSS_LABELS, MC_DTYPE_I64, 1, DIMS(N), labels);
    if (d->loss.targets)
        in[n++] = array_of(MC_LOSS_TARGETS, MC_DTYPE_F32, 2, DIMS(N, c), targets);
    for (size_t i = 0; i < d->loss.n_teacher; i++)
        in[n++] = array_of(d->loss.teacher[i].input, MC_DTYPE_F32, 2, DIMS(N, c), zt);
    run_ok(s, in, n);
    const struct mc_array *a = mc_session_value(s, MC_LOSS_VALUE);
    assert_non_null(a);
    assert_int_equal(a->dtype, MC_DTYPE_F32);
    assert_int_equal(mc_shape_count(&a->shape), 1);
    double v = *(const float *)a->data;
    mc_session_free(s);
    return v;
}

static void expect(struct made *d, double want, const char *name)
{
    double got = value(d, C);
    if (!(fabs(got - want) <= 1e-5 * (1 + fabs(want))))
        fail_msg("loss %s is %.9g, not %.9g", d->loss.name, got, want);
    assert_string_equal(d->loss.name, name);
    drop(d);
}

/* ---- formulas ---- */

static double log_softmax(const float *row, double temperature, int c)
{
    double sum = 0;
    for (int i = 0; i < C; i++)
        sum += exp((double)row[i] / temperature);
    return (double)row[c] / temperature - log(sum);
}

static double cross_entropy(void)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum -= log_softmax(z + i * C, 1, (int)labels[i]);
    return sum / N;
}

static double kl(double temperature)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        for (int c = 0; c < C; c++) {
            double p = log_softmax(zt + i * C, temperature, c);
            sum += exp(p) * (p - log_softmax(z + i * C, temperature, c));
        }
    return temperature * temperature * sum / N;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double binary(const float *y)
{
    double sum = 0;
    for (int i = 0; i < N * C; i++)
        sum -= (double)y[i] * log(sigmoid((double)z[i])) +
               (1 - (double)y[i]) * log(1 - sigmoid((double)z[i]));
    return sum / (N * C);
}

static double binary_kl(double temperature)
{
    double sum = 0;
    for (int i = 0; i < N * C; i++) {
        double p = sigmoid((double)zt[i] / temperature), q = sigmoid((double)z[i] / temperature);
        sum += p * log(p / q) + (1 - p) * log((1 - p) / (1 - q));
    }
    return temperature * temperature * sum / (N * C);
}

static double square(const float *b, bool scaled)
{
    double sum = 0, all = 0;
    for (int i = 0; i < N * C; i++) {
        sum += ((double)z[i] - (double)b[i]) * ((double)z[i] - (double)b[i]);
        all += (double)b[i] * (double)b[i];
    }
    return scaled ? sum / all : sum / (N * C);
}

static double one_minus_cosine(void)
{
    double sum = 0;
    for (int i = 0; i < N; i++) {
        double ab = 0, aa = 0, bb = 0;
        for (int k = i * C; k < (i + 1) * C; k++) {
            ab += (double)z[k] * (double)zt[k];
            aa += (double)z[k] * (double)z[k];
            bb += (double)zt[k] * (double)zt[k];
        }
        sum += ab / sqrt(aa * bb);
    }
    return 1 - sum / N;
}

static void losses_are_their_formulas(void **state)
{
    (void)state;
    struct made d;
    draw();
    make(&d, model_of(C, NULL, false), NULL,
         (struct mc_loss_opts){.kind = MC_LOSS_CE, .labels = true});
    expect(&d, cross_entropy(), "ce");
    make(&d, model_of(C, NULL, false), NULL,
         (struct mc_loss_opts){.kind = MC_LOSS_CE, .labels = true, .mixed = true});
    expect(&d, cross_entropy(), "ce");
    make(&d, model_of(C, NULL, false), NULL,
         (struct mc_loss_opts){.kind = MC_LOSS_BCE, .labels = true});
    expect(&d, binary(targets), "bce");
    make(&d, model_of(C, NULL, false), NULL,
         (struct mc_loss_opts){.kind = MC_LOSS_MSE, .labels = true});
    expect(&d, square(targets, false), "mse");
    make(&d, model_of(C, NULL, false), model_of(C, NULL, false),
         (struct mc_loss_opts){.kind = MC_LOSS_MSE});
    expect(&d, square(zt, false), "mse");
    make(&d, model_of(C, NULL, false), model_of(C, NULL, false),
         (struct mc_loss_opts){.kind = MC_LOSS_KD, .temperature = 3});
    expect(&d, kl(3), "kd");
    make(&d, model_of(C, "Sigmoid", false), model_of(C, "Sigmoid", false),
         (struct mc_loss_opts){.kind = MC_LOSS_KD, .temperature = 3});
    expect(&d, binary_kl(3), "kd");
    make(&d, model_of(C, NULL, false), model_of(C, NULL, false),
         (struct mc_loss_opts){.kind = MC_LOSS_OUTPUTS});
    expect(&d, square(zt, true), "outputs");
    make(&d, model_of(C, NULL, false), model_of(C, NULL, false),
         (struct mc_loss_opts){.kind = MC_LOSS_COSINE});
    expect(&d, one_minus_cosine(), "cosine");
}

/* The loss is that of what goes into the last Softmax, and the teacher's scores come from before its own. */
static void scores_come_from_before_the_softmax(void **state)
{
    (void)state;
    static const char *const ops[] = {"Softmax", "LogSoftmax"};
    struct made d;
    draw();
    for (int i = 0; i < 2; i++) {
        make(&d, model_of(C, ops[i], false), model_of(C, ops[1 - i], false),
             (struct mc_loss_opts){.kind = MC_LOSS_AUTO, .labels = true, .alpha = 0.3});
        build_ok(d.rc, &d.err);
        assert_string_equal(d.loss.teacher[0].value, "inner");
        assert_string_equal(d.loss.scores, "inner");
        assert_int_equal(d.loss.teacher_scores, 0);
        expect(&d, 0.7 * cross_entropy() + 0.3 * kl(2), "ce+kd");
    }
}

static void auto_goes_by_what_there_is(void **state)
{
    (void)state;
    struct made d;
    draw();
    struct mc_loss_opts with = {.labels = true, .alpha = 0.5}, without = {.alpha = 0.5};
    make(&d, model_of(C, NULL, false), NULL, with);
    expect(&d, cross_entropy(), "ce");
    make(&d, model_of(C, NULL, false), model_of(C, NULL, false), with);
    expect(&d, 0.5 * cross_entropy() + 0.5 * kl(2), "ce+kd");
    make(&d, model_of(C, NULL, false), model_of(C, NULL, false), without);
    expect(&d, kl(2), "kd");
    make(&d, model_of(C, "Sigmoid", false), NULL, with);
    expect(&d, binary(targets), "bce");
    make(&d, model_of(C, "Sigmoid", false), model_of(C, "Sigmoid", false), with);
    expect(&d, 0.5 * binary(targets) + 0.5 * binary_kl(2), "bce+kd");
    make(&d, model_of(C, NULL, false), NULL, without);
    assert_int_equal(d.rc, MC_EDATA);
    assert_non_null(strstr(d.err.msg, "'set' has no labels, and there is no teacher"));
    drop(&d);
    /* the output of rank 3 is no class score, so labels say nothing about it */
    with.output = "deep";
    make(&d, model_of(C, NULL, true), model_of(C, NULL, true), with);
    build_ok(d.rc, &d.err);
    assert_string_equal(d.loss.name, "outputs");
    assert_non_null(strstr(d.loss.why, "no class score"));
    drop(&d);
}

static void all_outputs_or_the_one(void **state)
{
    (void)state;
    struct made d;
    struct mc_loss_opts o = {.kind = MC_LOSS_OUTPUTS};
    make(&d, model_of(C, NULL, true), model_of(C, NULL, true), o);
    build_ok(d.rc, &d.err);
    assert_int_equal(d.loss.n_teacher, 2);
    drop(&d);
    o.output = "deep";
    make(&d, model_of(C, NULL, true), model_of(C, NULL, true), o);
    build_ok(d.rc, &d.err);
    assert_int_equal(d.loss.n_teacher, 1);
    assert_string_equal(d.loss.teacher[0].value, "deep");
    drop(&d);
}

static void blocks_are_named_or_found(void **state)
{
    (void)state;
    struct made d;
    json_t *names = json_pack("[s]", "y=inner");
    draw();
    make(&d, model_of(C, "Relu", false), model_of(C, "Relu", false),
         (struct mc_loss_opts){.kind = MC_LOSS_BLOCKS});
    build_ok(d.rc, &d.err);
    assert_int_equal(d.loss.n_teacher, 2); /* the activation, and the output, which is the same */
    assert_string_equal(d.loss.teacher[0].value, "y");
    assert_string_equal(d.loss.why, "the output and 1 inner value: y");
    drop(&d);
    make(&d, model_of(C, NULL, false), model_of(C, "Relu", false),
         (struct mc_loss_opts){.kind = MC_LOSS_BLOCKS});
    build_ok(d.rc, &d.err);
    assert_non_null(strstr(d.loss.why, "no inner value"));
    drop(&d);
    make(&d, model_of(C, "Relu", false), model_of(C, "Relu", false),
         (struct mc_loss_opts){.kind = MC_LOSS_BLOCKS, .blocks = names});
    build_ok(d.rc, &d.err);
    assert_string_equal(d.loss.teacher[0].value, "inner");
    drop(&d);
    json_decref(names);
    names = json_pack("[s]", "nowhere");
    make(&d, model_of(C, "Relu", false), model_of(C, "Relu", false),
         (struct mc_loss_opts){.kind = MC_LOSS_BLOCKS, .blocks = names});
    assert_int_equal(d.rc, MC_EUSAGE);
    assert_non_null(strstr(d.err.msg, "'nowhere'"));
    drop(&d);
    json_decref(names);
}

static void what_does_not_fit_is_named(void **state)
{
    (void)state;
    static const struct {
        enum mc_loss_kind kind;
        bool labels;
        int64_t classes, teachers; /* teachers 0: none */
        const char *output;
        int code;
        const char *says;
    } rows[] = {
        {MC_LOSS_CE, false, C, 0, NULL, MC_EDATA, "'set' has no labels, which the loss ce needs"},
        {MC_LOSS_CE, true, 1, 0, NULL, MC_ESHAPE, "--loss bce"},
        {MC_LOSS_CE, true, C, 0, "deep", MC_ESHAPE, "output 'deep' is [?,4,1]"},
        {MC_LOSS_KD, true, C, 0, NULL, MC_EUSAGE, "the loss kd needs a teacher"},
        {MC_LOSS_COSINE, true, C, 0, NULL, MC_EUSAGE, "the loss cosine needs a teacher"},
        {MC_LOSS_BLOCKS, true, C, 0, NULL, MC_EUSAGE, "the loss blocks needs a teacher"},
        {MC_LOSS_CTC, true, C, 0, NULL, MC_EDATA, "'set' has one label a sample"},
        {MC_LOSS_MSE, false, C, 0, NULL, MC_EDATA, "the loss mse needs"},
        {MC_LOSS_KD, false, C, C + 1, NULL, MC_ESHAPE, "'inner' is [?,4], but the teacher's"},
        {MC_LOSS_OUTPUTS, false, C, C + 1, NULL, MC_ESHAPE, "'inner' is [?,4], but the teacher's"},
        {MC_LOSS_AUTO, true, C, 0, "zzz", MC_EUSAGE, "the model has no output 'zzz'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made d;
        make(&d, model_of(rows[i].classes, NULL, true),
             rows[i].teachers ? model_of(rows[i].teachers, NULL, true) : NULL,
             (struct mc_loss_opts){
                 .kind = rows[i].kind, .labels = rows[i].labels, .output = rows[i].output});
        if (d.rc != rows[i].code || !strstr(d.err.msg, rows[i].says))
            fail_msg("case %d: %d, %s", (int)i, d.rc, d.err.msg);
        drop(&d);
    }
}

/* A sample whose label is -1 follows the teacher alone, and counts like the others. */
static void samples_without_labels_follow_the_teacher(void **state)
{
    (void)state;
    struct made d;
    double want = 0;
    int64_t all[N];
    memcpy(all, labels, sizeof all);
    for (int i = 0; i < N; i += 2)
        labels[i] = -1;
    for (int i = 0; i < N; i++)
        want -= labels[i] < 0 ? 0 : 0.25 * log_softmax(z + i * C, 1, (int)labels[i]) / N;
    struct mc_loss_opts o = {.labels = true, .partly = true, .alpha = 0.75};
    make(&d, model_of(C, NULL, false), model_of(C, NULL, false), o);
    expect(&d, want + 0.75 * kl(2), "ce+kd");
    memcpy(labels, all, sizeof all);
    make(&d, model_of(C, NULL, false), NULL, o);
    assert_int_equal(d.rc, MC_EUSAGE);
    drop(&d);
    o.mixed = true;
    make(&d, model_of(C, NULL, false), model_of(C, NULL, false), o);
    assert_int_equal(d.rc, MC_EUSAGE);
    assert_non_null(strstr(d.err.msg, "mixup"));
    drop(&d);
}

int main(void)
{
    const char *s = getenv("MCOMPRESS_SEED");
    seed = s ? strtoull(s, NULL, 0) : 3;
    print_message("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {cmocka_unit_test(losses_are_their_formulas),
                                       cmocka_unit_test(scores_come_from_before_the_softmax),
                                       cmocka_unit_test(auto_goes_by_what_there_is),
                                       cmocka_unit_test(all_outputs_or_the_one),
                                       cmocka_unit_test(blocks_are_named_or_found),
                                       cmocka_unit_test(samples_without_labels_follow_the_teacher),
                                       cmocka_unit_test(what_does_not_fit_is_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
