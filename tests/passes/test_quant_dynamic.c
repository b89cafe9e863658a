/* Matrix products with activations of a range of their own in every run: against the formula in double, in all the ways a
 * model may write them. */
#include "quant_util.h"

#include "base/rng.h"

enum { K = 40, N = 24, ROWS = 6 };

static struct mc_err err;

/* Per column (or all together) by the extremes, to `steps` on each side. */
static void round_weight(const float *w, bool turned, bool per_tensor, int steps, double *ret)
{
    float all = 0;
    for (int i = 0; i < K * N; i++)
        all = fmaxf(all, fabsf(w[i]));
    for (int j = 0; j < N; j++) {
        float most = 0;
        for (int i = 0; i < K; i++)
            most = fmaxf(most, fabsf(w[turned ? j * K + i : i * N + j]));
        float scale = (per_tensor ? all : most) / (float)steps;
        for (int i = 0; i < K; i++)
            ret[i * N + j] =
                (double)scale * rint((double)w[turned ? j * K + i : i * N + j] / (double)scale);
    }
}

static void multiply(const float *x, int64_t rows, const double *w, double factor, const float *c,
                     double beta, float *ret)
{
    double *q = malloc((size_t)(rows * K) * sizeof *q);
    assert_non_null(q);
    quant_dynamic(x, rows * K, q);
    for (int64_t i = 0; i < rows; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < K; k++)
                sum += q[i * K + k] * w[k * N + j];
            ret[i * N + j] = (float)(factor * sum + (c ? beta * (double)c[j] : 0));
        }
    free(q);
}

/* ---- forms of a layer ---- */

struct form {
    const char *op;
    bool turned, bias, transposed_x, half;
    float alpha, beta;
    int rank; /* of x */
};

static struct mc_value *cast(struct mc_graph *g, struct mc_value *x, enum mc_dtype to)
{
    struct mc_node *n;
    struct mc_value *y = build_node(g, "Cast", "cast", 1, &x, &n);
    build_ok(mc_edit_attr_int(n, "to", to, &err), &err);
    return y;
}

static struct mc_value *weight(struct mc_graph *g, const struct form *f, const float *w)
{
    struct mc_shape shape = mc_shape_of(2, f->turned ? DIMS(N, K) : DIMS(K, N));
    struct mc_tensor *t;
    build_ok(mc_constant_make(w, &shape, f->half ? MC_DTYPE_F16 : MC_DTYPE_F32, NULL, &t, &err),
             &err);
    struct mc_value *v = mc_edit_constant(g, "w", t);
    mc_tensor_unref(t);
    return v;
}

static struct mc_model *layer(const struct form *f, const float *w, const float *c)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    bool gemm = !strcmp(f->op, "Gemm");
    struct mc_value *in[3], *y,
        *x =
            build_input(g, "x", MC_DTYPE_F32, f->rank, f->rank == 3 ? DIMS(2, -1, K) : DIMS(-1, K));
    in[0] = f->half ? cast(g, x, MC_DTYPE_F16) : x;
    if (f->transposed_x)
        in[0] = build_unary(g, "Transpose", "t", in[0]);
    in[1] = weight(g, f, w);
    in[2] = !f->bias ? NULL : f32_const(g, "c", 1, DIMS(N), c);
    if (f->bias && f->half)
        in[2] = cast(g, in[2], MC_DTYPE_F16);
    y = build_node(g, f->op, "y", gemm && f->bias ? 3 : 2, in, &n);
    if (gemm) {
        build_ok(mc_edit_attr_int(n, "transA", f->transposed_x, &err), &err);
        build_ok(mc_edit_attr_int(n, "transB", f->turned, &err), &err);
        build_ok(mc_edit_attr_float(n, "alpha", f->alpha, &err), &err);
        build_ok(mc_edit_attr_float(n, "beta", f->beta, &err), &err);
    } else if (f->bias) {
        y = build_binary(g, "Add", "add", y, in[2]);
    }
    build_output(g, f->half ? cast(g, y, MC_DTYPE_F32) : y);
    return m;
}

static void check(const struct form *f, const struct mc_quant_rules *r, int steps)
{
    float *w = gaussian(3, K * N), *x = gaussian(4, ROWS * K), *c = gaussian(5, N);
    float want[ROWS * N];
    double q[K * N];
    int64_t n;
    struct mc_model *m = layer(f, w, c);
    struct mc_quant_sites sites;
    struct mc_quant_built b = quant_all(m, r, MC_QUANT_DYNAMIC, &sites);
    assert_int_equal(sites.n, 1);
    assert_null(sites.item[0].why[MC_QUANT_DYNAMIC]);
    assert_int_equal(quant_count(b.m->graph, "DynamicQuantizeLinear"), 1);
    assert_int_equal(quant_count(b.m->graph, "MatMulInteger"), 1);
    assert_int_equal(quant_count(b.m->graph, f->op), 0);
    assert_int_equal(b.compressed, K * N * (f->half ? 2 : 4));
    for (size_t i = 0; i < b.m->graph->n_inits; i++)
        if (b.m->graph->inits[i]->tensor->shape.rank == 2)
            assert_true(b.m->graph->inits[i]->tensor->bytes <= K * N);
    round_weight(w, f->turned, r->per_tensor, steps, q);
    bool gemm = !strcmp(f->op, "Gemm");
    multiply(x, ROWS, q, gemm ? (double)f->alpha : 1, f->bias ? c : NULL,
             gemm ? (double)f->beta : 1, want);
    float *got = f->rank == 3 ? output_of(b.m, 3, DIMS(2, ROWS / 2, K), x, &n)
                              : output_of(b.m, 2, DIMS(ROWS, K), x, &n);
    assert_int_equal(n, ROWS * N);
    double d = quant_distance(got, want, n), tolerance = f->half ? 0.01 : 1e-5;
    if (!(d <= tolerance))
        fail_msg("%s: %g", f->op, d);
    free(got);
    mc_quant_built_free(&b);
    mc_quant_sites_free(&sites);
    mc_model_free(m);
    free(w);
    free(x);
    free(c);
}

static void forms(void **state)
{
    (void)state;
    static const struct form all[] = {
        {.op = "MatMul", .rank = 2},
        {.op = "MatMul", .rank = 3, .bias = true},
        {.op = "Gemm", .rank = 2, .alpha = 1, .beta = 1},
        {.op = "Gemm", .rank = 2, .alpha = 1, .beta = 1, .bias = true, .turned = true},
        {.op = "Gemm", .rank = 2, .alpha = 0.5f, .beta = -3, .bias = true},
        {.op = "Gemm", .rank = 2, .alpha = 2, .beta = 0, .bias = true, .transposed_x = true},
        {.op = "MatMul", .rank = 2, .half = true, .bias = true},
        {.op = "Gemm",
         .rank = 2,
         .alpha = 2,
         .beta = 2,
         .bias = true,
         .half = true,
         .turned = true},
    };
    struct mc_quant_rules r = quant_rules();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        check(&all[i], &r, 127);
}

static void types(void **state)
{
    (void)state;
    static const struct form f = {
        .op = "Gemm", .rank = 2, .alpha = 1, .beta = 1, .bias = true, .turned = true};
    struct mc_quant_rules r = quant_rules();
    r.per_tensor = true;
    check(&f, &r, 127);
    r = quant_rules();
    r.weight_bits = 4;
    check(&f, &r, 7);
    r = quant_rules();
    r.reduce_range = true;
    check(&f, &r, 63);
    r = quant_rules();
    r.weight_unsigned = true;
    check(&f, &r, 127);
}

/* Three readers of one value share its integers, a fourth in a body has its own. */
static void shares(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, K));
    struct mc_value *h = build_unary(g, "Relu", "h", x), *sum = NULL;
    for (int i = 0; i < 3; i++) {
        struct mc_value *y =
            build_binary(g, "MatMul", "y", h, random_const(g, "w", 2, DIMS(K, N), (uint64_t)i));
        sum = sum ? build_binary(g, "Add", "sum", sum, y) : y;
    }
    struct mc_value *max = build_unary(g, "ReduceMax", "max", x);
    struct mc_value *c = build_binary(g, "Greater", "gt", build_unary(g, "Squeeze", "sq", max),
                                      f32_const(g, "zero", 0, NULL, F(0)));
    struct mc_value *y = mc_edit_fresh(g, "if");
    build_ok(mc_edit_node(g, g->n_nodes, "If", "", 0, "if", &c, 1, &y, 1, &n, &err), &err);
    for (int i = 0; i < 2; i++) {
        struct mc_graph *b = mc_edit_graph(m, g, n, i ? "else" : "then");
        build_ok(mc_edit_attr_graph(n, i ? "else_branch" : "then_branch", b, &err), &err);
        build_output(b, build_binary(b, "MatMul", i ? "e" : "t", mc_edit_resolve(b, h->name),
                                     random_const(b, "w", 2, DIMS(K, N), 9)));
    }
    build_output(g, build_binary(g, "Add", "out", sum, y));
    struct mc_quant_rules r = quant_rules();
    struct mc_quant_sites sites;
    float *in = gaussian(1, ROWS * K);
    int64_t count;
    struct mc_quant_built b = quant_all(m, &r, MC_QUANT_DYNAMIC, &sites);
    float *want = output_of(m, 2, DIMS(ROWS, K), in, &count);
    float *got = output_of(b.m, 2, DIMS(ROWS, K), in, &count);
    assert_int_equal(sites.n, 5);
    assert_int_equal(quant_count(b.m->graph, "DynamicQuantizeLinear"), 1);
    assert_int_equal(quant_count(b.m->graph, "MatMulInteger"), 3);
    assert_true(quant_distance(got, want, count) < 0.02);
    free(want);
    free(got);
    free(in);
    mc_quant_built_free(&b);
    mc_quant_sites_free(&sites);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(types),
        cmocka_unit_test(shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
