#include "svd_util.h"

#include "base/threads.h"
#include "passes/fit/covariance.h"

static struct mc_err err;
static struct mc_linalg *la;

/* Mean and covariance of rows [count, n] in f64. */
static void direct(const float *rows, int64_t count, int64_t n, double *mean, double *c)
{
    for (int64_t j = 0; j < n; j++) {
        mean[j] = 0;
        for (int64_t i = 0; i < count; i++)
            mean[j] += rows[i * n + j] / (double)count;
    }
    for (int64_t j = 0; j < n; j++)
        for (int64_t k = 0; k < n; k++) {
            c[j * n + k] = 0;
            for (int64_t i = 0; i < count; i++)
                c[j * n + k] +=
                    (rows[i * n + j] - mean[j]) * (rows[i * n + k] - mean[k]) / (double)count;
        }
}

static void expect_direct(const struct mc_cov *c, const float *rows, int64_t count,
                          double tolerance)
{
    int64_t n = c->n;
    double *mean = calloc((size_t)n, sizeof *mean), *want = calloc((size_t)(n * n), sizeof *want);
    assert_true(mean && want);
    direct(rows, count, n, mean, want);
    const float *got = (const float *)c->second->data;
    double top = 0;
    for (int64_t i = 0; i < n; i++)
        top = fmax(top, want[i * n + i]);
    assert_int_equal(c->rows, count);
    for (int64_t i = 0; i < n; i++) {
        assert_true(fabs(c->mean[i] - mean[i]) <= 1e-6 * (1 + fabs(mean[i])));
        for (int64_t j = 0; j <= i; j++)
            if (!(fabs(got[i * n + j] - want[i * n + j]) <= tolerance * top))
                fail_msg("(%d,%d): %g, not %g", (int)i, (int)j, got[i * n + j], want[i * n + j]);
    }
    free(mean);
    free(want);
}

static struct mc_cov gather(struct mc_model *m, struct mc_node *n, int64_t width,
                            struct memory_data *d, struct mc_pool *pool)
{
    struct mc_cov c = {.node = n, .n = width};
    struct mc_cov_opts o = {.pool = pool, .samples = d->count};
    build_ok(mc_cov_gather(m->graph, &d->d, la, &c, 1, &o, &err), &err);
    return c;
}

/* Tokens of a sequence; a mean a thousand times the deviation. */
static void rows_of_a_product(void **state)
{
    (void)state;
    enum { N = 700, T = 3, D = 10 };
    struct mc_model *m = build_model(17);
    struct mc_value *in[] = {build_input(m->graph, "x", MC_DTYPE_F32, 3, DIMS(-1, T, D)),
                             random_const(m->graph, "w", 2, DIMS(D, 4), 1)};
    struct mc_node *node;
    build_output(m->graph, build_node(m->graph, "MatMul", "layer", 2, in, &node));
    for (int offset = 0; offset < 2; offset++) {
        float *x = gaussian(2, N * T * D);
        for (int64_t i = 0; i < N * T * D; i++)
            x[i] = x[i] * (1 + (float)(i % D)) + (offset ? 3000 : 0);
        struct memory_data d;
        memory_open(&d, "x", N, 2, DIMS(T, D), x, NULL);
        struct mc_cov c = gather(m, node, D, &d, NULL);
        expect_direct(&c, x, N * T, offset ? 1e-4 : 1e-5);
        mc_cov_release(&c);
        free(x);
    }
    mc_model_free(m);
}

/* Patches by their definition: x at o * stride - pad + k * dilation, or 0. */
static void patches_of_a_convolution(void **state)
{
    (void)state;
    enum { N = 40, C = 3, H = 7, W = 9, KH = 2, KW = 3, SH = 2, SW = 1, DH = 1, DW = 2 };
    enum { OH = (H + 1 + 0 - KH) / SH + 1, OW = W + 2 + 1 - ((KW - 1) * DW + 1) + 1 };
    enum { D = C * KH * KW };
    struct mc_model *m = build_model(17);
    struct mc_value *in[] = {build_input(m->graph, "x", MC_DTYPE_F32, 4, DIMS(-1, C, H, W)),
                             random_const(m->graph, "w", 4, DIMS(5, C, KH, KW), 1)};
    struct mc_node *node;
    build_output(m->graph, build_node(m->graph, "Conv", "layer", 2, in, &node));
    build_ok(mc_edit_attr_ints(node, "strides", DIMS(SH, SW), 2, &err), &err);
    build_ok(mc_edit_attr_ints(node, "dilations", DIMS(DH, DW), 2, &err), &err);
    build_ok(mc_edit_attr_ints(node, "pads", DIMS(1, 2, 0, 1), 4, &err), &err);
    float *x = gaussian(3, N * C * H * W), *rows = calloc(N * OH * OW * D, sizeof *rows), *r = rows;
    assert_non_null(rows);
    for (int64_t i = 0; i < N * C * H * W; i++)
        x[i] += 0.5f;
    for (int n = 0; n < N; n++)
        for (int oh = 0; oh < OH; oh++)
            for (int ow = 0; ow < OW; ow++)
                for (int c = 0; c < C; c++)
                    for (int kh = 0; kh < KH; kh++)
                        for (int kw = 0; kw < KW; kw++, r++) {
                            int h = oh * SH - 1 + kh * DH, w = ow * SW - 2 + kw * DW;
                            if (h >= 0 && h < H && w >= 0 && w < W)
                                *r = x[((n * C + c) * H + h) * W + w];
                        }
    struct memory_data d;
    memory_open(&d, "x", N, 3, DIMS(C, H, W), x, NULL);
    struct mc_cov c = gather(m, node, D, &d, NULL);
    expect_direct(&c, rows, N * OH * OW, 1e-5);
    mc_cov_release(&c);
    free(x);
    free(rows);
    mc_model_free(m);
}

/* Of many rows only a spread is taken; it sees the same distribution, and every thread count the same. */
static void many_rows_are_thinned(void **state)
{
    (void)state;
    enum { N = 50, T = 2000, D = 4 };
    struct mc_model *m = build_model(17);
    struct mc_value *in[] = {build_input(m->graph, "x", MC_DTYPE_F32, 3, DIMS(-1, T, D)),
                             random_const(m->graph, "w", 2, DIMS(D, 4), 1)};
    struct mc_node *node;
    build_output(m->graph, build_node(m->graph, "MatMul", "layer", 2, in, &node));
    float *x = gaussian(4, (int64_t)N * T * D);
    struct memory_data d;
    memory_open(&d, "x", N, 2, DIMS(T, D), x, NULL);
    struct mc_cov c[2];
    for (int i = 0; i < 2; i++) {
        struct mc_pool *pool;
        build_ok(mc_pool_new(i + 1, &pool, &err), &err);
        c[i] = gather(m, node, D, &d, pool);
        mc_pool_free(pool);
    }
    assert_true(c[0].rows >= 16384 && c[0].rows < 20000);
    const float *a = (const float *)c[0].second->data;
    assert_memory_equal(a, c[1].second->data, D * D * sizeof *a);
    assert_memory_equal(c[0].mean, c[1].mean, D * sizeof *a);
    for (int i = 0; i < D; i++)
        for (int j = 0; j <= i; j++) /* five standard errors */
            assert_true(fabs(a[i * D + j] - (i == j)) < 5 * sqrt(2.0 / 16384));
    mc_cov_release(&c[0]);
    mc_cov_release(&c[1]);
    free(x);
    mc_model_free(m);
}

/* Columns of a matrix product's right side, and the states of a cell, direction by direction: rows collected by hand. */
static void rows_in_other_orders(void **state)
{
    (void)state;
    enum { N = 12, D = 6, K = 5, STEPS = 4, H = 3 };
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *product, *cell;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, D, K));
    struct mc_value *left[] = {random_const(g, "v", 2, DIMS(4, D), 1), x};
    build_output(g, build_node(g, "MatMul", "left", 2, left, &product));
    struct mc_value *in[] = {x, random_const(g, "w", 3, DIMS(2, H, K), 2),
                             random_const(g, "r", 3, DIMS(2, H, H), 3)};
    struct mc_value *y =
        build_node(g, "RNN", "cell", 3, in, &cell); /* the batch has D steps of N */
    build_ok(mc_edit_attr_string(cell, "direction", "bidirectional", &err), &err);
    build_output(g, y);
    float *data = gaussian(3, N * D * K), rows[N * D * K];
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++)
            for (int d = 0; d < D; d++)
                rows[(n * K + k) * D + d] = data[(n * D + d) * K + k];
    struct mc_session *s = session_of(m, NULL);
    run_x(s, 3, DIMS(N, D, K), data);
    const float *states = mc_session_output(s, 1)->data; /* [N, 2, D, H]: N steps, D in a batch */
    struct memory_data mem;
    memory_open(&mem, "x", N, 2, DIMS(D, K), data, NULL);
    struct mc_cov c[3] = {{.node = product, .x = x, .n = D, .columns = true},
                          {.node = cell, .x = y, .n = H, .part = 0, .parts = 2},
                          {.node = cell, .x = y, .n = H, .part = 1, .parts = 2}};
    struct mc_cov_opts o = {.samples = N};
    build_ok(mc_cov_gather(g, &mem.d, la, c, 3, &o, &err), &err);
    expect_direct(&c[0], rows, N * K, 1e-5);
    for (int part = 0; part < 2; part++) {
        for (int n = 0; n < N; n++)
            memcpy(rows + n * D * H, states + (n * 2 + part) * D * H, D * H * sizeof *rows);
        expect_direct(&c[1 + part], rows, N * D, 1e-5);
    }
    for (int k = 0; k < 3; k++)
        mc_cov_release(&c[k]);
    mc_session_free(s);
    free(data);
    mc_model_free(m);
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
        cmocka_unit_test(rows_of_a_product),
        cmocka_unit_test(patches_of_a_convolution),
        cmocka_unit_test(many_rows_are_thinned),
        cmocka_unit_test(rows_in_other_orders),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
