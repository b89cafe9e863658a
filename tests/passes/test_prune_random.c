/* Cut networks drawn at random: what is left computes what the first computes with zeros in the removed places.
 *   test_prune_random [SEED [COUNT [FOLDER]]]     one network, or COUNT from SEED on; a failing one is written to FOLDER */
#include "../run/run_util.h"

#include "formats/onnx.h"
#include "graph/run/fold.h"
#include "graph/verify.h"
#include "mask_reference.h"
#include "random_graph.h"

enum { COUNT = 600 };
static const double TOLERANCE = 1e-4; /* of the largest output; all is computed in float64 */

static uint64_t only_seed;
static int count = COUNT;
static const char *folder;

static struct {
    int graphs, cut, axes, norms, groups, held, inexact;
} seen;

/* ---- what goes ---- */

static double *scores(struct rg *r, int64_t n)
{
    double *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = rg_below(r, 1000);
    return x;
}

/* Units of some groups; false where no group can lose any. */
static bool choose(struct rg *r, const struct mc_coupling *c, bool whole, bool *gone)
{
    struct mc_err err;
    bool any = false;
    for (size_t i = 0; i < c->n_groups; i++) {
        const struct mc_coupling_group *g = &c->group[i];
        if (g->why) {
            assert_int_equal(g->first, -1);
            continue;
        }
        assert_true(g->n > 0 && g->first >= 0 && g->first + g->n <= c->n_units);
        int64_t few = (int64_t)rg_below(r, (uint32_t)g->n);
        int64_t keep = mc_coupling_feasible(g, whole ? 1 : 1 + few, rg_below(r, 3));
        assert_true(keep >= 1 && keep <= g->n);
        if (keep == g->n || (!whole && rg_chance(r, 40)))
            continue;
        double *score = scores(r, g->n);
        build_ok(mc_coupling_choose(g, score, keep, gone, &err), &err);
        free(score);
        int64_t left = 0;
        for (int64_t u = 0; u < g->n; u++)
            left += !gone[g->first + u];
        assert_int_equal(left, keep);
        seen.inexact += !g->exact;
        any = true;
    }
    return any;
}

static bool may_be_inexact(const struct mc_coupling *c, const bool *gone)
{
    for (int32_t u = 0; u < c->n_units; u++)
        if (gone[u] && !mc_coupling_group_of(c, u)->exact)
            return true;
    return false;
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

static void write(struct mc_model *m, const char *what)
{
    char path[512];
    struct mc_err err;
    if (!folder)
        return;
    snprintf(path, sizeof path, "%s/%llu-%s.onnx", folder, (unsigned long long)only_seed, what);
    build_ok(mc_onnx_write(m, path, NULL, &err), &err);
}

static void expect_same(struct mc_model *want, struct mc_model *got, struct rv x, uint64_t seed)
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
    if (!(error <= TOLERANCE * (largest + 1e-3)))
        fail_msg("seed %llu: outputs up to %g differ by %g", (unsigned long long)seed, largest,
                 error);
    free(a);
    free(b);
}

static int axes_cut(const struct mc_coupling *c, const bool *gone)
{
    int n = 0;
    for (size_t i = 0; i < c->m->graph->n_values; i++) {
        const struct mc_value *v = c->m->graph->values[i];
        for (int a = 0; v && v->tensor && a < v->tensor->shape.rank; a++) {
            const struct mc_units *u = mc_coupling_axis(c, v, a);
            int64_t *index = NULL;
            n += u && mc_cut_kept(u, u->n, gone, &index) < u->n;
            free(index);
        }
    }
    return n;
}

static void cut_one(uint64_t seed)
{
    struct rg r;
    struct rv x;
    struct mc_err err;
    struct mc_coupling *c;
    struct mc_model *cut;
    int norms = 0;
    rg_network(&r, seed, &x);
    build_ok(mc_verify(r.m, &err), &err);
    build_ok(mc_prepare(r.m, NULL, &err), &err);
    write(r.m, "first");
    if (rg_chance(&r, 50)) {
        struct mc_model *as_it_was;
        build_ok(mc_model_clone(r.m, &as_it_was, &err), &err);
        build_ok(mc_coupling_prepare(r.m, &err), &err);
        build_ok(mc_verify(r.m, &err), &err);
        write(r.m, "prepared");
        expect_same(as_it_was, r.m, x, seed);
        mc_model_free(as_it_was);
    }
    build_ok(mc_coupling_find(r.m, &c, &err), &err);
    bool *gone = calloc((size_t)c->n_units + 1, sizeof *gone);
    assert_non_null(gone);
    seen.graphs++;
    for (size_t i = 0; i < c->n_groups; i++) {
        seen.groups++;
        seen.held += c->group[i].why != NULL;
    }
    bool whole = rg_chance(&r, 10); /* as few as can be of every group */
    if (choose(&r, c, whole, gone) || choose(&r, c, true, gone)) {
        struct mc_model *want = mask_reference(c, gone, &norms);
        if (norms && !may_be_inexact(c, gone))
            fail_msg("a norm over units that are exact");
        seen.cut++;
        seen.norms += norms;
        seen.axes += axes_cut(c, gone);
        build_ok(mc_verify(want, &err), &err);
        write(want, "masked");
        build_ok(mc_model_clone(r.m, &cut, &err), &err);
        build_ok(mc_cut(c, cut, gone, 0, &err), &err);
        build_ok(mc_verify(cut, &err), &err);
        write(cut, "cut");
        expect_same(want, cut, x, seed);
        mc_model_free(want);
        mc_model_free(cut);
    }
    free(gone);
    mc_coupling_free(c);
    mc_model_free(r.m);
}

static void what_is_left_computes_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < count; i++) {
        uint64_t seed = (only_seed ? only_seed : 1) + (uint64_t)i;
        print_message("seed %llu\n", (unsigned long long)seed);
        cut_one(seed);
    }
    print_message(
        "%d graphs, %d cut at %d axes of constants, %d norms; %d groups, %d held, %d inexact\n",
        seen.graphs, seen.cut, seen.axes, seen.norms, seen.groups, seen.held, seen.inexact);
    if (count < COUNT)
        return;
    assert_true(seen.cut * 20 > seen.graphs * 19);
    assert_true(seen.axes > 8 * seen.graphs);
    assert_true(seen.held * 3 < seen.groups); /* the outputs, for the most part */
    assert_true(seen.norms * 4 > seen.graphs);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        only_seed = strtoull(argv[1], NULL, 0);
        count = argc > 2 ? atoi(argv[2]) : 1;
        folder = argc > 3 ? argv[3] : NULL;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_left_computes_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
