/* Products of run-time values over a long sum, which go by parts, against sums in double precision. */
#include "run_util.h"

#include "base/threads.h"

enum { M = 9, N = 21, K = 12000 };

static float *draw(uint64_t stream, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    mc_rng_fill_uniform(5, stream, 0, x, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        x[i] -= 0.5F;
    return x;
}

struct made {
    struct mc_model *m;
    float *a, *b, *c;
};

/* relu(0.5 A B' + C), A and B' as they stand or transposed. */
static struct made build(bool ta, bool tb)
{
    struct made r = {build_model(13), draw(1, M * K), draw(2, K * N), draw(3, M * N)};
    struct mc_graph *g = r.m->graph;
    struct mc_value *in[] = {build_input(g, "a", MC_DTYPE_F32, 2, ta ? DIMS(K, M) : DIMS(M, K)),
                             build_input(g, "b", MC_DTYPE_F32, 2, tb ? DIMS(N, K) : DIMS(K, N)),
                             build_input(g, "c", MC_DTYPE_F32, 2, DIMS(M, N))};
    struct mc_value *y = mc_edit_value(g, "y"), *z = mc_edit_value(g, "z");
    struct mc_node *n;
    assert_int_equal(mc_edit_node(g, 0, "Gemm", "", 13, "", in, 3, &y, 1, &n, NULL), 0);
    assert_int_equal(mc_edit_attr_int(n, "transA", ta, NULL), 0);
    assert_int_equal(mc_edit_attr_int(n, "transB", tb, NULL), 0);
    assert_int_equal(mc_edit_attr_float(n, "alpha", 0.5F, NULL), 0);
    assert_int_equal(mc_edit_node(g, 1, "Relu", "", 13, "", &y, 1, &z, 1, NULL, NULL), 0);
    assert_int_equal(mc_edit_output(g, z, NULL), 0);
    return r;
}

static void check(const struct made *t, bool ta, bool tb, const struct mc_array *z)
{
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0, most = 0;
            for (int k = 0; k < K; k++) {
                double term = (double)t->a[ta ? k * M + i : i * K + k] *
                              (double)t->b[tb ? j * K + k : k * N + j];
                sum += term;
                most += fabs(term);
            }
            double want = fmax(0, 0.5 * sum + (double)t->c[i * N + j]);
            bool wide = z->dtype == MC_DTYPE_F64;
            double got =
                wide ? ((double *)z->data)[i * N + j] : (double)((float *)z->data)[i * N + j];
            double tol = wide ? 1e-13 : 1e-6;
            if (!(fabs(got - want) <= tol * most))
                fail_msg("%g instead of %g at %d, %d", got, want, i, j);
        }
}

static void by_parts(void **state)
{
    (void)state;
    struct mc_pool *pool;
    assert_int_equal(mc_pool_new(3, &pool, NULL), 0);
    for (int i = 0; i < 4; i++) {
        bool ta = i & 1, tb = i >> 1;
        struct made t = build(ta, tb);
        const struct mc_array in[] = {
            array_of("a", MC_DTYPE_F32, 2, ta ? DIMS(K, M) : DIMS(M, K), t.a),
            array_of("b", MC_DTYPE_F32, 2, tb ? DIMS(N, K) : DIMS(K, N), t.b),
            array_of("c", MC_DTYPE_F32, 2, DIMS(M, N), t.c)};
        float alone[M * N];
        for (int kind = 0; kind < 3; kind++) {
            struct mc_session_opts o = {.pool = kind == 1 ? pool : NULL,
                                        .precision =
                                            kind == 2 ? MC_PRECISION_F64 : MC_PRECISION_MODEL};
            struct mc_session *s = session_of(t.m, &o);
            run_ok(s, in, 3);
            const struct mc_array *z = mc_session_output(s, 0);
            check(&t, ta, tb, z);
            if (kind == 0)
                memcpy(alone, z->data, sizeof alone);
            if (kind == 1) /* the same bits for any number of threads */
                assert_memory_equal(z->data, alone, sizeof alone);
            mc_session_free(s);
        }
        mc_model_free(t.m);
        free(t.a);
        free(t.b);
        free(t.c);
    }
    mc_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
