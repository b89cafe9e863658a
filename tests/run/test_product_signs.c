/* Weights of one number a column, with signs, against sums in double precision: whatever rows, epilogue and layout. */
#include "run_util.h"

#include "base/threads.h"
#include "kernels/kernels.h"

enum { K = 520, N = 530 }; /* neither is a multiple of a word or a panel */

struct made {
    struct mc_model *m;
    float *w, *bias; /* w [K, N] */
};

static float *draw(uint64_t stream, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    mc_rng_fill_normal(9, stream, 0, x, (size_t)n);
    return x;
}

/* relu(x W + bias). odd: one weight breaks the form. */
static struct made build(bool tb, bool odd)
{
    struct made r = {build_model(13), draw(1, K * N), draw(2, N)};
    struct mc_graph *g = r.m->graph;
    float *stored = malloc(sizeof *stored * K * N);
    assert_non_null(stored);
    for (int k = 0; k < K; k++)
        for (int j = 0; j < N; j++) {
            float s = j == 7 ? 0 : 0.01F * (float)(1 + j % 50);
            r.w[k * N + j] = r.w[k * N + j] < 0 ? -s : s;
        }
    if (odd)
        r.w[(K - 1) * N + N - 1] *= 1.5F;
    for (int k = 0; k < K; k++)
        for (int j = 0; j < N; j++)
            stored[tb ? j * K + k : k * N + j] = r.w[k * N + j];
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(MC_DIM_ANY, K));
    struct mc_value *w = build_const(g, "w", MC_DTYPE_F32, 2, tb ? DIMS(N, K) : DIMS(K, N), stored);
    struct mc_value *bias = build_const(g, "bias", MC_DTYPE_F32, 1, DIMS(N), r.bias);
    struct mc_value *y = mc_edit_value(g, "y"), *z = mc_edit_value(g, "z"), *in[] = {x, w, bias};
    struct mc_node *n;
    assert_int_equal(mc_edit_node(g, 0, "Gemm", "", 13, "", in, 3, &y, 1, &n, NULL), 0);
    assert_int_equal(mc_edit_attr_int(n, "transB", tb, NULL), 0);
    assert_int_equal(mc_edit_node(g, 1, "Relu", "", 13, "", &y, 1, &z, 1, NULL, NULL), 0);
    assert_int_equal(mc_edit_output(g, z, NULL), 0);
    free(stored);
    return r;
}

static void check(const struct made *t, const float *x, int m, const struct mc_array *z)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < N; j++) {
            double sum = (double)t->bias[j], most = fabs(sum);
            for (int k = 0; k < K; k++) {
                double term = (double)x[i * K + k] * (double)t->w[k * N + j];
                sum += term;
                most += fabs(term);
            }
            double want = fmax(0, sum), got = (double)((const float *)z->data)[i * N + j];
            if (!(fabs(got - want) <= 1e-6 * most))
                fail_msg("%g instead of %g at %d, %d of %d rows", got, want, i, j, m);
        }
}

static void as_dense(void **state)
{
    (void)state;
    static const int rows[] = {1, 3, 8, 9, 1, 40}; /* plans for few and for many, in turns */
    struct mc_pool *pool;
    assert_int_equal(mc_pool_new(3, &pool, NULL), 0);
    float *x = draw(4, 40 * K), *alone = malloc(sizeof *alone * 40 * N);
    assert_non_null(alone);
    for (int kind = 0; kind < 4; kind++) {
        struct made t = build(kind & 1, kind & 2);
        struct mc_session *s = session_of(t.m, &(struct mc_session_opts){0});
        struct mc_session *threads = session_of(t.m, &(struct mc_session_opts){.pool = pool});
        for (int i = 0; i < 6; i++) {
            const struct mc_array in = array_of("x", MC_DTYPE_F32, 2, DIMS(rows[i], K), x);
            run_ok(s, &in, 1);
            check(&t, x, rows[i], mc_session_output(s, 0));
            size_t bytes = (size_t)(rows[i] * N) * sizeof *alone;
            memcpy(alone, mc_session_output(s, 0)->data, bytes);
            run_ok(threads, &in, 1);
            assert_memory_equal(alone, mc_session_output(threads, 0)->data, bytes);
        }
        mc_session_free(s);
        mc_session_free(threads);
        mc_model_free(t.m);
        free(t.w);
        free(t.bias);
    }
    free(x);
    free(alone);
    mc_pool_free(pool);
}

/* One row takes the memory of the signs, not of the numbers. */
static void takes_bits(void **state)
{
    (void)state;
    if (mc_kernels_get(NULL, 4)->xnor.few_rows == 0)
        skip();
    float *x = draw(4, K);
    size_t bytes[2];
    for (int odd = 0; odd < 2; odd++) {
        struct made t = build(true, odd);
        struct mc_session *s = session_of(t.m, &(struct mc_session_opts){0});
        const struct mc_array in = array_of("x", MC_DTYPE_F32, 2, DIMS(1, K), x);
        run_ok(s, &in, 1);
        struct mc_session_stats st;
        mc_session_stats(s, &st);
        bytes[odd] = st.packed_bytes;
        mc_session_free(s);
        mc_model_free(t.m);
        free(t.w);
        free(t.bias);
    }
    assert_true(bytes[1] >= sizeof(float) * K * N);
    assert_true(bytes[0] < bytes[1] / 20);
    free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_dense), cmocka_unit_test(takes_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
