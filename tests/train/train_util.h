/* Small models and data to train in a moment. */
#ifndef MC_TESTS_TRAIN_UTIL_H
#define MC_TESTS_TRAIN_UTIL_H

#include "../run/memory_data.h"
#include "../run/run_util.h"

#include <unistd.h>

#include "base/interrupt.h"
#include "graph/constant.h"
#include "train/train.h"

enum { WIDTH = 6, HIDDEN = 16, CLASSES = 3, SAMPLES = 90 };

struct samples {
    float x[SAMPLES * WIDTH];
    int64_t labels[SAMPLES];
    struct memory_data data;
};

/* Points around one centre for each class. */
static inline struct mc_dataset *make_samples(struct samples *s, uint64_t seed, bool labels)
{
    float centre[CLASSES * WIDTH];
    mc_rng_fill_normal(seed, 1, 0, centre, CLASSES * WIDTH);
    mc_rng_fill_normal(seed, 2, 0, s->x, SAMPLES * WIDTH);
    for (int i = 0; i < SAMPLES; i++) {
        s->labels[i] = i % CLASSES;
        for (int k = 0; k < WIDTH; k++)
            s->x[i * WIDTH + k] = 0.5f * s->x[i * WIDTH + k] + centre[s->labels[i] * WIDTH + k];
    }
    return memory_open(&s->data, "x", SAMPLES, 1, DIMS(WIDTH), s->x, labels ? s->labels : NULL);
}

static inline struct mc_value *gemm(struct mc_graph *g, struct mc_value *x, const char *name,
                                    int in, int out, uint64_t seed)
{
    char w[32], b[32];
    snprintf(w, sizeof w, "%s.w", name);
    snprintf(b, sizeof b, "%s.b", name);
    struct mc_value *args[3] = {x, random_const(g, w, 2, DIMS(in, out), seed),
                                random_const(g, b, 1, DIMS(out), seed + 1)};
    return build_node(g, "Gemm", name, 3, args, NULL);
}

/* batch: of the input; -2 for any. norm: a BatchNormalization between. */
static inline struct mc_model *make_net(int64_t batch, bool norm, uint64_t seed)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(batch, WIDTH));
    struct mc_value *h = gemm(g, x, "first", WIDTH, HIDDEN, seed);
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
    h = build_unary(g, "Relu", "relu", h);
    build_output(g, gemm(g, h, "last", HIDDEN, CLASSES, seed + 2));
    return m;
}

/* All constants of two models have the same bytes. */
static inline bool same_weights(const struct mc_model *a, const struct mc_model *b)
{
    bool same = a->graph->n_inits == b->graph->n_inits;
    for (size_t i = 0; i < a->graph->n_inits && same; i++) {
        const struct mc_tensor *x = a->graph->inits[i]->tensor, *y = b->graph->inits[i]->tensor;
        same = x->bytes == y->bytes && !memcmp(x->data, y->data, x->bytes);
    }
    return same;
}

static inline const float *weights_of(const struct mc_model *m, const char *name)
{
    const struct mc_tensor *t = mc_constant(mc_graph_value(m->graph, name));
    assert_non_null(t);
    assert_int_equal(t->dtype, MC_DTYPE_F32);
    return (const float *)(const void *)t->data;
}

static inline json_t *options(const char *text)
{
    json_error_t e;
    json_t *o = json_loads(text, 0, &e);
    if (!o)
        fail_msg("%s: %s", text, e.text);
    return o;
}

/* mc_train_run with options as JSON text; the report is dropped unless it is asked for. */
static inline int train(struct mc_model *m, const struct mc_model *teacher, struct mc_dataset *d,
                        double epochs, const char *text, const struct mc_train_ctx *ctx,
                        json_t **ret_report, struct mc_err *err)
{
    struct mc_train_ctx plain = {.seed = 5};
    json_t *o = options(text), *report = NULL;
    int rc = mc_train_run(m, teacher, d, epochs, o, ctx ? ctx : &plain, &report, err);
    json_decref(o);
    if (ret_report)
        *ret_report = report;
    else
        json_decref(report);
    return rc;
}

/* Share of the samples that a model gets right. */
static inline double accuracy(const struct mc_model *m, const struct samples *s, int64_t batch)
{
    struct mc_session *session;
    struct mc_err err;
    int right = 0;
    build_ok(mc_session_new(m->graph, NULL, &session, &err), &err);
    for (int64_t i = 0; i < SAMPLES; i += batch) {
        run_x(session, 2, DIMS(batch, WIDTH), s->x + i * WIDTH);
        const float *z = mc_session_output(session, 0)->data;
        for (int64_t k = 0; k < batch; k++) {
            int best = 0;
            for (int c = 1; c < CLASSES; c++)
                best = z[k * CLASSES + c] > z[k * CLASSES + best] ? c : best;
            right += best == s->labels[i + k];
        }
    }
    mc_session_free(session);
    return (double)right / SAMPLES;
}

#endif
