/* bench_rsvd_gpu [SIDE [RANK [DEVICE]]]: a randomised decomposition of a SIDE x SIDE matrix [8192] to rank RANK [256], by the
 * GPU [cuda] and by one core of the CPU: seconds by the clock on the wall, transfers included, and the error beside the least
 * that any matrix of that rank has. The singular values are i^-1/2, exactly: the matrix is made of them by reflections.
 * Exit: 1 where an error is more than 2 % above the least; 77 without a GPU. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/gpu.h"
#include "kernels/linalg.h"

enum { REFLECTIONS = 3, POWER = 2 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(int rc, const struct mc_err *err)
{
    if (!rc)
        return;
    printf("FAILED: %s\n", err->msg);
    exit(1);
}

static float *floats(int64_t rows, int64_t columns)
{
    float *p = mc_alloc_aligned((size_t)(rows * columns) * sizeof *p);
    if (!p) {
        printf("FAILED: no memory for %lld x %lld\n", (long long)rows, (long long)columns);
        exit(1);
    }
    return p;
}

/* A (I - 2 v vᵀ / vᵀv) for rows, then the same from the left: singular values stay. */
static void reflect(float *a, int64_t n, uint64_t stream)
{
    float *v = floats(1, n);
    double *along = calloc((size_t)n, sizeof *along), square = 0;
    if (!along)
        exit(1);
    mc_rng_fill_normal(7, stream, 0, v, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        square += (double)v[i] * v[i];
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++)
            sum += (double)a[i * n + j] * v[j];
        for (int64_t j = 0; j < n; j++)
            a[i * n + j] -= (float)(2 * sum / square * v[j]);
    }
    mc_rng_fill_normal(7, stream + 100, 0, v, (size_t)n);
    square = 0;
    for (int64_t i = 0; i < n; i++)
        square += (double)v[i] * v[i];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            along[j] += (double)v[i] * a[i * n + j];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            a[i * n + j] -= (float)(2 * v[i] / square * along[j]);
    free(v);
    free(along);
}

/* ‖A - U diag(s) Vt‖, U is changed. */
static double distance(struct mc_linalg *la, int64_t n, int64_t k, const float *a, float *u,
                       const float *s, const float *vt)
{
    struct mc_err err;
    float *rest = floats(n, n);
    double sum = 0;
    memcpy(rest, a, (size_t)(n * n) * sizeof *a);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < k; j++)
            u[i * k + j] *= s[j];
    check(mc_linalg_gemm(la, 'n', 'n', n, n, k, -1, u, k, vt, n, 1, rest, n, &err), &err);
    for (int64_t i = 0; i < n * n; i++)
        sum += (double)rest[i] * rest[i];
    free(rest);
    return sqrt(sum);
}

/* Seconds; *ret_over: error / least. */
static double decompose(struct mc_linalg *la, int64_t n, int64_t k, const float *a, double least,
                        double *ret_over)
{
    struct mc_err err;
    float *u = floats(n, k), *vt = floats(k, n), *s = floats(1, k);
    double start = now();
    check(mc_linalg_rsvd(la, n, n, k, POWER, 5, a, n, u, k, s, vt, n, &err), &err);
    double seconds = now() - start;
    *ret_over = distance(la, n, k, a, u, s, vt) / least;
    free(u);
    free(vt);
    free(s);
    return seconds;
}

int main(int argc, char **argv)
{
    int64_t n = argc > 1 ? atol(argv[1]) : 8192, k = argc > 2 ? atol(argv[2]) : 256;
    struct mc_gpu *gpu;
    struct mc_linalg *cpu, *both;
    struct mc_err err;
    double least = 0, over[3];
    if (mc_gpu_count(&err) == 0) {
        printf("SKIP: %s\n", err.msg);
        return 77;
    }
    check(mc_gpu_open(argc > 3 ? argv[3] : "cuda", NULL, &gpu, &err), &err);
    check(mc_linalg_new("cpu", &cpu, &err), &err);
    check(mc_linalg_new_on(gpu, &both, &err), &err);
    float *a = floats(n, n);
    memset(a, 0, (size_t)(n * n) * sizeof *a);
    for (int64_t i = 0; i < n; i++) {
        a[i * n + i] = (float)(1 / sqrt((double)i + 1));
        least += i < k ? 0 : 1 / ((double)i + 1);
    }
    least = sqrt(least);
    for (int i = 0; i < REFLECTIONS; i++)
        reflect(a, n, (uint64_t)i);
    double first = decompose(both, n, k, a, least, &over[0]); /* opens libraries */
    double gpu_s = decompose(both, n, k, a, least, &over[1]);
    double cpu_s = decompose(cpu, n, k, a, least, &over[2]);
    printf("%lld x %lld, rank %lld, %d power iterations; %s\n", (long long)n, (long long)n,
           (long long)k, POWER, mc_gpu_name(gpu));
    printf("GPU       %8.3f s (%.3f s the first time), error %.5f of the least\n", gpu_s, first,
           over[1]);
    printf("one core  %8.3f s, error %.5f of the least\n", cpu_s, over[2]);
    printf("%.1f times faster\n", cpu_s / gpu_s);
    mc_linalg_free(both);
    mc_linalg_free(cpu);
    mc_gpu_close(gpu);
    free(a);
    return over[0] <= 1.02 && over[1] <= 1.02 && over[2] <= 1.02 ? 0 : 1;
}
