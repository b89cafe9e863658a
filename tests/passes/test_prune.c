/* What plans of `prune` count is what the cut models have; plans keep their limits and leave nothing over. */
#include "../run/run_util.h"

#include "base/rng.h"
#include "formats/onnx.h"
#include "graph/run/fold.h"
#include "graph/summary.h"
#include "passes/prune/prune_plan.h"

static char **models;
static int n_models;

static int bytes_of(void *host, const struct mc_model *m, uint64_t *ret, struct mc_err *err)
{
    (void)host;
    return mc_onnx_bytes(m, "out.onnx", &(struct mc_onnx_write_opts){0}, ret, err);
}

struct fixture {
    struct mc_pass_ctx ctx;
    struct mc_prune_run r;
    struct mc_model *m;
    size_t *level;
};

static void open_run(const char *path, struct fixture *f)
{
    struct mc_err err;
    f->ctx = (struct mc_pass_ctx){.bytes_of = bytes_of};
    f->r = (struct mc_prune_run){
        .ctx = &f->ctx, .round_to = 1, .min_keep = 0.1, .max_keep = 1, .global = true};
    build_ok(mc_onnx_read(path, &f->m, &err), &err);
    build_ok(mc_prepare(f->m, NULL, &err), &err);
    build_ok(mc_model_clone(f->m, &f->r.before, &err), &err);
    build_ok(mc_coupling_find(f->r.before, &f->r.c, &err), &err);
    build_ok(mc_prune_groups(&f->r, &err), &err);
    build_ok(mc_prune_weights(&f->r, &err), &err);
    build_ok(mc_importance_measure(&f->ctx, f->r.before, f->r.c, MC_IMPORTANCE_L2, false, &f->r.imp,
                                   &err),
             &err);
    build_ok(mc_prune_levels(&f->r, &err), &err);
    assert_non_null(f->level = calloc(f->r.n + 1, sizeof *f->level));
}

static void close_run(struct fixture *f)
{
    free(f->level);
    mc_prune_free(&f->r);
    mc_model_free(f->m);
}

static void cut_model(const struct fixture *f, struct mc_summary *ret)
{
    struct mc_err err;
    struct mc_model *cut;
    bool *gone = calloc((size_t)f->r.c->n_units + 1, sizeof *gone);
    assert_non_null(gone);
    build_ok(mc_prune_gone(&f->r, f->level, gone, &err), &err);
    build_ok(mc_prune_build(&f->r, gone, true, &cut, &err), &err);
    build_ok(mc_summary(cut, ret, &err), &err);
    mc_model_free(cut);
    free(gone);
}

/* Parameters and work to the last one, also where a cell shares it out to its weights. */
static void test_counts(void **state)
{
    (void)state;
    for (int i = 0; i < n_models; i++) {
        struct fixture f;
        open_run(models[i], &f);
        for (uint64_t t = 0; t < 6; t++) {
            struct mc_summary sum;
            double count[MC_PRUNE_UNITS];
            for (size_t g = 0; g < f.r.n; g++)
                f.level[g] = f.r.group[g].why
                                 ? 0
                                 : mc_rng_below(7, t, (uint64_t)g, (uint32_t)f.r.group[g].n_levels);
            mc_prune_count(&f.r, f.level, count);
            cut_model(&f, &sum);
            if (!(fabs(count[MC_PRUNE_PARAMS] - (double)sum.parameters) <= 0.5) ||
                !(fabs(count[MC_PRUNE_MACS] - sum.macs) <= 0.5))
                fail_msg("%s, draw %d: counted %.1f parameters and %.0f macs, it has %lld and %.0f",
                         models[i], (int)t, count[MC_PRUNE_PARAMS], count[MC_PRUNE_MACS],
                         (long long)sum.parameters, sum.macs);
        }
        close_run(&f);
    }
}

static double sum_of(const struct fixture *f, const size_t *level)
{
    double sum = 0;
    for (size_t g = 0; g < f->r.n; g++)
        sum += f->r.group[g].why ? 0 : f->r.group[g].level[level[g]].error;
    return sum;
}

static void plan_within(struct fixture *f, const struct mc_prune_limits *l, bool *ret_within)
{
    struct mc_err err;
    double **error = calloc(f->r.n + 1, sizeof *error);
    assert_non_null(error);
    for (size_t g = 0; g < f->r.n; g++) {
        error[g] = calloc(f->r.group[g].n_levels + 1, sizeof **error);
        assert_non_null(error[g]);
        for (size_t k = 0; k < f->r.group[g].n_levels; k++)
            error[g][k] = f->r.group[g].level[k].error;
    }
    build_ok(mc_prune_plan(&f->r, (const double *const *)error, l, f->level, ret_within, &err),
             &err);
    for (size_t g = 0; g < f->r.n; g++)
        free(error[g]);
    free(error);
}

static bool fits(const struct fixture *f, const size_t *level, const struct mc_prune_limits *l)
{
    double count[MC_PRUNE_UNITS];
    mc_prune_count(&f->r, level, count);
    for (int u = 0; u < MC_PRUNE_UNITS; u++)
        if (count[u] > l->of[u] * (1 + 1e-9))
            return false;
    return true;
}

/* Within the limits; one more unit of any group would not be; and no worse than the same share of every group. */
static void test_plans(void **state)
{
    (void)state;
    for (int i = 0; i < n_models; i++)
        for (int t = 0; t < 3; t++) {
            struct fixture f;
            struct mc_prune_limits l = {{INFINITY, INFINITY, INFINITY, INFINITY}};
            bool within;
            open_run(models[i], &f);
            l.of[MC_PRUNE_PARAMS] = (t ? 0.35 : 0.6) * f.r.before_of[MC_PRUNE_PARAMS];
            if (t < 2)
                l.of[MC_PRUNE_NODES] = 0.6 * f.r.before_of[MC_PRUNE_NODES];
            plan_within(&f, &l, &within);
            assert_true(within);
            assert_true(fits(&f, f.level, &l));
            for (size_t g = 0; g < f.r.n; g++) {
                if (f.r.group[g].why || !f.level[g])
                    continue;
                f.level[g]--;
                if (fits(&f, f.level, &l))
                    fail_msg("%s, plan %d: '%s' could have a unit more", models[i], t,
                             f.r.group[g].of->name);
                f.level[g]++;
            }
            double planned = sum_of(&f, f.level);
            assert_true(mc_prune_uniform_within(&f.r, &l, f.level));
            if (!(planned <= sum_of(&f, f.level) * (1 + 1e-9)))
                fail_msg("%s, plan %d: error %g, the same share of all %g", models[i], t, planned,
                         sum_of(&f, f.level));
            close_run(&f);
        }
}

/* Where nothing costs an error all that there is room for stays. */
static void test_free_units(void **state)
{
    (void)state;
    for (int i = 0; i < n_models; i++) {
        struct fixture f;
        struct mc_prune_limits l = {{INFINITY, INFINITY, INFINITY, INFINITY}};
        bool within;
        open_run(models[i], &f);
        l.of[MC_PRUNE_PARAMS] = 0.5 * f.r.before_of[MC_PRUNE_PARAMS];
        for (size_t g = 0; g < f.r.n; g++)
            for (size_t k = 0; k < f.r.group[g].n_levels; k++)
                f.r.group[g].level[k].error = 0;
        plan_within(&f, &l, &within);
        assert_true(within && fits(&f, f.level, &l));
        for (size_t g = 0; g < f.r.n; g++) {
            if (f.r.group[g].why || !f.level[g])
                continue;
            f.level[g]--;
            if (fits(&f, f.level, &l))
                fail_msg("%s: '%s' could have a unit more", models[i], f.r.group[g].of->name);
            f.level[g]++;
        }
        close_run(&f);
    }
}

/* What cannot be met: all that may go goes. */
static void test_out_of_reach(void **state)
{
    (void)state;
    struct fixture f;
    struct mc_prune_limits l = {{INFINITY, 1, INFINITY, INFINITY}};
    bool within = true;
    open_run(models[0], &f);
    plan_within(&f, &l, &within);
    assert_false(within);
    for (size_t g = 0; g < f.r.n; g++)
        if (!f.r.group[g].why)
            assert_int_equal(f.level[g], f.r.group[g].n_levels - 1);
    close_run(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_free_units),
        cmocka_unit_test(test_out_of_reach),
    };
    models = argv + 1;
    n_models = argc - 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
