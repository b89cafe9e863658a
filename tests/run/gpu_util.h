/* The same run by a session on the CPU and by one on a GPU (simulated in tests), for tests of graph/run. */
#ifndef MC_TESTS_RUN_GPU_UTIL_H
#define MC_TESTS_RUN_GPU_UTIL_H

#include "run_util.h"

#include "kernels/gpu.h"

struct gpu_pool {
    struct mc_gpu *gpu;
    struct mc_pool *pool;
};

static inline struct gpu_pool gpu_pool_open(void)
{
    struct gpu_pool p;
    struct mc_err err;
    build_ok(mc_gpu_open("cuda", NULL, &p.gpu, &err), &err);
    build_ok(mc_pool_new(1, &p.pool, &err), &err);
    mc_pool_set_gpu(p.pool, p.gpu);
    return p;
}

/* Nothing is left on the GPU. */
static inline void gpu_pool_close(struct gpu_pool *p)
{
    struct mc_gpu_memory m;
    mc_gpu_memory(p->gpu, &m);
    assert_int_equal(m.used, 0);
    mc_pool_free(p->pool);
    mc_gpu_close(p->gpu);
}

/* |got - want| <= tolerance * (1 + |want|) for floats, the same bytes for others. */
static inline void expect_alike(const struct mc_array *got, const struct mc_array *want,
                                double tolerance)
{
    assert_non_null(got);
    assert_non_null(want);
    assert_int_equal(got->dtype, want->dtype);
    assert_true(mc_shape_equal(&got->shape, &want->shape));
    if (want->dtype != MC_DTYPE_F32) {
        assert_memory_equal(got->data, want->data, want->bytes);
        return;
    }
    const float *a = got->data, *b = want->data;
    for (int64_t i = 0; i < mc_shape_count(&want->shape); i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance * (1 + fabs((double)b[i]))) &&
            !(isnan(a[i]) && isnan(b[i])) && a[i] != b[i])
            fail_msg("%s[%d] is %.9g, not %.9g", want->name, (int)i, (double)a[i], (double)b[i]);
}

struct gpu_pair {
    struct mc_session *cpu, *gpu;
};

/* `leave`: operators that stay on the CPU, or NULL. */
static inline struct gpu_pair gpu_pair_open(struct mc_model *m, const struct gpu_pool *pool,
                                            const struct mc_session_opts *opts, const char *leave)
{
    struct mc_session_opts o = opts ? *opts : (struct mc_session_opts){0};
    struct gpu_pair p;
    if (leave)
        assert_int_equal(setenv("MCOMPRESS_CPU_OPERATORS", leave, 1), 0);
    p.cpu = session_of(m, &o);
    o.pool = pool->pool;
    p.gpu = session_of(m, &o);
    assert_int_equal(unsetenv("MCOMPRESS_CPU_OPERATORS"), 0);
    return p;
}

static inline void gpu_pair_free(struct gpu_pair *p)
{
    mc_session_free(p->cpu);
    mc_session_free(p->gpu);
}

/* Outputs of both are alike. */
static inline void gpu_pair_run(struct gpu_pair *p, const struct mc_array *in, int n,
                                double tolerance)
{
    run_ok(p->cpu, in, n);
    run_ok(p->gpu, in, n);
    for (int i = 0; i < mc_session_n_outputs(p->cpu); i++)
        expect_alike(mc_session_output(p->gpu, i), mc_session_output(p->cpu, i), tolerance);
}

static inline void gpu_draw(float *x, size_t n, uint64_t seed)
{
    mc_rng_fill_uniform(seed, 1, 0, x, n);
    for (size_t i = 0; i < n; i++)
        x[i] = 4 * x[i] - 2;
}

/* One float32 input "x"; three runs with inputs of their own, so that a recording is made and replayed. */
static inline void gpu_pair_run_x(struct gpu_pair *p, int rank, const int64_t *dims,
                                  double tolerance)
{
    struct mc_array a = array_of("x", MC_DTYPE_F32, rank, dims, NULL);
    size_t n = (size_t)mc_shape_count(&a.shape);
    float *x = malloc(n * sizeof *x + 1);
    assert_non_null(x);
    a.data = x;
    for (uint64_t run = 1; run <= 3; run++) {
        gpu_draw(x, n, run);
        gpu_pair_run(p, &a, 1, tolerance);
    }
    free(x);
}

static inline struct mc_session_stats gpu_stats(const struct mc_session *s)
{
    struct mc_session_stats st;
    mc_session_stats(s, &st);
    return st;
}

#endif
