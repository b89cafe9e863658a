#include "bench.h"

#include <cblas.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kernels/linalg.h"

void bench_prepare(char **argv)
{
    const char *core = mc_linalg_better_core();
    if (core && !setenv("OPENBLAS_CORETYPE", core, 1))
        execv("/proc/self/exe", argv);
    openblas_set_num_threads(1);
    printf("one thread; sgemm is OpenBLAS %s\n", openblas_get_corename());
}

/* This thread's CPU time: on a shared machine the clock on the wall also counts other programs' turns. */
static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one call, over about 20 ms. */
static double timing(void (*fn)(void *ctx), void *ctx)
{
    double start = cpu_now(), now = start;
    int calls = 0;
    while (calls == 0 || now - start < 0.02) {
        fn(ctx);
        calls++;
        now = cpu_now();
    }
    return (now - start) / calls;
}

enum { SQUARE = 768, COPY_BYTES = 256 << 20 };

/* 768 is large enough for its best rate and takes 6 ms at 150 GFLOP/s. */
static void sgemm(void *ctx)
{
    float *m = ctx;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, SQUARE, SQUARE, SQUARE, 1, m, SQUARE,
                m + SQUARE * SQUARE, SQUARE, 0, m + 2 * SQUARE * SQUARE, SQUARE);
}

static void copy(void *ctx)
{
    char *block = ctx;
    memcpy(block, block + COPY_BYTES, COPY_BYTES);
    __asm__ volatile("" ::"r"(block) : "memory"); /* the copy is wanted though nobody reads it */
}

static void *probe_memory(size_t bytes)
{
    float *block = malloc(bytes);
    if (!block)
        abort();
    for (size_t i = 0; i < bytes / sizeof *block; i++)
        block[i] = 1.0f / (float)(i % 7 + 1);
    return block;
}

static void improve(double *best, double seconds)
{
    if (seconds < *best)
        *best = seconds;
}

void bench_line(const struct bench *b, const char *fmt, ...)
{
    static void *square, *block;
    if (!square)
        square = probe_memory((size_t)3 * SQUARE * SQUARE * sizeof(float));
    if (!block && b->bytes > 0)
        block = probe_memory(2 * (size_t)COPY_BYTES);
    double ours = 1e9, rival = 1e9, product = 1e9, memory = 1e9;
    b->fn(b->ctx);
    for (int i = 0; i < 7; i++) {
        improve(&ours, timing(b->fn, b->ctx));
        if (b->rival)
            improve(&rival, timing(b->rival, b->ctx));
        if (b->flops > 0)
            improve(&product, timing(sgemm, square));
        if (b->bytes > 0)
            improve(&memory, timing(copy, block));
    }
    char what[100];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    printf("%-42s %10.1f us", what, ours * 1e6);
    double peak = 2.0 * SQUARE * SQUARE * SQUARE / product, width = 2.0 * COPY_BYTES / memory;
    if (b->flops > 0)
        printf("  %6.1f GFLOP/s, %5.1f %% of sgemm's %5.1f", b->flops / ours * 1e-9,
               100 * b->flops / ours / peak, peak * 1e-9);
    if (b->bytes > 0)
        printf("  %6.1f GB/s, %5.1f %% of copy's %4.1f", b->bytes / ours * 1e-9,
               100 * b->bytes / ours / width, width * 1e-9);
    if (b->rival)
        printf("  %5.2fx its rival", rival / ours);
    printf("\n");
    fflush(stdout);
}
