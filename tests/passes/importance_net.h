/* Small networks for the tests of importance: built, coupled, and changed unit by unit from outside. */
#ifndef MC_TESTS_IMPORTANCE_NET_H
#define MC_TESTS_IMPORTANCE_NET_H

#include "../run/memory_data.h"
#include "../run/run_util.h"

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/run/fold.h"
#include "passes/prune/importance.h"

enum { NET_SAMPLES = 96 };

struct net {
    struct mc_model *m;
    struct mc_coupling *c;
    struct memory_data data;
    float *x;
    int64_t labels[NET_SAMPLES];
    struct mc_pass_ctx ctx;
    int64_t classes;
    const char *gate; /* the constant that makes what is read, where no constant reads it */
    struct mc_err err;
};

/* What was built so far, with output z [samples, classes] and samples of these dimensions. */
static inline void net_close_graph(struct net *n, struct mc_value *z, int64_t classes, int rank,
                                   const int64_t *dims)
{
    struct mc_shape s = mc_shape_of(rank, dims);
    int64_t row = mc_shape_count(&s);
    build_output(n->m->graph, z);
    n->classes = classes;
    n->x = malloc((size_t)(NET_SAMPLES * row) * sizeof *n->x);
    assert_non_null(n->x);
    mc_rng_fill_normal(11, 3, 0, n->x, (size_t)(NET_SAMPLES * row));
    for (int i = 0; i < NET_SAMPLES; i++)
        n->labels[i] = (int64_t)mc_rng_below(12, 1, (uint64_t)i, (uint32_t)classes);
    memory_open(&n->data, "x", NET_SAMPLES, rank, dims, n->x, NULL);
    n->ctx = (struct mc_pass_ctx){.seed = 7, .calib = &n->data.d, .calib_count = NET_SAMPLES};
    build_ok(mc_coupling_find(n->m, &n->c, &n->err), &n->err);
}

static inline void net_label(struct net *n)
{
    n->data.labels = n->labels;
    n->data.d.has_labels = true;
}

static inline void net_free(struct net *n)
{
    mc_coupling_free(n->c);
    mc_model_free(n->m);
    free(n->x);
}

static inline const float *net_weights(const struct net *n, const char *name)
{
    const struct mc_value *v = mc_graph_value(n->m->graph, name);
    assert_non_null(v);
    return (const float *)mc_constant(v)->data;
}

/* The only unit at a position. */
static inline int32_t net_unit(const struct net *n, const char *name, int axis, int64_t position)
{
    const struct mc_units *u = mc_coupling_axis(n->c, mc_graph_value(n->m->graph, name), axis);
    assert_non_null(u);
    assert_int_equal(u->per, 1);
    return u->unit[position];
}

static inline struct mc_importance net_measure(struct net *n, enum mc_importance_kind kind,
                                               bool raw)
{
    struct mc_importance i;
    build_ok(mc_importance_measure(&n->ctx, n->m, n->c, kind, raw, &i, &n->err), &n->err);
    assert_int_equal(i.kind, kind);
    return i;
}

/* All weights that read a unit, or the gate's that make it, times `factor`. */
static inline void net_scale(const struct net *n, struct mc_model *m, int32_t unit, float factor)
{
    for (size_t i = 0; i < n->m->graph->n_values; i++) {
        struct mc_value *v = n->m->graph->values[i];
        const struct mc_tensor *t = v ? mc_constant(v) : NULL;
        for (int axis = 0; t && axis < t->shape.rank; axis++) {
            const struct mc_units *u = mc_coupling_axis(n->c, v, axis);
            bool gates = n->gate ? !strcmp(v->name, n->gate)
                                 : mc_coupling_role(n->c, v, axis) == MC_ROLE_READS;
            if (!u || !gates)
                continue;
            struct mc_tensor *to;
            void *content;
            build_ok(mc_tensor_new(t->dtype, &t->shape, NULL, &to, &content, NULL), NULL);
            memcpy(content, t->data, t->bytes);
            float *w = content;
            int64_t inner = mc_shape_span(&t->shape, axis + 1, t->shape.rank);
            for (int64_t e = 0; e < mc_shape_count(&t->shape); e++)
                for (int k = 0; k < u->per; k++)
                    if (u->unit[e / inner % u->n * u->per + k] == unit)
                        w[e] *= factor;
            build_ok(mc_constant_replace(mc_graph_value(m->graph, v->name), to, NULL), NULL);
            mc_tensor_unref(to);
        }
    }
}

/* Scores of all samples where what reads a unit is scaled; unit -1: none. [NET_SAMPLES * classes], freed by the caller. */
static inline double *net_scores(const struct net *n, int32_t unit, float factor)
{
    struct mc_model *m;
    build_ok(mc_model_clone(n->m, &m, NULL), NULL);
    if (unit >= 0)
        net_scale(n, m, unit, factor);
    struct mc_session *s = session_of(m, &(struct mc_session_opts){.precision = MC_PRECISION_F64});
    int64_t dims[MC_RANK_MAX + 1] = {NET_SAMPLES};
    memcpy(dims + 1, n->data.sample.dim, sizeof n->data.sample.dim);
    run_x(s, n->data.sample.rank + 1, dims, n->x);
    const struct mc_array *a = mc_session_output(s, 0);
    assert_int_equal(a->dtype, MC_DTYPE_F64);
    assert_int_equal(mc_shape_count(&a->shape), NET_SAMPLES * n->classes);
    double *z = malloc(a->bytes);
    assert_non_null(z);
    memcpy(z, a->data, a->bytes);
    mc_session_free(s);
    mc_model_free(m);
    return z;
}

/* d scores / d gate of a unit at 1, by differences. */
static inline double *net_slope(const struct net *n, int32_t unit)
{
    static const float step = 0x1p-7f;
    double *up = net_scores(n, unit, 1 + step), *down = net_scores(n, unit, 1 - step);
    for (int64_t i = 0; i < NET_SAMPLES * n->classes; i++)
        up[i] = (up[i] - down[i]) / (2 * (double)step);
    free(down);
    return up;
}

static inline void net_softmax(const double *z, int64_t n, double *p)
{
    double sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += exp(z[k]);
    for (int64_t k = 0; k < n; k++)
        p[k] = exp(z[k]) / sum;
}

static inline void expect_score(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance * fabs(want)))
        fail_msg("%s: %.9g, not %.9g", what, got, want);
}

#endif
