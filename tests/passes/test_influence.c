/* The cost of an error of an inner value, against what the derivative says where it is known. */
#include "svd_util.h"

#include "passes/fit/influence.h"
#include "passes/fit/influence_cut.h"

enum { M = 6, K = 5, ROWS = 64 }; /* ROWS: one batch */

static struct mc_err err;
static struct mc_linalg *la;

struct chain { /* x [.., 8] -> w1 -> y [.., M] -> w2 -> z [.., width] */
    struct mc_model *m;
    struct mc_value *y;
    float *x, *w2;
    int64_t width, positions;
    struct memory_data data;
};

static void open_chain(struct chain *c, int64_t positions, int64_t width, const char *end)
{
    *c = (struct chain){.m = build_model(17), .width = width, .positions = positions};
    struct mc_graph *g = c->m->graph;
    bool flat = positions == 1;
    struct mc_value *x = flat ? build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, 8))
                              : build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, positions, 8));
    c->y = build_binary(g, "MatMul", "y", x, random_const(g, "w1", 2, DIMS(8, M), 1));
    c->w2 = gaussian(2, M * width);
    struct mc_value *z =
        build_binary(g, "MatMul", "z", c->y, f32_const(g, "w2", 2, DIMS(M, width), c->w2));
    build_output(g, end ? build_unary(g, end, "end", z) : z);
    c->x = gaussian(3, ROWS * positions * 8);
    if (flat)
        memory_open(&c->data, "x", ROWS, 1, DIMS(8), c->x, NULL);
    else
        memory_open(&c->data, "x", ROWS, 2, DIMS(positions, 8), c->x, NULL);
}

static void close_chain(struct chain *c)
{
    mc_model_free(c->m);
    free(c->x);
    free(c->w2);
}

static bool differences; /* instead of gradients */

static struct mc_influence measure(struct chain *c, double work)
{
    struct mc_influence inf = {.y = c->y, .axis = -1, .m = M};
    struct mc_influence_opts o = {
        .samples = ROWS, .seed = 5, .work = work, .differences = differences};
    build_ok(mc_influence_measure(c->m, &c->data.d, la, &inf, 1, &o, &err), &err);
    return inf;
}

static const float *matrix(const struct mc_influence *inf)
{
    assert_non_null(inf->cost);
    return (const float *)inf->cost->data;
}

static void expect_cost(const struct mc_influence *inf, const double *want, double tolerance)
{
    const float *got = matrix(inf);
    double top = 0, trace = 0;
    for (int i = 0; i < M * M; i++)
        top = fmax(top, fabs(want[i]));
    for (int i = 0; i < M; i++) {
        trace += want[i * M + i];
        for (int j = 0; j <= i; j++)
            if (!(fabs(got[i * M + j] - want[i * M + j]) <= tolerance * top))
                fail_msg("(%d,%d) is %g, not %g", i, j, got[i * M + j], want[i * M + j]);
    }
    assert_true(fabs(inf->mean * M / trace - 1) <= tolerance);
}

static double dot(const float *a, const float *b, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += (double)a[i] * b[i];
    return s;
}

/* No class scores (three axes): squared change beside the variance, J = w2. */
static void plain_outputs(void **state)
{
    (void)state;
    struct chain c;
    open_chain(&c, 3, K, NULL);
    int64_t n;
    float *z = output_of(c.m, 3, DIMS(ROWS, 3, 8), c.x, &n);
    double sum = 0, square = 0, want[M * M];
    for (int64_t i = 0; i < n; i++) {
        sum += z[i];
        square += (double)z[i] * z[i];
    }
    double variance = square / (double)n - sum / (double)n * sum / (double)n;
    for (int i = 0; i < M; i++)
        for (int j = 0; j < M; j++)
            want[i * M + j] = dot(c.w2 + i * K, c.w2 + j * K, K) * 3 / (variance * 3 * K);
    struct mc_influence inf = measure(&c, 1e12);
    expect_cost(&inf, want, 1e-4);
    assert_int_equal(inf.samples, ROWS);
    mc_tensor_unref(inf.cost);

    /* Too dear: fewer samples; by differences the mean alone, from all channels at once. */
    double mean = inf.mean;
    inf = measure(&c, 1);
    assert_true(!inf.cost == differences);
    assert_true(inf.samples < ROWS);
    assert_true(fabs(inf.mean / mean - 1) < 0.4);
    mc_tensor_unref(inf.cost);
    free(z);
    close_chain(&c);
}

/* Mean over samples of A (diag p - p pᵀ) Aᵀ + e A Aᵀ, where e is a tenth of the mean of p - p². */
static void fisher(const float *z, const float *a, double *want)
{
    double p[ROWS][K], even = 0;
    for (int s = 0; s < ROWS; s++) {
        double sum = 0;
        for (int k = 0; k < K; k++)
            sum += p[s][k] = exp((double)z[s * K + k]);
        for (int k = 0; k < K; k++) {
            p[s][k] /= sum;
            even += 0.1 * (p[s][k] - p[s][k] * p[s][k]) / (ROWS * K);
        }
    }
    for (int i = 0; i < M; i++)
        for (int j = 0; j < M; j++) {
            want[i * M + j] = even * dot(a + i * K, a + j * K, K);
            for (int s = 0; s < ROWS; s++) {
                double pi = 0, pj = 0, pij = 0;
                for (int k = 0; k < K; k++) {
                    pi += p[s][k] * a[i * K + k];
                    pj += p[s][k] * a[j * K + k];
                    pij += p[s][k] * a[i * K + k] * a[j * K + k];
                }
                want[i * M + j] += (pij - pi * pj) / ROWS;
            }
        }
}

static void class_scores(void **state)
{
    (void)state;
    struct chain c;
    double want[M * M];
    int64_t n;
    open_chain(&c, 1, K, NULL);
    float *z = output_of(c.m, 2, DIMS(ROWS, 8), c.x, &n);
    fisher(z, c.w2, want);
    struct mc_influence inf = measure(&c, 1e12);
    expect_cost(&inf, want, 1e-3);
    mc_tensor_unref(inf.cost);
    free(z);
    close_chain(&c);
}

/* The value is the output itself: J = 1. */
static void the_output_itself(void **state)
{
    (void)state;
    struct chain c;
    double want[M * M], mean = 0;
    open_chain(&c, 1, M, NULL);
    c.y = c.m->graph->outputs[0];
    struct mc_influence inf = measure(&c, 1e12);
    int64_t n;
    float *z = output_of(c.m, 2, DIMS(ROWS, 8), c.x, &n);
    memset(want, 0, sizeof want);
    for (int s = 0; s < ROWS; s++) {
        double p[M], sum = 0;
        for (int k = 0; k < M; k++)
            sum += p[k] = exp((double)z[s * M + k]);
        for (int i = 0; i < M; i++)
            for (int j = 0; j < M; j++)
                want[i * M + j] += ((i == j ? p[i] / sum : 0) - p[i] * p[j] / sum / sum) / ROWS;
    }
    for (int i = 0; i < M; i++)
        mean += want[i * M + i] / M;
    for (int i = 0; i < M; i++)
        want[i * M + i] += 0.1 * mean;
    expect_cost(&inf, want, 1e-3);
    mc_tensor_unref(inf.cost);
    free(z);
    close_chain(&c);
}

/* Probabilities say the same as the scores before them, to the second order. */
static void softmax_at_the_end(void **state)
{
    (void)state;
    struct chain bare, soft;
    open_chain(&bare, 1, K, NULL);
    open_chain(&soft, 1, K, "Softmax");
    for (int i = 0; i < ROWS * 8; i++)
        bare.x[i] = soft.x[i] *= 0.05f; /* small steps */
    struct mc_influence a = measure(&bare, 1e12), b = measure(&soft, 1e12);
    double tr_a = 0, tr_b = 0;
    for (int i = 0; i < M; i++) {
        tr_a += matrix(&a)[i * M + i];
        tr_b += matrix(&b)[i * M + i];
    }
    /* the even part is of probabilities there: at most a tenth apart */
    assert_true(fabs(tr_b / tr_a - 1) < 0.15);
    mc_tensor_unref(a.cost);
    mc_tensor_unref(b.cost);
    close_chain(&bare);
    close_chain(&soft);
}

/* More elements than are kept: lengths stay right on the average. */
static void wide_outputs_are_folded(void **state)
{
    (void)state;
    struct chain c;
    open_chain(&c, 4, 60, NULL);
    struct mc_influence inf = measure(&c, 1e12);
    int64_t n;
    float *z = output_of(c.m, 3, DIMS(ROWS, 4, 8), c.x, &n);
    double sum = 0, square = 0, trace = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += z[i];
        square += (double)z[i] * z[i];
    }
    double variance = square / (double)n - sum / (double)n * sum / (double)n;
    for (int i = 0; i < M; i++)
        trace += dot(c.w2 + i * 60, c.w2 + i * 60, 60) / (variance * 60);
    assert_true(fabs(inf.mean * M / trace - 1) < 0.2);
    mc_tensor_unref(inf.cost);
    free(z);
    close_chain(&c);
}

/* Channels of an image, by differences a random sign at each position. Averaging n positions leaves 1/n of each
 * square. */
static void positions_average(void **state)
{
    (void)state;
    enum { SIDE = 5, C = 4, N = 256 };
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, C, SIDE, SIDE));
    struct mc_value *y = build_unary(g, "Identity", "y", build_unary(g, "Neg", "neg", x));
    build_output(g, build_unary(g, "GlobalAveragePool", "pool", y));
    float *data = gaussian(9, N * C * SIDE * SIDE);
    struct memory_data d;
    memory_open(&d, "x", N, 3, DIMS(C, SIDE, SIDE), data, NULL);
    int64_t n;
    float *z = output_of(m, 4, DIMS(64, C, SIDE, SIDE), data, &n);
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += z[i];
        square += (double)z[i] * z[i];
    }
    double variance = square / (double)n - sum / (double)n * sum / (double)n;
    struct mc_influence inf = {.y = y, .axis = 1, .m = C};
    struct mc_influence_opts o = {
        .samples = N, .seed = 5, .work = 1e12, .differences = differences};
    build_ok(mc_influence_measure(m, &d.d, la, &inf, 1, &o, &err), &err);
    double want = 1.0 / (SIDE * SIDE) / (variance * C);
    const float *got = matrix(&inf);
    for (int i = 0; i < C; i++) {
        assert_true(fabs(got[i * C + i] / want - 1) < (differences ? 0.35 : 1e-4));
        for (int j = 0; j < i; j++)
            assert_true(fabs(got[i * C + j]) < 1e-3 * want);
    }
    mc_tensor_unref(inf.cost);
    mc_model_free(m);
    free(data);
    free(z);
}

/* A branch around the value is fed, not run again. */
static void branches_are_cut(void **state)
{
    (void)state;
    struct chain c;
    open_chain(&c, 1, M, NULL);
    struct mc_graph *g = c.m->graph;
    struct mc_value *side = build_unary(g, "Tanh", "side", build_unary(g, "Neg", "neg", c.y));
    struct mc_value *v = build_unary(g, "Relu", "late", c.m->graph->outputs[0]);
    build_output(g, build_binary(g, "Mul", "joined", side, v));
    struct mc_cut cut;
    build_ok(mc_cut_behind(c.m, v, &cut, &err), &err);
    assert_int_equal(cut.n, 2);
    assert_string_equal(cut.from[0], v->name);
    assert_string_equal(cut.from[1], side->name);
    assert_int_equal(cut.n_outputs, 1);
    assert_string_equal(cut.outputs[0], g->outputs[1]->name);
    assert_false(cut.whole);
    mc_cut_free(&cut);
    /* and nothing is cut that hangs on it as well */
    build_ok(mc_cut_behind(c.m, c.y, &cut, &err), &err);
    assert_int_equal(cut.n, 1);
    assert_int_equal(cut.n_outputs, 2);
    mc_cut_free(&cut);
    close_chain(&c);
}

/* Nothing that counts in numbers depends on it. */
static void no_floating_output(void **state)
{
    (void)state;
    struct chain c;
    open_chain(&c, 1, K, "ArgMax");
    struct mc_influence inf = measure(&c, 1e12);
    assert_null(inf.cost);
    assert_true(inf.mean == 0);
    struct mc_pass_ctx ctx = svd_ctx(&c.data.d);
    json_t *r;
    build_ok(svd_run(&ctx, c.m, "{'rank': 1}", &r, &err), &err);
    assert_string_equal(mc_json_string(r, "norm"), "inputs");
    json_decref(r);
    close_chain(&c);
}

static int setup(void **state)
{
    (void)state;
    return mc_linalg_new("cpu", &la, &err);
}

static int teardown(void **state)
{
    (void)state;
    mc_linalg_free(la);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_outputs),           cmocka_unit_test(class_scores),
        cmocka_unit_test(the_output_itself),       cmocka_unit_test(softmax_at_the_end),
        cmocka_unit_test(wide_outputs_are_folded), cmocka_unit_test(positions_average),
        cmocka_unit_test(branches_are_cut),        cmocka_unit_test(no_floating_output),
    };
    differences = true;
    int failed = cmocka_run_group_tests_name("differences", tests, setup, teardown);
    differences = false;
    return failed + cmocka_run_group_tests_name("gradients", tests, setup, teardown);
}
