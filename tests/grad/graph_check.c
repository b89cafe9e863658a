#include "graph_check.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "graph/constant.h"
#include "graph/grad/backward.h"
#include "graph/grad/weights.h"
#include "graph/run/session.h"
#include "graph/verify.h"
#include "tests/graph/build.h"

int graph_backward(struct mc_model *m, const char *loss, const char *const *wrt, size_t n,
                   struct mc_value **grad, const char **why, struct mc_err *err)
{
    struct mc_value **v = calloc(n + 1, sizeof *v), **d = calloc(n + 1, sizeof *d);
    const char **reason = calloc(n + 1, sizeof *reason);
    assert_true(v && d && reason);
    for (size_t i = 0; i < n; i++)
        assert_non_null(v[i] = mc_graph_value(m->graph, wrt[i]));
    int rc = mc_backward(m->graph, mc_graph_value(m->graph, loss), v, n, NULL, d, reason, err);
    for (size_t i = 0; i < n; i++) {
        if (grad)
            grad[i] = rc ? NULL : d[i];
        if (why)
            why[i] = reason[i];
    }
    free(v);
    free(d);
    free(reason);
    return rc;
}

struct slopes {
    const struct graph_check *c;
    struct mc_weights found;
    const char **names;
    size_t n;
    struct mc_array *content; /* of each weight, float64 */
    double **grad;            /* of each, NULL: frozen */
    struct mc_model *fed;     /* weights are its inputs */
    struct mc_session *s;
    struct mc_array *in; /* what it is fed */
    int n_in;
};

static void name_weights(struct slopes *k)
{
    const struct graph_check *c = k->c;
    struct mc_err err;
    k->names = (const char **)(uintptr_t)c->weights;
    k->n = c->n_weights;
    if (c->weights)
        return;
    build_ok(mc_weights_find(c->m->graph, NULL, &k->found, &err), &err);
    k->names = calloc(k->found.n + 1, sizeof *k->names);
    assert_non_null(k->names);
    for (size_t i = 0; i < k->found.n; i++)
        if (!k->found.list[i].why)
            k->names[k->n++] = k->found.list[i].value->name;
}

/* The fast kernels in float32, with all that is fused there, against float64. */
static void compare_f32(const struct slopes *k, const struct mc_graph *g,
                        struct mc_value *const *grad, const struct mc_session_opts *opts)
{
    struct mc_session *s;
    struct mc_err err;
    struct mc_session_opts o = *opts;
    o.precision = MC_PRECISION_MODEL;
    build_ok(mc_session_new(g, &o, &s, &err), &err);
    build_ok(mc_session_run(s, k->c->in, k->c->n_in, &err), &err);
    double most = 0; /* cancelled sums are as exact as what they are sums of */
    for (size_t i = 0; i < k->n; i++) {
        double norm = 0;
        for (int64_t j = 0;
             grad[i] && j < mc_shape_count(&mc_session_value(s, grad[i]->name)->shape); j++)
            norm += k->grad[i][j] * k->grad[i][j];
        most = sqrt(norm) > most ? sqrt(norm) : most;
    }
    for (size_t i = 0; i < k->n; i++) {
        if (!grad[i])
            continue;
        const struct mc_array *d = mc_session_value(s, grad[i]->name);
        double error = 0, norm = 0;
        int64_t n = mc_shape_count(&d->shape);
        assert_int_equal(d->dtype, MC_DTYPE_F32);
        for (int64_t j = 0; j < n; j++) {
            double x = (double)((const float *)d->data)[j] - k->grad[i][j];
            error += x * x;
            norm += k->grad[i][j] * k->grad[i][j];
        }
        if (!(sqrt(error) <= k->c->tol_f32 * (sqrt(norm) + 0.1 * most)))
            fail_msg("gradient of '%s' in float32 differs by %.3g of %.3g; seed %llu", k->names[i],
                     sqrt(error), sqrt(norm), (unsigned long long)k->c->seed);
    }
    mc_session_free(s);
}

/* The gradients, of a clone. */
static size_t gradients(struct slopes *k)
{
    const struct graph_check *c = k->c;
    struct mc_model *m;
    struct mc_session *s;
    struct mc_err err;
    size_t have = 0;
    struct mc_value **grad = calloc(k->n + 1, sizeof *grad);
    const char **only = calloc(k->n + 1, sizeof *only);
    assert_true(grad && only);
    build_ok(mc_model_clone(c->m, &m, &err), &err);
    build_ok(graph_backward(m, c->loss, k->names, k->n, grad, NULL, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    for (size_t i = 0; i < k->n; i++)
        if (grad[i])
            only[have++] = grad[i]->name;
    struct mc_session_opts o = {.precision = MC_PRECISION_F64, .only = only, .n_only = have};
    build_ok(mc_session_new(m->graph, &o, &s, &err), &err);
    build_ok(mc_session_run(s, c->in, c->n_in, &err), &err);
    for (size_t i = 0; i < k->n; i++) {
        if (!grad[i])
            continue;
        const struct mc_array *d = mc_session_value(s, grad[i]->name);
        const struct mc_tensor *t = mc_constant(mc_graph_value(c->m->graph, k->names[i]));
        assert_int_equal(d->dtype, MC_DTYPE_F64);
        if (!mc_shape_equal(&d->shape, &t->shape))
            fail_msg("the gradient of '%s' has another shape", k->names[i]);
        k->grad[i] = malloc(d->bytes + 1);
        assert_non_null(k->grad[i]);
        memcpy(k->grad[i], d->data, d->bytes);
    }
    mc_session_free(s);
    if (c->tol_f32 != 0)
        compare_f32(k, m->graph, grad, &o);
    mc_model_free(m);
    free(grad);
    free(only);
    return have;
}

/* A clone whose weights are inputs: there float64 steps can be made. */
static void feed_weights(struct slopes *k)
{
    const struct graph_check *c = k->c;
    struct mc_err err;
    build_ok(mc_model_clone(c->m, &k->fed, &err), &err);
    struct mc_graph *g = k->fed->graph;
    for (int i = 0; i < c->n_in; i++)
        k->in[k->n_in++] = c->in[i];
    for (size_t i = 0; i < k->n; i++) {
        struct mc_value *v = mc_graph_value(g, k->names[i]);
        struct mc_tensor *t = mc_tensor_ref(mc_constant(v));
        struct mc_array *a = &k->content[i];
        int64_t count = mc_tensor_count(t);
        *a = (struct mc_array){
            .dtype = MC_DTYPE_F64, .shape = t->shape, .bytes = (size_t)count * sizeof(double)};
        a->data = mc_alloc_aligned(a->bytes);
        assert_non_null(a->data);
        build_ok(mc_dtype_to_f64((int)t->dtype, t->data, a->data, (size_t)count, &err), &err);
        char name[32];
        snprintf(name, sizeof name, "fed.%zu", i);
        struct mc_value *x = build_input(g, name, t->dtype, t->shape.rank, t->shape.dim);
        build_ok(mc_edit_replace_uses(v, x, &err), &err);
        a->name = x->name;
        k->in[k->n_in++] = *a;
        mc_tensor_unref(t);
    }
    build_ok(mc_verify(k->fed, &err), &err);
    struct mc_session_opts o = {.precision = MC_PRECISION_F64, .only = &c->loss, .n_only = 1};
    build_ok(mc_session_new(g, &o, &k->s, &err), &err);
}

static double direction(const struct slopes *k, size_t i, int64_t j)
{
    return (double)mc_rng_normal(k->c->seed, 500 + i, (uint64_t)j);
}

static void move(struct slopes *k, size_t first, size_t end, double step)
{
    for (size_t i = first; i < end; i++) {
        double *x = k->content[i].data;
        int64_t n = mc_shape_count(&k->content[i].shape);
        for (int64_t j = 0; k->grad[i] && j < n; j++)
            x[j] += step * direction(k, i, j);
    }
}

static double loss_at(struct slopes *k, size_t first, size_t end, double step)
{
    struct mc_err err;
    move(k, first, end, step);
    build_ok(mc_session_run(k->s, k->in, k->n_in, &err), &err);
    return *(const double *)mc_session_value(k->s, k->c->loss)->data;
}

static void slope(struct slopes *k, size_t first, size_t end)
{
    double h = k->c->step != 0 ? k->c->step : 1e-6, tol = k->c->tol != 0 ? k->c->tol : 1e-5;
    double norm = 0, dot = 0;
    for (size_t i = first; i < end; i++)
        for (int64_t j = 0; k->grad[i] && j < mc_shape_count(&k->content[i].shape); j++) {
            dot += k->grad[i][j] * direction(k, i, j);
            norm += k->grad[i][j] * k->grad[i][j];
        }
    norm = sqrt(norm);
    double above = loss_at(k, first, end, h), below = loss_at(k, first, end, -2 * h);
    move(k, first, end, h); /* back */
    double got = (above - below) / (2 * h);
    if (!(fabs(got - dot) <= tol * norm + 1e-9))
        fail_msg(
            "gradient of '%s'%s: %.9g along a direction, by differences %.9g, norm %.6g; seed %llu",
            k->names[first], end - first > 1 ? " and all others" : "", dot, got, norm,
            (unsigned long long)k->c->seed);
}

size_t graph_check_slopes(const struct graph_check *c)
{
    struct slopes k = {.c = c};
    name_weights(&k);
    k.content = calloc(k.n + 1, sizeof *k.content);
    k.grad = calloc(k.n + 1, sizeof *k.grad);
    k.in = calloc(k.n + (size_t)c->n_in + 1, sizeof *k.in);
    assert_true(k.content && k.grad && k.in);
    size_t have = gradients(&k);
    feed_weights(&k);
    slope(&k, 0, k.n);
    for (size_t i = 0; i < k.n; i += c->stride ? c->stride : 1)
        if (k.grad[i])
            slope(&k, i, i + 1);
    mc_session_free(k.s);
    mc_model_free(k.fed);
    for (size_t i = 0; i < k.n; i++) {
        free(k.content[i].data);
        free(k.grad[i]);
    }
    free(k.content);
    free(k.grad);
    free(k.in);
    if (!c->weights)
        free(k.names);
    mc_weights_free(&k.found);
    return have;
}
