/* test_train_gpu MODEL…: updates of the step graph of each, and of small models, as training makes it, on a GPU and on the CPU: losses, norms
 * and all state are alike after the first update and after some; no operator is left to the CPU, and a step is one
 * recording. */
#include "../run/gpu_util.h"
#include "../run/memory_data.h"

#include <jansson.h>

#include "formats/onnx.h"
#include "graph/grad/update.h"
#include "train/step_graph.h"
#include "train/train.h"

enum { BATCH = 3, UPDATES = 3, SIDE = 28, CLASSES = 10 };

/* Sums of floats in another order. Adam divides by roots of second moments, which makes steps of the size of the rate
 * of next to nothing: weights are compared with the way that they went. */
static const double LOSS = 1e-4, CURVE = 1e-3, WEIGHT = 0.05, RATE = 1e-3;

static char **models;

struct side {
    struct mc_session *session;
    void *state[16];
};

static size_t bytes_of(const struct mc_state *s)
{
    return (size_t)s->count * (s->dtype == MC_DTYPE_F64 ? sizeof(double) : sizeof(float));
}

static struct mc_session *open_step(const struct mc_step_graph *g, struct mc_pool *pool)
{
    struct mc_session_state pairs[16];
    const struct mc_update *u = &g->update;
    struct mc_session *s;
    struct mc_err err;
    assert_true(u->n_states <= 16);
    for (size_t i = 0; i < u->n_states; i++)
        pairs[i] = (struct mc_session_state){u->states[i].in, u->states[i].out};
    const struct mc_session_opts o = {.pool = pool, .state = pairs, .n_state = u->n_states};
    build_ok(mc_session_new(g->step->graph, &o, &s, &err), &err);
    for (size_t i = 0; i < u->n_states; i++) {
        size_t bytes = bytes_of(&u->states[i]);
        void *zeros = calloc(1, bytes + 1);
        const void *data = u->states[i].initial ? u->states[i].initial : zeros;
        build_ok(mc_session_store(s, u->states[i].in, data, bytes, &err), &err);
        free(zeros);
    }
    return s;
}

static double scalar_of(const struct mc_session *s, const char *name)
{
    const struct mc_array *a = mc_session_value(s, name);
    assert_non_null(a);
    assert_int_equal(a->dtype, MC_DTYPE_F32);
    return (double)*(const float *)a->data;
}

/* data: `n` inputs with room for four more. */
static void run_step(struct mc_session *s, struct mc_array *data, int n, int64_t step, bool gathers)
{
    float lr = (float)RATE, scale = 0.5f;
    int64_t apply = step == 2; /* where gradients are added up: in the second of three runs */
    struct mc_err err;
    data[n++] = (struct mc_array){MC_UPDATE_LR, MC_DTYPE_F32, {0}, &lr, sizeof lr};
    data[n++] = (struct mc_array){MC_UPDATE_STEP, MC_DTYPE_I64, {0}, &step, sizeof step};
    if (gathers) {
        data[n++] = (struct mc_array){MC_UPDATE_APPLY, MC_DTYPE_I64, {0}, &apply, sizeof apply};
        data[n++] = (struct mc_array){MC_UPDATE_SCALE, MC_DTYPE_F32, {0}, &scale, sizeof scale};
    }
    build_ok(mc_session_run(s, data, n, &err), &err);
}

/* State i of both: weights within a share of the way that Adam goes at most, others like gradients. */
static void compare_state(const struct mc_step_graph *g, const struct side *cpu,
                          const struct side *gpu, int updates)
{
    for (size_t i = 0; i < g->update.n_states; i++) {
        const struct mc_state *state = &g->update.states[i];
        size_t bytes = bytes_of(state);
        float *a = malloc(bytes + 1), *b = malloc(bytes + 1);
        struct mc_err err;
        double square = 0, off = 0;
        build_ok(mc_session_fetch(cpu->session, state->in, a, bytes, &err), &err);
        build_ok(mc_session_fetch(gpu->session, state->in, b, bytes, &err), &err);
        const float *from = state->initial;
        for (int64_t k = 0; k < state->count; k++) {
            double way = (double)a[k] - (from ? (double)from[k] : 0),
                   d = (double)b[k] - (double)a[k];
            square += way * way;
            off += d * d;
        }
        if (!(sqrt(off) <= WEIGHT * sqrt(square)))
            fail_msg("state '%s' after %d updates is off by %g of %g", state->in, updates,
                     sqrt(off), sqrt(square));
        assert_true(square > 0);
        free(a);
        free(b);
    }
}

static void expect_recorded(const struct mc_session *s)
{
    struct mc_session_stats st;
    struct mc_session_fallback f;
    mc_session_stats(s, &st);
    for (int i = 0; mc_session_fallback(s, i, &f); i++)
        print_message("    %s (%zu) %s\n", f.op_type, f.nodes, f.why);
    print_message("    %zu steps, %zu on the CPU, %zu recorded; %zu copies, %zu parts\n", st.nodes,
                  st.fallback_nodes, st.recorded_nodes, st.copies, st.parts);
    assert_int_equal(st.fallback_nodes, 0);
    assert_int_equal(st.copies, 0);
    assert_int_equal(st.parts, 1); /* all is one recording */
    assert_true(st.recorded_nodes > 0);
}

/* A model that is trained: samples of this shape, and how. teacher: also learns from the outputs of one. */
struct job {
    const char *name, *options;
    struct mc_model *m, *teacher;
    int rank;
    const int64_t *dims;
};

static void train_job(const struct job *job, const struct gpu_pool *pool)
{
    static float x[BATCH * UPDATES * SIDE * SIDE], answers[BATCH * CLASSES];
    static int64_t labels[BATCH * UPDATES];
    struct memory_data memory;
    struct mc_step_graph g;
    struct mc_train_opts o;
    struct mc_err err;
    const char *input = job->m->graph->inputs[0]->name;
    json_t *options = json_loads(job->options, 0, NULL);
    assert_non_null(options);
    mc_rng_fill_uniform(7, 0, 0, x, sizeof x / sizeof *x);
    mc_rng_fill_normal(7, 2, 0, answers, BATCH * CLASSES);
    for (int i = 0; i < BATCH * UPDATES; i++)
        labels[i] = mc_rng_below(7, 1, (uint64_t)i, CLASSES);
    struct mc_dataset *data =
        memory_open(&memory, input, BATCH * UPDATES, job->rank, job->dims, x, labels);
    int64_t row = mc_shape_count(&memory.sample), dims[MC_RANK_MAX] = {BATCH};
    for (int i = 0; i < job->rank; i++)
        dims[i + 1] = job->dims[i];
    build_ok(mc_train_opts_read(options, &o, &err), &err);
    build_ok(mc_step_graph_new(job->m, job->teacher, data, &o, &g, &err), &err);
    struct side cpu = {.session = open_step(&g, NULL)},
                gpu = {.session = open_step(&g, pool->pool)};
    print_message("%s\n", job->name);
    for (int u = 0; u < UPDATES; u++) {
        struct mc_array in[8] = {
            array_of(input, MC_DTYPE_F32, job->rank + 1, dims, x + u * BATCH * row)};
        int n = 1;
        if (g.loss.labels)
            in[n++] = array_of(MC_LOSS_LABELS, MC_DTYPE_I64, 1, DIMS(BATCH), labels + u * BATCH);
        for (size_t k = 0; k < g.loss.n_teacher; k++)
            in[n++] =
                array_of(g.loss.teacher[k].input, MC_DTYPE_F32, 2, DIMS(BATCH, CLASSES), answers);
        run_step(cpu.session, in, n, u + 1, g.accumulate);
        run_step(gpu.session, in, n, u + 1, g.accumulate);
        double want = scalar_of(cpu.session, MC_LOSS_VALUE);
        double got = scalar_of(gpu.session, MC_LOSS_VALUE);
        double norm = scalar_of(cpu.session, MC_UPDATE_NORM);
        double limit = u < 2 ? LOSS : CURVE;
        if (!(fabs(got - want) <= limit * (1 + want)))
            fail_msg("%s: loss %d is %.9g, not %.9g", job->name, u, got, want);
        if (!(fabs(scalar_of(gpu.session, MC_UPDATE_NORM) - norm) <= 50 * limit * (1 + norm)))
            fail_msg("%s: norm %d is %.9g, not %.9g", job->name, u,
                     scalar_of(gpu.session, MC_UPDATE_NORM), norm);
        if ((u == 0 && !g.accumulate) || u == UPDATES - 1)
            compare_state(&g, &cpu, &gpu, u + 1);
    }
    expect_recorded(gpu.session);
    mc_session_free(cpu.session);
    mc_session_free(gpu.session);
    mc_step_graph_free(&g);
    mc_train_opts_free(&o);
    mc_model_free(job->m);
    mc_model_free(job->teacher);
    json_decref(options);
}

static const char PLAIN[] = "{\"lr\":0.001,\"holdout\":0}";

/* ---- small models: what those of files do not have ---- */

enum { STEPS = 5, WIDTH = 4, HIDDEN = 8 };

static struct mc_value *dense(struct mc_graph *g, struct mc_value *x, const char *name, int in,
                              int out, uint64_t seed)
{
    char w[32], b[32];
    snprintf(w, sizeof w, "%s.w", name);
    snprintf(b, sizeof b, "%s.b", name);
    struct mc_value *args[3] = {x, random_const(g, w, 2, DIMS(in, out), seed),
                                random_const(g, b, 1, DIMS(out), seed + 1)};
    return build_node(g, "Gemm", name, 3, args, NULL);
}

static struct mc_model *net(bool norm, uint64_t seed)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(-2, STEPS, WIDTH));
    struct mc_value *h = build_unary(g, "Flatten", "flat", x);
    h = dense(g, h, "first", STEPS * WIDTH, HIDDEN, seed);
    if (norm) {
        float zeros[HIDDEN] = {0}, ones[HIDDEN];
        for (int i = 0; i < HIDDEN; i++)
            ones[i] = 1;
        struct mc_value *in[5] = {h, f32_const(g, "scale", 1, DIMS(HIDDEN), ones),
                                  f32_const(g, "bias", 1, DIMS(HIDDEN), zeros),
                                  f32_const(g, "mean", 1, DIMS(HIDDEN), zeros),
                                  f32_const(g, "var", 1, DIMS(HIDDEN), ones)};
        h = build_node(g, "BatchNormalization", "norm", 5, in, NULL);
    }
    h = build_unary(g, "Tanh", "curve", h);
    build_output(g, dense(g, h, "last", HIDDEN, CLASSES, seed + 2));
    return m;
}

static struct mc_value *swap(struct mc_graph *g, const char *name, struct mc_value *v)
{
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *y = build_node(g, "Transpose", name, 1, &v, &n);
    build_ok(mc_edit_attr_ints(n, "perm", DIMS(1, 0, 2), 3, &err), &err);
    return y;
}

/* Over the steps, which some of the samples have fewer of where `lengths`. */
static struct mc_model *recurrent(const char *op, int gates, bool lengths)
{
    static const int32_t lens[BATCH] = {STEPS, 2, 3};
    static const int64_t one = 1;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *x =
        build_input(g, "x", MC_DTYPE_F32, 3, DIMS(lengths ? BATCH : -2, STEPS, WIDTH));
    struct mc_value *in[5] = {swap(g, "in", x),
                              random_const(g, "w", 3, DIMS(1, gates * HIDDEN, WIDTH), 3),
                              random_const(g, "r", 3, DIMS(1, gates * HIDDEN, HIDDEN), 4),
                              random_const(g, "b", 2, DIMS(1, 2 * gates * HIDDEN), 5)};
    if (lengths)
        in[4] = build_const(g, "lens", MC_DTYPE_I32, 1, DIMS(BATCH), lens);
    struct mc_value *y = build_node(g, op, "cells", lengths ? 5 : 4, in, &n);
    build_ok(mc_edit_attr_int(n, "hidden_size", HIDDEN, &err), &err);
    struct mc_value *squeeze[2] = {y, build_const(g, "axis", MC_DTYPE_I64, 1, DIMS(1), &one)};
    y = swap(g, "out", build_node(g, "Squeeze", "squeeze", 2, squeeze, NULL));
    y = build_unary(g, "Flatten", "flat", y);
    build_output(g, dense(g, y, "last", STEPS * HIDDEN, CLASSES, 7));
    return m;
}

static void small(void **state)
{
    static const int64_t dims[] = {STEPS, WIDTH};
    struct gpu_pool pool = gpu_pool_open();
    /* The gradient of a bias before batch statistics is 0 but for rounding, which Adam would make steps of. */
    const struct job jobs[] = {
        {"SGD", "{\"optimizer\":\"sgd\",\"clip\":0.5}", net(false, 1), NULL, 2, dims},
        {"Nesterov", "{\"optimizer\":\"sgd\",\"nesterov\":true}", net(false, 1), NULL, 2, dims},
        {"average", "{\"ema\":0.9}", net(false, 1), NULL, 2, dims},
        {"sums", "{\"accumulate\":2,\"ema\":0.9,\"optimizer\":\"adam\"}", net(false, 1), NULL, 2,
         dims},
        {"statistics", "{\"optimizer\":\"sgd\",\"batchnorm\":\"train\"}", net(true, 1), NULL, 2,
         dims},
        {"statistics of sums", "{\"optimizer\":\"sgd\",\"batchnorm\":\"train\",\"accumulate\":2}",
         net(true, 1), NULL, 2, dims},
        {"frozen statistics", "{\"optimizer\":\"sgd\",\"batchnorm\":\"frozen\"}", net(true, 1),
         NULL, 2, dims},
        {"teacher", "{\"loss\":\"kd\",\"temperature\":2}", net(false, 1), net(false, 5), 2, dims},
        {"outputs", "{\"loss\":\"outputs\"}", net(false, 1), net(false, 5), 2, dims},
        {"GRU", PLAIN, recurrent("GRU", 3, false), NULL, 2, dims},
        {"RNN", PLAIN, recurrent("RNN", 1, false), NULL, 2, dims},
        {"LSTM", PLAIN, recurrent("LSTM", 4, false), NULL, 2, dims},
        {"GRU with lengths", PLAIN, recurrent("GRU", 3, true), NULL, 2, dims},
        {"LSTM with lengths", PLAIN, recurrent("LSTM", 4, true), NULL, 2, dims},
    };
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        train_job(&jobs[i], &pool);
    gpu_pool_close(&pool);
    (void)state;
}

static void train_model(const char *path, const struct gpu_pool *pool)
{
    struct job job = {path, PLAIN, NULL, NULL, 3, (const int64_t[]){1, SIDE, SIDE}};
    struct mc_err err;
    build_ok(mc_onnx_read(path, &job.m, &err), &err);
    train_job(&job, pool);
}

static void all(void **state)
{
    struct gpu_pool pool = gpu_pool_open();
    for (char **path = models; *path; path++)
        train_model(*path, &pool);
    gpu_pool_close(&pool);
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(small), cmocka_unit_test(all)};
    models = argv + (argc > 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
