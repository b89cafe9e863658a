/* test_curves GOLDEN MODEL…: twenty steps of SGD with momentum against PyTorch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "graph/constant.h"
#include "graph/grad/backward.h"
#include "graph/grad/update.h"
#include "graph/run/session.h"
#include "graph/verify.h"
#include "model_case.h"
#include "tests/graph/build.h"

static const double rate = 0.01, momentum = 0.9;
static const float shrink = 0.5F; /* the curve begins at the weights of the file times this */

static char **args; /* golden, models */

static void shrink_weights(const struct mc_weights *w)
{
    struct mc_err err;
    for (size_t i = 0; i < w->n; i++) {
        float *x;
        int64_t n;
        struct mc_tensor *t;
        if (w->list[i].why)
            continue;
        build_ok(mc_constant_f32(w->list[i].value, &x, &n, &err), &err);
        for (int64_t j = 0; j < n; j++)
            x[j] *= shrink;
        build_ok(mc_constant_make(x, &w->list[i].shape, MC_DTYPE_F32, NULL, &t, &err), &err);
        build_ok(mc_constant_replace(w->list[i].value, t, &err), &err);
        mc_tensor_unref(t);
        free(x);
    }
}

static struct mc_session *step_session(struct mc_model *m, const struct mc_update *u)
{
    struct mc_session_state pairs[8];
    struct mc_session *s;
    struct mc_err err;
    assert_true(u->n_states <= 8);
    for (size_t i = 0; i < u->n_states; i++)
        pairs[i] = (struct mc_session_state){u->states[i].in, u->states[i].out};
    struct mc_session_opts o = {.state = pairs, .n_state = u->n_states};
    build_ok(mc_session_new(m->graph, &o, &s, &err), &err);
    for (size_t i = 0; i < u->n_states; i++) {
        const struct mc_state *t = &u->states[i];
        if (t->initial)
            build_ok(mc_session_store(
                         s, t->in, t->initial,
                         (size_t)t->count * (size_t)mc_dtype_info((int)t->dtype)->bits / 8, &err),
                     &err);
    }
    return s;
}

/* A model with its update; what is returned lives as long as m. */
static void build_update(struct mc_model *m, struct mc_update *ret)
{
    struct mc_graph *g = m->graph;
    struct mc_weights w;
    struct mc_err err;
    struct mc_value *wrt[WEIGHTS], *grad[WEIGHTS];
    const char *why[WEIGHTS];
    build_ok(mc_weights_find(g, NULL, &w, &err), &err);
    assert_true(w.n <= WEIGHTS);
    shrink_weights(&w);
    size_t n = 0;
    for (size_t i = 0; i < w.n; i++)
        if (!w.list[i].why)
            wrt[n++] = w.list[i].value;
    struct mc_value *got[WEIGHTS];
    build_ok(mc_backward(g, mc_graph_value(g, "loss"), wrt, n, NULL, got, why, &err), &err);
    n = 0;
    for (size_t i = 0; i < w.n; i++)
        grad[i] = w.list[i].why ? NULL : got[n++];
    struct mc_update_opts o = {.kind = MC_OPTIMIZER_SGD, .momentum = momentum};
    build_ok(mc_update_build(g, &w, grad, &o, ret, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    mc_weights_free(&w);
}

static void one_curve(const char *path)
{
    char what[32];
    struct golden *k = golden_read(args[0], path);
    struct mc_model *m = model_with_loss(path);
    struct mc_update u;
    struct mc_err err;
    build_update(m, &u);
    struct mc_session *s = step_session(m, &u);
    float lr = (float)rate;
    for (int64_t i = 0; i < STEPS; i++) {
        struct mc_array in[4];
        int64_t step = i + 1;
        struct mc_batch *b = model_batch(m, k->curve_at + i * BATCH, BATCH);
        int n = model_feed(m, b, in);
        in[n++] = (struct mc_array){
            .name = MC_UPDATE_LR, .dtype = MC_DTYPE_F32, .data = &lr, .bytes = sizeof lr};
        in[n++] = (struct mc_array){
            .name = MC_UPDATE_STEP, .dtype = MC_DTYPE_I64, .data = &step, .bytes = sizeof step};
        build_ok(mc_session_run(s, in, n, &err), &err);
        snprintf(what, sizeof what, "loss %d of the curve", (int)i);
        model_near(path, what, array_at(mc_session_value(s, "loss"), 0), k->curve[i], 1e-3);
        mc_batch_free(b);
    }
    mc_session_free(s);
    mc_update_free(&u);
    mc_model_free(m);
    free(k);
}

static void curves_are_pytorchs(void **state)
{
    (void)state;
    for (char **path = args + 1; *path; path++)
        one_curve(*path);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(curves_are_pytorchs),
    };
    args = argv + 1;
    if (argc < 3) {
        fprintf(stderr, "usage: test_curves GOLDEN MODEL...\n");
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
