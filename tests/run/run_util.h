/* Sessions over small graphs, for the tests of graph/run. Failures are cmocka failures. */
#ifndef MC_TESTS_RUN_UTIL_H
#define MC_TESTS_RUN_UTIL_H

#include "../graph/build.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "graph/run/session.h"

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})
#define F(...)    ((float[]){__VA_ARGS__})

static inline struct mc_value *f32_const(struct mc_graph *g, const char *name, int rank,
                                         const int64_t *dims, const float *data)
{
    return build_const(g, name, MC_DTYPE_F32, rank, dims, data);
}

/* A constant of draws from [-1, 1). */
static inline struct mc_value *random_const(struct mc_graph *g, const char *name, int rank,
                                            const int64_t *dims, uint64_t seed)
{
    struct mc_shape s = mc_shape_of(rank, dims);
    size_t n = (size_t)mc_shape_count(&s);
    float *x = malloc(n * sizeof *x + 1);
    assert_non_null(x);
    mc_rng_fill_uniform(seed, 1, 0, x, n);
    for (size_t i = 0; i < n; i++)
        x[i] = 2 * x[i] - 1;
    struct mc_value *v = f32_const(g, name, rank, dims, x);
    free(x);
    return v;
}

static inline struct mc_session *session_of(struct mc_model *m, const struct mc_session_opts *o)
{
    struct mc_session *s;
    struct mc_err err;
    build_ok(mc_session_new(m->graph, o, &s, &err), &err);
    return s;
}

static inline struct mc_array array_of(const char *name, enum mc_dtype dtype, int rank,
                                       const int64_t *dims, const void *data)
{
    struct mc_array a = {name, dtype, mc_shape_of(rank, dims), (void *)(uintptr_t)data, 0};
    assert_true(mc_dtype_bytes(dtype, mc_shape_count(&a.shape), &a.bytes));
    return a;
}

static inline void run_ok(struct mc_session *s, const struct mc_array *in, int n)
{
    struct mc_err err;
    build_ok(mc_session_run(s, in, n, &err), &err);
}

/* One float32 input, named "x". */
static inline void run_x(struct mc_session *s, int rank, const int64_t *dims, const float *x)
{
    struct mc_array a = array_of("x", MC_DTYPE_F32, rank, dims, x);
    run_ok(s, &a, 1);
}

static inline void expect_f32(const struct mc_array *a, int rank, const int64_t *dims,
                              const float *want, double tolerance)
{
    assert_non_null(a);
    struct mc_shape s = mc_shape_of(rank, dims);
    assert_int_equal(a->dtype, MC_DTYPE_F32);
    assert_true(mc_shape_equal(&a->shape, &s));
    const float *got = a->data;
    for (int64_t i = 0; i < mc_shape_count(&s); i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance))
            fail_msg("%s[%d] is %.9g, not %.9g", a->name, (int)i, (double)got[i], (double)want[i]);
}

#endif
