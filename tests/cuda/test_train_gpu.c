/* test_train_gpu MODEL…: updates of the step graph of each, as training makes it, on a GPU and on the CPU: losses, norms
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

static void run_step(struct mc_session *s, const struct mc_array *data, int64_t step)
{
    float lr = (float)RATE;
    struct mc_err err;
    struct mc_array in[4] = {data[0], data[1]};
    in[2] = (struct mc_array){MC_UPDATE_LR, MC_DTYPE_F32, {0}, &lr, sizeof lr};
    in[3] = (struct mc_array){MC_UPDATE_STEP, MC_DTYPE_I64, {0}, &step, sizeof step};
    build_ok(mc_session_run(s, in, 4, &err), &err);
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

/* Picking rows by index has no kernel for a GPU yet. */
static bool is_left(const char *op_type)
{
    return !strncmp(op_type, "Gather", 6);
}

static void expect_recorded(const struct mc_session *s)
{
    size_t left = 0;
    struct mc_session_stats st;
    struct mc_session_fallback f;
    mc_session_stats(s, &st);
    for (int i = 0; mc_session_fallback(s, i, &f); i++) {
        print_message("    %s (%zu) %s\n", f.op_type, f.nodes, f.why);
        left += is_left(f.op_type) ? f.nodes : 0;
    }
    print_message("    %zu steps, %zu on the CPU, %zu recorded\n", st.nodes, st.fallback_nodes,
                  st.recorded_nodes);
    assert_int_equal(st.fallback_nodes, left);
    assert_true(st.recorded_nodes > 0);
}

static void train_model(const char *path, const struct gpu_pool *pool)
{
    static float x[BATCH * UPDATES * SIDE * SIDE];
    static int64_t labels[BATCH * UPDATES];
    struct memory_data memory;
    struct mc_model *m;
    struct mc_step_graph g;
    struct mc_train_opts o;
    struct mc_err err;
    json_t *options = json_pack("{s:f, s:f}", "lr", RATE, "holdout", 0.0);
    mc_rng_fill_uniform(7, 0, 0, x, sizeof x / sizeof *x);
    for (int i = 0; i < BATCH * UPDATES; i++)
        labels[i] = mc_rng_below(7, 1, (uint64_t)i, CLASSES);
    build_ok(mc_onnx_read(path, &m, &err), &err);
    struct mc_dataset *data = memory_open(&memory, m->graph->inputs[0]->name, BATCH * UPDATES, 3,
                                          DIMS(1, SIDE, SIDE), x, labels);
    build_ok(mc_train_opts_read(options, &o, &err), &err);
    build_ok(mc_step_graph_new(m, NULL, data, &o, &g, &err), &err);
    struct side cpu = {.session = open_step(&g, NULL)},
                gpu = {.session = open_step(&g, pool->pool)};
    print_message("%s\n", path);
    for (int u = 0; u < UPDATES; u++) {
        struct mc_array in[2] = {{m->graph->inputs[0]->name,
                                  MC_DTYPE_F32,
                                  {4, {BATCH, 1, SIDE, SIDE}},
                                  x + u * BATCH * SIDE * SIDE,
                                  BATCH * SIDE * SIDE * sizeof *x},
                                 {"train.labels",
                                  MC_DTYPE_I64,
                                  {1, {BATCH}},
                                  labels + u * BATCH,
                                  BATCH * sizeof *labels}};
        run_step(cpu.session, in, u + 1);
        run_step(gpu.session, in, u + 1);
        double want = scalar_of(cpu.session, MC_LOSS_VALUE);
        double got = scalar_of(gpu.session, MC_LOSS_VALUE);
        double norm = scalar_of(cpu.session, MC_UPDATE_NORM);
        double limit = u < 2 ? LOSS : CURVE;
        if (!(fabs(got - want) <= limit * (1 + want)))
            fail_msg("%s: loss %d is %.9g, not %.9g", path, u, got, want);
        if (!(fabs(scalar_of(gpu.session, MC_UPDATE_NORM) - norm) <= 50 * limit * (1 + norm)))
            fail_msg("%s: norm %d is %.9g, not %.9g", path, u,
                     scalar_of(gpu.session, MC_UPDATE_NORM), norm);
        if (u == 0 || u == UPDATES - 1)
            compare_state(&g, &cpu, &gpu, u + 1);
    }
    expect_recorded(gpu.session);
    mc_session_free(cpu.session);
    mc_session_free(gpu.session);
    mc_step_graph_free(&g);
    mc_train_opts_free(&o);
    mc_model_free(m);
    json_decref(options);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(all)};
    models = argv + (argc > 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
