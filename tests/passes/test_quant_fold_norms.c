/* Norms and constants folded into layers: the same numbers from fewer nodes.
 *   test_quant_fold_norms [SEED]     one random network */
#include "quant_same.h"

#include "passes/quant/repair/quant_repair.h"

static uint64_t only_seed;

static size_t fold(struct mc_model *m)
{
    struct mc_err err;
    size_t layers;
    build_ok(mc_quant_fold_norms(m, &layers, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    return layers;
}

/* ---- chains drawn at random, which fold as a whole ---- */

static struct mc_value *weight(struct rg *r, enum mc_dtype t, int rank, const int64_t *d,
                               double scale, double middle)
{
    struct mc_value *v = rg_plain(r, rank, d, scale, middle);
    struct mc_tensor *made;
    float *x;
    int64_t n;
    if (t == MC_DTYPE_F32)
        return v;
    assert_int_equal(mc_constant_f32(v, &x, &n, NULL), 0);
    assert_int_equal(mc_constant_make(x, &mc_constant(v)->shape, t, NULL, &made, NULL), 0);
    free(x);
    v = mc_edit_constant(r->g, "half", made);
    mc_tensor_unref(made);
    return v;
}

struct layer {
    enum mc_dtype t;
    int spatial; /* axes behind the channels */
    int64_t channels;
    struct mc_value *y;
};

static struct mc_value *conv(struct rg *r, struct mc_value *x, int64_t from, struct layer *l)
{
    bool back = rg_chance(r, 40);
    int64_t groups = rg_chance(r, 50) ? 2 : 1, d[5] = {l->channels, from / groups, 3, 2, 3};
    struct mc_value *in[3] = {x};
    struct mc_node *n;
    if (back) {
        d[0] = from;
        d[1] = l->channels / groups;
    }
    in[1] = weight(r, l->t, 2 + l->spatial, d, 0.3, 0);
    bool bias = rg_chance(r, 50);
    if (bias)
        in[2] = weight(r, l->t, 1, &l->channels, 1, 0);
    x = build_node(r->g, back ? "ConvTranspose" : "Conv", "conv", bias ? 3 : 2, in, &n);
    rg_int(n, "group", groups);
    if (rg_chance(r, 50))
        rg_list(n, "pads", 2 * l->spatial, D(1, 1, 1, 1, 1, 1));
    return x;
}

static struct mc_value *dense(struct rg *r, struct mc_value *x, int64_t from, struct layer *l)
{
    struct mc_value *in[3] = {x};
    struct mc_node *n;
    bool across = rg_chance(r, 50);
    in[1] = weight(r, l->t, 2, across ? D(l->channels, from) : D(from, l->channels), 0.5, 0);
    if (!across && rg_chance(r, 50))
        return build_node(r->g, "MatMul", "product", 2, in, &n);
    bool bias = rg_chance(r, 50);
    if (bias)
        in[2] = weight(r, l->t, rg_chance(r, 50) ? 1 : 2, D(1, l->channels) + 1, 1, 0);
    if (bias && mc_constant(in[2])->shape.rank == 2)
        in[2] = weight(r, l->t, 2, D(1, l->channels), 1, 0);
    x = build_node(r->g, "Gemm", "gemm", bias ? 3 : 2, in, &n);
    rg_int(n, "transB", across);
    return x;
}

static struct mc_value *affine(struct rg *r, struct mc_value *x, const struct layer *l)
{
    static const char *const op[] = {"Mul", "Add", "Sub", "Div"};
    struct mc_value *in[5] = {x};
    struct mc_node *n;
    int64_t d[5] = {1, l->channels, 1, 1, 1};
    if (rg_chance(r, 40)) {
        for (int i = 1; i < 5; i++)
            in[i] = weight(r, l->t, 1, &l->channels, 0.2, i == 1 || i == 4 ? 1.5 : 0.3);
        return build_node(r->g, "BatchNormalization", "norm", 5, in, &n);
    }
    uint32_t which = rg_below(r, 4);
    bool leading = rg_chance(r, 50), one = rg_chance(r, 20);
    in[1] = one ? weight(r, l->t, 0, NULL, 0.2, 1.3)
                : weight(r, l->t, l->spatial + 1 + leading, d + !leading, 0.2, 1.3);
    bool swap = which < 3 && rg_chance(r, 40);
    struct mc_value *two[2] = {in[swap], in[!swap]};
    return build_node(r->g, op[which], op[which], 2, two, &n);
}

static void chains_become_one_layer(void **state)
{
    (void)state;
    for (uint64_t seed = only_seed ? only_seed : 1; seed < (only_seed ? only_seed + 1 : 150);
         seed++) {
        struct rg r = {.seed = seed, .opset = 17};
        r.m = build_model(17);
        r.g = r.m->graph;
        struct layer l = {.t = rg_chance(&r, 25) ? MC_DTYPE_F16 : MC_DTYPE_F32,
                          .spatial = (int)rg_below(&r, 4),
                          .channels = 2 + 2 * (int64_t)rg_below(&r, 3)};
        int64_t dims[5] = {2, 4, 5, 4, 5};
        struct mc_value *x = build_input(r.g, "x", l.t, 2 + l.spatial, dims);
        x = l.spatial ? conv(&r, x, 4, &l) : dense(&r, x, 4, &l);
        bool matmul = mc_node_is(x->producer, "MatMul");
        int n = (int)rg_below(&r, 4);
        for (int i = 0; i < n; i++)
            x = affine(&r, x, &l);
        build_output(r.g, x);
        struct mc_model *m = quant_clone(r.m);
        size_t nodes = m->graph->n_nodes;
        if (fold(m))
            assert_true(m->graph->n_nodes < nodes || quant_count(m, "Add"));
        if (!(m->graph->n_nodes <= (matmul ? 2 : 1)))
            fail_msg("seed %llu: %zu nodes are left", (unsigned long long)seed, m->graph->n_nodes);
        assert_int_equal(fold(m), 0);
        for (size_t i = 0; i < m->graph->n_inits; i++)
            assert_int_equal(m->graph->inits[i]->tensor->dtype, l.t);
        quant_expect_same(r.m, m, 2 + l.spatial, dims, seed, l.t == MC_DTYPE_F16 ? 2e-2 : 3e-6);
        mc_model_free(m);
        mc_model_free(r.m);
    }
}

static void networks_compute_the_same(void **state)
{
    (void)state;
    size_t folded = 0;
    for (uint64_t seed = only_seed ? only_seed : 1; seed < (only_seed ? only_seed + 1 : 200);
         seed++) {
        struct rg r;
        struct rv x;
        struct mc_err err;
        int64_t dims[RG_RANK];
        rg_network(&r, seed, &x);
        for (int i = 0; i < x.rank; i++)
            dims[i] = x.d[i] == RG_BATCH ? RG_SAMPLES : x.d[i];
        build_ok(mc_verify(r.m, &err), &err);
        build_ok(mc_prepare(r.m, NULL, &err), &err);
        struct mc_model *m = quant_clone(r.m);
        folded += fold(m);
        quant_expect_same(r.m, m, x.rank, dims, seed, 1e-5);
        mc_model_free(m);
        mc_model_free(r.m);
    }
    print_message("%zu layers\n", folded);
    assert_true(only_seed || folded > 50);
}

/* ---- in front of a convolution ---- */

static struct mc_model *shifted(bool padded, int64_t inputs, const char *op)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, D(2, inputs, 5, 5));
    struct mc_value *in[2] = {build_binary(g, op, "op", x, random_const(g, "c", 3, D(4, 1, 1), 3)),
                              random_const(g, "w", 4, D(6, 2, 3, 3), 4)};
    struct mc_value *y = build_node(g, "Conv", "conv", 2, in, &n);
    rg_int(n, "group", 2);
    if (padded)
        rg_list(n, "pads", 4, D(1, 1, 0, 0));
    build_output(g, y);
    return m;
}

static void what_stands_before_a_convolution_folds_where_that_is_exact(void **state)
{
    (void)state;
    static const struct {
        const char *op;
        bool padded;
        int64_t inputs;
        size_t left;
    } c[] = {{"Mul", true, 4, 1}, {"Div", true, 4, 1},  {"Add", false, 4, 1},
             {"Sub", true, 4, 2}, {"Mul", false, 1, 2}, {"Sub", false, 4, 1}};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        struct mc_model *a = shifted(c[i].padded, c[i].inputs, c[i].op), *b = quant_clone(a);
        fold(b);
        assert_int_equal(b->graph->n_nodes, c[i].left);
        quant_expect_same(a, b, 4, D(2, c[i].inputs, 5, 5), i, 1e-5);
        mc_model_free(a);
        mc_model_free(b);
    }
}

/* ---- what stays ---- */

static struct mc_model *two_layers(bool share, bool read_between, float factor, enum mc_dtype t)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct rg r = {.seed = 5, .g = g, .m = m};
    struct mc_value *x = build_input(g, "x", t, 2, D(2, 3));
    struct mc_value *w = weight(&r, t, 2, D(3, 3), 1, 0);
    struct mc_value *y = build_binary(g, "MatMul", "a", x, w);
    struct mc_value *s = weight(&r, t, 1, D(3), 0, factor);
    struct mc_value *z = build_binary(g, "Mul", "scaled", y, s);
    if (read_between)
        z = build_binary(g, "Add", "sum", z, y);
    if (share)
        z = build_binary(g, "MatMul", "b", z, w);
    build_output(g, z);
    return m;
}

static void what_others_read_is_left(void **state)
{
    (void)state;
    struct mc_model *m = two_layers(false, false, 2, MC_DTYPE_F32);
    assert_int_equal(fold(m), 1);
    mc_model_free(m);
    m = two_layers(true, false, 2, MC_DTYPE_F32);
    assert_int_equal(fold(m), 0);
    mc_model_free(m);
    m = two_layers(false, true, 2, MC_DTYPE_F32);
    assert_int_equal(fold(m), 0);
    mc_model_free(m);
    m = two_layers(false, false, 60000, MC_DTYPE_F16); /* above its largest number */
    assert_int_equal(fold(m), 0);
    mc_model_free(m);
    m = two_layers(false, false, NAN, MC_DTYPE_F32);
    assert_int_equal(fold(m), 0);
    mc_model_free(m);
}

/* A constant that others read, too, stays for them. */
static void a_shared_bias_is_not_changed_for_others(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, D(2, 3));
    struct mc_value *b = random_const(g, "b", 1, D(3), 1), *z[2];
    for (int i = 0; i < 2; i++) {
        struct mc_value *in[3] = {x, random_const(g, "w", 2, D(3, 3), 2 + (uint64_t)i), b};
        z[i] = build_node(g, "Gemm", "gemm", 3, in, &n);
        z[i] = build_binary(g, "Mul", "scaled", z[i], random_const(g, "s", 1, D(3), 5));
    }
    build_output(g, build_binary(g, "Add", "sum", z[0], z[1]));
    struct mc_model *f = quant_clone(m);
    assert_int_equal(fold(f), 2);
    assert_int_equal(f->graph->n_nodes, 3);
    quant_expect_same(m, f, 2, D(2, 3), 1, 1e-6);
    mc_model_free(m);
    mc_model_free(f);
}

int main(int argc, char **argv)
{
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_become_one_layer),
        cmocka_unit_test(networks_compute_the_same),
        cmocka_unit_test(what_stands_before_a_convolution_folds_where_that_is_exact),
        cmocka_unit_test(what_others_read_is_left),
        cmocka_unit_test(a_shared_bias_is_not_changed_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
