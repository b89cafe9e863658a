/* The update of a step graph: against torch.optim, closed forms, and what it must leave alone. Gradients are inputs
 * here, so that no rule has a part in it. */
#include "../run/run_util.h"
#include "update_numbers.h"

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/grad/rule.h"
#include "graph/grad/batchnorm.h"
#include "graph/grad/update.h"
#include "graph/run/plan.h"

enum { N = 8, W = 6, BLOCK = 32 /* two parts */, AT_B = 16 };

static struct mc_session *session_with(struct mc_model *m, const struct mc_update *u,
                                       enum mc_precision precision, struct mc_pool *pool)
{
    struct mc_session_state pair[8];
    for (size_t i = 0; i < u->n_states; i++)
        pair[i] = (struct mc_session_state){u->states[i].in, u->states[i].out};
    struct mc_session *s = session_of(
        m, &(struct mc_session_opts){
               .state = pair, .n_state = u->n_states, .precision = precision, .pool = pool});
    for (size_t i = 0; i < u->n_states; i++) {
        const struct mc_state *st = &u->states[i];
        struct mc_err err;
        if (!st->initial)
            continue;
        if (precision == MC_PRECISION_F64 && st->dtype == MC_DTYPE_F32) {
            double *wide = mc_calloc((size_t)st->count, sizeof *wide);
            assert_non_null(wide);
            for (int64_t k = 0; k < st->count; k++)
                wide[k] = ((const float *)st->initial)[k];
            build_ok(mc_session_store(s, st->in, wide, (size_t)st->count * 8, &err), &err);
            free(wide);
        } else {
            size_t elem = st->dtype == MC_DTYPE_F64 ? 8 : 4;
            build_ok(mc_session_store(s, st->in, st->initial, (size_t)st->count * elem, &err),
                     &err);
        }
    }
    return s;
}

static const struct mc_state *state_of(const struct mc_update *u, enum mc_state_kind kind)
{
    for (size_t i = 0; i < u->n_states; i++)
        if (u->states[i].kind == kind)
            return &u->states[i];
    fail_msg("no state of kind %d", (int)kind);
    return NULL;
}

/* ---- eight parameters ---- */

struct eight {
    struct mc_model *m;
    struct mc_update u;
};

/* b [2], w [2,3] of this type; their gradients are inputs. b is listed first, but does not decay. */
static struct eight eight_parameters(enum mc_dtype dtype, const struct mc_update_opts *o)
{
    struct eight e = {.m = build_model(20)};
    struct mc_graph *g = e.m->graph;
    struct mc_err err;
    struct mc_shape shape[2] = {{1, {2}}, {2, {2, 3}}};
    struct mc_value *value[2], *grad[3];
    for (int i = 0; i < 2; i++) {
        struct mc_tensor *t;
        void *data;
        double x[W];
        build_ok(mc_tensor_new(dtype, &shape[i], NULL, &t, &data, &err), &err);
        for (int k = 0; k < (i ? W : 2); k++)
            x[k] = cos(k + (i ? 1 : 7));
        build_ok(mc_dtype_from_f64(dtype, x, data, i ? W : 2, &err), &err);
        value[i] = mc_edit_constant(g, i ? "w" : "b", t);
        mc_tensor_unref(t);
        grad[i] = build_input(g, i ? "gw" : "gb", dtype, shape[i].rank, shape[i].dim);
        build_output(g, build_unary(g, "Neg", i ? "minus_w" : "minus_b", value[i]));
    }
    grad[2] = NULL;
    struct mc_weight list[] = {{.value = value[0], .shape = shape[0]},
                               {.value = value[1], .shape = shape[1], .decays = true},
                               {.value = value[1], .why = "for a reason"}};
    build_ok(mc_update_build(g, &(struct mc_weights){.list = list, .n = 3}, grad, o, &e.u, &err),
             &err);
    return e;
}

static void free_eight(struct eight *e)
{
    mc_update_free(&e->u);
    mc_model_free(e->m);
}

/* One run with the gradients sin(k + 1 + 3 t), those of b times `factor`. */
static void run_eight(struct mc_session *s, int t, double factor, int64_t apply, float lr)
{
    double gw[W], gb[2], scale = 0.5, rate = lr == 0.1f ? 0.1 : lr == 0.01f ? 0.01 : (double)lr;
    int64_t step = t;
    for (int k = 0; k < W; k++)
        gw[k] = sin(k + 1 + 3 * t);
    for (int k = 0; k < 2; k++)
        gb[k] = factor * sin(k + 7 + 3 * t);
    const struct mc_array in[] = {
        array_of("gw", MC_DTYPE_F64, 2, DIMS(2, 3), gw),
        array_of("gb", MC_DTYPE_F64, 1, DIMS(2), gb),
        array_of(MC_UPDATE_LR, MC_DTYPE_F64, 0, NULL, &rate),
        array_of(MC_UPDATE_STEP, MC_DTYPE_I64, 0, NULL, &step),
        array_of(MC_UPDATE_APPLY, MC_DTYPE_I64, 0, NULL, &apply),
        array_of(MC_UPDATE_SCALE, MC_DTYPE_F64, 0, NULL, &scale),
    };
    run_ok(s, in, apply < 0 ? 4 : 6);
}

/* The parts of a block in one row: w, then b. */
static void fetch_eight(const struct mc_session *s, const struct mc_state *st, double *ret)
{
    struct mc_err err;
    double wide[BLOCK];
    float narrow[BLOCK];
    bool f64 = mc_session_value(s, st->out)->dtype == MC_DTYPE_F64;
    assert_int_equal(st->count, BLOCK);
    build_ok(
        mc_session_fetch(s, st->in, f64 ? (void *)wide : narrow, BLOCK * (f64 ? 8u : 4u), &err),
        &err);
    for (int k = 0; k < BLOCK; k++) {
        double v = f64 ? wide[k] : (double)narrow[k];
        if (k < W)
            ret[k] = v;
        else if (k >= AT_B && k < AT_B + 2)
            ret[W + k - AT_B] = v;
        else
            assert_true(v == 0);
    }
}

static void expect_eight(const struct mc_session *s, const struct mc_state *st, const double *want,
                         double tolerance)
{
    double got[N];
    fetch_eight(s, st, got);
    for (int k = 0; k < N; k++)
        if (!(fabs(got[k] - want[k]) <= tolerance * fmax(1, fabs(want[k]))))
            fail_msg("%s[%d] is %.17g, not %.17g", st->in, k, got[k], want[k]);
}

static void as_in_torch(void **unused)
{
    (void)unused;
    static const struct {
        struct mc_update_opts o;
        float lr;
        double params[N], average[N], norm;
    } cases[] = {
#define CASE(name, lr, ...) {{__VA_ARGS__}, lr, name##_PARAMS, name##_AVERAGE, name##_NORM}
        CASE(SGD, 0.1f, .kind = MC_OPTIMIZER_SGD),
        CASE(MOMENTUM, 0.1f, .kind = MC_OPTIMIZER_SGD, .momentum = 0.9),
        CASE(NESTEROV, 0.1f, .kind = MC_OPTIMIZER_SGD, .momentum = 0.9, .nesterov = true,
             .decay = 0.01),
        CASE(CLIPPED, 0.1f, .kind = MC_OPTIMIZER_SGD, .momentum = 0.5, .decay = 0.1, .clip = 0.75),
        CASE(ADAM, 0.01f, .kind = MC_OPTIMIZER_ADAM, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8),
        CASE(ADAM_DECAY, 0.01f, .kind = MC_OPTIMIZER_ADAM, .beta1 = 0.8, .beta2 = 0.99,
             .epsilon = 1e-3, .decay = 0.1, .clip = 0.5),
        CASE(ADAMW, 0.01f, .kind = MC_OPTIMIZER_ADAMW, .beta1 = 0.9, .beta2 = 0.999,
             .epsilon = 1e-8, .decay = 0.1),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int f32 = 0; f32 < 2; f32++) {
            struct mc_update_opts o = cases[i].o;
            o.ema = 0.3;
            struct eight e = eight_parameters(f32 ? MC_DTYPE_F32 : MC_DTYPE_F64, &o);
            struct mc_session *s = session_with(e.m, &e.u, MC_PRECISION_MODEL, NULL);
            for (int t = 1; t <= 5; t++)
                run_eight(s, t, 1, -1, cases[i].lr);
            double tolerance = f32 ? 5e-7 : 1e-14;
            expect_eight(s, state_of(&e.u, MC_STATE_WEIGHTS), cases[i].params, tolerance);
            expect_eight(s, state_of(&e.u, MC_STATE_AVERAGE), cases[i].average, tolerance);
            const struct mc_array *norm = mc_session_value(s, MC_UPDATE_NORM);
            double got = f32 ? (double)*(const float *)norm->data : *(const double *)norm->data;
            assert_true(fabs(got - cases[i].norm) <= tolerance * cases[i].norm);
            mc_session_free(s);
            free_eight(&e);
        }
}

/* ---- memory ---- */

static const struct mc_step *step_of(const struct mc_session *s, const char *op)
{
    for (int i = 0; i < s->last->n_steps; i++)
        if (!strcmp(s->last->steps[i].call.node->op_type, op))
            return &s->last->steps[i];
    fail_msg("no step runs %s", op);
    return NULL;
}

/* Weights are read where the block is, gradients made where theirs is, and every state is replaced in place. */
static void nothing_is_copied(void **unused)
{
    (void)unused;
    const struct mc_update_opts o = {.kind = MC_OPTIMIZER_ADAM,
                                     .beta1 = 0.9,
                                     .beta2 = 0.99,
                                     .epsilon = 1e-8,
                                     .ema = 0.9,
                                     .accumulate = true};
    struct eight e = eight_parameters(MC_DTYPE_F32, &o);
    struct mc_graph *g = e.m->graph;
    /* Gradients that nodes make, the second behind a view. */
    struct mc_node *pack = NULL;
    for (size_t i = 0; i < g->n_nodes; i++)
        pack = strcmp(g->nodes[i]->op_type, "Pack") ? pack : g->nodes[i];
    assert_non_null(pack);
    struct mc_value *made[2] = {mc_edit_fresh(g, "gw2"), mc_edit_fresh(g, "gb2")};
    struct mc_value *view = mc_edit_fresh(g, "gb3");
    struct mc_value *two = build_const(g, "two", MC_DTYPE_I64, 1, DIMS(1), DIMS(2));
    struct mc_err err;
    build_ok(
        mc_edit_node(g, pack->pos, "Exp", "", 20, "", &pack->in[0], 1, &made[0], 1, NULL, &err),
        &err);
    build_ok(
        mc_edit_node(g, pack->pos, "Sin", "", 20, "", &pack->in[1], 1, &made[1], 1, NULL, &err),
        &err);
    build_ok(mc_edit_node(g, pack->pos, "Reshape", "", 20, "", (struct mc_value *[]){made[1], two},
                          2, &view, 1, NULL, &err),
             &err);
    build_ok(mc_edit_set_input(pack, 0, made[0], &err), &err);
    build_ok(mc_edit_set_input(pack, 1, view, &err), &err);

    struct mc_session *s = session_with(e.m, &e.u, MC_PRECISION_MODEL, NULL);
    run_eight(s, 1, 1, 1, 0.1f);
    for (size_t i = 0; i < s->n_states; i++) {
        const struct mc_pvalue *v = &s->last->values[s->states[i].out->index];
        assert_int_equal(s->last->slots[v->slot].state, (int)i + 1);
    }
    const char *weights = s->states[0].buf.data, *block = step_of(s, "Pack")->call.out[0].data;
    assert_true(step_of(s, "Unpack")->skip);
    assert_ptr_equal(step_of(s, "Neg")->call.in[0].data, weights + 4 * AT_B);
    assert_ptr_equal(step_of(s, "Exp")->call.out[0].data, block);
    assert_ptr_equal(step_of(s, "Sin")->call.out[0].data, block + 4 * AT_B);
    const struct mc_call *adam = &step_of(s, "Adam")->call;
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(adam->in[i].data, adam->out[i].data);
    const struct mc_call *clear = &step_of(s, "Clear")->call;
    assert_ptr_equal(clear->in[0].data, step_of(s, "Accumulate")->call.in[0].data);
    assert_ptr_equal(clear->in[0].data, clear->out[0].data);

    /* The same numbers without any of that. */
    double want[2][N];
    fetch_eight(s, state_of(&e.u, MC_STATE_WEIGHTS), want[0]);
    fetch_eight(s, state_of(&e.u, MC_STATE_MOMENT), want[1]);
    mc_session_free(s);
    struct mc_session_state pair[8];
    for (size_t i = 0; i < e.u.n_states; i++)
        pair[i] = (struct mc_session_state){e.u.states[i].in, e.u.states[i].out};
    s = session_of(e.m, &(struct mc_session_opts){
                            .state = pair, .n_state = e.u.n_states, .flags = MC_SESSION_NO_REUSE});
    for (size_t i = 0; i < e.u.n_states; i++)
        if (e.u.states[i].initial)
            build_ok(mc_session_store(s, pair[i].in, e.u.states[i].initial, 4 * BLOCK, &err), &err);
    run_eight(s, 1, 1, 1, 0.1f);
    assert_true(step_of(s, "Exp")->call.out[0].data != step_of(s, "Pack")->call.out[0].data);
    expect_eight(s, state_of(&e.u, MC_STATE_WEIGHTS), want[0], 0);
    expect_eight(s, state_of(&e.u, MC_STATE_MOMENT), want[1], 0);
    mc_session_free(s);
    free_eight(&e);
}

/* ---- what is not finite ---- */

static void a_bad_gradient_changes_nothing(void **unused)
{
    (void)unused;
    for (int adam = 0; adam < 2; adam++) {
        const struct mc_update_opts o = {
            .kind = adam ? MC_OPTIMIZER_ADAMW : MC_OPTIMIZER_SGD,
            .momentum = 0.9,
            .beta1 = 0.9,
            .beta2 = 0.99,
            .decay = 0.1,
            .epsilon = 1e-8,
            .clip = 1,
            .ema = 0.9,
        };
        struct eight e = eight_parameters(MC_DTYPE_F32, &o);
        struct mc_session *s = session_with(e.m, &e.u, MC_PRECISION_MODEL, NULL);
        run_eight(s, 1, 1, -1, 0.1f);
        double before[4][N], after[N];
        for (size_t i = 0; i < e.u.n_states; i++)
            fetch_eight(s, &e.u.states[i], before[i]);
        run_eight(s, 2, NAN, -1, 0.1f);
        assert_true(isnan(*(const float *)mc_session_value(s, MC_UPDATE_NORM)->data));
        run_eight(s, 2, INFINITY, -1, 0.1f);
        assert_true(isinf(*(const float *)mc_session_value(s, MC_UPDATE_NORM)->data));
        for (size_t i = 0; i < e.u.n_states; i++)
            expect_eight(s, &e.u.states[i], before[i], 0);
        run_eight(s, 2, 1, -1, 0.1f);
        for (size_t i = 0; i < e.u.n_states; i++) {
            fetch_eight(s, &e.u.states[i], after);
            assert_true(after[0] != before[i][0]);
        }
        mc_session_free(s);
        free_eight(&e);
    }
}

/* ---- accumulation ---- */

/* Two halves with scale 1/2 are one step with the mean of their gradients. */
static void halves_add_up(void **unused)
{
    (void)unused;
    const struct mc_update_opts o = {
        .kind = MC_OPTIMIZER_SGD, .momentum = 0.9, .ema = 0.5, .accumulate = true};
    struct eight e = eight_parameters(MC_DTYPE_F64, &o);
    struct mc_session *s = session_with(e.m, &e.u, MC_PRECISION_MODEL, NULL);
    const struct mc_state *sum = state_of(&e.u, MC_STATE_GRADIENTS);
    double w[N], m[N] = {0}, mean[N], zero[N] = {0}, half[N];
    for (int k = 0; k < N; k++)
        mean[k] = w[k] = cos(k + 1);
    for (int t = 1; t <= 3; t++) {
        run_eight(s, 2 * t, 1, 0, 0.1f);
        expect_eight(s, state_of(&e.u, MC_STATE_WEIGHTS), w, 1e-15);
        expect_eight(s, state_of(&e.u, MC_STATE_AVERAGE), mean, 1e-15);
        for (int k = 0; k < N; k++)
            half[k] = sin(k + 1 + 6 * t) / 2;
        expect_eight(s, sum, half, 1e-15);
        run_eight(s, 2 * t + 1, 1, 1, 0.1f);
        double d = fmin(0.5, (2.0 + 2 * t) / (11.0 + 2 * t));
        for (int k = 0; k < N; k++) {
            m[k] = 0.9 * m[k] + half[k] + sin(k + 4 + 6 * t) / 2;
            w[k] -= 0.1 * m[k];
            mean[k] = d * mean[k] + (1 - d) * w[k];
        }
        expect_eight(s, state_of(&e.u, MC_STATE_WEIGHTS), w, 1e-14);
        expect_eight(s, state_of(&e.u, MC_STATE_AVERAGE), mean, 1e-14);
        expect_eight(s, sum, zero, 0);
    }
    /* A bad part spoils the sum; the update it belongs to does not take place, and the next begins anew. */
    run_eight(s, 1, NAN, 0, 0.1f);
    run_eight(s, 1, 1, 1, 0.1f);
    expect_eight(s, state_of(&e.u, MC_STATE_WEIGHTS), w, 1e-14);
    expect_eight(s, sum, zero, 0);
    mc_session_free(s);
    free_eight(&e);
}

/* ---- types ---- */

static void halves_are_kept_in_float(void **unused)
{
    (void)unused;
    const struct mc_update_opts o = {.kind = MC_OPTIMIZER_SGD};
    struct eight e = eight_parameters(MC_DTYPE_F16, &o);
    assert_int_equal(e.u.states[0].dtype, MC_DTYPE_F32);
    struct mc_session *s = session_with(e.m, &e.u, MC_PRECISION_MODEL, NULL);
    /* Steps too small for a half type add up; what is computed with is rounded. */
    double first[N], w[N];
    run_eight(s, 1, 1, -1, 0);
    fetch_eight(s, &e.u.states[0], first);
    for (int k = 0; k < 100; k++)
        run_eight(s, 1, 1, -1, 1e-5f);
    fetch_eight(s, &e.u.states[0], w);
    for (int k = 0; k < N; k++)
        assert_true(fabs(w[k] - (first[k] - 1e-3 * sin(k + 4))) < 2e-6);
    const float *used = mc_session_value(s, "minus_w")->data;
    for (int k = 0; k < W; k++) {
        assert_true(fabs((double)used[k] + w[k]) < 5e-4);
        uint16_t half;
        float back;
        assert_int_equal(mc_dtype_from_f32(MC_DTYPE_F16, &used[k], &half, 1, NULL), 0);
        assert_int_equal(mc_dtype_to_f32(MC_DTYPE_F16, &half, &back, 1, NULL), 0);
        assert_true(back == used[k]);
    }
    mc_session_free(s);
    free_eight(&e);
}

/* ---- results of threads ---- */

static void threads_change_nothing(void **unused)
{
    (void)unused;
    enum { ROWS = 300, COLS = 333 };
    float *g = mc_calloc(ROWS * COLS, sizeof *g), *first = mc_calloc(ROWS * COLS + 16, sizeof *g);
    float *w = mc_calloc(ROWS * COLS + 16, sizeof *g);
    assert_true(g && w && first);
    mc_rng_fill_normal(1, 1, 0, g, ROWS * COLS);
    for (int threads = 1; threads <= 3; threads++) {
        struct mc_model *m = build_model(20);
        struct mc_err err;
        struct mc_update u;
        struct mc_value *grad = build_input(m->graph, "g", MC_DTYPE_F32, 2, DIMS(ROWS, COLS));
        struct mc_value *v = random_const(m->graph, "w", 2, DIMS(ROWS, COLS), 7);
        build_output(m->graph, build_unary(m->graph, "Neg", "y", v));
        struct mc_weight list = {.value = v, .shape = {2, {ROWS, COLS}}, .decays = true};
        const struct mc_update_opts o = {
            .kind = MC_OPTIMIZER_SGD, .momentum = 0.9, .decay = 1e-4, .clip = 1};
        build_ok(mc_update_build(m->graph, &(struct mc_weights){.list = &list, .n = 1}, &grad, &o,
                                 &u, &err),
                 &err);
        struct mc_pool *pool;
        build_ok(mc_pool_new(threads, &pool, &err), &err);
        struct mc_session *s = session_with(m, &u, MC_PRECISION_MODEL, pool);
        float lr = 0.1f;
        int64_t step = 1;
        const struct mc_array in[] = {array_of("g", MC_DTYPE_F32, 2, DIMS(ROWS, COLS), g),
                                      array_of(MC_UPDATE_LR, MC_DTYPE_F32, 0, NULL, &lr),
                                      array_of(MC_UPDATE_STEP, MC_DTYPE_I64, 0, NULL, &step)};
        for (int k = 0; k < 3; k++)
            run_ok(s, in, 3);
        size_t bytes = (size_t)u.states[0].count * sizeof *w;
        build_ok(mc_session_fetch(s, u.states[0].in, w, bytes, &err), &err);
        if (threads == 1)
            memcpy(first, w, bytes);
        assert_memory_equal(w, first, bytes);
        mc_session_free(s);
        mc_update_free(&u);
        mc_model_free(m);
        mc_pool_free(pool);
    }
    free(g);
    free(w);
    free(first);
}

/* ---- running statistics ---- */

/* Two nodes of normalization in training mode; where `same`, they have their statistics in common. */
static struct mc_model *normalized(bool same)
{
    struct mc_model *m = build_model(15);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-1, 2));
    struct mc_value *mean = NULL, *var = NULL;
    struct mc_value *scale = f32_const(g, "scale", 1, DIMS(2), F(1, 1));
    struct mc_value *bias = f32_const(g, "bias", 1, DIMS(2), F(0, 0));
    for (int i = 0; i < 2; i++) {
        if (i == 0 || !same) {
            mean = f32_const(g, i ? "mean2" : "mean", 1, DIMS(2), F(1, 2));
            var = f32_const(g, i ? "var2" : "var", 1, DIMS(2), F(3, 4));
        }
        struct mc_value *in[] = {x, scale, bias, mean, var};
        x = build_node(g, "BatchNormalization", i ? "z" : "y", 5, in, NULL);
    }
    build_output(g, x);
    size_t n;
    assert_int_equal(mc_batchnorm_train(g, &n, NULL), 0);
    assert_int_equal(n, 2);
    return m;
}

static void statistics_are_kept_up(void **unused)
{
    (void)unused;
    for (int same = 0; same < 2; same++) {
        struct mc_model *m = normalized(same), *file = normalized(same);
        struct mc_graph *g = m->graph;
        struct mc_err err;
        struct mc_update u;
        struct mc_value *grad[] = {build_input(g, "g", MC_DTYPE_F32, 1, DIMS(2))};
        struct mc_weight list = {.value = mc_graph_value(g, "bias"), .shape = {1, {2}}};
        build_ok(mc_update_build(g, &(struct mc_weights){.list = &list, .n = 1}, grad,
                                 &(struct mc_update_opts){0}, &u, &err),
                 &err);
        struct mc_session *s = session_with(m, &u, MC_PRECISION_MODEL, NULL);
        const struct mc_state *st = state_of(&u, MC_STATE_STATISTICS);
        assert_int_equal(st->n_parts, same ? 2 : 4);
        float x[] = {0, 1, 2, 5, 4, 9}, lr = 0.1f, zero[2] = {0}, got[64] = {0};
        int64_t step = 1;
        struct mc_array in[] = {array_of("x", MC_DTYPE_F32, 2, DIMS(3, 2), x),
                                array_of("g", MC_DTYPE_F32, 1, DIMS(2), zero),
                                array_of(MC_UPDATE_LR, MC_DTYPE_F32, 0, NULL, &lr),
                                array_of(MC_UPDATE_STEP, MC_DTYPE_I64, 0, NULL, &step)};
        run_ok(s, in, 4);
        build_ok(mc_session_fetch(s, st->in, got, (size_t)st->count * 4, &err), &err);
        /* 0.9 old + 0.1 of the batch: means 2 and 5, variances 8/3 and 32/3; behind the first node 0 and 1. */
        double want[2][4] = {{0.9 + 0.2, 1.8 + 0.5, 2.7 + 0.8 / 3, 3.6 + 3.2 / 3},
                             {0.9, 1.8, 2.8, 3.7}};
        for (int i = 0; i < 4 && same; i++) /* one after the other */
            want[0][i] = 0.9 * want[0][i] + (i < 2 ? 0 : 0.1);
        for (size_t i = 0; i < st->n_parts; i++)
            for (size_t k = 0; k < 2; k++)
                if (!(fabs((double)got[16 * i + k] - want[i / 2][i % 2 * 2 + k]) < 1e-4))
                    fail_msg("part %zu is %g", i, (double)got[16 * i + k]);
        /* Into the model by name; and a bad step changes nothing. */
        build_ok(mc_update_store(file, st, got, &err), &err);
        float *stored;
        int64_t n;
        build_ok(
            mc_constant_f32(mc_graph_value(file->graph, same ? "var" : "var2"), &stored, &n, &err),
            &err);
        assert_memory_equal(stored, got + (same ? 16 : 48), 8);
        free(stored);
        float bad[] = {NAN, 0}, again[64] = {0};
        in[1].data = bad;
        run_ok(s, in, 4);
        build_ok(mc_session_fetch(s, st->in, again, (size_t)st->count * 4, &err), &err);
        assert_memory_equal(again, got, sizeof got);
        mc_session_free(s);
        mc_update_free(&u);
        mc_model_free(m);
        mc_model_free(file);
    }
}

/* ---- the model, and errors ---- */

static void stored_by_name(void **unused)
{
    (void)unused;
    struct eight e = eight_parameters(MC_DTYPE_F16, &(struct mc_update_opts){0});
    struct mc_model *m = build_model(20);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_value *w = build_const(g, "w", MC_DTYPE_F16, 2, DIMS(2, 3), NULL), *b;
    struct mc_node *n;
    struct mc_tensor *t;
    build_ok(mc_tensor_new(MC_DTYPE_F16, &(struct mc_shape){1, {2}}, NULL, &t, NULL, &err), &err);
    b = build_node(g, "Constant", "b", 0, NULL, &n);
    build_ok(mc_edit_attr_tensor(n, "value", t, &err), &err);
    mc_tensor_unref(t);
    float block[BLOCK] = {1, 2, 3, 4, 5, 6}, *got;
    int64_t count;
    block[AT_B] = 7;
    block[AT_B + 1] = 8.0001f;
    build_ok(mc_update_store(m, &e.u.states[0], block, &err), &err);
    assert_int_equal(mc_constant(w)->dtype, MC_DTYPE_F16);
    build_ok(mc_constant_f32(w, &got, &count, &err), &err);
    assert_memory_equal(got, block, W * sizeof *got);
    free(got);
    build_ok(mc_constant_f32(b, &got, &count, &err), &err);
    assert_true(got[0] == 7 && got[1] == 8);
    free(got);
    mc_model_free(m);

    m = build_model(20);
    build_const(m->graph, "w", MC_DTYPE_F32, 2, DIMS(3, 2), NULL);
    assert_int_equal(mc_update_store(m, &e.u.states[0], block, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "'w' of this shape"));
    mc_model_free(m);
    free_eight(&e);
}

static void refuse(const char *value, bool gradient, struct mc_update_opts o, const char *text)
{
    struct mc_model *m = build_model(20);
    struct mc_graph *g = m->graph;
    struct mc_err err;
    struct mc_update u;
    struct mc_value *w = f32_const(g, "w", 1, DIMS(2), F(1, 2));
    struct mc_value *grad = build_input(g, value ? value : "g", MC_DTYPE_F32, 1, DIMS(2));
    struct mc_weight list = {.value = w, .shape = {1, {2}}};
    build_output(g, build_unary(g, "Neg", "y", w));
    grad = gradient ? grad : NULL;
    assert_int_equal(
        mc_update_build(g, &(struct mc_weights){.list = &list, .n = 1}, &grad, &o, &u, &err),
        MC_EUSAGE);
    if (!strstr(err.msg, text))
        fail_msg("'%s' does not say '%s'", err.msg, text);
    mc_model_free(m);
}

static void refused(void **unused)
{
    (void)unused;
    const struct mc_update_opts adam = {
        .kind = MC_OPTIMIZER_ADAM, .beta1 = 0.9, .beta2 = 0.9, .epsilon = 1e-8};
    struct mc_update_opts o = adam;
    refuse(MC_UPDATE_LR, true, adam, "'train.lr' itself");
    refuse(NULL, false, adam, "no weight has a gradient");
    refuse(NULL, true, (struct mc_update_opts){.momentum = 1}, "momentum 1");
    refuse(NULL, true, (struct mc_update_opts){.nesterov = true}, "needs a momentum");
    refuse(NULL, true, (struct mc_update_opts){.decay = -1}, "decay -1");
    refuse(NULL, true, (struct mc_update_opts){.clip = NAN}, "clipping at");
    refuse(NULL, true, (struct mc_update_opts){.ema = 1}, "with decay 1");
    o.beta2 = 1;
    refuse(NULL, true, o, "beta 0.9, 1");
    o = adam;
    o.epsilon = -1;
    refuse(NULL, true, o, "epsilon -1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_in_torch),
        cmocka_unit_test(nothing_is_copied),
        cmocka_unit_test(a_bad_gradient_changes_nothing),
        cmocka_unit_test(halves_add_up),
        cmocka_unit_test(halves_are_kept_in_float),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(statistics_are_kept_up),
        cmocka_unit_test(stored_by_name),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
