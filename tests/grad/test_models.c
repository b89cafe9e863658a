/* test_models GOLDEN MODEL…: loss and every gradient of the reference models against PyTorch, and against differences.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "rule_check.h"
#include "graph/grad/backward.h"
#include "graph/grad/weights.h"
#include "graph/run/session.h"
#include "graph/verify.h"
#include "graph_check.h"
#include "model_case.h"
#include "tests/graph/build.h"

static char **args; /* golden, models */

static void compare_grad(const char *path, const struct golden_weight *w, const struct mc_array *d,
                         double tol)
{
    double norm = 0, error = 0, part = 0;
    int64_t n = mc_shape_count(&d->shape);
    assert_int_equal(n, w->count);
    for (int64_t i = 0; i < n; i++)
        norm += array_at(d, i) * array_at(d, i);
    model_near(path, w->name, sqrt(norm), w->norm, tol);
    for (int j = 0; j < w->n; j++) { /* positions as in golden.py */
        double x = array_at(d, (j * INT64_C(2654435761) + 12345) % n) - w->value[j];
        error += x * x;
        part += w->value[j] * w->value[j];
    }
    if (!(sqrt(error) <= tol * sqrt(part)))
        fail_msg("%s: the gradient of '%s' differs by %.3g of %.3g", path, w->name, sqrt(error),
                 sqrt(part));
}

/* Work is cut by shapes alone: with threads the same bits. */
static void same_with_threads(const char *path, const struct mc_graph *g,
                              const struct mc_session *one, struct mc_value *const *grad,
                              int n_grad, const struct mc_array *in, int n)
{
    struct mc_pool *pool;
    struct mc_session *s;
    struct mc_err err;
    build_ok(mc_pool_new(3, &pool, &err), &err);
    struct mc_session_opts o = {.pool = pool};
    build_ok(mc_session_new(g, &o, &s, &err), &err);
    build_ok(mc_session_run(s, in, n, &err), &err);
    for (int i = 0; i < n_grad; i++) {
        const struct mc_array *a = mc_session_value(one, grad[i]->name),
                              *b = mc_session_value(s, grad[i]->name);
        if (a->bytes != b->bytes || memcmp(a->data, b->data, a->bytes) != 0)
            fail_msg("%s: '%s' is not the same with 3 threads", path, grad[i]->name);
    }
    mc_session_free(s);
    mc_pool_free(pool);
}

/* Gradients of all weights in both precisions. */
static void one_step(const char *path)
{
    static const struct {
        enum mc_precision p;
        double tol;
    } runs[] = {{MC_PRECISION_MODEL, 1e-4}, {MC_PRECISION_F64, 1e-7}};
    struct golden *k = golden_read(args[0], path);
    struct mc_model *m = model_with_loss(path);
    struct mc_graph *g = m->graph;
    struct mc_weights w;
    struct mc_err err;
    struct mc_value *wrt[WEIGHTS], *grad[WEIGHTS];
    const char *why[WEIGHTS];
    struct mc_array in[2];
    build_ok(mc_weights_find(g, NULL, &w, &err), &err);
    assert_int_equal(w.n_trained, k->n);
    for (int i = 0; i < k->n; i++)
        assert_non_null(wrt[i] = mc_graph_value(g, k->w[i].name));
    build_ok(mc_backward(g, mc_graph_value(g, "loss"), wrt, (size_t)k->n, NULL, grad, why, &err),
             &err);
    for (int i = 0; i < k->n; i++) {
        if (!grad[i])
            fail_msg("%s: '%s' has no gradient: %s", path, wrt[i]->name, why[i]);
        build_output(g, grad[i]);
    }
    build_ok(mc_verify(m, &err), &err);
    struct mc_batch *b = model_batch(m, k->step_at, BATCH);
    int n = model_feed(m, b, in);
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        struct mc_session *s;
        struct mc_session_opts o = {.precision = runs[r].p};
        build_ok(mc_session_new(g, &o, &s, &err), &err);
        build_ok(mc_session_run(s, in, n, &err), &err);
        model_near(path, "the loss", array_at(mc_session_value(s, "loss"), 0), k->loss,
                   runs[r].tol);
        for (int i = 0; i < k->n; i++)
            compare_grad(path, &k->w[i], mc_session_value(s, grad[i]->name), runs[r].tol);
        if (runs[r].p == MC_PRECISION_MODEL)
            same_with_threads(path, g, s, grad, k->n, in, n);
        mc_session_free(s);
    }
    mc_batch_free(b);
    mc_weights_free(&w);
    mc_model_free(m);
    free(k);
}

static void gradients_are_pytorchs(void **state)
{
    (void)state;
    for (char **path = args + 1; *path; path++)
        one_step(*path);
}

/* Small steps in the weights of the file give the slopes that the gradients say. */
static void gradients_are_slopes(void **state)
{
    (void)state;
    for (char **path = args + 1; *path; path++) {
        struct mc_model *m = model_with_loss(*path);
        struct mc_batch *b = model_batch(m, 100, 2);
        struct mc_array in[2];
        int n = model_feed(m, b, in);
        struct graph_check c = {.m = m,
                                .loss = "loss",
                                .in = in,
                                .n_in = n,
                                .step = 1e-8,
                                .tol = 1e-5,
                                .stride = getenv("MCOMPRESS_ALL_WEIGHTS") ? 1 : 7,
                                .seed = grad_seed()};
        assert_true(graph_check_slopes(&c) > 0);
        mc_batch_free(b);
        mc_model_free(m);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_pytorchs),
        cmocka_unit_test(gradients_are_slopes),
    };
    args = argv + 1;
    if (argc < 3) {
        fprintf(stderr, "usage: test_models GOLDEN MODEL...\n");
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
