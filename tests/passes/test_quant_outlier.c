/* Channels of inputs that hold far more than all others, multiplied apart: the same numbers, and a range that one scale can hold.
 *   test_quant_outlier [SEED]     one random block */
#include "quant_same.h"

#include "../run/alloc_hook.h"
#include "../run/memory_data.h"

#include "passes/quant/form/quant_region.h"
#include "passes/quant/repair/quant_repair.h"

enum { SAMPLES = 16, TOKENS = 5, WIDTH = 100, READERS = 3, FIRST = 17, SECOND = 71 };

static uint64_t only_seed;
static struct mc_err err;

static struct mc_quant_stats *collect(struct mc_model *m, const char *name)
{
    static struct memory_data data;
    static float x[SAMPLES * TOKENS * WIDTH];
    struct mc_quant_want want = {name, 2};
    struct mc_quant_stats *s;
    mc_rng_fill_normal(5, 9, 0, x, SAMPLES * TOKENS * WIDTH);
    memory_open(&data, "x", SAMPLES, 2, D(TOKENS, WIDTH), x, NULL);
    struct mc_pass_ctx ctx = {.calib = &data.d, .calib_count = SAMPLES};
    build_ok(mc_quant_stats_collect(&ctx, m, &want, 1, &s, &err), &err);
    return s;
}

static size_t set_apart(struct mc_model *m, struct mc_quant_sites *sites)
{
    struct mc_quant_stats *s = collect(m, "h");
    size_t layers;
    build_ok(mc_quant_outliers(m, s, sites, &layers, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    mc_quant_stats_free(s);
    return layers;
}

/* ---- blocks ---- */

static struct mc_value *dense(struct rg *r, struct mc_value *x, int64_t from, int64_t to, bool bias)
{
    x = build_binary(r->g, "MatMul", "product", x, rg_plain(r, 2, D(from, to), 0.3, 0));
    return bias ? build_binary(r->g, "Add", "sum", x, rg_plain(r, 1, D(to), 0.3, 0)) : x;
}

/* h, with channels that hold so many times as much, is read by three products and a sum. */
static struct mc_model *block(uint64_t seed, const int *channel, int channels, float times)
{
    struct rg r = {.seed = seed, .opset = 17};
    r.m = build_model(17);
    r.g = r.m->graph;
    struct mc_value *x = build_input(r.g, "x", MC_DTYPE_F32, 3, D(-1, TOKENS, WIDTH)), *y[READERS];
    struct mc_value *in[2] = {x, rg_plain(&r, 1, D(WIDTH), 0, 1)};
    float *scale = mc_storage_data(in[1]->tensor->storage);
    for (int i = 0; i < channels; i++)
        scale[channel[i]] *= times;
    struct mc_node *n;
    struct mc_value *h = build_node(r.g, "LayerNormalization", "h", 2, in, &n);
    for (int i = 0; i < READERS; i++)
        y[i] = dense(&r, h, WIDTH, 24, rg_chance(&r, 50));
    y[0] = build_unary(r.g, "Relu", "relu", y[0]);
    x = build_binary(r.g, "Add", "join", build_binary(r.g, "Mul", "gate", y[0], y[1]), y[2]);
    x = dense(&r, x, 24, WIDTH, true);
    build_output(r.g, build_binary(r.g, "Add", "residual", x, h));
    build_ok(mc_verify(r.m, &err), &err);
    return r.m;
}

static struct mc_node *reader_of(struct mc_model *m, const char *name, const char *op)
{
    struct mc_value *v = mc_graph_value(m->graph, name);
    for (size_t u = 0; v && u < v->n_uses; u++)
        if (v->uses[u].slot >= 0 && mc_node_is(v->uses[u].node, op))
            return v->uses[u].node;
    fail_msg("no %s reads %s", op, name);
    return NULL;
}

static const int two[] = {FIRST, SECOND};

/* One mask and one Gather for all; of each product the rows of both channels moved to a small one. */
static void outliers_are_multiplied_apart(void **state)
{
    (void)state;
    for (uint64_t seed = only_seed ? only_seed : 1; seed < (only_seed ? only_seed + 1 : 9);
         seed++) {
        struct mc_model *a = block(seed, two, 2, 80), *b = quant_clone(a);
        assert_int_equal(set_apart(b, NULL), READERS);
        quant_expect_same(a, b, 3, D(2, TOKENS, WIDTH), seed, 1e-13);
        assert_int_equal(quant_count(b, "Mul"), quant_count(a, "Mul") + 1);
        assert_int_equal(quant_count(b, "Gather"), 1);
        assert_int_equal(quant_count(b, "MatMul"), quant_count(a, "MatMul") + READERS);
        const struct mc_node *mask = reader_of(b, "h", "Mul"),
                             *gather = reader_of(b, "h", "Gather");
        const float *keep = (const float *)mc_constant(mask->in[1])->data;
        const int64_t *at = (const int64_t *)mc_constant(gather->in[1])->data;
        for (int c = 0; c < WIDTH; c++)
            assert_true(keep[c] == (c != FIRST && c != SECOND));
        assert_int_equal(mc_tensor_count(mc_constant(gather->in[1])), 2);
        assert_int_equal(at[0], FIRST);
        assert_int_equal(at[1], SECOND);
        assert_int_equal(mask->out[0]->n_uses, READERS);
        for (int u = 0; u < READERS; u++) {
            const float *w = (const float *)mc_constant(mask->out[0]->uses[u].node->in[1])->data;
            for (int i = 0; i < 24; i++)
                assert_true(w[FIRST * 24 + i] == 0 && w[SECOND * 24 + i] == 0 && w[i] != 0);
        }
        mc_model_free(a);
        mc_model_free(b);
    }
}

static void expect_none(struct mc_model *a)
{
    struct mc_model *b = quant_clone(a);
    assert_int_equal(set_apart(b, NULL), 0);
    assert_int_equal(a->graph->n_nodes, b->graph->n_nodes);
    mc_model_free(a);
    mc_model_free(b);
}

/* Channels alike; a little apart; more of them than are few. */
static void others_are_left(void **state)
{
    (void)state;
    static const int many[] = {3, FIRST, 40, SECOND, 90};
    expect_none(block(2, NULL, 0, 1));
    expect_none(block(3, two, 2, 2));
    expect_none(block(4, many, 5, 80));
}

/* The products that read h, or what was made of it, in 8 bits. */
static struct mc_quant_built in_integers(struct mc_model *m, bool apart, size_t products)
{
    struct mc_quant_rules rules = {.weight_bits = 8,
                                   .block_bits = 4,
                                   .block = 32,
                                   .act_bits = 8,
                                   .method = MC_QUANT_MINMAX,
                                   .weight_method = MC_QUANT_MINMAX};
    static struct memory_data data;
    static float x[SAMPLES * TOKENS * WIDTH];
    enum mc_quant_form form[8];
    struct mc_quant_sites sites;
    struct mc_quant_want *want;
    struct mc_quant_stats *s;
    struct mc_quant_built b;
    size_t n;
    build_ok(mc_quant_sites_find(m, &rules, &sites, &err), &err);
    assert_int_equal(sites.n, products + 1);
    if (apart)
        assert_int_equal(set_apart(m, &sites), READERS);
    mc_rng_fill_normal(5, 9, 0, x, SAMPLES * TOKENS * WIDTH);
    memory_open(&data, "x", SAMPLES, 2, D(TOKENS, WIDTH), x, NULL);
    struct mc_pass_ctx ctx = {.calib = &data.d, .calib_count = SAMPLES};
    build_ok(mc_quant_wanted(m, &sites, &rules, &want, &n, &err), &err);
    build_ok(mc_quant_stats_collect(&ctx, m, want, n, &s, &err), &err);
    for (size_t i = 0; i <= products; i++)
        form[i] = mc_constant(sites.item[i].weight[0])->shape.dim[0] == WIDTH ? MC_QUANT_STATIC
                                                                              : MC_QUANT_FLOAT;
    build_ok(mc_quant_build(&ctx, m, &sites, &rules, s, form, NULL, false, &b, &err), &err);
    free(want);
    mc_quant_stats_free(s);
    mc_quant_sites_free(&sites);
    return b;
}

/* Squared errors of the outputs. */
static double loss(struct mc_model *m, struct mc_model *against, bool apart)
{
    struct mc_quant_built b = in_integers(m, apart, READERS);
    /* of one value, for all products; nothing else is rounded */
    assert_int_equal(quant_count(b.m, "QuantizeLinear"), 1);
    int64_t count, same;
    double *p = quant_output(b.m, 3, D(2, TOKENS, WIDTH), 5, &count), sum = 0;
    double *q = quant_output(against, 3, D(2, TOKENS, WIDTH), 5, &same);
    assert_int_equal(count, same);
    for (int64_t i = 0; i < count; i++)
        sum += (p[i] - q[i]) * (p[i] - q[i]);
    free(p);
    free(q);
    mc_quant_built_free(&b);
    return sum;
}

static double loss_of(uint64_t seed, bool apart)
{
    struct mc_model *a = block(seed, two, 2, 80), *b = quant_clone(a);
    double d = loss(b, a, apart);
    mc_model_free(a);
    mc_model_free(b);
    return d;
}

static void integers_lose_less(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 4; seed++)
        assert_true(loss_of(seed, true) * 100 < loss_of(seed, false));
}

/* Two products with one weight read h as it is, and so its integers; the mask does not, for whose range it is there. */
static void the_mask_reads_floats(void **state)
{
    (void)state;
    struct mc_model *a = block(6, two, 2, 80);
    struct rg r = {.seed = 7, .opset = 17, .m = a, .g = a->graph};
    struct mc_value *h = mc_graph_value(a->graph, "h"), *w = rg_plain(&r, 2, D(WIDTH, 24), 0.3, 0);
    for (int i = 0; i < 2; i++)
        build_output(r.g, build_binary(r.g, "MatMul", "shares", h, w));
    struct mc_quant_built b = in_integers(a, true, READERS + 2);
    assert_int_equal(quant_count(b.m, "QuantizeLinear"), 2);
    assert_non_null(reader_of(b.m, "h", "Mul"));
    mc_quant_built_free(&b);
    mc_model_free(a);
}

/* The n-th allocation fails: it says so, and what it had is freed (LeakSanitizer looks). */
static void allocations_fail(void **state)
{
    (void)state;
    struct mc_model *a = block(5, two, 2, 80);
    struct mc_quant_stats *s = collect(a, "h");
    long n = 0;
    for (int rc = MC_ENOMEM; rc; n++) {
        struct mc_model *b = quant_clone(a);
        size_t layers;
        allocations_left = n;
        rc = mc_quant_outliers(b, s, NULL, &layers, &err);
        bool failed = allocations_left < 0;
        allocations_left = -1;
        if (rc != (failed ? MC_ENOMEM : 0))
            fail_msg("allocation %ld: %d, '%s'", n, rc, err.msg);
        mc_model_free(b);
    }
    assert_true(n > 20);
    mc_quant_stats_free(s);
    mc_model_free(a);
}

int main(int argc, char **argv)
{
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outliers_are_multiplied_apart),
        cmocka_unit_test(others_are_left),
        cmocka_unit_test(integers_lose_less),
        cmocka_unit_test(the_mask_reads_floats),
        cmocka_unit_test(allocations_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
