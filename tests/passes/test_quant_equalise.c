/* Ranges of channels evened out between layers: the same numbers, and weights that one scale a tensor can hold.
 *   test_quant_equalise [SEED]     one random network */
#include "quant_same.h"

#include "passes/quant/repair/quant_repair.h"

static uint64_t only_seed;

static size_t equalise(struct mc_model *m)
{
    struct mc_err err;
    size_t layers;
    build_ok(mc_quant_equalise(m, &layers, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    return layers;
}

/* Every weight of more than one axis becomes what int8 with one scale for all leaves of it. */
static struct mc_model *rounded(const struct mc_model *of)
{
    struct mc_model *m = quant_clone(of);
    for (size_t i = 0; i < m->graph->n_inits; i++) {
        struct mc_value *v = m->graph->inits[i];
        struct mc_tensor *t;
        float *x, most = 0;
        int64_t n;
        if (v->tensor->shape.rank < 2 || v->tensor->dtype != MC_DTYPE_F32)
            continue;
        assert_int_equal(mc_constant_f32(v, &x, &n, NULL), 0);
        for (int64_t k = 0; k < n; k++)
            most = fmaxf(most, fabsf(x[k]));
        for (int64_t k = 0; k < n; k++)
            x[k] = rintf(x[k] / most * 127) * most / 127;
        assert_int_equal(mc_constant_make(x, &v->tensor->shape, MC_DTYPE_F32, NULL, &t, NULL), 0);
        free(x);
        assert_int_equal(mc_constant_replace(v, t, NULL), 0);
        mc_tensor_unref(t);
    }
    return m;
}

/* ---- a depthwise network whose channels' ranges differ by 1000 ---- */

static struct mc_value *uneven(struct rg *r, int rank, const int64_t *d, double decades, bool inner)
{
    struct mc_value *v = rg_plain(r, rank, d, 0.5, 0);
    float *x = mc_storage_data(v->tensor->storage);
    int64_t n = mc_tensor_count(v->tensor), out = d[0], each = n / out;
    int64_t taps = rank > 2 ? d[2] * d[3] : 1;
    for (int64_t i = 0; i < n; i++) {
        int64_t c = inner ? i % each / taps : i / each, of = inner ? d[1] : out;
        x[i] *= (float)pow(10, decades * (double)c / (double)of);
    }
    return v;
}

static struct mc_value *conv(struct rg *r, struct mc_value *x, struct mc_value *w, int64_t group,
                             bool bias)
{
    struct mc_node *n;
    struct mc_value *in[3] = {x, w,
                              bias ? rg_plain(r, 1, &w->tensor->shape.dim[0], 0.01, 0) : NULL};
    x = build_node(r->g, "Conv", "conv", bias ? 3 : 2, in, &n);
    rg_int(n, "group", group);
    return x;
}

static struct mc_model *depthwise(uint64_t seed, const char *act)
{
    struct rg r = {.seed = seed, .opset = 17};
    struct mc_node *n;
    r.m = build_model(17);
    r.g = r.m->graph;
    struct mc_value *x = build_input(r.g, "x", MC_DTYPE_F32, 4, D(2, 3, 9, 9));
    x = build_unary(r.g, act, "act",
                    conv(&r, x, uneven(&r, 4, D(16, 3, 1, 1), -3, false), 1, true));
    x = conv(&r, x, uneven(&r, 4, D(16, 1, 3, 3), 3, false), 16, rg_chance(&r, 50));
    x = build_unary(r.g, act, "act", x);
    x = conv(&r, x, uneven(&r, 4, D(8, 16, 1, 1), 0, false), 1, true);
    struct mc_value *in[3] = {
        build_unary(r.g, "GlobalAveragePool", "pool", build_unary(r.g, act, "act", x))};
    in[0] = build_unary(r.g, "Flatten", "flat", in[0]);
    in[1] = rg_plain(&r, 2, D(8, 5), 0.5, 0);
    build_output(r.g, build_node(r.g, "MatMul", "head", 2, in, &n));
    return r.m;
}

static void one_scale_a_tensor_becomes_enough(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 10; seed++) {
        struct mc_model *a = depthwise(seed, "Relu"), *b = quant_clone(a);
        assert_int_equal(equalise(b), 3);
        quant_expect_same(a, b, 4, D(2, 3, 9, 9), seed, 1e-5);
        struct mc_model *p = rounded(a), *q = rounded(b);
        double before = quant_difference(a, p, 4, D(2, 3, 9, 9), seed);
        double after = quant_difference(a, q, 4, D(2, 3, 9, 9), seed);
        print_message("seed %d: %g becomes %g\n", (int)seed, before, after);
        assert_true(before > 0.05 && after < before / 5);
        mc_model_free(a);
        mc_model_free(b);
        mc_model_free(p);
        mc_model_free(q);
    }
}

static void other_activations_are_in_the_way(void **state)
{
    (void)state;
    static const struct {
        const char *act;
        size_t pairs;
    } c[] = {{"Sigmoid", 0}, {"Identity", 3}, {"LeakyRelu", 3}, {"Elu", 0}};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        struct mc_model *a = depthwise(3, c[i].act), *b = quant_clone(a);
        assert_int_equal(equalise(b), c[i].pairs);
        quant_expect_same(a, b, 4, D(2, 3, 9, 9), i, 1e-5);
        mc_model_free(a);
        mc_model_free(b);
    }
}

/* ---- what becomes of the ranges ---- */

static float range(const struct mc_value *v, int axis, int64_t c)
{
    float most = 0, *x;
    int64_t n, inner = 1;
    const struct mc_shape *s = &mc_constant(v)->shape;
    assert_int_equal(mc_constant_f32(v, &x, &n, NULL), 0);
    for (int d = axis + 1; d < s->rank; d++)
        inner *= s->dim[d];
    for (int64_t i = 0; i < n; i++)
        if (i / inner % s->dim[axis] == c)
            most = fmaxf(most, fabsf(x[i]));
    free(x);
    return most;
}

/* MatMul + Add, Relu, Gemm: nine channels, one of them dead. */
static void both_layers_get_the_same_ranges(void **state)
{
    (void)state;
    struct rg r = {.seed = 8, .opset = 17};
    r.m = build_model(17);
    r.g = r.m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(r.g, "x", MC_DTYPE_F32, 2, D(3, 4));
    struct mc_value *a = uneven(&r, 2, D(4, 9), 2, true);
    float *w = mc_storage_data(a->tensor->storage);
    for (int i = 0; i < 4; i++)
        w[i * 9 + 5] = 0;
    x = build_binary(r.g, "MatMul", "a", x, a);
    x = build_binary(r.g, "Add", "sum", rg_plain(&r, 2, D(1, 9), 1, 0), x);
    struct mc_value *b = uneven(&r, 2, D(6, 9), 0, true),
                    *in[2] = {build_unary(r.g, "Relu", "relu", x), b};
    x = build_node(r.g, "Gemm", "b", 2, in, &n);
    rg_int(n, "transB", 1);
    build_output(r.g, x);
    struct mc_model *m = quant_clone(r.m);
    assert_int_equal(equalise(m), 1);
    quant_expect_same(r.m, m, 2, D(3, 4), 1, 1e-6);
    const struct mc_node *first = m->graph->nodes[0], *last = m->graph->nodes[3];
    for (int64_t c = 0; c < 9; c++) {
        float p = range(first->in[1], 1, c), q = range(last->in[1], 1, c);
        assert_true(c == 5 ? p == 0 : fabsf(p - q) < 0.02f * p);
    }
    mc_model_free(m);
    mc_model_free(r.m);
}

static void networks_compute_the_same(void **state)
{
    (void)state;
    size_t pairs = 0;
    for (uint64_t seed = only_seed ? only_seed : 1; seed < (only_seed ? only_seed + 1 : 250);
         seed++) {
        struct rg r;
        struct rv x;
        struct mc_err err;
        int64_t dims[RG_RANK];
        size_t layers;
        rg_network(&r, seed, &x);
        for (int i = 0; i < x.rank; i++)
            dims[i] = x.d[i] == RG_BATCH ? RG_SAMPLES : x.d[i];
        build_ok(mc_verify(r.m, &err), &err);
        build_ok(mc_prepare(r.m, NULL, &err), &err);
        struct mc_model *m = quant_clone(r.m);
        build_ok(mc_quant_fold_norms(m, &layers, &err), &err);
        pairs += equalise(m);
        quant_expect_same(r.m, m, x.rank, dims, seed, 2e-5);
        mc_model_free(m);
        mc_model_free(r.m);
    }
    print_message("%zu pairs\n", pairs);
    assert_true(only_seed || pairs > 30);
}

int main(int argc, char **argv)
{
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_scale_a_tensor_becomes_enough),
        cmocka_unit_test(other_activations_are_in_the_way),
        cmocka_unit_test(both_layers_get_the_same_ranges),
        cmocka_unit_test(networks_compute_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
