#include "svd_util.h"

#include "base/threads.h"
#include "passes/fit/refit.h"

static struct mc_err err;
static struct mc_linalg *la;

enum { IN = 16, MID = 12, OUT = 8 };

/* ---- by least squares over explicit rows ---- */

/* The [m,n] D and [m] d that minimise the mean of |e - D t - d|² + ridge |D|², with the mean square of t's elements for 1;
 * `bias`: there is a d. */
static void explicitly(const float *t, const float *e, int64_t rows, int64_t n, int64_t m,
                       bool bias, double *ret_d, double *ret_more)
{
    double *mt = calloc((size_t)n, sizeof *mt), *me = calloc((size_t)m, sizeof *me), trace = 0;
    float *a = calloc((size_t)((rows + n) * n), sizeof *a);
    float *b = calloc((size_t)((rows + n) * m), sizeof *b);
    assert_true(mt && me && a && b);
    for (int64_t i = 0; bias && i < rows; i++) {
        for (int64_t j = 0; j < n; j++)
            mt[j] += t[i * n + j] / (double)rows;
        for (int64_t j = 0; j < m; j++)
            me[j] += e[i * m + j] / (double)rows;
    }
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < n; j++) {
            double v = t[i * n + j] - mt[j];
            a[i * n + j] = (float)v;
            trace += v * v;
        }
        for (int64_t j = 0; j < m; j++)
            b[i * m + j] = (float)(e[i * m + j] - me[j]);
    }
    for (int64_t j = 0; j < n; j++)
        a[(rows + j) * n + j] = (float)sqrt(mc_refit_ridge(n, rows) * trace / (double)n);
    build_ok(mc_linalg_lstsq(la, rows + n, n, m, a, n, b, m, &err), &err);
    for (int64_t i = 0; i < m; i++) {
        ret_more[i] = me[i];
        for (int64_t j = 0; j < n; j++) {
            ret_d[i * n + j] = b[j * m + i];
            ret_more[i] -= b[j * m + i] * mt[j];
        }
    }
    free(mt);
    free(me);
    free(a);
    free(b);
}

static double squares(const float *a, const float *b, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return s;
}

/* A copy of an inner or outer value for the samples x. */
static float *value_of(struct mc_model *m, const char *name, int rank, const int64_t *dims,
                       const float *x)
{
    struct mc_session *s = session_of(m, &(struct mc_session_opts){.only = &name, .n_only = 1});
    run_x(s, rank, dims, x);
    const struct mc_array *a = mc_session_output(s, 0);
    float *y = malloc(a->bytes);
    assert_non_null(y);
    memcpy(y, a->data, a->bytes);
    mc_session_free(s);
    return y;
}

/* ---- a stack ---- */

static struct mc_model *stack(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, IN));
    struct mc_value *h =
        build_binary(g, "MatMul", "one", x, random_const(g, "w1", 2, DIMS(IN, MID), 1));
    h = build_unary(g, "Relu", "relu",
                    build_binary(g, "Add", "one_add", h, random_const(g, "b1", 1, DIMS(MID), 2)));
    struct mc_node *n;
    struct mc_value *in[] = {h, random_const(g, "w2", 2, DIMS(OUT, MID), 3),
                             random_const(g, "b2", 1, DIMS(OUT), 4)};
    struct mc_value *y = build_node(g, "Gemm", "two", 3, in, &n);
    build_ok(mc_edit_attr_int(n, "transB", 1, &err), &err);
    build_output(g, y);
    return m;
}

/* What stands behind `node`'s output: the factor read there, its place in it, and the bias. */
static struct mc_refit found(struct mc_model *m, const char *node)
{
    struct mc_refit f = {0};
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        if (!strcmp(m->graph->nodes[i]->name, node))
            assert_true(mc_refit_find(m->graph->nodes[i]->out[0], &f));
    assert_non_null(f.node);
    return f;
}

/* The weight and bias of `node` in `to` are those in `from` and what brings it closest to `should`. */
static void expect_fitted(struct mc_model *from, struct mc_model *to, const char *node, float *is,
                          const float *should, const float *x)
{
    struct mc_refit f = found(from, node), g = found(to, node);
    int64_t n = f.n, m = f.m;
    float *t = value_of(to, g.node->in[0]->name, 2, DIMS(SAMPLES, IN), x);
    double d[MID * IN], more[MID];
    for (int64_t i = 0; i < SAMPLES * m; i++)
        is[i] = should[i] - is[i];
    explicitly(t, is, SAMPLES, n, m, true, d, more);
    const float *a = (const float *)mc_constant(f.weight)->data,
                *b = (const float *)mc_constant(g.weight)->data;
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            int64_t at = i * f.at_m + j * f.at_n;
            if (!(fabs(a[at] + d[i * n + j] - b[at]) <= 2e-5))
                fail_msg("%s[%d,%d]: %g, not %g", node, (int)i, (int)j, b[at],
                         a[at] + d[i * n + j]);
        }
        double was = ((const float *)mc_constant(f.bias)->data)[i];
        assert_true(fabs(was + more[i] - ((const float *)mc_constant(g.bias)->data)[i]) <= 2e-5);
    }
    free(t);
}

static void each_layer_makes_up_for_those_before(void **state)
{
    (void)state;
    float *x = of_rank(5, SAMPLES, IN, 6);
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", SAMPLES, 1, DIMS(IN), x, NULL));
    struct mc_model *was = stack(), *plain = stack(), *m = stack();
    json_t *r, *r0;
    const char *fits = "{'rank': ['one=4', 'two=3'], 'norm': 'inputs'}";
    const char *bare = "{'rank': ['one=4', 'two=3'], 'norm': 'inputs', 'no-refit': true}";
    build_ok(svd_run(&ctx, plain, bare, &r0, &err), &err);
    build_ok(svd_run(&ctx, m, fits, &r, &err), &err);
    assert_null(json_object_get(r0, "refit"));
    const json_t *refit = json_object_get(r, "refit");
    assert_int_equal(mc_json_number(refit, "layers", -1), 2);
    assert_int_equal(mc_json_number(refit, "skipped", -1), 0);
    assert_true(json_is_true(json_object_get(refit, "kept")));
    assert_true(mc_json_number(refit, "divergence_after", 1e9) <
                mc_json_number(refit, "divergence_before", 0));

    const char *one = found(was, "one_add").y->name, *two = found(was, "two").y->name;
    float *y1 = value_of(was, one, 2, DIMS(SAMPLES, IN), x);
    float *z1 = value_of(plain, one, 2, DIMS(SAMPLES, IN), x);
    expect_fitted(plain, m, "one_add", z1, y1, x);

    /* the second as it is behind the first as it has become */
    struct mc_refit f = found(plain, "two"), g = found(m, "two");
    float *t = value_of(m, g.node->in[0]->name, 2, DIMS(SAMPLES, IN), x);
    const float *a = (const float *)mc_constant(f.weight)->data,
                *b = (const float *)mc_constant(f.bias)->data;
    float *z2 = calloc(SAMPLES * OUT, sizeof *z2);
    assert_non_null(z2);
    for (int64_t s = 0; s < SAMPLES; s++)
        for (int64_t i = 0; i < OUT; i++) {
            z2[s * OUT + i] = b[i];
            for (int64_t j = 0; j < f.n; j++)
                z2[s * OUT + i] += a[i * f.n + j] * t[s * f.n + j];
        }
    float *y2 = value_of(was, two, 2, DIMS(SAMPLES, IN), x);
    float *fitted = value_of(m, two, 2, DIMS(SAMPLES, IN), x);
    assert_true(squares(fitted, y2, SAMPLES * OUT) <= squares(z2, y2, SAMPLES * OUT));
    expect_fitted(plain, m, "two", z2, y2, x);
    free(x);
    free(y1);
    free(z1);
    free(t);
    free(z2);
    free(y2);
    free(fitted);
    json_decref(r);
    json_decref(r0);
    mc_model_free(was);
    mc_model_free(plain);
    mc_model_free(m);
}

static void expect_equal(const struct mc_model *m, const struct mc_model *o)
{
    assert_int_equal(m->graph->n_inits, o->graph->n_inits);
    for (size_t i = 0; i < m->graph->n_inits; i++) {
        const struct mc_tensor *a = m->graph->inits[i]->tensor, *b = o->graph->inits[i]->tensor;
        assert_int_equal(a->bytes, b->bytes);
        assert_memory_equal(a->data, b->data, a->bytes);
    }
}

/* Decisions of noise, which least squares get no nearer. */
static void what_brings_nothing_is_taken_back(void **state)
{
    (void)state;
    float *x = gaussian(5, SAMPLES * IN);
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", SAMPLES, 1, DIMS(IN), x, NULL));
    struct mc_model *plain = stack(), *m = stack();
    json_t *r;
    build_ok(svd_run(&ctx, plain,
                     "{'rank': ['one=4', 'two=3'], 'norm': 'inputs', 'no-refit': true}", &r, &err),
             &err);
    json_decref(r);
    build_ok(svd_run(&ctx, m, "{'rank': ['one=4', 'two=3'], 'norm': 'inputs'}", &r, &err), &err);
    const json_t *refit = json_object_get(r, "refit");
    assert_int_equal(mc_json_number(refit, "layers", -1), 2);
    assert_true(json_is_false(json_object_get(refit, "kept")));
    assert_true(mc_json_number(refit, "divergence_after", 0) >=
                mc_json_number(refit, "divergence_before", 1e9));
    expect_equal(m, plain);
    json_decref(r);
    free(x);
    mc_model_free(plain);
    mc_model_free(m);
}

static void the_same_for_any_thread_count(void **state)
{
    (void)state;
    float *x = gaussian(5, SAMPLES * IN);
    struct mc_model *m[2];
    for (int i = 0; i < 2; i++) {
        struct memory_data d;
        struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", SAMPLES, 1, DIMS(IN), x, NULL));
        json_t *r;
        m[i] = stack();
        build_ok(mc_pool_new(i ? 3 : 1, &ctx.pool, &err), &err);
        build_ok(svd_run(&ctx, m[i], "{'rank': ['one=4', 'two=3']}", &r, &err), &err);
        assert_true(json_is_true(json_object_get(json_object_get(r, "refit"), "kept")));
        json_decref(r);
        mc_pool_free(ctx.pool);
    }
    expect_equal(m[0], m[1]);
    mc_model_free(m[0]);
    mc_model_free(m[1]);
    free(x);
}

/* ---- a window ---- */

enum { BATCH = 6, C = 3, M = 4, SIZE = 7, HALF = 4, TAPS = C * 9 };

/* Every row of the patches under a window of 3x3, stride 2, one row of zeros round the image. */
static void patches(const float *x, float *ret)
{
    for (int s = 0; s < BATCH; s++)
        for (int p = 0; p < HALF * HALF; p++)
            for (int c = 0; c < C; c++)
                for (int k = 0; k < 9; k++) {
                    int iy = p / HALF * 2 - 1 + k / 3, ix = p % HALF * 2 - 1 + k % 3;
                    bool in = iy >= 0 && iy < SIZE && ix >= 0 && ix < SIZE;
                    *ret++ = in ? x[((s * C + c) * SIZE + iy) * SIZE + ix] : 0;
                }
}

static struct mc_model *window(bool bias)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *in[] = {build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, C, SIZE, SIZE)),
                             random_const(g, "w", 4, DIMS(M, C, 3, 3), 11),
                             random_const(g, "b", 1, DIMS(M), 12)};
    struct mc_node *n;
    build_output(g, build_node(g, "Conv", "conv", bias ? 3 : 2, in, &n));
    build_ok(mc_edit_attr_ints(n, "pads", DIMS(1, 1, 1, 1), 4, &err), &err);
    build_ok(mc_edit_attr_ints(n, "strides", DIMS(2, 2), 2, &err), &err);
    return m;
}

static void a_convolution_with_a_window(void **state)
{
    bool bias = *state != NULL;
    enum { POSITIONS = HALF * HALF, ROWS = BATCH * POSITIONS };
    struct mc_model *m = window(bias);
    struct mc_refit f = found(m, "conv");
    float *x = gaussian(3, BATCH * C * SIZE * SIZE), *should = gaussian(4, ROWS * M);
    const char *y = f.y->name;
    float *is = value_of(m, y, 4, DIMS(BATCH, C, SIZE, SIZE), x);
    float was[M * TAPS], was_bias[M] = {0};
    memcpy(was, mc_constant(f.weight)->data, sizeof was);
    if (bias)
        memcpy(was_bias, mc_constant(f.bias)->data, sizeof was_bias);
    struct mc_array t = array_of("x", MC_DTYPE_F32, 4, DIMS(BATCH, C, SIZE, SIZE), x);
    struct mc_array a = array_of("is", MC_DTYPE_F32, 4, DIMS(BATCH, M, HALF, HALF), is);
    struct mc_array b = array_of("should", MC_DTYPE_F32, 4, DIMS(BATCH, M, HALF, HALF), should);
    build_ok(mc_refit_add(&f, la, NULL, &t, &a, &b, 0, BATCH, BATCH, &err), &err);
    build_ok(mc_refit_solve(&f, la, NULL, NULL, &err), &err);

    float *rows = calloc(ROWS * TAPS, sizeof *rows), *e = calloc(ROWS * M, sizeof *e);
    double d[M * TAPS], more[M];
    assert_true(rows && e);
    patches(x, rows);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < M; j++) {
            int at = (i / POSITIONS * M + j) * POSITIONS + i % POSITIONS;
            e[i * M + j] = should[at] - is[at];
        }
    explicitly(rows, e, ROWS, TAPS, M, bias, d, more);
    const float *got = (const float *)mc_constant(f.weight)->data;
    for (int i = 0; i < M * TAPS; i++)
        if (!(fabs(was[i] + d[i] - got[i]) <= 2e-5))
            fail_msg("%d: %g, not %g", i, got[i], was[i] + d[i]);
    for (int i = 0; bias && i < M; i++)
        assert_true(fabs(was_bias[i] + more[i] - ((const float *)mc_constant(f.bias)->data)[i]) <=
                    2e-5);
    float *fitted = value_of(m, y, 4, DIMS(BATCH, C, SIZE, SIZE), x);
    assert_true(squares(fitted, should, ROWS * M) < squares(is, should, ROWS * M));
    mc_refit_release(&f);
    free(fitted);
    free(rows);
    free(e);
    free(is);
    free(x);
    free(should);
    mc_model_free(m);
}

/* ---- what is passed over ---- */

static void weights_of_others_are_left_alone(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_refit f;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, MID));
    struct mc_value *w = random_const(g, "w", 2, DIMS(MID, MID), 1);
    struct mc_value *a = build_binary(g, "MatMul", "a", x, w),
                    *b = build_binary(g, "MatMul", "b", a, w);
    assert_false(mc_refit_find(a, &f));
    assert_false(mc_refit_find(b, &f));
    assert_false(mc_refit_find(build_unary(g, "Relu", "r", b), &f));
    struct mc_value *in[] = {b, random_const(g, "v", 2, DIMS(MID, MID), 2)};
    struct mc_value *c = build_node(g, "Gemm", "c", 2, in, &n);
    assert_true(mc_refit_find(c, &f));
    assert_null(f.bias);
    build_ok(mc_edit_attr_float(n, "alpha", 2, &err), &err);
    assert_false(mc_refit_find(c, &f));
    mc_model_free(m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_layer_makes_up_for_those_before),
        cmocka_unit_test(what_brings_nothing_is_taken_back),
        cmocka_unit_test(the_same_for_any_thread_count),
        cmocka_unit_test(a_convolution_with_a_window),
        cmocka_unit_test_prestate(a_convolution_with_a_window, "bias"),
        cmocka_unit_test(weights_of_others_are_left_alone),
    };
    if (mc_linalg_new("cpu", &la, &err))
        return 1;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    mc_linalg_free(la);
    return rc;
}
