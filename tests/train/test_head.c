#include "../run/run_util.h"

#include "base/json.h"
#include "graph/constant.h"
#include "graph/verify.h"
#include "train/head.h"

enum { N = 5, K = 12, OLD = 10, NEW = 4 };

static struct mc_err err;

static struct mc_value *input(struct mc_model *m)
{
    return build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-1, K));
}

static void declare_output(struct mc_model *m, struct mc_value *v)
{
    assert_true(mc_edit_type(v, MC_DTYPE_F32, 2, (struct mc_dim[]){{-1, "batch"}, {OLD, NULL}}));
    build_output(m->graph, v);
}

static json_t *replace(struct mc_model *m)
{
    json_t *r = NULL;
    build_ok(mc_head_replace(m, NEW, NULL, 3, &r, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    assert_int_equal(mc_json_number(r, "classes_before", 0), OLD);
    assert_int_equal(mc_json_number(r, "classes", 0), NEW);
    return r;
}

/* Output 0 on random samples of `each` elements; the declared type must be what comes. */
static const struct mc_array *run(struct mc_session *s, int rank, const int64_t *dims)
{
    struct mc_shape shape = mc_shape_of(rank, dims);
    static float x[N * 1000];
    mc_rng_fill_uniform(4, 2, 0, x, (size_t)mc_shape_count(&shape));
    struct mc_array in = {"x", MC_DTYPE_F32, shape, x, (size_t)mc_shape_count(&shape) * sizeof *x};
    build_ok(mc_session_run(s, &in, 1, &err), &err);
    const struct mc_array *y = mc_session_output(s, 0);
    assert_int_equal(y->shape.rank, 2);
    assert_int_equal(y->shape.dim[0], N);
    assert_int_equal(y->shape.dim[1], NEW);
    return y;
}

static void expect_declared(const struct mc_model *m)
{
    const struct mc_type *t = &m->graph->outputs[0]->type;
    assert_true(t->kind == MC_TYPE_TENSOR && t->dtype == MC_DTYPE_F32 && t->rank == 2);
    assert_string_equal(t->dim[0].param, "batch");
    assert_int_equal(t->dim[1].value, NEW);
}

/* y = softmax(x W + b) of the constants that the layer has now. */
static void expect_linear(struct mc_model *m, const struct mc_tensor *w, const struct mc_tensor *b,
                          bool transposed, bool softmax)
{
    struct mc_session *s = session_of(m, &(struct mc_session_opts){0});
    const struct mc_array *y = run(s, 2, DIMS(N, K));
    const float *wx = (const float *)w->data, *bx = (const float *)b->data;
    float x[N * K];
    double bound = 1 / sqrt(K), top = 0;
    mc_rng_fill_uniform(4, 2, 0, x, N * K);
    for (int i = 0; i < N; i++) {
        double z[NEW], sum = 0;
        for (int c = 0; c < NEW; c++) {
            z[c] = (double)bx[c];
            for (int k = 0; k < K; k++)
                z[c] += (double)x[i * K + k] * (double)wx[transposed ? c * K + k : k * NEW + c];
            sum += exp(z[c]);
        }
        for (int c = 0; c < NEW; c++) {
            double want = softmax ? exp(z[c]) / sum : z[c];
            assert_true(fabs(want - (double)((const float *)y->data)[i * NEW + c]) < 1e-5);
        }
    }
    for (int i = 0; i < K * NEW; i++)
        top = fmax(top, fabs((double)wx[i]));
    assert_true(top <= bound && top > 0.8 * bound);
    mc_session_free(s);
}

static void linear_layers(void **state)
{
    (void)state;
    for (int transposed = 0; transposed < 2; transposed++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_node *n;
        struct mc_value *in[] = {
            input(m), random_const(g, "w", 2, transposed ? DIMS(OLD, K) : DIMS(K, OLD), 1),
            random_const(g, "b", 1, DIMS(OLD), 2)};
        struct mc_value *z = build_node(g, "Gemm", "fc", 3, in, &n);
        mc_edit_attr_int(n, "transB", transposed, NULL);
        mc_edit_type(z, MC_DTYPE_F32, 2, (struct mc_dim[]){{-1, "batch"}, {OLD, NULL}});
        declare_output(m, build_unary(g, "Softmax", "p", z));
        json_t *r = replace(m);
        assert_string_equal(mc_json_string(r, "node"), "fc");
        assert_string_equal(mc_json_string(r, "op"), "Gemm");
        assert_int_equal(mc_json_number(r, "inputs", 0), K);
        json_decref(r);
        expect_declared(m);
        expect_linear(m, mc_constant(n->in[1]), mc_constant(n->in[2]), transposed, true);
        assert_null(mc_graph_value(g, "w")); /* nobody needs the old ones */
        mc_model_free(m);
    }
    for (int side = 0; side < 2; side++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_node *mm, *add;
        struct mc_value *b = random_const(g, "b", 1, DIMS(OLD), 2);
        struct mc_value *in[] = {input(m), random_const(g, "w", 2, DIMS(K, OLD), 1)};
        struct mc_value *z = build_node(g, "MatMul", "fc", 2, in, &mm);
        struct mc_value *sum[] = {side ? z : b, side ? b : z};
        declare_output(m, build_node(g, "Add", "sum", 2, sum, &add));
        json_decref(replace(m));
        expect_declared(m);
        expect_linear(m, mc_constant(mm->in[1]), mc_constant(add->in[side]), false, false);
        mc_model_free(m);
    }
}

/* Another user of the same weights keeps them. */
static void shared_weights_stay(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = input(m), *w = random_const(g, "w", 2, DIMS(K, OLD), 1);
    declare_output(m, build_binary(g, "MatMul", "counts", x, w));
    build_output(g, build_binary(g, "MatMul", "second", x, w));
    json_decref(replace(m));
    struct mc_session *s = session_of(m, &(struct mc_session_opts){0});
    run(s, 2, DIMS(N, K));
    assert_int_equal(mc_session_output(s, 1)->shape.dim[1], OLD);
    mc_session_free(s);
    mc_model_free(m);
}

/* The layer before global pooling counts; a Reshape that says 10 must say 4. */
static void convolutions(void **state)
{
    (void)state;
    static const int64_t to[] = {0, OLD};
    for (int reshape = 0; reshape < 2; reshape++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_node *n;
        struct mc_value *in[] = {build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, 3, 6, 6)),
                                 random_const(g, "w", 4, DIMS(OLD, 3, 3, 3), 1),
                                 random_const(g, "b", 1, DIMS(OLD), 2)};
        struct mc_value *z = build_node(g, "Conv", "last", 3, in, &n);
        z = build_unary(g, "Relu", "relu", z);
        z = build_unary(g, "GlobalAveragePool", "pool", z);
        z = reshape ? build_binary(g, "Reshape", "flat", z,
                                   build_const(g, "to", MC_DTYPE_I64, 1, DIMS(2), to))
                    : build_unary(g, "Flatten", "flat", z);
        declare_output(m, build_unary(g, "LogSoftmax", "p", z));
        json_t *r = replace(m);
        assert_int_equal(mc_json_number(r, "inputs", 0), 27);
        json_decref(r);
        expect_declared(m);
        struct mc_session *s = session_of(m, &(struct mc_session_opts){0});
        const struct mc_array *y = run(s, 4, DIMS(N, 3, 6, 6));
        for (int i = 0; i < N; i++) { /* logarithms of probabilities: so all four are classes */
            double sum = 0;
            for (int c = 0; c < NEW; c++)
                sum += exp((double)((const float *)y->data)[i * NEW + c]);
            assert_true(fabs(sum - 1) < 1e-5);
        }
        mc_session_free(s);
        mc_model_free(m);
    }
}

static void expect_refused(struct mc_model *m, const char *output, int code, const char *part)
{
    json_t *r = NULL;
    assert_int_equal(mc_head_replace(m, NEW, output, 3, &r, &err), code);
    if (!strstr(err.msg, part))
        fail_msg("'%s' does not say '%s'", err.msg, part);
    assert_null(r);
    mc_model_free(m);
}

static void what_stands_in_the_way(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_value *x = input(m);
    declare_output(m, build_unary(m->graph, "Softmax", "p", x));
    expect_refused(m, NULL, MC_EUNSUP, "output 'p' is made by no Gemm, MatMul or Conv");

    m = build_model(17);
    x = build_binary(m->graph, "MatMul", "mm", input(m),
                     random_const(m->graph, "w", 2, DIMS(K, OLD), 1));
    declare_output(m, build_unary(m->graph, "LpNormalization", "p", x));
    expect_refused(m, NULL, MC_EUNSUP, "output 'p' comes from LpNormalization 'p'");

    m = build_model(17);
    x = build_input(m->graph, "w", MC_DTYPE_F32, 2, DIMS(K, OLD));
    declare_output(m, build_binary(m->graph, "MatMul", "mm", input(m), x));
    expect_refused(m, NULL, MC_EUNSUP, "MatMul 'mm' cannot be replaced: its weight is no constant");

    m = build_model(17);
    x = build_input(m->graph, "b", MC_DTYPE_F32, 1, DIMS(OLD));
    struct mc_value *in[] = {input(m), random_const(m->graph, "w", 2, DIMS(K, OLD), 1), x};
    declare_output(m, build_node(m->graph, "Gemm", "fc", 3, in, NULL));
    expect_refused(m, NULL, MC_EUNSUP, "the bias of 'fc' is no constant");

    m = build_model(17);
    in[0] = build_input(m->graph, "x", MC_DTYPE_F32, 4, DIMS(-1, OLD, 3, 3));
    in[1] = random_const(m->graph, "w", 4, DIMS(OLD, 1, 3, 3), 1);
    struct mc_node *n;
    x = build_node(m->graph, "Conv", "deep", 2, in, &n);
    mc_edit_attr_int(n, "group", OLD, NULL);
    declare_output(m, build_unary(m->graph, "Flatten", "p", x));
    expect_refused(m, NULL, MC_EUNSUP, "Conv 'deep' cannot be replaced: it has groups");

    m = build_model(17);
    declare_output(m, build_unary(m->graph, "Softmax", "p", input(m)));
    expect_refused(m, "q", MC_EUSAGE, "no output 'q'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_layers),
        cmocka_unit_test(shared_weights_stay),
        cmocka_unit_test(convolutions),
        cmocka_unit_test(what_stands_in_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
