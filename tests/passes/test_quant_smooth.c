/* Channels of inputs scaled down and their weights up: the same numbers, and outliers that one scale can hold.
 *   test_quant_smooth [SEED]     one random transformer block */
#include "quant_same.h"

#include "../run/memory_data.h"

#include "passes/quant/repair/quant_repair.h"

enum { SAMPLES = 16, TOKENS = 5, WIDTH = 12 };

static uint64_t only_seed;
static struct mc_err err;

static struct mc_quant_stats *collect(struct mc_model *m, const char *const *name, size_t n)
{
    static struct memory_data data;
    static float x[SAMPLES * TOKENS * WIDTH];
    struct mc_quant_want want[16];
    struct mc_quant_stats *s;
    mc_rng_fill_normal(5, 9, 0, x, SAMPLES * TOKENS * WIDTH);
    memory_open(&data, "x", SAMPLES, 2, D(TOKENS, WIDTH), x, NULL);
    struct mc_pass_ctx ctx = {.calib = &data.d, .calib_count = SAMPLES};
    for (size_t i = 0; i < n; i++)
        want[i] = (struct mc_quant_want){name[i], 2};
    build_ok(mc_quant_stats_collect(&ctx, m, want, n, &s, &err), &err);
    return s;
}

static size_t smooth(struct mc_model *m, const char *const *name, size_t n)
{
    struct mc_quant_stats *s = collect(m, name, n);
    size_t layers;
    build_ok(mc_quant_smooth(m, s, 0.5, &layers, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    mc_quant_stats_free(s);
    return layers;
}

/* ---- blocks ---- */

/* About 1, but for channels 3 and 7: a hundred times as much. */
static struct mc_value *outliers(struct rg *r, double middle)
{
    struct mc_value *v = rg_plain(r, 1, D(WIDTH), 0.1, middle);
    float *x = mc_storage_data(v->tensor->storage);
    x[3] *= 100;
    x[7] *= 100;
    return v;
}

static struct mc_value *dense(struct rg *r, struct mc_value *x, int64_t from, int64_t to)
{
    x = build_binary(r->g, "MatMul", "product", x, rg_plain(r, 2, D(from, to), 0.3, 0));
    return rg_chance(r, 50) ? x
                            : build_binary(r->g, "Add", "sum", x, rg_plain(r, 1, D(to), 0.3, 0));
}

enum kind { NORM, NORM_WITHOUT_SHIFT, FACTOR, LAYER, KINDS };

static struct mc_value *uneven(struct rg *r, struct mc_value *x, enum kind kind)
{
    struct mc_value *in[3] = {x, outliers(r, 1), outliers(r, 0.5)};
    struct mc_node *n;
    if (kind == NORM || kind == NORM_WITHOUT_SHIFT)
        return build_node(r->g, "LayerNormalization", "h", kind == NORM ? 3 : 2, in, &n);
    if (kind == FACTOR) {
        x = build_binary(r->g, "Mul", "scaled", in[1], x);
        return build_binary(r->g, "Sub", "h", x, in[2]);
    }
    in[1] = rg_plain(r, 2, D(WIDTH, WIDTH), 0.3, 0);
    float *w = mc_storage_data(in[1]->tensor->storage);
    for (int i = 0; i < WIDTH; i++)
        w[i * WIDTH + 3] *= 100;
    x = build_binary(r->g, "MatMul", "first", x, in[1]);
    x = build_binary(r->g, "Add", "biased", x, in[2]);
    return build_unary(r->g, "Relu", "h", x);
}

/* Three products read h. */
static struct mc_model *block(uint64_t seed, enum kind kind, bool read_otherwise)
{
    struct rg r = {.seed = seed, .opset = 17};
    r.m = build_model(17);
    r.g = r.m->graph;
    struct mc_value *x = build_input(r.g, "x", MC_DTYPE_F32, 3, D(-1, TOKENS, WIDTH));
    struct mc_value *h = uneven(&r, x, kind), *y[3];
    for (int i = 0; i < 3; i++)
        y[i] = dense(&r, h, WIDTH, 6);
    x = build_binary(r.g, "Add", "join", build_binary(r.g, "Mul", "gate", y[0], y[1]), y[2]);
    x = dense(&r, x, 6, WIDTH);
    if (read_otherwise)
        x = build_binary(r.g, "Add", "residual", x, h);
    build_output(r.g, x);
    build_ok(mc_verify(r.m, &err), &err);
    return r.m;
}

static const char *const wanted[] = {"h"};

static double spread(struct mc_model *m, const char *const *name)
{
    struct mc_quant_stats *s = collect(m, name, 1);
    const struct mc_quant_stat *t = mc_quant_stats_of(s, name[0]);
    double low = INFINITY, high = 0;
    for (int64_t c = 0; c < WIDTH; c++) {
        double r = fmax(fabs((double)t->ch_min[c]), fabs((double)t->ch_max[c]));
        low = fmin(low, r);
        high = fmax(high, r);
    }
    mc_quant_stats_free(s);
    return high / low;
}

static void outliers_go_into_the_weights(void **state)
{
    (void)state;
    for (uint64_t seed = only_seed ? only_seed : 1; seed < (only_seed ? only_seed + 1 : 9); seed++)
        for (int kind = 0; kind < KINDS; kind++) {
            struct mc_model *a = block(seed, kind, false), *b = quant_clone(a);
            assert_int_equal(smooth(b, wanted, 1), 3);
            assert_int_equal(a->graph->n_nodes, b->graph->n_nodes);
            quant_expect_same(a, b, 3, D(2, TOKENS, WIDTH), seed, 2e-6);
            double before = spread(a, wanted), after = spread(b, wanted);
            if (!(before > 30 && after < 4 * sqrt(before)))
                fail_msg("seed %d, kind %d: ranges differ by %g, not %g", (int)seed, kind, after,
                         before);
            mc_model_free(a);
            mc_model_free(b);
        }
}

/* Products read it divided, the sum as it was. */
static void what_others_read_gets_a_node_of_its_own(void **state)
{
    (void)state;
    static const char *const smoothed[] = {"smoothed"};
    struct mc_model *a = block(3, NORM, true), *b = quant_clone(a);
    assert_int_equal(smooth(b, wanted, 1), 3);
    assert_int_equal(quant_count(b, "Mul"), quant_count(a, "Mul") + 1);
    quant_expect_same(a, b, 3, D(2, TOKENS, WIDTH), 3, 2e-6);
    assert_true(spread(a, wanted) == spread(b, wanted));
    assert_true(spread(b, smoothed) < 4 * sqrt(spread(a, wanted)));
    mc_model_free(a);
    mc_model_free(b);
}

/* Nothing is to be gained where channels are alike. */
static void even_channels_are_left(void **state)
{
    (void)state;
    struct rg r = {.seed = 9, .opset = 17};
    r.m = build_model(17);
    r.g = r.m->graph;
    struct mc_value *x = build_input(r.g, "x", MC_DTYPE_F32, 3, D(-1, TOKENS, WIDTH));
    x = build_unary(r.g, "Tanh", "h", x);
    build_output(r.g, dense(&r, x, WIDTH, 6));
    assert_int_equal(smooth(r.m, wanted, 1), 0);
    mc_model_free(r.m);
}

/* s is |x|^0.5 / |W|^0.5 up to a factor that all channels share. */
static void factors_are_those_of_the_paper(void **state)
{
    (void)state;
    struct mc_model *a = block(4, FACTOR, false), *b = quant_clone(a);
    struct mc_quant_stats *s = collect(a, wanted, 1);
    const struct mc_quant_stat *t = mc_quant_stats_of(s, "h");
    assert_int_equal(smooth(b, wanted, 1), 3);
    double largest[WIDTH] = {0}, first = 0;
    for (size_t i = 0; i < a->graph->n_nodes; i++) {
        const struct mc_node *n = a->graph->nodes[i];
        if (!mc_node_is(n, "MatMul") || strcmp(n->in[0]->name, "h") != 0)
            continue;
        const float *w = (const float *)mc_constant(n->in[1])->data;
        for (int k = 0; k < WIDTH * 6; k++)
            largest[k / 6] = fmax(largest[k / 6], fabs((double)w[k]));
    }
    const float *was = (const float *)mc_constant(a->graph->nodes[0]->in[0])->data;
    const float *is = (const float *)mc_constant(b->graph->nodes[0]->in[0])->data;
    for (int c = 0; c < WIDTH; c++) {
        double x = fmax(fabs((double)t->ch_min[c]), fabs((double)t->ch_max[c]));
        double want = sqrt(x / largest[c]), got = (double)was[c] / (double)is[c];
        first = c ? first : got / want;
        assert_true(fabs(got / want - first) < 1e-5 * first);
    }
    mc_quant_stats_free(s);
    mc_model_free(a);
    mc_model_free(b);
}

int main(int argc, char **argv)
{
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outliers_go_into_the_weights),
        cmocka_unit_test(what_others_read_gets_a_node_of_its_own),
        cmocka_unit_test(even_channels_are_left),
        cmocka_unit_test(factors_are_those_of_the_paper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
