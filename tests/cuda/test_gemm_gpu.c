/* Products of the device against sums in double: layouts, steps of a batch, alignments, what follows a product, all
 * precisions, recordings. Run with and without the libraries (MC_SIM_MISSING). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/gpu.h"
#include "kernels/kernels.h"
#include "tests/kernels/tol.h"

static uint64_t seed = 1, draws;
static struct mc_gpu *gpu;

static int64_t below(uint32_t n)
{
    return mc_rng_below(seed, 3, draws++, n);
}

static int64_t size(void)
{
    static const int sizes[] = {1, 2, 3, 5, 16, 31, 33, 63, 64, 65, 100, 130};
    return sizes[below(sizeof sizes / sizeof sizes[0])];
}

struct
    array { /* on the host, and the same on the device, `shift` elements behind what is aligned */
    float *host, *base, *device;
    int64_t n, shift;
};

static void put(struct array *x)
{
    struct mc_err err;
    assert_int_equal(mc_gpu_put(gpu, x->device, x->host, (size_t)x->n * sizeof(float), &err), 0);
}

static struct array array(int64_t n)
{
    struct array x = {.n = n, .shift = below(3) ? 0 : below(5)};
    struct mc_err err;
    void *p;
    assert_non_null(x.host = mc_alloc_aligned((size_t)n * sizeof(float)));
    mc_rng_fill_normal(seed, 1000 + draws++, 0, x.host, (size_t)n);
    assert_int_equal(mc_gpu_alloc(gpu, (size_t)(n + x.shift) * sizeof(float), &p, &err), 0);
    x.base = p;
    x.device = x.base + x.shift;
    put(&x);
    return x;
}

static float *get(const struct array *x)
{
    struct mc_err err = {0};
    float *y = mc_alloc_aligned((size_t)x->n * sizeof(float));
    assert_non_null(y);
    int rc = mc_gpu_get(gpu, y, x->device, (size_t)x->n * sizeof(float), &err);
    if (rc)
        print_message("%s\n", err.msg);
    assert_int_equal(rc, 0);
    return y;
}

static void drop(struct array *x)
{
    free(x->host);
    mc_gpu_free(gpu, x->base);
    *x = (struct array){0};
}

struct sample {
    struct mc_gemm g;
    struct array a, b, c, bias, residual;
    bool in_place;
};

/* Strides of [rows, columns]: as they lie, turned, or with gaps everywhere. Returns the elements up to the last. */
static int64_t draw_strides(int64_t rows, int64_t columns, int64_t *row, int64_t *column)
{
    int64_t kind = below(5), gap = below(3);
    *row = kind == 1 ? 1 : kind == 2 ? 2 * columns + gap : columns + gap;
    *column = kind == 1 ? rows + gap : kind == 2 ? 2 : 1;
    return (rows - 1) * *row + (columns - 1) * *column + 1;
}

static void draw(struct sample *s, int64_t m, int64_t n, int64_t k, int64_t batch)
{
    *s = (struct sample){.g = {.m = m, .n = n, .k = k, .batch = batch}};
    struct mc_gemm *g = &s->g;
    int64_t a = k ? draw_strides(m, k, &g->a_row, &g->a_col) : 1;
    int64_t b = k ? draw_strides(k, n, &g->b_row, &g->b_col) : 1;
    g->c_row = n + below(3) * (below(2) ? 4 : 1);
    int64_t c = (m - 1) * g->c_row + n;
    g->a_step = below(4) ? a + below(3) : 0;
    g->b_step = below(4) ? b + below(3) : 0;
    g->c_step = c + below(3);
    g->alpha = below(2) ? 1 : -0.75;
    g->epilogue.act = (enum mc_act)below(MC_ACT_HARDSWISH + 1);
    if (below(3) == 0)
        g->epilogue.act = MC_ACT_CLAMP;
    g->epilogue.lo = g->epilogue.act == MC_ACT_CLAMP ? 0 : 0.1;
    g->epilogue.hi = below(3) ? INFINITY : 1;
    s->a = array(a + (batch - 1) * g->a_step);
    s->b = array(b + (batch - 1) * g->b_step);
    s->c = array(c + (batch - 1) * g->c_step);
    g->a = s->a.device;
    g->b = s->b.device;
    g->c = s->c.device;
    if (below(2)) {
        s->bias = array(n);
        g->epilogue.bias = s->bias.device;
    }
    if (below(2)) {
        s->in_place = below(2);
        if (!s->in_place)
            s->residual = array(s->c.n);
        g->epilogue.residual = s->in_place ? s->c.device : s->residual.device;
    }
}

static void release(struct sample *s)
{
    drop(&s->a);
    drop(&s->b);
    drop(&s->c);
    drop(&s->bias);
    drop(&s->residual);
}

static double activated(const struct mc_epilogue *e, double v)
{
    double gate = fmin(1, fmax(0, v / 6 + 0.5));
    switch (e->act) {
    case MC_ACT_CLAMP: return v < e->lo ? e->lo : v > e->hi ? e->hi : v;
    case MC_ACT_LEAKY: return v < 0 ? e->lo * v : v;
    case MC_ACT_SIGMOID: return 1 / (1 + exp(-v));
    case MC_ACT_TANH: return tanh(v);
    case MC_ACT_SILU: return v / (1 + exp(-v));
    case MC_ACT_GELU: return v * erfc(-v / sqrt(2)) / 2;
    case MC_ACT_HARDSWISH: return v * gate;
    case MC_ACT_NONE: break;
    }
    return v;
}

/* Element (i, j) of product `at`, and the sum of absolute values that its error is measured by. */
static double want(const struct sample *s, int64_t at, int64_t i, int64_t j, double *ret_scale)
{
    const struct mc_gemm *g = &s->g;
    double sum = 0, scale = 0;
    for (int64_t p = 0; p < g->k; p++) {
        double x = s->a.host[at * g->a_step + i * g->a_row + p * g->a_col];
        double y = s->b.host[at * g->b_step + p * g->b_row + j * g->b_col];
        sum += x * y;
        scale += fabs(x * y);
    }
    sum *= g->alpha;
    scale *= fabs(g->alpha);
    double bias = s->bias.host ? s->bias.host[j] : 0, residual = 0;
    if (g->epilogue.residual)
        residual = (s->in_place ? s->c.host : s->residual.host)[at * g->c_step + i * g->c_row + j];
    *ret_scale = scale + fabs(bias) + fabs(residual);
    return activated(&g->epilogue, sum + bias + residual);
}

static void check(const struct sample *s, const float *y, double tolerance)
{
    const struct mc_gemm *g = &s->g;
    bool *written = calloc((size_t)s->c.n, sizeof *written);
    assert_non_null(written);
    for (int64_t at = 0; at < g->batch; at++)
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = 0; j < g->n; j++) {
                double scale, x = want(s, at, i, j, &scale);
                int64_t e = at * g->c_step + i * g->c_row + j;
                double most = tolerance * scale + TOL_ACT * fmax(1, fabs(x));
                written[e] = true;
                if (!(fabs(y[e] - x) <= most))
                    fail_msg(
                        "%d products m %d n %d k %d a %d,%d b %d,%d act %d bias %d residual %d "
                        "%s: (%d, %d, %d) is %g, not %g",
                        (int)g->batch, (int)g->m, (int)g->n, (int)g->k, (int)g->a_row,
                        (int)g->a_col, (int)g->b_row, (int)g->b_col, (int)g->epilogue.act,
                        s->bias.host != NULL, g->epilogue.residual != NULL,
                        s->in_place ? "in place" : "", (int)at, (int)i, (int)j, (double)y[e], x);
            }
    for (int64_t e = 0; e < s->c.n; e++)
        if (!written[e] && memcmp(&y[e], &s->c.host[e], sizeof *y))
            fail_msg("element %d between rows or matrices was written", (int)e);
    free(written);
}

static void run_one(int64_t m, int64_t n, int64_t k, int64_t batch, double tolerance)
{
    struct sample s;
    draw(&s, m, n, k, batch);
    mc_gpu_kernels(gpu)->gemm.run(&s.g, NULL, NULL);
    float *y = get(&s.c);
    check(&s, y, tolerance);
    free(y);
    release(&s);
}

static void open_with(enum mc_gpu_precision precision)
{
    const struct mc_gpu_opts o = {.precision = precision};
    struct mc_err err = {0};
    assert_int_equal(mc_gpu_open("cuda", &o, &gpu, &err), 0);
    mc_gpu_enter(gpu);
}

static void shut(void)
{
    struct mc_gpu_memory m;
    mc_gpu_memory(gpu, &m);
    assert_int_equal(m.used, 0);
    mc_gpu_enter(NULL);
    mc_gpu_close(gpu);
}

static void shapes(void **state)
{
    (void)state;
    open_with(MC_GPU_FP32);
    for (int i = 0; i < 120; i++) {
        int64_t m = size(), n = size(), k = below(8) ? size() : 0;
        run_one(m, n, k, below(3) ? 1 : 1 + below(4), tol_sum((double)k));
    }
    shut();
}

/* What the sizes above do not reach: long sums in parts, and large tiles where there are many. */
static void extremes(void **state)
{
    (void)state;
    open_with(MC_GPU_FP32);
    for (int i = 0; i < 6; i++) {
        run_one(1 + below(20), 1 + below(70), 300 + below(1500), 1 + below(2), tol_sum(1800));
        run_one(65 + below(4), 66 + below(66), 9 + below(9), i % 2 ? 100 : 48, tol_sum(18));
    }
    shut();
}

static bool has_library(void)
{
    const char *missing = getenv("MC_SIM_MISSING");
    return !missing || strcmp(missing, "cublas cublasLt");
}

/* 1 + 2^-9 and 1 + 2^-12 as they come out of a product with 1. */
static void factor(float first, float second)
{
    struct array a = array(2), b = array(1), c = array(2);
    a.host[0] = 1 + 0x1p-9f;
    a.host[1] = 1 + 0x1p-12f;
    b.host[0] = 1;
    put(&a);
    put(&b);
    struct mc_gemm g = {.m = 2,
                        .n = 1,
                        .k = 1,
                        .a = a.device,
                        .a_row = 1,
                        .a_col = 1,
                        .b = b.device,
                        .b_row = 1,
                        .b_col = 1,
                        .c = c.device,
                        .c_row = 1,
                        .alpha = 1};
    mc_gpu_kernels(gpu)->gemm.run(&g, NULL, NULL);
    float *y = get(&c);
    assert_true(y[0] == first && y[1] == second);
    free(y);
    drop(&a);
    drop(&b);
    drop(&c);
}

/* Factors are rounded, where there is a library to do it; sums are not. */
static void precisions(void **state)
{
    (void)state;
    bool round = has_library();
    open_with(MC_GPU_FP32);
    factor(1 + 0x1p-9f, 1 + 0x1p-12f);
    shut();
    open_with(MC_GPU_TF32);
    factor(1 + 0x1p-9f, round ? 1 : 1 + 0x1p-12f);
    for (int i = 0; i < 20; i++)
        run_one(size(), size(), size(), 1 + below(2), 0x1p-10 + tol_sum(130));
    shut();
    open_with(MC_GPU_BF16);
    factor(round ? 1 : 1 + 0x1p-9f, round ? 1 : 1 + 0x1p-12f);
    for (int i = 0; i < 20; i++)
        run_one(size(), size(), size(), 1 + below(2), 0x1p-7 + tol_sum(130));
    shut();
}

/* A recording does what a call does, bit for bit, with the numbers that are there when it is replayed. */
static void recorded(void **state)
{
    (void)state;
    open_with(MC_GPU_FP32);
    for (int i = 0; i < 12; i++) {
        struct sample s;
        struct mc_err err = {0};
        struct mc_gpu_recording *r;
        draw(&s, size(), size(), i % 3 ? size() : 700, 1 + below(2));
        const struct mc_kernels *k = mc_gpu_kernels(gpu);
        k->gemm.run(&s.g, NULL, NULL);
        assert_int_equal(mc_gpu_record_begin(gpu, &err), 0);
        k->gemm.run(&s.g, NULL, NULL);
        assert_int_equal(mc_gpu_record_end(gpu, &r, &err), 0);
        mc_rng_fill_normal(seed, 9, 0, s.a.host, (size_t)s.a.n);
        put(&s.a);
        put(&s.c);
        k->gemm.run(&s.g, NULL, NULL);
        float *direct = get(&s.c);
        put(&s.c);
        assert_int_equal(mc_gpu_replay(gpu, r, &err), 0);
        float *replayed = get(&s.c);
        assert_memory_equal(direct, replayed, (size_t)s.c.n * sizeof(float));
        check(&s, replayed, tol_sum((double)s.g.k));
        mc_gpu_recording_free(gpu, r);
        free(direct);
        free(replayed);
        release(&s);
    }
    shut();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(extremes),
                                       cmocka_unit_test(precisions), cmocka_unit_test(recorded)};
    const char *given = getenv("MCOMPRESS_SEED");
    seed = given ? strtoull(given, NULL, 10) : 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
