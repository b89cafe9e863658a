/* test_influence_back MODEL…: influence by gradients against exact Jacobians, and against differences. */
#include "svd_util.h"

#include "formats/onnx.h"
#include "graph/run/fold.h"
#include "passes/fit/influence_back.h"

enum { ROWS = 96, IN = 7, M = 6, K = 5 };

static struct mc_err err;
static struct mc_linalg *la;
static int n_models;
static char **models;

static struct mc_influence_opts opts(int64_t samples)
{
    return (struct mc_influence_opts){.samples = samples, .seed = 5, .work = 1e12};
}

/* x -> w1 -> y [ROWS, M] -> tanh -> w2 -> z [ROWS, K], and what is behind it. */
struct net {
    struct mc_model *m;
    struct mc_value *y, *z;
    float *x;
    struct memory_data data;
};

static void open_net(struct net *n, int64_t batch)
{
    n->m = build_model(17);
    struct mc_graph *g = n->m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(batch, IN));
    n->y = build_binary(g, "MatMul", "y", x, random_const(g, "w1", 2, DIMS(IN, M), 1));
    struct mc_value *t = build_unary(g, "Tanh", "t", n->y);
    n->z = build_binary(g, "MatMul", "z", t, random_const(g, "w2", 2, DIMS(M, K), 2));
    n->x = gaussian(3, ROWS * IN);
    memory_open(&n->data, "x", ROWS, 1, DIMS(IN), n->x, NULL);
}

static void close_net(struct net *n)
{
    mc_model_free(n->m);
    free(n->x);
}

/* J of one sample is w2ᵀ diag(1 - tanh²), H the Fisher information and the even part, in double. */
static void exact(const struct net *n, int64_t rows, double *want)
{
    const float *w1 = (const float *)mc_graph_value(n->m->graph, "w1")->tensor->data;
    const float *w2 = (const float *)mc_graph_value(n->m->graph, "w2")->tensor->data;
    static double p[ROWS][K], j[ROWS][M][K];
    double even = 0;
    for (int s = 0; s < ROWS; s++) {
        double z[K] = {0}, sum = 0;
        for (int i = 0; i < M; i++) {
            double y = 0;
            for (int k = 0; k < IN; k++)
                y += (double)n->x[s * IN + k] * w1[k * M + i];
            double t = tanh(y);
            for (int k = 0; k < K; k++) {
                z[k] += t * w2[i * K + k];
                j[s][i][k] = (1 - t * t) * w2[i * K + k];
            }
        }
        for (int k = 0; k < K; k++)
            sum += exp(z[k]);
        for (int k = 0; k < K; k++) {
            p[s][k] = exp(z[k]) / sum;
            even += s < 64 ? 0.1 * (p[s][k] - p[s][k] * p[s][k]) / (64 * K) : 0;
        }
    }
    memset(want, 0, M * M * sizeof *want);
    for (int s = 0; s < rows; s++)
        for (int a = 0; a < M; a++)
            for (int b = 0; b < M; b++) {
                double pa = 0, pb = 0, both = 0;
                for (int k = 0; k < K; k++) {
                    pa += p[s][k] * j[s][a][k];
                    pb += p[s][k] * j[s][b][k];
                    both += (p[s][k] + even) * j[s][a][k] * j[s][b][k];
                }
                want[a * M + b] += (both - pa * pb) / (double)rows;
            }
}

static void expect_close(const struct mc_influence *inf, const double *want, double tolerance)
{
    double top = 0;
    assert_non_null(inf->cost);
    const float *got = mc_storage_data(inf->cost->storage);
    for (int64_t i = 0; i < inf->m; i++)
        top = fmax(top, fabs(want[i * inf->m + i]));
    for (int64_t i = 0; i < inf->m; i++)
        for (int64_t j = 0; j <= i; j++)
            if (!(fabs(got[i * inf->m + j] - want[i * inf->m + j]) <= tolerance * top))
                fail_msg("(%d,%d) is %g, not %g", (int)i, (int)j, (double)got[i * inf->m + j],
                         want[i * inf->m + j]);
}

static void exact_jacobians(void **state)
{
    (void)state;
    struct net n;
    double want[M * M];
    open_net(&n, -1);
    build_output(n.m->graph, n.z);
    exact(&n, ROWS, want);
    struct mc_influence inf = {.y = n.y, .axis = -1, .m = M};
    struct mc_influence_opts o = opts(ROWS);
    build_ok(mc_influence_back(n.m, &n.data.d, la, &inf, 1, &o, &err), &err);
    expect_close(&inf, want, 1e-4);
    assert_int_equal(inf.samples, ROWS);
    mc_tensor_unref(inf.cost);
    close_net(&n);
}

/* One vector a sample, of random signs: right on the average. */
static void few_vectors(void **state)
{
    (void)state;
    struct net n;
    double want[M * M], trace = 0;
    open_net(&n, -1);
    build_output(n.m->graph, n.z);
    exact(&n, ROWS, want);
    struct mc_influence inf = {.y = n.y, .axis = -1, .m = M};
    struct mc_influence_opts o = opts(ROWS);
    o.work = 1; /* LEAST_SAMPLES of them */
    build_ok(mc_influence_back(n.m, &n.data.d, la, &inf, 1, &o, &err), &err);
    assert_int_equal(inf.samples, 16);
    mc_tensor_unref(inf.cost);
    double sum = 0;
    enum { SEEDS = 40 };
    for (int s = 0; s < SEEDS; s++) {
        inf = (struct mc_influence){.y = n.y, .axis = -1, .m = M};
        o.seed = (uint64_t)s;
        build_ok(mc_influence_back(n.m, &n.data.d, la, &inf, 1, &o, &err), &err);
        sum += inf.mean / SEEDS;
        mc_tensor_unref(inf.cost);
    }
    exact(&n, 16, want);
    for (int i = 0; i < M; i++)
        trace += want[i * M + i] / M;
    assert_true(fabs(sum / trace - 1) < 0.1); /* 640 signs a direction: 3 deviations are 0.07 */
    close_net(&n);
}

/* Two values that are added have one gradient; an output that is a value itself; one value along two axes. */
static void shared_gradients(void **state)
{
    (void)state;
    struct net n;
    open_net(&n, -1);
    struct mc_graph *g = n.m->graph;
    struct mc_value *x = g->inputs[0];
    struct mc_value *u =
        build_binary(g, "MatMul", "u", x, random_const(g, "w3", 2, DIMS(IN, K), 4));
    struct mc_value *sum = build_binary(g, "Add", "sum", u, n.z);
    build_output(g, sum);
    struct mc_influence inf[] = {{.y = n.z, .axis = -1, .m = K},
                                 {.y = u, .axis = -1, .m = K},
                                 {.y = sum, .axis = -1, .m = K},
                                 {.y = u, .axis = 0, .m = 64}};
    struct mc_influence_opts o = opts(64);
    build_ok(mc_influence_back(n.m, &n.data.d, la, inf, 4, &o, &err), &err);
    for (int i = 1; i < 3; i++)
        assert_memory_equal(mc_storage_data(inf[i].cost->storage),
                            mc_storage_data(inf[0].cost->storage), K * K * sizeof(float));
    assert_true(fabs(inf[3].mean * 64 / (inf[0].mean * K) - 1) < 1e-4);
    for (int i = 0; i < 4; i++)
        mc_tensor_unref(inf[i].cost);
    close_net(&n);
}

/* What lies above an operator without a rule goes by differences, the rest by gradients. */
static void operators_without_a_rule(void **state)
{
    (void)state;
    struct net n;
    open_net(&n, -1);
    struct mc_graph *g = n.m->graph;
    struct mc_value *v = mc_edit_value(g, "normal");
    build_ok(mc_edit_opset(n.m, "ai.onnx.ml", 1, &err), &err);
    build_ok(mc_edit_node(g, g->n_nodes, "Normalizer", "ai.onnx.ml", 0, "normal", &n.z, 1, &v, 1,
                          NULL, &err),
             &err);
    struct mc_value *w = build_binary(g, "MatMul", "w", v, random_const(g, "w4", 2, DIMS(K, K), 6));
    build_output(g, build_unary(g, "Tanh", "end", w));
    struct mc_influence inf[] = {{.y = n.y, .axis = -1, .m = M}, {.y = w, .axis = -1, .m = K}};
    struct mc_influence_opts o = opts(ROWS);
    build_ok(mc_influence_back(n.m, &n.data.d, la, inf, 2, &o, &err), &err);
    assert_int_equal(inf[0].samples, 0);
    assert_null(inf[0].cost);
    assert_int_equal(inf[1].samples, ROWS);
    mc_tensor_unref(inf[1].cost);
    inf[1] = (struct mc_influence){.y = w, .axis = -1, .m = K};
    build_ok(mc_influence_measure(n.m, &n.data.d, la, inf, 2, &o, &err), &err);
    assert_true(inf[0].samples > 0 && inf[0].mean > 0);
    mc_tensor_unref(inf[0].cost);
    mc_tensor_unref(inf[1].cost);
    /* and with nothing behind it */
    inf[0] = (struct mc_influence){.y = n.y, .axis = -1, .m = M};
    assert_int_equal(mc_influence_back(n.m, &n.data.d, la, inf, 1, &o, &err), MC_EUNSUP);
    close_net(&n);
}

/* A batch frozen to 16: five of them and a half in 88 samples. */
static void frozen_batch(void **state)
{
    (void)state;
    struct net n;
    double want[M * M];
    open_net(&n, 16);
    build_output(n.m->graph, n.z);
    exact(&n, 80, want);
    struct mc_influence inf = {.y = n.y, .axis = -1, .m = M};
    struct mc_influence_opts o = opts(88);
    build_ok(mc_influence_back(n.m, &n.data.d, la, &inf, 1, &o, &err), &err);
    assert_int_equal(inf.samples, 80);
    expect_close(&inf, want, 1e-4);
    mc_tensor_unref(inf.cost);
    close_net(&n);
}

/* ---- reference models ---- */

static size_t list(const struct mc_model *m, struct mc_influence *inf, size_t most)
{
    size_t n = 0;
    for (size_t i = m->graph->n_nodes; i-- > 0 && n < most;) {
        const struct mc_node *node = m->graph->nodes[i];
        bool conv = mc_node_is(node, "Conv");
        const struct mc_tensor *w = node->n_in > 1 ? mc_constant(node->in[1]) : NULL;
        if (!w || (!conv && !mc_node_is(node, "Gemm") && !mc_node_is(node, "MatMul")))
            continue;
        bool rows = conv || mc_node_int(node, "transB", 0);
        inf[n] = (struct mc_influence){.y = node->out[0], .axis = conv ? 1 : -1};
        inf[n].m = w->shape.dim[rows ? 0 : w->shape.rank - 1];
        n += inf[n].m <= 64;
    }
    return n;
}

/* How much two matrices are one: 1 for multiples of each other. */
static double alike(const struct mc_influence *a, const struct mc_influence *b)
{
    double ab = 0, aa = 0, bb = 0;
    const float *x = mc_storage_data(a->cost->storage), *y = mc_storage_data(b->cost->storage);
    for (int64_t i = 0; i < a->m; i++)
        for (int64_t j = 0; j <= i; j++) {
            double twice = i == j ? 1 : 2, u = x[i * a->m + j], v = y[i * a->m + j];
            ab += twice * u * v;
            aa += twice * u * u;
            bb += twice * v * v;
        }
    return ab / sqrt(aa * bb);
}

/* The last layers, by gradients and by differences: these move as far as a truncation does, over kinks, and draw
 * signs for positions. */
static void agrees_with_differences(void **state)
{
    (void)state;
    enum { SAMPLES_HERE = 48, LAYERS = 4 };
    assert_true(n_models > 0);
    for (int i = 0; i < n_models; i++) {
        struct mc_model *m;
        struct mc_influence a[LAYERS], b[LAYERS];
        build_ok(mc_onnx_read(models[i], &m, &err), &err);
        build_ok(mc_prepare(m, NULL, &err), &err);
        const struct mc_value *in = m->graph->inputs[0];
        int64_t dims[4];
        for (int k = 1; k < in->type.rank; k++)
            dims[k - 1] = in->type.dim[k].value;
        struct mc_shape shape = mc_shape_of(in->type.rank - 1, dims);
        int64_t row = mc_shape_count(&shape);
        float *x = malloc((size_t)(SAMPLES_HERE * row) * sizeof *x);
        assert_non_null(x);
        mc_rng_fill_uniform(1, 0, 0, x, (size_t)(SAMPLES_HERE * row));
        struct memory_data d;
        memory_open(&d, in->name, SAMPLES_HERE, shape.rank, dims, x, NULL);
        size_t n = list(m, a, LAYERS);
        memcpy(b, a, sizeof b);
        assert_true(n > 0);
        struct mc_influence_opts o = opts(SAMPLES_HERE);
        build_ok(mc_influence_measure(m, &d.d, la, a, n, &o, &err), &err);
        o.differences = true;
        build_ok(mc_influence_measure(m, &d.d, la, b, n, &o, &err), &err);
        for (size_t k = 0; k < n; k++) {
            double ratio = a[k].mean / b[k].mean, same = alike(&a[k], &b[k]);
            if (!(ratio > 0.5 && ratio < 2 && same > 0.5))
                fail_msg("%s, '%s': %.3f times the mean, alike to %.3f", models[i], a[k].y->name,
                         ratio, same);
            mc_tensor_unref(a[k].cost);
            mc_tensor_unref(b[k].cost);
        }
        free(x);
        mc_model_free(m);
    }
}

static void threads_change_nothing(void **state)
{
    (void)state;
    struct net n;
    open_net(&n, -1);
    build_output(n.m->graph, n.z);
    float first[M * M];
    for (int threads = 1; threads <= 3; threads += 2) {
        struct mc_influence inf = {.y = n.y, .axis = -1, .m = M};
        struct mc_influence_opts o = opts(ROWS);
        build_ok(mc_pool_new(threads, &o.pool, &err), &err);
        build_ok(mc_influence_back(n.m, &n.data.d, la, &inf, 1, &o, &err), &err);
        if (threads == 1)
            memcpy(first, mc_storage_data(inf.cost->storage), sizeof first);
        assert_memory_equal(mc_storage_data(inf.cost->storage), first, sizeof first);
        mc_tensor_unref(inf.cost);
        mc_pool_free(o.pool);
    }
    close_net(&n);
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

int main(int argc, char **argv)
{
    n_models = argc - 1;
    models = argv + 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_jacobians),
        cmocka_unit_test(few_vectors),
        cmocka_unit_test(shared_gradients),
        cmocka_unit_test(operators_without_a_rule),
        cmocka_unit_test(frozen_batch),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(agrees_with_differences),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
