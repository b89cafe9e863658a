/* Integers for weights in networks drawn at random, and where memory runs out.
 *   test_quant_build [SEED [COUNT]]
 * Weights are put on the grid of their integers first, so that what is built computes the same to the last digits: a wrong axis,
 * a transpose too many or a scale of another weight shows at once. */
#include "../run/run_util.h"

#include "graph/constant.h"
#include "graph/opset.h"
#include "graph/run/fold.h"
#include "graph/verify.h"
#include "passes/quant/form/quant_build.h"
#include "random_graph.h"

enum { COUNT = 250 };

static uint64_t only_seed;
static int count = COUNT;
static struct {
    int graphs, sites, weights, blocks;
} seen;

static struct mc_quant_rules draw_rules(struct rg *r)
{
    return (struct mc_quant_rules){.runtime = rg_chance(r, 50) ? MC_QUANT_STOCK : MC_QUANT_VNNI,
                                   .weight_bits = rg_chance(r, 70) ? 8 : 4,
                                   .block_bits = rg_chance(r, 50) ? 4 : 8,
                                   .block = rg_chance(r, 50) ? 4 : 3,
                                   .per_tensor = rg_chance(r, 20),
                                   .weight_method = MC_QUANT_MINMAX};
}

/* ---- weights on a grid ---- */

static const struct mc_quant_site *first_of(const struct mc_quant_sites *all,
                                            const struct mc_quant_site *s)
{
    return s->shared ? &all->item[s->shared - 1] : s;
}

/* The constant as integers would have it, for all that read it. */
static void settle(const struct mc_quant_site *s, int k, const struct mc_quant_rules *rules,
                   enum mc_quant_form form)
{
    const struct mc_tensor *w = mc_constant(s->weight[k]);
    struct mc_quant_type type = mc_quant_weight_type(rules, form);
    struct mc_quant_cut cut = {rules->per_tensor ? -1 : s->out_axis[k], 0};
    struct mc_quant_weight made;
    struct mc_tensor *t;
    struct mc_err err;
    float *x;
    if (form == MC_QUANT_BLOCK)
        cut = (struct mc_quant_cut){s->in_axis[k], rules->block};
    if (s->kind == MC_QUANT_TABLE && type.bits < 5)
        type.bits = 5;
    build_ok(mc_quant_weight_make(w, "w", &type, &cut, MC_QUANT_MINMAX, MC_DTYPE_F32, NULL, NULL,
                                  &made, &err),
             &err);
    build_ok(mc_quant_weight_f32(made.q, made.scale, made.zero, &cut, &x, &err), &err);
    build_ok(mc_constant_make(x, &w->shape, w->dtype, NULL, &t, &err), &err);
    build_ok(mc_constant_replace(s->weight[k], t, &err), &err);
    mc_tensor_unref(t);
    free(x);
    mc_quant_weight_free(&made);
}

/* Every second site or so; those that share a weight alike. */
static enum mc_quant_form draw_form(struct rg *r, const struct mc_quant_sites *all, size_t i,
                                    const enum mc_quant_form *form)
{
    struct mc_quant_site *s = &all->item[i];
    if (s->reason || !s->n_weights || s->kind == MC_QUANT_CELL)
        return MC_QUANT_FLOAT;
    s->why[MC_QUANT_WEIGHT] = NULL; /* it is too small, on purpose */
    if (!strncmp(s->why[MC_QUANT_BLOCK] ? s->why[MC_QUANT_BLOCK] : "too", "too", 3))
        s->why[MC_QUANT_BLOCK] = NULL;
    if (s->shared && first_of(all, s)->kind == s->kind)
        return form[s->shared - 1];
    if (s->shared)
        return MC_QUANT_FLOAT;
    return rg_chance(r, 30)                              ? MC_QUANT_FLOAT
           : !s->why[MC_QUANT_BLOCK] && rg_chance(r, 40) ? MC_QUANT_BLOCK
                                                         : MC_QUANT_WEIGHT;
}

/* ---- comparing ---- */

static float *run(struct mc_model *m, const struct mc_array *x, int64_t *ret_n)
{
    struct mc_session_opts o = {.precision = MC_PRECISION_F64};
    struct mc_session *s = session_of(m, &o);
    run_ok(s, x, 1);
    const struct mc_array *a = mc_session_output(s, 0);
    *ret_n = mc_shape_count(&a->shape);
    float *y = malloc((size_t)*ret_n * sizeof *y + 1);
    assert_non_null(y);
    for (int64_t i = 0; i < *ret_n; i++)
        y[i] = a->dtype == MC_DTYPE_F64 ? (float)((const double *)a->data)[i]
                                        : ((const float *)a->data)[i];
    mc_session_free(s);
    return y;
}

static void expect_same(struct mc_model *want, struct mc_model *got, struct rv x, uint64_t seed,
                        double tolerance)
{
    int64_t dims[RG_RANK], n, n_got;
    for (int i = 0; i < x.rank; i++)
        dims[i] = x.d[i] == RG_BATCH ? RG_SAMPLES : x.d[i];
    float data[4096];
    struct mc_array in = array_of("x", MC_DTYPE_F32, x.rank, dims, data);
    assert_true(in.bytes <= sizeof data);
    mc_rng_fill_normal(seed, 9, 0, data, in.bytes / sizeof *data);
    float *a = run(want, &in, &n), *b = run(got, &in, &n_got);
    assert_int_equal(n, n_got);
    double largest = 0, error = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)a[i]));
        double e = fabs((double)a[i] - (double)b[i]);
        error = e <= error ? error : e; /* NaN stays */
    }
    if (!(error <= tolerance * (largest + 1e-3)))
        fail_msg("seed %llu: outputs up to %g differ by %g", (unsigned long long)seed, largest,
                 error);
    free(a);
    free(b);
}

/* ---- one network ---- */

static void choose(struct rg *r, const struct mc_quant_sites *all,
                   const struct mc_quant_rules *rules, enum mc_quant_form *form)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct mc_quant_site *s = &all->item[i];
        form[i] = draw_form(r, all, i, form);
        seen.sites++;
        if (form[i] == MC_QUANT_FLOAT)
            continue;
        seen.weights += form[i] == MC_QUANT_WEIGHT;
        seen.blocks += form[i] == MC_QUANT_BLOCK;
        for (int k = 0; k < s->n_weights && !s->shared; k++)
            settle(s, k, rules, form[i]);
    }
}

static void one(uint64_t seed)
{
    struct rg r;
    struct rv x;
    struct mc_err err;
    struct mc_pass_ctx ctx = {.seed = seed};
    struct mc_quant_sites all;
    struct mc_quant_built built, small;
    struct mc_quant_cache *cache;
    rg_network(&r, seed, &x);
    struct mc_quant_rules rules = draw_rules(&r);
    build_ok(mc_verify(r.m, &err), &err);
    build_ok(mc_prepare(r.m, NULL, &err), &err);
    build_ok(mc_quant_prepare(r.m, &err), &err);
    build_ok(mc_verify(r.m, &err), &err);
    build_ok(mc_quant_sites_find(r.m, &rules, &all, &err), &err);
    enum mc_quant_form *form = calloc(all.n + 1, sizeof *form);
    assert_non_null(form);
    choose(&r, &all, &rules, form);
    seen.graphs++;
    build_ok(mc_quant_cache_new(&cache, &err), &err);
    for (int again = 0; again < 2; again++) { /* of the cache, the second time */
        build_ok(mc_quant_build(&ctx, r.m, &all, &rules, NULL, form, cache, false, &built, &err),
                 &err);
        build_ok(mc_quant_build(&ctx, r.m, &all, &rules, NULL, form, NULL, true, &small, &err),
                 &err);
        assert_int_equal(small.m->graph->n_nodes, built.m->graph->n_nodes);
        assert_int_equal(small.compressed, built.compressed);
        if (again)
            build_ok(mc_opset_lift(built.m, 0, &err), &err);
        expect_same(r.m, built.m, x, seed, 1e-5);
        mc_quant_built_free(&small);
        mc_quant_built_free(&built);
    }
    mc_quant_cache_free(cache);
    mc_quant_sites_free(&all);
    free(form);
    mc_model_free(r.m);
}

static void what_is_built_computes_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < count; i++) {
        uint64_t seed = (only_seed ? only_seed : 1) + (uint64_t)i;
        print_message("seed %llu\n", (unsigned long long)seed);
        one(seed);
    }
    print_message("%d graphs, %d sites, %d by channel, %d in blocks\n", seen.graphs, seen.sites,
                  seen.weights, seen.blocks);
    if (!only_seed && count == COUNT)
        assert_true(seen.weights > COUNT && seen.blocks > COUNT / 4);
}

int main(int argc, char **argv)
{
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    count = argc > 2 ? atoi(argv[2]) : argc > 1 ? 1 : COUNT;
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_built_computes_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
