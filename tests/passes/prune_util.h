/* The property by which removed units are checked: the model with zeros in their place computes the same as the model
 * without them. Failures are cmocka failures. */
#ifndef MC_TESTS_PRUNE_UTIL_H
#define MC_TESTS_PRUNE_UTIL_H

#include "../run/run_util.h"

#include "graph/constant.h"
#include "graph/verify.h"
#include "passes/couple/coupling.h"

enum { PRUNE_INPUTS = 8 };

/* Divisors become 1: nothing is divided by 0. */
static inline double prune_neutral(const struct mc_value *v)
{
    for (size_t i = 0; i < v->n_uses; i++) {
        const struct mc_node *n = v->uses[i].node;
        int slot = v->uses[i].slot;
        if (slot == 1 && (mc_node_is(n, "Div") || strstr(n->op_type, "uantizeLinear")))
            return 1;
        if (slot == 4 && mc_node_is(n, "BatchNormalization"))
            return 1;
    }
    return 0;
}

/* Does the position lose a unit? */
static inline bool prune_is_gone(const struct mc_units *u, int64_t i, const bool *gone)
{
    for (int k = 0; u && k < u->per; k++)
        if (u->unit[i * u->per + k] >= 0 && gone[u->unit[i * u->per + k]])
            return true;
    return false;
}

/* A place where a constant lies. */
static inline bool prune_is_constant(const struct mc_value *v)
{
    return v && !v->outer &&
           (v->producer ? mc_node_is(v->producer, "Constant") : v->tensor != NULL) &&
           mc_constant(v);
}

static inline void prune_zero_constant(struct mc_value *v, const struct mc_coupling *c,
                                       const bool *gone)
{
    const struct mc_tensor *t = mc_constant(v);
    bool any = false;
    for (int d = 0; d < t->shape.rank; d++)
        any |= mc_coupling_axis(c, v, d) != NULL;
    if (!any || mc_dtype_info(t->dtype)->kind == MC_KIND_OTHER)
        return;
    size_t n = (size_t)mc_tensor_count(t);
    double *x = malloc(n * sizeof *x + 1);
    struct mc_err err;
    struct mc_tensor *made;
    void *data;
    assert_non_null(x);
    build_ok(mc_dtype_to_f64(t->dtype, t->data, x, n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        int64_t rest = (int64_t)i;
        for (int d = t->shape.rank - 1; d >= 0; d--) {
            if (prune_is_gone(mc_coupling_axis(c, v, d), rest % t->shape.dim[d], gone))
                x[i] = prune_neutral(v);
            rest /= t->shape.dim[d];
        }
    }
    build_ok(mc_tensor_new(t->dtype, &t->shape, NULL, &made, &data, &err), &err);
    build_ok(mc_dtype_from_f64(t->dtype, x, data, n, &err), &err);
    free(x);
    build_ok(mc_constant_replace(v, made, &err), &err);
    mc_tensor_unref(made);
}

/* m with zeros where gone units were. */
static inline struct mc_model *prune_zeroed(const struct mc_model *m, const struct mc_coupling *c,
                                            const bool *gone)
{
    struct mc_model *z;
    struct mc_err err;
    build_ok(mc_model_clone(m, &z, &err), &err);
    for (size_t k = 0; k < z->n_graphs; k++) {
        struct mc_graph *g = z->graphs[k];
        for (size_t i = 0; i < g->n_values; i++)
            if (prune_is_constant(g->values[i]))
                prune_zero_constant(g->values[i], c, gone);
    }
    return z;
}

/* m without them. */
static inline struct mc_model *prune_cut(const struct mc_model *m, const struct mc_coupling *c,
                                         const bool *gone)
{
    struct mc_model *clone;
    struct mc_err err;
    build_ok(mc_model_clone(m, &clone, &err), &err);
    build_ok(mc_cut(c, clone, gone, 0, &err), &err);
    build_ok(mc_verify(clone, &err), &err);
    return clone;
}

/* Random scores and as near to `keep` of every group as can be. */
static inline bool *prune_random(const struct mc_coupling *c, double keep, uint64_t seed)
{
    bool *gone = calloc((size_t)c->n_units + 1, 1);
    assert_non_null(gone);
    for (size_t i = 0; i < c->n_groups; i++) {
        const struct mc_coupling_group *g = &c->group[i];
        if (g->why)
            continue;
        float *x = malloc((size_t)g->n * sizeof *x);
        double *score = malloc((size_t)g->n * sizeof *score);
        struct mc_err err;
        assert_true(x && score);
        mc_rng_fill_uniform(seed, (uint32_t)i, 0, x, (size_t)g->n);
        for (int64_t k = 0; k < g->n; k++)
            score[k] = (double)x[k];
        int64_t stay = mc_coupling_feasible(g, llround(keep * (double)g->n), 1);
        build_ok(mc_coupling_choose(g, score, stay, gone, &err), &err);
        free(x);
        free(score);
    }
    return gone;
}

/* What norms take statistics over stays: the rest is the same as zeros. */
static inline void prune_keep_inexact(const struct mc_coupling *c, bool *gone)
{
    for (int32_t i = 0; i < c->n_units; i++)
        if (!mc_coupling_group_of(c, i)->exact)
            gone[i] = false;
}

/* Random inputs of m: free dimensions are 2. Integers are 0 … 3. Freed by the caller, one by one. */
static inline int prune_inputs(struct mc_session *s, uint64_t seed, struct mc_array *ret)
{
    int n = mc_session_n_inputs(s);
    assert_true(n <= PRUNE_INPUTS);
    for (int i = 0; i < n; i++) {
        ret[i] = *mc_session_input(s, i);
        for (int d = 0; d < ret[i].shape.rank; d++)
            if (ret[i].shape.dim[d] < 0)
                ret[i].shape.dim[d] = 2;
        size_t count = (size_t)mc_shape_count(&ret[i].shape);
        bool real = mc_dtype_info(ret[i].dtype)->kind == MC_KIND_FLOAT;
        float *x = malloc(count * sizeof *x + 1);
        assert_non_null(x);
        mc_rng_fill_uniform(seed, (uint32_t)i, 1, x, count);
        for (size_t k = 0; k < count; k++)
            x[k] = real ? 2 * x[k] - 1 : floorf(4 * x[k]);
        assert_true(mc_dtype_bytes(ret[i].dtype, (int64_t)count, &ret[i].bytes));
        ret[i].data = malloc(ret[i].bytes + 1);
        assert_non_null(ret[i].data);
        assert_int_equal(mc_dtype_from_f32(ret[i].dtype, x, ret[i].data, count, NULL), 0);
        free(x);
    }
    return n;
}

/* Largest difference of the outputs, over the largest number in them (at least 1), on one random input. */
static inline double prune_difference(struct mc_model *a, struct mc_model *b, uint64_t seed)
{
    const struct mc_session_opts opts = {.precision = MC_PRECISION_F64};
    struct mc_session *sa = session_of(a, &opts), *sb = session_of(b, &opts);
    struct mc_array in[PRUNE_INPUTS];
    int n = prune_inputs(sa, seed, in);
    double worst = 0, largest = 1;
    run_ok(sa, in, n);
    run_ok(sb, in, n);
    assert_int_equal(mc_session_n_outputs(sa), mc_session_n_outputs(sb));
    for (int o = 0; o < mc_session_n_outputs(sa); o++) {
        const struct mc_array *x = mc_session_output(sa, o), *y = mc_session_output(sb, o);
        assert_true(mc_shape_equal(&x->shape, &y->shape));
        assert_int_equal(x->dtype, y->dtype);
        size_t count = (size_t)mc_shape_count(&x->shape);
        double *fx = malloc(count * sizeof *fx + 1), *fy = malloc(count * sizeof *fy + 1);
        assert_true(fx && fy);
        assert_int_equal(mc_dtype_to_f64(x->dtype, x->data, fx, count, NULL), 0);
        assert_int_equal(mc_dtype_to_f64(y->dtype, y->data, fy, count, NULL), 0);
        for (size_t i = 0; i < count; i++) {
            double d = fabs(fx[i] - fy[i]);
            if (!(d <= worst))
                worst = d; /* NaN too */
            largest = fabs(fx[i]) > largest ? fabs(fx[i]) : largest;
        }
        free(fx);
        free(fy);
    }
    for (int i = 0; i < n; i++)
        free(in[i].data);
    mc_session_free(sa);
    mc_session_free(sb);
    return worst / largest;
}

/* Parameters of all constants that are there. */
static inline int64_t prune_parameters(const struct mc_model *m)
{
    int64_t n = 0;
    for (size_t k = 0; k < m->n_graphs; k++)
        for (size_t i = 0; i < m->graphs[k]->n_values; i++) {
            const struct mc_value *v = m->graphs[k]->values[i];
            const struct mc_tensor *t = prune_is_constant(v) ? mc_constant(v) : NULL;
            if (t && mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT)
                n += mc_tensor_count(t);
        }
    return n;
}

static inline void prune_print(const struct mc_coupling *c)
{
    for (size_t i = 0; i < c->n_groups; i++) {
        const struct mc_coupling_group *g = &c->group[i];
        print_message("  %-40s %-13s %5lld x %lld %s%s%s\n", g->name, g->kind, (long long)g->n,
                      (long long)g->nodes, g->exact ? "" : "inexact ",
                      g->n_partitions ? "even " : "", g->why ? g->why : "");
    }
}

/* Find, remove about 1 - keep of every group and see that it runs, then compare without what is not exact: the difference,
 * relative. */
static inline double prune_check(const struct mc_model *m, double keep, uint64_t seed, bool print)
{
    struct mc_coupling *c;
    struct mc_err err;
    build_ok(mc_coupling_find(m, &c, &err), &err);
    if (print)
        prune_print(c);
    bool *gone = prune_random(c, keep, seed);
    struct mc_model *cut = prune_cut(m, c, gone);
    int64_t left = prune_parameters(cut);
    assert_true(isfinite(prune_difference(cut, cut, seed)));
    mc_model_free(cut);
    prune_keep_inexact(c, gone);
    struct mc_model *zeroed = prune_zeroed(m, c, gone);
    cut = prune_cut(m, c, gone);
    double d = prune_difference(zeroed, cut, seed);
    if (print)
        print_message("  %lld -> %lld parameters, difference %.3g\n",
                      (long long)prune_parameters(m), (long long)left, d);
    mc_model_free(zeroed);
    mc_model_free(cut);
    free(gone);
    mc_coupling_free(c);
    return d;
}

#endif
