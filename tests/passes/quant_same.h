/* Two models that should compute the same, and small networks to change: for the tests of repairs. Failures are cmocka failures. */
#ifndef MC_TESTS_QUANT_SAME_H
#define MC_TESTS_QUANT_SAME_H

#include "../run/run_util.h"

#include "graph/constant.h"
#include "graph/run/fold.h"
#include "graph/verify.h"
#include "random_graph.h"

/* Output 0 in float64 for an input "x" drawn from seed; free(). */
static inline double *quant_output(struct mc_model *m, int rank, const int64_t *dims, uint64_t seed,
                                   int64_t *ret_n)
{
    struct mc_session_opts o = {.precision = MC_PRECISION_F64};
    struct mc_session *s = session_of(m, &o);
    struct mc_shape shape = mc_shape_of(rank, dims);
    size_t count = (size_t)mc_shape_count(&shape);
    float *x = malloc(count * sizeof *x + 1);
    assert_non_null(x);
    mc_rng_fill_normal(seed, 9, 0, x, count);
    struct mc_array in = array_of("x", MC_DTYPE_F32, rank, dims, x);
    run_ok(s, &in, 1);
    const struct mc_array *a = mc_session_output(s, 0);
    *ret_n = mc_shape_count(&a->shape);
    double *y = malloc((size_t)*ret_n * sizeof *y + 1);
    assert_non_null(y);
    build_ok(mc_dtype_to_f64(a->dtype, a->data, y, (size_t)*ret_n, NULL), NULL);
    mc_session_free(s);
    free(x);
    return y;
}

/* Largest difference over the largest output. */
static inline double quant_difference(struct mc_model *a, struct mc_model *b, int rank,
                                      const int64_t *dims, uint64_t seed)
{
    int64_t n, m;
    double *p = quant_output(a, rank, dims, seed, &n), *q = quant_output(b, rank, dims, seed, &m);
    double largest = 1e-3, error = 0;
    assert_int_equal(n, m);
    for (int64_t i = 0; i < n; i++) {
        double e = fabs(p[i] - q[i]);
        largest = fmax(largest, fabs(p[i]));
        error = e <= error ? error : e; /* NaN stays */
    }
    free(p);
    free(q);
    return error / largest;
}

static inline void quant_expect_same(struct mc_model *a, struct mc_model *b, int rank,
                                     const int64_t *dims, uint64_t seed, double tolerance)
{
    double error = quant_difference(a, b, rank, dims, seed);
    if (!(error <= tolerance))
        fail_msg("seed %llu: outputs differ by %g", (unsigned long long)seed, error);
}

static inline struct mc_model *quant_clone(const struct mc_model *m)
{
    struct mc_model *c;
    struct mc_err err;
    build_ok(mc_model_clone(m, &c, &err), &err);
    return c;
}

static inline size_t quant_count(const struct mc_model *m, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        n += mc_node_is(m->graph->nodes[i], op);
    return n;
}

#endif
