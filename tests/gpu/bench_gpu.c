/* bench_gpu [cuda:N]: how fast the kernels of a GPU are, beside what the card can do and beside one another. Exit 77 without a
 * GPU; failures of the device are 1. A line is the best of three times over at least 50 ms, by the clock on the wall with
 * the device waited for at both ends. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "kernels/gpu.h"
#include "kernels/kernels.h"

static struct mc_gpu *gpu;
static const struct mc_kernels *k;
static struct mc_gpu_info info;

static void stop(const struct mc_err *err)
{
    printf("FAILED: %s\n", err->msg);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double calls(void (*fn)(void *), void *ctx, int n)
{
    struct mc_err err;
    if (mc_gpu_wait(gpu, &err))
        stop(&err);
    double start = now();
    for (int i = 0; i < n; i++)
        fn(ctx);
    if (mc_gpu_wait(gpu, &err))
        stop(&err);
    return now() - start;
}

/* Seconds of a call. */
static double timing(void (*fn)(void *), void *ctx)
{
    int n = 1;
    double best = HUGE_VAL;
    (void)calls(fn, ctx, 2);
    while (n < 10000 && calls(fn, ctx, n) < 0.05)
        n *= 2;
    for (int i = 0; i < 3; i++)
        best = fmin(best, calls(fn, ctx, n) / n);
    return best;
}

static void *memory(size_t bytes)
{
    struct mc_err err;
    void *p;
    if (mc_gpu_alloc(gpu, bytes, &p, &err) || mc_gpu_zero(gpu, p, bytes, &err))
        stop(&err);
    return p;
}

static float *floats(int64_t n)
{
    struct mc_err err;
    size_t bytes = (size_t)n * sizeof(float);
    float *host = malloc(bytes), *p = memory(bytes);
    if (!host)
        exit(1);
    mc_rng_fill_normal(1, 0, 0, host, (size_t)n);
    if (mc_gpu_put(gpu, p, host, bytes, &err))
        stop(&err);
    free(host);
    return p;
}

static void line(const char *what, double seconds, double operations, double limit, double rival)
{
    printf("%-44s %9.2f us %8.2f TOP/s", what, seconds * 1e6, operations / seconds * 1e-12);
    if (limit > 0)
        printf("  %3.0f%% of the limit", 100 * operations / seconds / limit);
    if (rival > 0)
        printf("  %.2f times as fast", rival / seconds);
    printf("\n");
    fflush(stdout);
}

/* ---- products ---- */

struct product {
    struct mc_gemm f;
    struct mc_xnor_gemm x;
    struct mc_xnor_pack pack;
    struct mc_gemm_s8 s8;
    void *scratch;
};

static void run_float(void *ctx)
{
    struct product *p = ctx;
    k->gemm.run(&p->f, p->scratch, NULL);
}

static void run_signs(void *ctx)
{
    struct product *p = ctx;
    k->xnor.gemm(&p->x, NULL, NULL);
}

static void run_signs_packed(void *ctx)
{
    struct product *p = ctx;
    k->xnor.pack(&p->pack, NULL);
    k->xnor.gemm(&p->x, NULL, NULL);
}

static void run_bytes(void *ctx)
{
    struct product *p = ctx;
    k->gemm_s8.run(&p->s8, p->scratch, NULL);
}

static void bench_products(int64_t m, int64_t n, int64_t depth)
{
    double operations = 2.0 * (double)m * (double)n * (double)depth, dense = 0;
    double counts = info.processors * 16 * info.clock_ghz * 1e9 * 64;
    char what[100];
    struct mc_err err;
    struct product p = {0};
    const float *a = floats(m * depth), *b = floats(depth * n);
    float *c = memory((size_t)(m * n) * sizeof(float));
    uint8_t *bits = memory((size_t)((m + n) * MC_XNOR_BYTES(depth)));
    void *packed = memory(k->xnor.pack_b_bytes(depth, n) + k->gemm_s8.pack_b_bytes(depth, n));
    p.f = (struct mc_gemm){.m = m,
                           .n = n,
                           .k = depth,
                           .a = a,
                           .a_row = depth,
                           .a_col = 1,
                           .b = b,
                           .b_row = 1,
                           .b_col = depth,
                           .c = c,
                           .c_row = n,
                           .alpha = 1};
    p.scratch = memory(k->gemm.scratch_bytes ? k->gemm.scratch_bytes(m, n, depth, 1) : 1);
    dense = timing(run_float, &p);
    snprintf(what, sizeof what, "gemm float32 %lldx%lldx%lld", (long long)m, (long long)n,
             (long long)depth);
    line(what, dense, operations, 0, 0);

    k->xnor.pack_b(depth, n, bits, packed, NULL);
    p.pack = (struct mc_xnor_pack){.rows = m,
                                   .cols = depth,
                                   .x = a,
                                   .x_row = depth,
                                   .threshold = b,
                                   .bits = bits,
                                   .bits_row = MC_XNOR_BYTES(depth)};
    p.x = (struct mc_xnor_gemm){.m = m,
                                .n = n,
                                .k = depth,
                                .a = bits,
                                .a_row = MC_XNOR_BYTES(depth),
                                .packed_b = packed,
                                .y = c,
                                .y_row = n};
    line("  signs", timing(run_signs, &p), operations, counts, dense);
    line("  signs, of floats", timing(run_signs_packed, &p), operations, counts, dense);

    struct mc_s8_side side = {b, true, 1, depth};
    k->gemm_s8.pack_b(depth, n, &side, packed, NULL);
    p.s8 = (struct mc_gemm_s8){.m = m,
                               .n = n,
                               .k = depth,
                               .a = {a, true, depth, 1},
                               .packed_b = packed,
                               .b_signed = true,
                               .c = c,
                               .c_row = n};
    line("  int8", timing(run_bytes, &p), operations, counts / 2, dense);
    if (mc_gpu_wait(gpu, &err))
        stop(&err);
    mc_gpu_free(gpu, (void *)(uintptr_t)a);
    mc_gpu_free(gpu, (void *)(uintptr_t)b);
    mc_gpu_free(gpu, c);
    mc_gpu_free(gpu, bits);
    mc_gpu_free(gpu, packed);
    mc_gpu_free(gpu, p.scratch);
}

/* ---- circulant blocks ---- */

struct circulant {
    struct mc_circulant_product m;
    struct mc_circulant_gradient g;
    void *scratch;
};

static void run_circulant(void *ctx)
{
    struct circulant *t = ctx;
    k->circulant.run(&t->m, t->scratch, NULL);
}

static void run_gradient(void *ctx)
{
    struct circulant *t = ctx;
    k->circulant.gradient(&t->g, t->scratch, NULL);
}

static void bench_circulant(int64_t n, int64_t rows, int64_t block)
{
    static const char *const ways[] = {"dense", "dft", "fft"};
    struct mc_circulant c = {n / block, n / block, block, false};
    double operations = 2.0 * (double)rows * (double)n * (double)n, dense = 0;
    const float *x = floats(rows * n), *col = floats(n * n / block);
    float *y = memory((size_t)(rows * n) * sizeof(float));
    printf("circulant %lld, blocks of %lld, %lld rows; takes %s, gradient %s\n", (long long)n,
           (long long)block, (long long)rows, ways[k->circulant.choose(&c, rows)],
           ways[k->circulant.choose_gradient(&c, rows)]);
    for (enum mc_circulant_way way = MC_CIRCULANT_DENSE; way <= MC_CIRCULANT_FFT; way++) {
        struct circulant t = {.m = {c, way, rows, x, n, NULL, y, n, {0}}};
        char what[60];
        if (way == MC_CIRCULANT_DFT && block > MC_CIRCULANT_DFT_MOST)
            continue;
        void *packed = memory(k->circulant.pack_bytes(&c, way));
        size_t bytes = k->circulant.scratch_bytes(&c, way, rows, 1);
        size_t more = k->circulant.gradient_scratch_bytes(&c, way, rows, 1);
        t.scratch = memory((bytes > more ? bytes : more) + 1);
        k->circulant.pack(&c, way, col, packed, NULL);
        t.m.packed = packed;
        double took = timing(run_circulant, &t);
        dense = way == MC_CIRCULANT_DENSE ? took : dense;
        snprintf(what, sizeof what, "  %s (operations of the dense one)", ways[way]);
        line(what, took, operations, 0, dense);
        float *dcol = memory((size_t)(n * n / block) * sizeof(float));
        t.g = (struct mc_circulant_gradient){c, way, rows, y, n, x, n, dcol};
        line("    its gradient", timing(run_gradient, &t), operations, 0, 0);
        mc_gpu_free(gpu, packed);
        mc_gpu_free(gpu, t.scratch);
        mc_gpu_free(gpu, dcol);
    }
    mc_gpu_free(gpu, (void *)(uintptr_t)x);
    mc_gpu_free(gpu, (void *)(uintptr_t)col);
    mc_gpu_free(gpu, y);
}

/* ---- convolutions ---- */

struct convolution {
    struct mc_conv f;
    struct mc_xnor_conv x;
    struct mc_conv_s8 s8;
    void *scratch;
};

static void run_conv(void *ctx)
{
    struct convolution *t = ctx;
    k->conv.run(&t->f, t->scratch, NULL);
}

static void run_conv_signs(void *ctx)
{
    struct convolution *t = ctx;
    k->xnor.conv(&t->x, NULL, NULL);
}

static void run_conv_bytes(void *ctx)
{
    struct convolution *t = ctx;
    k->conv_s8.run(&t->s8, NULL, NULL);
}

/* n, channels, filters, size, kernel, stride */
static void bench_conv(const int *s)
{
    int64_t n = s[0], c = s[1], oc = s[2], size = s[3], kernel = s[4], pad = kernel / 2;
    int64_t out = (size - 1) / s[5] + 1, taps = kernel * kernel;
    double operations = 2.0 * (double)(n * oc * out * out) * (double)(c * taps), dense;
    double counts = info.processors * 16 * info.clock_ghz * 1e9 * 64;
    const float *x = floats(n * c * size * size), *w = floats(oc * c * taps);
    float *y = memory((size_t)(n * oc * out * out) * sizeof(float));
    char what[100];
    struct convolution t = {.f = {.n = n,
                                  .c = c,
                                  .oc = oc,
                                  .group = 1,
                                  .in = {1, size, size},
                                  .out = {1, out, out},
                                  .kernel = {1, kernel, kernel},
                                  .stride = {1, s[5], s[5]},
                                  .dilation = {1, 1, 1},
                                  .pad = {0, pad, pad},
                                  .x = x,
                                  .w = w,
                                  .y = y},
                            .x = {.n = n,
                                  .channels = c,
                                  .filters = oc,
                                  .in = {size, size},
                                  .out = {out, out},
                                  .kernel = {kernel, kernel},
                                  .stride = {s[5], s[5]},
                                  .dilation = {1, 1},
                                  .pad = {pad, pad},
                                  .x = (const uint32_t *)(const void *)x,
                                  .y = y},
                            .s8 = {.n = n,
                                   .c = c,
                                   .oc = oc,
                                   .group = 1,
                                   .in = {1, size, size},
                                   .out = {1, out, out},
                                   .kernel = {1, kernel, kernel},
                                   .stride = {1, s[5], s[5]},
                                   .dilation = {1, 1, 1},
                                   .pad = {0, pad, pad},
                                   .x_layout = MC_S8_NHWC,
                                   .y_layout = MC_S8_NHWC,
                                   .x = x,
                                   .x_signed = true,
                                   .w_signed = true,
                                   .y = y}};
    t.scratch = memory(k->conv.scratch_bytes ? k->conv.scratch_bytes(&t.f, 1) : 1);
    void *words = memory(k->xnor.pack_w_bytes(&t.x) + 1);
    void *bytes = memory(k->conv_s8.pack_w_bytes(&t.s8) + 1);
    k->xnor.pack_w(&t.x, (const uint8_t *)w, words, NULL);
    k->conv_s8.pack_w(&t.s8, w, bytes, NULL);
    t.x.packed_w = words;
    t.s8.packed_w = bytes;
    snprintf(what, sizeof what, "conv float32 %dx%d>%d %dx%d %dx%d/%d", s[0], s[1], s[2], s[3],
             s[3], s[4], s[4], s[5]);
    dense = timing(run_conv, &t);
    line(what, dense, operations, 0, 0);
    line("  signs", timing(run_conv_signs, &t), operations, counts, dense);
    line("  int8", timing(run_conv_bytes, &t), operations, counts / 2, dense);
    mc_gpu_free(gpu, (void *)(uintptr_t)x);
    mc_gpu_free(gpu, (void *)(uintptr_t)w);
    mc_gpu_free(gpu, y);
    mc_gpu_free(gpu, words);
    mc_gpu_free(gpu, bytes);
    mc_gpu_free(gpu, t.scratch);
}

static void bench(void)
{
    static const int products[][3] = {{128, 128, 784},    {128, 4096, 4096},  {1024, 1024, 1024},
                                      {4096, 4096, 4096}, {8192, 8192, 8192}, {1, 4096, 4096}};
    static const int circulants[][3] = {{1024, 128, 64},   {1024, 128, 1024}, {4096, 128, 64},
                                        {4096, 128, 512},  {4096, 128, 4096}, {4096, 4096, 64},
                                        {4096, 4096, 4096}};
    static const int convs[][6] = {{128, 1, 16, 28, 3, 1},   {128, 16, 32, 14, 3, 1},
                                   {128, 64, 64, 56, 3, 1},  {128, 256, 256, 14, 3, 1},
                                   {128, 256, 64, 56, 1, 1}, {1, 512, 512, 7, 3, 1}};
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        bench_products(products[i][0], products[i][1], products[i][2]);
    for (size_t i = 0; i < sizeof circulants / sizeof *circulants; i++)
        bench_circulant(circulants[i][0], circulants[i][1], circulants[i][2]);
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++)
        bench_conv(convs[i]);
}

int main(int argc, char **argv)
{
    struct mc_err err;
    const char *device = argc > 1 ? argv[1] : "cuda";
    if (mc_gpu_count(&err) == 0) {
        printf("SKIP: %s\n", err.msg);
        return 77;
    }
    if (mc_gpu_open(device, NULL, &gpu, &err) || mc_gpu_describe(mc_gpu_number(gpu), &info, &err))
        stop(&err);
    (void)mc_gpu_enter(gpu);
    k = mc_gpu_kernels(gpu);
    printf("%s, %d multiprocessors at %.2f GHz, %s; the limit of signs is 16 counts of 32 bits a "
           "clock "
           "and multiprocessor, of int8 64 dp4a\n",
           info.name, info.processors, info.clock_ghz, mc_gpu_precision(gpu));
    bench();
    mc_gpu_close(gpu);
    return 0;
}
