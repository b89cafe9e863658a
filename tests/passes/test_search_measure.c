/* Divergence of outputs against its definition, computed here from the products. */
#include "svd_util.h"

#include "passes/search/search_measure.h"

enum { IN = 5, CLASSES = 4, ROWS = 200 };

static struct mc_err err;

struct pair {
    struct mc_model *a, *b;
    struct memory_data data;
    struct mc_pass_ctx ctx;
    float *x, *w[2];
    int64_t label[ROWS];
};

/* x [-1, 5] W -> end; positions: the output is [-1, 2, 2]. */
static struct mc_model *model(const float *w, const char *end, bool positions)
{
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *z =
        build_binary(m->graph, "MatMul", "z", x, f32_const(m->graph, "w", 2, DIMS(IN, CLASSES), w));
    if (positions) {
        int64_t shape[3] = {-1, 2, 2};
        z = build_binary(m->graph, "Reshape", "grid", z,
                         build_const(m->graph, "shape", MC_DTYPE_I64, 1, DIMS(3), shape));
    }
    z = end ? build_unary(m->graph, end, "end", z) : z;
    mc_edit_type(z, MC_DTYPE_F32, -1, NULL);
    build_output(m->graph, z);
    return m;
}

static void open_pair(struct pair *p, const char *end, bool positions)
{
    *p = (struct pair){.x = gaussian(1, ROWS * IN)};
    p->w[0] = gaussian(2, IN * CLASSES);
    p->w[1] = gaussian(3, IN * CLASSES);
    for (int i = 0; i < IN * CLASSES; i++)
        p->w[1][i] = p->w[0][i] + 0.3f * p->w[1][i];
    for (int i = 0; i < ROWS; i++)
        p->label[i] = i % CLASSES;
    p->a = model(p->w[0], end, positions);
    p->b = model(p->w[1], end, positions);
    memory_open(&p->data, "x", ROWS, 1, DIMS(IN), p->x, p->label);
    p->ctx = (struct mc_pass_ctx){.calib = &p->data.d, .calib_count = ROWS};
}

static void close_pair(struct pair *p)
{
    mc_model_free(p->a);
    mc_model_free(p->b);
    free(p->x);
    free(p->w[0]);
    free(p->w[1]);
}

static void product(const struct pair *p, int which, int row, double z[CLASSES])
{
    for (int c = 0; c < CLASSES; c++) {
        z[c] = 0;
        for (int k = 0; k < IN; k++)
            z[c] += (double)p->x[row * IN + k] * p->w[which][k * CLASSES + c];
    }
}

static void softmax(double z[CLASSES])
{
    double sum = 0;
    for (int c = 0; c < CLASSES; c++)
        sum += z[c] = exp(z[c]);
    for (int c = 0; c < CLASSES; c++)
        z[c] /= sum;
}

static int largest(const double z[CLASSES])
{
    int best = 0;
    for (int c = 1; c < CLASSES; c++)
        best = z[c] > z[best] ? c : best;
    return best;
}

static double kl(double p, double q)
{
    return p * log(p / q);
}

enum rule { EXCLUSIVE, SIGMOIDS, ENERGY };

static double expected(const struct pair *p, enum rule rule, double *changed, double *lost)
{
    double sum = 0, mean = 0, square = 0;
    *changed = *lost = 0;
    for (int r = 0; r < ROWS; r++) {
        double a[CLASSES], b[CLASSES];
        product(p, 0, r, a);
        product(p, 1, r, b);
        *changed += largest(a) != largest(b);
        *lost += (largest(a) == r % CLASSES) - (largest(b) == r % CLASSES);
        for (int c = 0; c < CLASSES; c++) {
            mean += a[c] / (ROWS * CLASSES);
            square += a[c] * a[c] / (ROWS * CLASSES);
        }
        if (rule == EXCLUSIVE) {
            softmax(a);
            softmax(b);
        }
        for (int c = 0; c < CLASSES; c++)
            if (rule == EXCLUSIVE)
                sum += kl(a[c], b[c]);
            else if (rule == SIGMOIDS) {
                double u = 1 / (1 + exp(-a[c])), v = 1 / (1 + exp(-b[c]));
                sum += kl(u, v) + kl(1 - u, 1 - v);
            } else
                sum += (a[c] - b[c]) * (a[c] - b[c]) / CLASSES;
    }
    *changed /= ROWS;
    *lost /= ROWS;
    return sum / ROWS / (rule == ENERGY ? square - mean * mean : 1);
}

static void check(const char *end, bool positions, enum rule rule)
{
    struct pair p;
    struct mc_judge *j;
    struct mc_judgement got;
    bool late;
    double changed, lost;
    open_pair(&p, end, positions);
    double want = expected(&p, rule, &changed, &lost);
    build_ok(mc_judge_new(&p.ctx, p.a, 1000, &j, &err), &err);
    build_ok(mc_judge_model(j, p.b, false, &got, &late, &err), &err);
    assert_false(late);
    if (!(fabs(got.divergence - want) <= 1e-4 * want))
        fail_msg("%s: %g, not %g", end ? end : "scores", got.divergence, want);
    if (rule == ENERGY)
        assert_true(isnan(got.changed) && isnan(got.lost));
    else if (!(fabs(got.changed - changed) < 1e-9 && fabs(got.lost - lost) < 1e-9))
        fail_msg("%s: changed %g, lost %g", end ? end : "scores", got.changed, got.lost);
    mc_judgement_free(&got);
    build_ok(mc_judge_model(j, p.a, false, &got, &late, &err), &err);
    assert_true(got.divergence == 0);
    mc_judgement_free(&got);
    mc_judge_free(j);
    close_pair(&p);
}

static void scores_of_every_kind(void **state)
{
    (void)state;
    check(NULL, false, EXCLUSIVE);
    check("Softmax", false, EXCLUSIVE);
    check("LogSoftmax", false, EXCLUSIVE);
    check("Sigmoid", false, SIGMOIDS);
    check(NULL, true, ENERGY);
}

static void a_difference_has_an_error(void **state)
{
    (void)state;
    struct pair p;
    struct mc_judge *j;
    struct mc_judgement a, b;
    bool late;
    double mean, se;
    open_pair(&p, NULL, false);
    build_ok(mc_judge_new(&p.ctx, p.a, 1000, &j, &err), &err);
    build_ok(mc_judge_model(j, p.a, false, &a, &late, &err), &err);
    build_ok(mc_judge_model(j, p.b, false, &b, &late, &err), &err);
    mc_judgement_difference(j, &b, &a, &mean, &se);
    double square = 0;
    for (int i = 0; i < ROWS; i++)
        square += ((double)b.each[i] - mean) * ((double)b.each[i] - mean);
    assert_true(fabs(mean - b.divergence) <= 1e-6 * mean);
    assert_true(fabs(se - sqrt(square) / ROWS) <= 1e-6 * se);
    mc_judgement_free(&a);
    mc_judgement_free(&b);
    mc_judge_free(j);
    close_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_of_every_kind),
        cmocka_unit_test(a_difference_has_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
