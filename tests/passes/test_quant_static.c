/* Static integers in networks drawn at random: what is built keeps to the rules that runtimes fuse by, and computes nearly the same.
 *   test_quant_static [SEED [COUNT]] */
#include "quant_same.h"

#include "../run/memory_data.h"

#include "passes/quant/form/quant_build.h"
#include "passes/quant/form/quant_region.h"
#include "passes/quant/form/quant_region_kind.h"

enum { COUNT = 300, SAMPLES = 12 };

static uint64_t only_seed;
static int count = COUNT;
static struct mc_err err;
static struct {
    int graphs, sites, joined, pairs, moves;
    double decibel;
} seen;

/* ---- rules ---- */

static float number(const struct mc_value *v)
{
    float *x;
    int64_t n;
    assert_int_equal(mc_constant_f32(v, &x, &n, NULL), 0);
    float first = x[0];
    free(x);
    return first;
}

static bool is_pair(const struct mc_value *v) /* behind QuantizeLinear and DequantizeLinear */
{
    return v->producer && mc_node_is(v->producer, "DequantizeLinear") &&
           v->producer->in[0]->producer;
}

/* The node that quantises v, which nothing else may read but one that does it to 16 bits. */
static const struct mc_node *only_quantised(const struct mc_value *v)
{
    assert_true(v->n_uses > 0 && v->n_uses <= 2);
    for (size_t i = 0; i < v->n_uses; i++)
        assert_true(mc_node_is(v->uses[i].node, "QuantizeLinear"));
    return v->uses[0].node;
}

static void expect_rules(const struct mc_model *m)
{
    for (size_t i = 0; i < m->graph->n_nodes; i++) {
        const struct mc_node *n = m->graph->nodes[i];
        if (mc_node_is(n, "QuantizeLinear")) {
            seen.pairs++;
            assert_true(n->n_in == 3 && number(n->in[1]) > 0); /* no kernel without a zero point */
            assert_false(is_pair(n->in[0]));                   /* never two in a row */
            for (size_t k = 0; k < n->out[0]->n_uses; k++)
                assert_true(mc_node_is(n->out[0]->uses[k].node, "DequantizeLinear"));
            if (n->in[0]->producer && mc_node_is(n->in[0]->producer, "Relu"))
                assert_true(number(n->in[2]) == 0);
        }
        bool integer = n->n_in && n->in[0] && is_pair(n->in[0]) && n->out[0]->n_uses == 1 &&
                       mc_node_is(n->out[0]->uses[0].node, "QuantizeLinear");
        if (integer && mc_quant_moves(n)) {
            const struct mc_node *from = n->in[0]->producer, *to = only_quantised(n->out[0]);
            seen.moves += from->in[1] == to->in[1];
        }
    }
}

/* A convolution with integers gives nothing but integers, unless it gives an output of the model. */
static void expect_fused(const struct mc_quant_sites *all, const struct mc_quant_built *b)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct mc_value *y = b->at[i].y;
        if (b->at[i].form != MC_QUANT_STATIC)
            continue;
        seen.sites++;
        assert_non_null(b->at[i].note);
        assert_true(is_pair(b->at[i].x));
        if (all->item[i].kind == MC_QUANT_CONV && !all->item[i].y->is_output)
            only_quantised(y);
        if (b->at[i].bias_scale) {
            const struct mc_node *x = b->at[i].x->producer;
            float want = number(x->in[1]) * number(b->at[i].w[0].scale);
            assert_true(fabsf(number(b->at[i].bias_scale) - want) <= 1e-5F * want);
        }
    }
}

/* ---- one network ---- */

static double decibel(struct mc_model *a, struct mc_model *b, int rank, const int64_t *dims,
                      uint64_t seed)
{
    int64_t n, m;
    double *p = quant_output(a, rank, dims, seed, &n), *q = quant_output(b, rank, dims, seed, &m);
    double signal = 0, noise = 1e-30;
    assert_int_equal(n, m);
    for (int64_t i = 0; i < n; i++) {
        signal += p[i] * p[i];
        noise += (p[i] - q[i]) * (p[i] - q[i]);
    }
    free(p);
    free(q);
    assert_true(signal >= 0 && noise >= 0); /* NaN is not */
    return fmin(10 * log10(signal / noise), 80);
}

/* Static where it can be, in half of the networks only here and there. */
static enum mc_quant_form form_of(struct rg *r, const struct mc_quant_site *s, bool mixed)
{
    static const enum mc_quant_form others[] = {MC_QUANT_FLOAT, MC_QUANT_WEIGHT, MC_QUANT_DYNAMIC,
                                                MC_QUANT_STATIC16};
    enum mc_quant_form f = MC_QUANT_STATIC;
    if (mixed && rg_chance(r, 40))
        f = others[rg_below(r, 4)];
    return s->reason || s->why[f] ? MC_QUANT_FLOAT : f;
}

static void make_static(struct rg *r, struct mc_pass_ctx *ctx, const struct mc_quant_rules *rules,
                        struct mc_quant_sites *all, struct mc_quant_built *built)
{
    struct mc_quant_want *want;
    struct mc_quant_stats *stats;
    struct mc_model *m = r->m;
    bool mixed = rg_chance(r, 50);
    size_t n;
    build_ok(mc_quant_sites_find(m, rules, all, &err), &err);
    build_ok(mc_quant_wanted(m, all, rules, &want, &n, &err), &err);
    build_ok(mc_quant_stats_collect(ctx, m, want, n, &stats, &err), &err);
    mc_quant_static_limits(all, stats);
    enum mc_quant_form *form = calloc(all->n + 1, sizeof *form);
    assert_non_null(form);
    for (size_t i = 0; i < all->n; i++)
        form[i] = form_of(r, &all->item[i], mixed);
    build_ok(mc_quant_build(ctx, m, all, rules, stats, form, NULL, false, built, &err), &err);
    mc_quant_stats_free(stats);
    free(want);
    free(form);
}

static void one(uint64_t seed)
{
    struct rg r;
    struct rv x;
    struct memory_data data;
    struct mc_quant_sites all;
    struct mc_quant_built built;
    struct mc_quant_rules rules = {.weight_bits = 8, .block_bits = 4, .block = 32, .act_bits = 8};
    rg_network(&r, seed, &x);
    rules.runtime = rg_chance(&r, 50) ? MC_QUANT_STOCK : MC_QUANT_VNNI;
    build_ok(mc_verify(r.m, &err), &err);
    build_ok(mc_prepare(r.m, NULL, &err), &err);
    struct mc_model *before = quant_clone(r.m);
    const struct mc_type *t = &r.g->inputs[0]->type;
    if (r.g->n_inputs != 1 || t->dtype != MC_DTYPE_F32) { /* of words, or with more inputs */
        mc_model_free(before);
        mc_model_free(r.m);
        return;
    }
    int64_t dims[MC_RANK_MAX], batch = t->dim[0].value < 0 ? 2 : t->dim[0].value;
    for (int i = 0; i < t->rank; i++)
        dims[i] = i ? t->dim[i].value : batch;
    struct mc_shape sample = mc_shape_of(t->rank - 1, dims + 1);
    size_t n = (size_t)(SAMPLES * batch * mc_shape_count(&sample));
    float *values = malloc(n * sizeof *values);
    assert_non_null(values);
    mc_rng_fill_normal(seed, 9, 0, values, n);
    memory_open(&data, r.g->inputs[0]->name, SAMPLES * batch, t->rank - 1, dims + 1, values, NULL);
    struct mc_pass_ctx ctx = {.calib = &data.d, .calib_count = SAMPLES * batch, .seed = seed};
    build_ok(mc_quant_prepare(r.m, &err), &err);
    build_ok(mc_verify(r.m, &err), &err);
    quant_expect_same(before, r.m, t->rank, dims, seed, 1e-6);
    make_static(&r, &ctx, &rules, &all, &built);
    expect_rules(built.m);
    expect_fused(&all, &built);
    double d = decibel(r.m, built.m, t->rank, dims, seed);
    if (only_seed)
        print_message("seed %llu: %.1f dB, %zu nodes joined\n", (unsigned long long)seed, d,
                      built.quantised_nodes);
    seen.graphs++;
    seen.joined += (int)built.quantised_nodes;
    seen.decibel += d;
    mc_quant_built_free(&built);
    mc_quant_sites_free(&all);
    mc_model_free(before);
    mc_model_free(r.m);
    free(values);
}

static void networks(void **state)
{
    (void)state;
    for (int i = 0; i < (only_seed ? 1 : count); i++)
        one(only_seed ? only_seed : (uint64_t)i + 1);
    print_message("%d networks, %d static layers, %d nodes joined, %d pairs, mean %.1f dB\n",
                  seen.graphs, seen.sites, seen.joined, seen.pairs, seen.decibel / seen.graphs);
    if (only_seed)
        return;
    assert_true(seen.graphs > count / 3 && seen.joined > count / 3 && seen.moves > 3);
    assert_true(seen.decibel / seen.graphs > 28); /* of 8 bits, layer upon layer */
}

/* ---- ranges of Relu and Clip ---- */

static struct mc_node *clip(struct mc_model *m, float lo, float hi)
{
    struct mc_graph *g = m->graph;
    struct mc_value *in[3] = {build_input(g, "x", MC_DTYPE_F32, 1, D(4)),
                              f32_const(g, "lo", 0, NULL, &lo), f32_const(g, "hi", 0, NULL, &hi)};
    struct mc_node *n;
    build_output(g, build_node(g, "Clip", "clip", 3, in, &n));
    return n;
}

/* What is quantised lies within the bounds, and reaches nearly as far as what was seen. */
static void bounds(void **state)
{
    (void)state;
    static const float lo[] = {0, 0, -1, -3, -0.001f, -6, 0}, hi[] = {6, 1, 1, 4, 6, 0, 1e-6f};
    struct mc_quant_rules rules = {.act_bits = 8};
    struct mc_quant_type type = mc_quant_act_type(&rules, false);
    for (size_t i = 0; i < sizeof lo / sizeof *lo; i++)
        for (int part = 1; part <= 4; part++) {
            struct mc_model *m = build_model(13);
            struct mc_node *act = clip(m, lo[i], hi[i]);
            struct mc_quant_stat s = {.name = "y"};
            struct mc_quant_param p;
            float ends[2] = {lo[i] * (float)part / 4, hi[i] * (float)part / 4};
            build_ok(mc_quant_hist_init(&s.hist, &err), &err);
            build_ok(mc_quant_hist_add(&s.hist, ends, 2, &err), &err);
            mc_quant_act_param(&s, &rules, &type, act, &p);
            double least = (0 - p.zero) * (double)p.scale, most = (255 - p.zero) * (double)p.scale;
            assert_true(p.scale > 0 && p.zero >= 0 && p.zero <= 255);
            assert_true(least >= (double)lo[i] && most <= (double)hi[i]);
            double span = (double)ends[1] - (double)ends[0];
            assert_true(least <= (double)ends[0] + span * 0.03);
            assert_true(most >= (double)ends[1] - span * 0.03);
            mc_quant_hist_free(&s.hist);
            mc_model_free(m);
        }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(networks), cmocka_unit_test(bounds)};
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    count = argc > 2 ? atoi(argv[2]) : COUNT;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
