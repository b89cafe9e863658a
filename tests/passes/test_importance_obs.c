/* Units removed one after the other, against fits of what is left by solving for it. */
#include "svd_util.h"

#include "passes/prune/importance.h"
#include "passes/prune/importance_obs_greedy.h"

static struct mc_linalg *la;
static struct mc_err err;

enum { MOST = 64 };

struct problem { /* y = W x, C the second moment of x */
    int64_t m, n, units;
    int64_t start[MOST];
    double c[MOST * MOST], w[MOST * MOST];
};

/* C = X Xᵀ / rows + ridge of correlated columns. */
static void random_problem(struct problem *p, uint64_t seed, int64_t m, int64_t units,
                           int64_t block, int64_t others)
{
    enum { ROWS = 200 };
    *p = (struct problem){.m = m, .n = units * block + others, .units = units};
    float x[MOST], mix[MOST * MOST], w[MOST * MOST];
    mc_rng_fill_normal(seed, 1, 0, mix, (size_t)(p->n * p->n));
    mc_rng_fill_normal(seed, 2, 0, w, (size_t)(m * p->n));
    for (int64_t u = 0; u <= units; u++)
        p->start[u] = u * block;
    for (int64_t i = 0; i < m * p->n; i++)
        p->w[i] = (double)w[i];
    for (int r = 0; r < ROWS; r++) {
        double y[MOST];
        mc_rng_fill_normal(seed, 3, (uint64_t)r * MOST, x, MOST);
        for (int64_t i = 0; i < p->n; i++) {
            y[i] = 0.3 * (double)x[i];
            for (int64_t j = 0; j < p->n; j++)
                y[i] += (double)mix[i * p->n + j] * (double)x[j] / (double)(1 + j);
        }
        for (int64_t i = 0; i < p->n; i++)
            for (int64_t j = 0; j < p->n; j++)
                p->c[i * p->n + j] += y[i] * y[j] / ROWS;
    }
}

/* Gauss elimination with pivots: A x = b for each row of b [rows,n]. */
static void solve(int64_t n, double *a, int64_t rows, double *b)
{
    for (int64_t k = 0; k < n; k++) {
        int64_t top = k;
        for (int64_t i = k + 1; i < n; i++)
            top = fabs(a[i * n + k]) > fabs(a[top * n + k]) ? i : top;
        for (int64_t j = 0; j < n; j++) {
            double t = a[k * n + j];
            a[k * n + j] = a[top * n + j];
            a[top * n + j] = t;
        }
        for (int64_t r = 0; r < rows; r++) {
            double t = b[r * n + k];
            b[r * n + k] = b[r * n + top];
            b[r * n + top] = t;
        }
        for (int64_t i = 0; i < n; i++) {
            double f = i == k ? 0 : a[i * n + k] / a[k * n + k];
            for (int64_t j = 0; f != 0 && j < n; j++)
                a[i * n + j] -= f * a[k * n + j];
            for (int64_t r = 0; f != 0 && r < rows; r++)
                b[r * n + i] -= f * b[r * n + k];
        }
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < n; k++)
            b[r * n + k] /= a[k * n + k];
}

/* What is left of |W x|² when the columns that stay are fitted anew: tr(W C Wᵀ) - tr(W C_:S (C_SS)⁻¹ C_S: Wᵀ). */
static double residual(const struct problem *p, const bool *gone)
{
    int64_t n = p->n, k = 0, stay[MOST];
    static double a[MOST * MOST], cross[MOST * MOST], fit[MOST * MOST];
    for (int64_t j = 0; j < n; j++) {
        bool out = false;
        for (int64_t u = 0; u < p->units; u++)
            out = out || (gone[u] && j >= p->start[u] && j < p->start[u + 1]);
        if (!out)
            stay[k++] = j;
    }
    double sum = 0;
    for (int64_t r = 0; r < p->m; r++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                sum += p->w[r * n + i] * p->c[i * n + j] * p->w[r * n + j];
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < k; j++)
            a[i * k + j] = p->c[stay[i] * n + stay[j]];
    for (int64_t r = 0; r < p->m; r++)
        for (int64_t i = 0; i < k; i++) {
            cross[r * k + i] = 0;
            for (int64_t j = 0; j < n; j++)
                cross[r * k + i] += p->w[r * n + j] * p->c[j * n + stay[i]];
            fit[r * k + i] = cross[r * k + i];
        }
    solve(k, a, p->m, fit);
    for (int64_t i = 0; i < p->m * k; i++)
        sum -= cross[i] * fit[i];
    return sum;
}

static struct mc_obs_reader reader_of(const struct problem *p)
{
    struct mc_obs_reader r = {.m = p->m, .n = p->n};
    r.start = calloc(MOST, sizeof *r.start);
    r.inverse = calloc(MOST * MOST, sizeof *r.inverse);
    r.w = calloc(MOST * MOST, sizeof *r.w);
    assert_true(r.start && r.inverse && r.w);
    memcpy(r.start, p->start, sizeof p->start);
    for (int64_t i = 0; i < p->n * p->n; i++)
        r.inverse[i] = (float)p->c[i];
    for (int64_t i = 0; i < p->m * p->n; i++)
        r.w[i] = (float)p->w[i];
    build_ok(mc_obs_invert(la, p->n, r.inverse, &err), &err);
    return r;
}

static void greedy(const struct problem *p, size_t n_problems, int32_t *order, double *cost)
{
    struct mc_obs_reader r[4];
    for (size_t k = 0; k < n_problems; k++)
        r[k] = reader_of(&p[k]);
    build_ok(mc_obs_greedy(la, r, n_problems, NULL, p->units, order, cost, &err), &err);
    for (size_t k = 0; k < n_problems; k++) {
        free(r[k].start);
        free(r[k].inverse);
        free(r[k].w);
    }
}

/* Every step takes the unit that leaves the least when tried, and says what is left. */
static void expect_greedy(const struct problem *p, size_t n_problems)
{
    int32_t order[MOST];
    double cost[MOST];
    bool gone[MOST] = {0};
    greedy(p, n_problems, order, cost);
    for (int64_t k = 0; k < p->units; k++) {
        double best = INFINITY, got = 0;
        for (int64_t u = 0; u < p->units; u++) {
            if (gone[u])
                continue;
            gone[u] = true;
            double left = 0;
            for (size_t i = 0; i < n_problems; i++)
                left += residual(&p[i], gone);
            gone[u] = false;
            best = fmin(best, left);
            if (u == order[k])
                got = left;
        }
        gone[order[k]] = true;
        /* of single precision, and of whatever kernels LAPACK has for this CPU */
        if (!(fabs(got - best) <= 4e-3 * best + 1e-6))
            fail_msg("%d-th: unit %d leaves %g, another %g", (int)k, order[k], got, best);
        if (!(fabs(cost[k] - got) <= 4e-3 * got + 1e-6))
            fail_msg("%d-th: it is said to cost %g, not %g", (int)k, cost[k], got);
    }
}

static void single_columns(void **state)
{
    (void)state;
    struct problem p;
    for (uint64_t seed = 1; seed < 6; seed++) {
        random_problem(&p, seed, 3, 12, 1, 0);
        expect_greedy(&p, 1);
        random_problem(&p, seed, 7, 8, 1, 3); /* others make up for them, and stay */
        expect_greedy(&p, 1);
    }
}

static void blocks_of_columns(void **state)
{
    (void)state;
    struct problem p;
    for (uint64_t seed = 1; seed < 6; seed++) {
        random_problem(&p, seed, 4, 6, 4, 2);
        expect_greedy(&p, 1);
    }
}

static void several_readers(void **state)
{
    (void)state;
    struct problem p[2];
    for (uint64_t seed = 1; seed < 6; seed++) {
        random_problem(&p[0], seed, 3, 9, 1, 2);
        random_problem(&p[1], seed + 100, 5, 9, 3, 0);
        expect_greedy(p, 2);
    }
}

/* Some units have no column in a reader, and one has all the others. */
static void uneven_units(void **state)
{
    (void)state;
    struct problem p;
    random_problem(&p, 4, 5, 5, 3, 1);
    int64_t start[] = {0, 1, 1, 6, 13, 15};
    memcpy(p.start, start, sizeof start);
    expect_greedy(&p, 1);
}

/* One channel is a copy of another: either goes for nothing, then neither. */
static void a_copy_costs_nothing(void **state)
{
    (void)state;
    struct problem p;
    int32_t order[MOST];
    double cost[MOST];
    random_problem(&p, 9, 6, 10, 1, 0);
    for (int64_t i = 0; i < p.n; i++)
        p.c[7 * p.n + i] = p.c[2 * p.n + i];
    for (int64_t i = 0; i < p.n; i++)
        p.c[i * p.n + 7] = p.c[i * p.n + 2];
    for (int64_t i = 0; i < p.n; i++)
        p.c[i * p.n + i] *= 1 + 1e-4;
    greedy(&p, 1, order, cost);
    assert_true(order[0] == 7 || order[0] == 2);
    assert_true(cost[0] < 0.01 * cost[1]);
    for (int k = 1; k < 4; k++)
        assert_true(order[k] != 7 && order[k] != 2);
}

/* More units than go one at a time: what is left is nearly as little. */
static void many_at_once(void **state)
{
    (void)state;
    enum { UNITS = 400, ROWS = 5 };
    struct mc_obs_reader r = {.m = ROWS, .n = UNITS};
    r.start = calloc(UNITS + 1, sizeof *r.start);
    r.inverse = calloc((size_t)UNITS * UNITS, sizeof *r.inverse);
    r.w = malloc(sizeof(float) * ROWS * UNITS);
    assert_true(r.start && r.inverse && r.w);
    mc_rng_fill_normal(3, 1, 0, r.w, (size_t)ROWS * UNITS);
    for (int i = 0; i <= UNITS; i++)
        r.start[i] = i;
    for (int i = 0; i < UNITS; i++) /* independent columns of growing size */
        r.inverse[i * UNITS + i] = 1 / (1 + (float)i);
    double square[UNITS], sum = 0;
    for (int i = 0; i < UNITS; i++) {
        square[i] = 0;
        for (int k = 0; k < ROWS; k++)
            square[i] += (double)r.w[k * UNITS + i] * (double)r.w[k * UNITS + i] * (1 + i);
    }
    int32_t order[UNITS];
    double cost[UNITS];
    build_ok(mc_obs_greedy(la, &r, 1, NULL, UNITS, order, cost, &err), &err);
    bool seen[UNITS] = {0};
    for (int k = 0; k < UNITS; k++) {
        assert_false(seen[order[k]]);
        seen[order[k]] = true;
        sum += square[order[k]];
        assert_true(k == 0 || square[order[k]] >= square[order[k - 1]]);
        assert_true(fabs(cost[k] / sum - 1) < 1e-4);
    }
    free(r.start);
    free(r.inverse);
    free(r.w);
}

/* Without a reader a set costs what its pairs add up to. */
static void pairs_alone(void **state)
{
    (void)state;
    enum { N = 7 };
    float x[N * N], pairs[N * N] = {0};
    int32_t order[N];
    double cost[N];
    mc_rng_fill_normal(8, 1, 0, x, N * N);
    for (int i = 0; i < N * N; i++)
        for (int k = 0; k < N; k++)
            pairs[i] += x[i / N * N + k] * x[i % N * N + k];
    build_ok(mc_obs_greedy(la, NULL, 0, pairs, N, order, cost, &err), &err);
    for (int k = 0; k < N; k++) {
        double sum = 0, best = INFINITY;
        for (int i = 0; i <= k; i++)
            for (int j = 0; j <= k; j++)
                sum += (double)pairs[order[i] * N + order[j]];
        for (int other = k; other < N; other++) {
            double with = (double)pairs[order[other] * N + order[other]];
            for (int i = 0; i < k; i++)
                with += 2 * (double)pairs[order[i] * N + order[other]];
            best = fmin(best, with);
        }
        assert_true(fabs(cost[k] - sum) < 1e-4 * sum + 1e-5);
        assert_true(fabs(cost[k] - (k ? cost[k - 1] : 0) - best) < 1e-4 * sum + 1e-5);
    }
}

/* ---- a model ---- */

enum { IN = 6, HIDDEN = 10, OUT = 4, STEPS = 3 };

/* x [n,3,6] -> Relu(x w1) -> w2 -> z [n,3,4]: no class scores, so its error counts beside the variance of z. */
struct chain {
    struct mc_model *m;
    struct mc_coupling *c;
    float *x;
    struct memory_data data;
};

static void open_chain(struct chain *k, bool dead)
{
    *k = (struct chain){.m = build_model(17), .x = gaussian(3, SAMPLES * STEPS * IN)};
    struct mc_graph *g = k->m->graph;
    float *w1 = gaussian(1, IN * HIDDEN), *w2 = gaussian(2, HIDDEN * OUT);
    for (int i = 0; dead && i < IN; i++) /* 3 gives 0, 7 is twice 4 */
        w1[i * HIDDEN + 3] = 0, w1[i * HIDDEN + 7] = 2 * w1[i * HIDDEN + 4];
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-1, STEPS, IN));
    struct mc_value *h =
        build_binary(g, "MatMul", "h", x, f32_const(g, "w1", 2, DIMS(IN, HIDDEN), w1));
    struct mc_value *y = build_binary(g, "MatMul", "y", build_unary(g, "Relu", "r", h),
                                      f32_const(g, "w2", 2, DIMS(HIDDEN, OUT), w2));
    build_output(g, y);
    memory_open(&k->data, "x", SAMPLES, 2, DIMS(STEPS, IN), k->x, NULL);
    build_ok(mc_coupling_find(k->m, &k->c, &err), &err);
    free(w1);
    free(w2);
}

static void close_chain(struct chain *k)
{
    mc_coupling_free(k->c);
    mc_model_free(k->m);
    free(k->x);
}

static struct mc_importance obs(struct chain *k, int threads)
{
    struct mc_importance i;
    struct mc_pass_ctx ctx = svd_ctx(&k->data.d);
    build_ok(mc_pool_new(threads, &ctx.pool, &err), &err);
    build_ok(mc_importance_measure(&ctx, k->m, k->c, MC_IMPORTANCE_OBS, false, &i, &err), &err);
    mc_pool_free(ctx.pool);
    assert_int_equal(i.kind, MC_IMPORTANCE_OBS);
    assert_true(i.nats);
    assert_non_null(i.order);
    return i;
}

static const struct mc_coupling_group *hidden(const struct chain *k)
{
    for (size_t i = 0; i < k->c->n_groups; i++)
        if (!k->c->group[i].why && k->c->group[i].n == HIDDEN)
            return &k->c->group[i];
    fail_msg("the hidden nodes are no group");
    return NULL;
}

/* By the definition: half of what the best w2 misses without them, beside the variance of the outputs. */
static void costs_of_a_model(void **state)
{
    (void)state;
    struct chain k;
    open_chain(&k, false);
    struct mc_importance i = obs(&k, 1);
    const struct mc_coupling_group *g = hidden(&k);
    int64_t n, m;
    build_output(k.m->graph, mc_graph_value(k.m->graph, "r"));
    float *z = output_of(k.m, 3, DIMS(SAMPLES, STEPS, IN), k.x, &n);
    struct mc_session *s = session_of(k.m, NULL);
    run_x(s, 3, DIMS(SAMPLES, STEPS, IN), k.x);
    const float *h = mc_session_output(s, 1)->data;
    m = SAMPLES * STEPS;
    static struct problem p;
    p = (struct problem){.m = OUT, .n = HIDDEN, .units = HIDDEN};
    double sum = 0, square = 0;
    for (int64_t r = 0; r < n; r++) {
        sum += (double)z[r];
        square += (double)z[r] * (double)z[r];
    }
    double variance = square / (double)n - sum / (double)n * sum / (double)n;
    const float *w2 = (const float *)mc_constant(mc_graph_value(k.m->graph, "w2"))->data;
    for (int a = 0; a < HIDDEN; a++) {
        p.start[a] = a;
        p.start[a + 1] = a + 1;
        for (int o = 0; o < OUT; o++)
            p.w[o * HIDDEN + a] = (double)w2[a * OUT + o];
        for (int b = 0; b < HIDDEN; b++)
            for (int64_t r = 0; r < m; r++)
                p.c[a * HIDDEN + b] +=
                    (double)h[r * HIDDEN + a] * (double)h[r * HIDDEN + b] / (double)m;
    }
    bool gone[MOST] = {0};
    for (int t = 0; t < HIDDEN; t++) {
        gone[i.order[g->first + t] - g->first] = true;
        double want = residual(&p, gone) / (2 * OUT * variance), got = i.cost[g->first + t];
        want *= 1.3; /* the ridge on what errors cost: all outputs cost the same here */
        if (!(fabs(got - want) <= 0.15 * want))
            fail_msg("%d gone: %g, not %g", t + 1, got, want);
        assert_true(t == 0 || i.score[i.order[g->first + t]] > i.score[i.order[g->first + t - 1]]);
    }
    mc_importance_free(&i);
    mc_session_free(s);
    free(z);
    close_chain(&k);
}

static void dead_and_double_units(void **state)
{
    (void)state;
    struct chain k;
    open_chain(&k, true);
    struct mc_importance i = obs(&k, 1);
    const struct mc_coupling_group *g = hidden(&k);
    /* the dead one and a twin for next to nothing, the other twin then as dear as any */
    int32_t first = i.order[g->first] - g->first, second = i.order[g->first + 1] - g->first;
    assert_true(first == 3 || second == 3);
    assert_true(first == 4 || first == 7 || second == 4 || second == 7);
    assert_true(i.cost[g->first + 1] < 0.1 * i.cost[g->first + 2]);
    mc_importance_free(&i);
    close_chain(&k);
}

/* [rows, cols] turned. */
static float *turned(const float *x, int rows, int cols)
{
    float *t = malloc(sizeof *t * (size_t)(rows * cols));
    assert_non_null(t);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++)
            t[j * rows + i] = x[i * cols + j];
    return t;
}

/* One network of two products, written with another operator for the second. */
static void open_written(struct chain *k, const char *op, bool columns_first)
{
    *k = (struct chain){.m = build_model(17), .x = gaussian(3, SAMPLES * IN)};
    struct mc_graph *g = k->m->graph;
    bool image = !strncmp(op, "Conv", 4);
    int more = image ? 2 : 0;
    float *w1 = gaussian(1, HIDDEN * IN), *w1t = turned(w1, HIDDEN, IN);
    float *w2 = gaussian(2, OUT * HIDDEN), *w2t = turned(w2, OUT, HIDDEN);
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2 + more, DIMS(-1, IN, 1, 1));
    struct mc_value *a = f32_const(
        g, "w1", 2 + more, image ? DIMS(HIDDEN, IN, 1, 1) : DIMS(IN, HIDDEN), image ? w1 : w1t);
    struct mc_value *b = f32_const(
        g, "w2", 2 + more, columns_first ? DIMS(HIDDEN, OUT, 1, 1) : DIMS(OUT, HIDDEN, 1, 1),
        columns_first ? w2t : w2);
    struct mc_value *r =
        build_unary(g, "Relu", "r", build_binary(g, image ? "Conv" : "MatMul", "h", x, a));
    struct mc_node *n;
    struct mc_value *y = build_node(g, op, "y", 2, (struct mc_value *[]){r, b}, &n);
    if (!strcmp(op, "Gemm"))
        assert_int_equal(mc_edit_attr_int(n, "transB", !columns_first, NULL), 0);
    build_output(g, image ? build_unary(g, "Flatten", "flat", y) : y);
    memory_open(&k->data, "x", SAMPLES, 1 + more, DIMS(IN, 1, 1), k->x, NULL);
    build_ok(mc_coupling_find(k->m, &k->c, &err), &err);
    free(w1);
    free(w2);
    free(w1t);
    free(w2t);
}

static void same_whatever_multiplies(void **state)
{
    (void)state;
    static const struct {
        const char *op;
        bool columns_first;
    } all[] = {{"MatMul", true},
               {"Gemm", true},
               {"Gemm", false},
               {"Conv", false},
               {"ConvTranspose", true}};
    double want[HIDDEN] = {0};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct chain k;
        open_written(&k, all[i].op, all[i].columns_first);
        struct mc_importance got = obs(&k, 1);
        const double *cost = got.cost + hidden(&k)->first;
        for (int t = 0; t < HIDDEN; t++) {
            want[t] = i ? want[t] : cost[t];
            if (!(fabs(cost[t] - want[t]) <= 1e-3 * want[t] && cost[t] > 0))
                fail_msg("%s: %d gone cost %g, not %g", all[i].op, t + 1, cost[t], want[t]);
        }
        mc_importance_free(&got);
        close_chain(&k);
    }
}

static void same_for_any_threads(void **state)
{
    (void)state;
    struct chain k;
    open_chain(&k, false);
    struct mc_importance a = obs(&k, 1), b = obs(&k, 3);
    size_t n = (size_t)k.c->n_units;
    assert_memory_equal(a.score, b.score, n * sizeof *a.score);
    assert_memory_equal(a.cost, b.cost, n * sizeof *a.cost);
    assert_memory_equal(a.order, b.order, n * sizeof *a.order);
    mc_importance_free(&a);
    mc_importance_free(&b);
    close_chain(&k);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_columns),       cmocka_unit_test(blocks_of_columns),
        cmocka_unit_test(several_readers),      cmocka_unit_test(uneven_units),
        cmocka_unit_test(many_at_once),         cmocka_unit_test(pairs_alone),
        cmocka_unit_test(costs_of_a_model),     cmocka_unit_test(dead_and_double_units),
        cmocka_unit_test(same_for_any_threads), cmocka_unit_test(same_whatever_multiplies),
        cmocka_unit_test(a_copy_costs_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
