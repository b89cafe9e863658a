#include "bench.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

void bench_prepare(char **argv)
{
    static const char variable[] = "OPENBLAS_CORETYPE";
    if (getenv(variable) || strcmp(openblas_get_corename(), "Prescott"))
        return;
#ifdef __x86_64__
    const char *core = __builtin_cpu_supports("avx512f") ? "SkylakeX"
                       : __builtin_cpu_supports("avx2")  ? "Haswell"
                                                         : NULL;
    if (core && !setenv(variable, core, 1))
        execv("/proc/self/exe", argv);
#endif
}

double bench_seconds(void (*fn)(void *ctx), void *ctx)
{
    enum { TIMINGS = 7 };
    fn(ctx);
    double once = mc_now();
    fn(ctx);
    once = mc_now() - once;
    int calls = once > 0.02 ? 1 : (int)(0.02 / (once > 1e-8 ? once : 1e-8)) + 1;
    double best = 1e9;
    for (int t = 0; t < TIMINGS; t++) {
        double s = mc_now();
        for (int i = 0; i < calls; i++)
            fn(ctx);
        s = (mc_now() - s) / calls;
        best = s < best ? s : best;
    }
    return best;
}

struct square {
    int n;
    float *a, *b, *c;
};

static void sgemm(void *ctx)
{
    const struct square *s = ctx;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, s->n, s->n, s->n, 1, s->a, s->n, s->b,
                s->n, 0, s->c, s->n);
}

double bench_sgemm_gflops(void)
{
    static double best;
    if (best > 0)
        return best;
    openblas_set_num_threads(1);
    for (int n = 512; n <= 1024; n *= 2) {
        size_t count = (size_t)n * (size_t)n;
        struct square s = {n, calloc(count, sizeof(float)), calloc(count, sizeof(float)),
                           calloc(count, sizeof(float))};
        if (!s.a || !s.b || !s.c)
            abort();
        for (size_t i = 0; i < count; i++)
            s.a[i] = s.b[i] = 1.0f / (float)(i % 7 + 1);
        double rate = 2.0 * n * n * n / bench_seconds(sgemm, &s) * 1e-9;
        best = rate > best ? rate : best;
        free(s.a);
        free(s.b);
        free(s.c);
    }
    return best;
}

enum { COPY_BYTES = 256 << 20 };

static void copy(void *ctx)
{
    char *block = ctx;
    memcpy(block, block + COPY_BYTES, COPY_BYTES);
    __asm__ volatile("" ::"r"(block) : "memory"); /* the copy is wanted though nobody reads it */
}

double bench_copy_gbs(void)
{
    static double rate;
    if (rate > 0)
        return rate;
    char *block = malloc(2 * (size_t)COPY_BYTES);
    if (!block)
        abort();
    memset(block, 1, 2 * (size_t)COPY_BYTES);
    rate = 2.0 * COPY_BYTES / bench_seconds(copy, block) * 1e-9;
    free(block);
    return rate;
}

void bench_flops(const char *what, double flops, double seconds)
{
    double rate = flops / seconds * 1e-9;
    printf("  %-44s %9.1f us %8.1f GFLOP/s  %5.1f %% of sgemm\n", what, seconds * 1e6, rate,
           100 * rate / bench_sgemm_gflops());
}

void bench_bytes(const char *what, double bytes, double seconds)
{
    double rate = bytes / seconds * 1e-9;
    printf("  %-44s %9.1f us %8.1f GB/s     %5.1f %% of copy\n", what, seconds * 1e6, rate,
           100 * rate / bench_copy_gbs());
}
