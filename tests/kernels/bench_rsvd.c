/* bench_rsvd [SIDE]: exact and randomised SVD side by side, CPU seconds on one thread, up to matrices of SIDE [1024]:
 * where the randomised one is faster, and how far its singular values are off. Kinds: noise, whose singular values lie
 * close together, is the worst; values like i^-1/2 as those of trained weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/linalg.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *floats(size_t n)
{
    float *p = mc_alloc_aligned(n * sizeof *p);
    if (!p)
        exit(1);
    return p;
}

static void check(int rc)
{
    if (rc)
        exit(1);
}

/* Noise; then with its singular values replaced. u, s, vt, work: scratch, the decomposition of what is in a. */
static void fill(struct mc_linalg *la, int64_t m, int64_t n, bool noise, float *a, float *u,
                 float *s, float *vt, float *work)
{
    mc_rng_fill_normal(1, 2, 0, a, (size_t)(m * n));
    if (noise)
        return;
    memcpy(work, a, (size_t)(m * n) * sizeof *a);
    check(mc_linalg_svd(la, m, n, work, n, u, n, s, vt, n, NULL));
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            u[i * n + j] *= 1 / sqrtf((float)j + 1);
    check(mc_linalg_gemm(la, 'n', 'n', m, n, n, 1, u, n, vt, n, 0, a, n, NULL));
}

static void compare(struct mc_linalg *la, int64_t m, int64_t n, bool noise)
{
    size_t all = (size_t)(m * n);
    float *a = floats(all), *work = floats(all), *u = floats(all), *vt = floats((size_t)(n * n));
    float *exact = floats((size_t)n), *s = floats((size_t)n);
    fill(la, m, n, noise, a, u, exact, vt, work);
    memcpy(work, a, all * sizeof *a);
    double t0 = now();
    check(mc_linalg_svd(la, m, n, work, n, u, n, exact, vt, n, NULL));
    double slow = now() - t0;
    printf("| %s | %lld x %lld | %.2f |", noise ? "noise" : "i^-1/2", (long long)m, (long long)n,
           slow);
    for (int64_t part = 32; part >= 2; part /= 2) {
        double off, most = 0;
        int64_t k = n / part;
        t0 = now();
        check(mc_linalg_rsvd_to(la, m, n, k, 0.01, 16, 5, a, n, u, k, s, vt, n, &off, NULL));
        double fast = now() - t0;
        for (int64_t i = 0; i < k; i++)
            most = fmax(most, fabs((double)s[i] / exact[i] - 1));
        printf(" %.2f (%.2f %%, told %.2f) |", slow / fast, 100 * most, 100 * off);
        fflush(stdout);
    }
    printf("\n");
    free(a);
    free(work);
    free(u);
    free(vt);
    free(exact);
    free(s);
}

int main(int argc, char **argv)
{
    int64_t side = argc > 1 ? atol(argv[1]) : 1024;
    struct mc_linalg *la;
    check(mc_linalg_new("cpu", &la, NULL));
    printf("OpenBLAS kernels: %s\n\n", mc_linalg_core());
    printf("| values | matrix | exact, s | rank n/32: times faster (off, told) | n/16 | n/8 | n/4 "
           "| n/2 |\n");
    printf("|---|---|---|---|---|---|---|---|\n");
    for (int64_t n = 256; n <= side; n *= 2)
        for (int kind = 0; kind < 4; kind++)
            compare(la, kind % 2 ? 4 * n : n, n, kind < 2);
    mc_linalg_free(la);
    return 0;
}
