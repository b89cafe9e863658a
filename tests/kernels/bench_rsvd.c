/* Randomised against exact SVD on 256 decaying directions in noise: the speed and the truncation error
 * that justify the randomised path. Fails when it is not 8 times faster or more than 2 % off the optimum. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/linalg.h"

enum { N = 2048, RANK = 128, DIRECTIONS = 256 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *floats(size_t n)
{
    float *p = mc_alloc_aligned(n * sizeof *p);
    if (!p)
        exit(1);
    return p;
}

static double norm2(const float *a, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += (double)a[i] * a[i];
    return s;
}

int main(void)
{
    const size_t all = (size_t)N * N, thin = (size_t)N * DIRECTIONS;
    struct mc_linalg *la;
    if (mc_linalg_new("cpu", &la, NULL))
        return 1;
    float *a = floats(all), *work = floats(all), *u = floats(all), *vt = floats(all), s[N];
    mc_rng_fill_normal(1, 0, 0, u, thin);
    mc_rng_fill_normal(1, 1, 0, vt, thin);
    mc_rng_fill_normal(1, 2, 0, a, all);
    for (size_t i = 0; i < thin; i++)
        u[i] *= powf(0.975f, (float)(i % DIRECTIONS));
    int rc = mc_linalg_gemm(la, 'n', 't', N, N, DIRECTIONS, 1, u, DIRECTIONS, vt, DIRECTIONS, 0.02f,
                            a, N, NULL);

    memcpy(work, a, all * sizeof *a);
    double t0 = now();
    rc = rc ? rc : mc_linalg_svd(la, N, N, work, N, u, N, s, vt, N, NULL);
    double exact = now() - t0, total = norm2(s, N), best = sqrt(norm2(s + RANK, N - RANK) / total);

    double fast = INFINITY;
    for (int i = 0; i < 3 && !rc; i++) {
        t0 = now();
        rc = mc_linalg_rsvd(la, N, N, RANK, 2, 5, a, N, u, RANK, s, vt, N, NULL);
        fast = fmin(fast, now() - t0);
    }
    for (size_t i = 0; i < (size_t)N * RANK; i++)
        u[i] *= s[i % RANK];
    rc = rc ? rc : mc_linalg_gemm(la, 'n', 'n', N, N, RANK, -1, u, RANK, vt, N, 1, a, N, NULL);
    if (rc)
        return 1;
    double error = sqrt(norm2(a, all) / total);
    printf("%d x %d, rank %d: exact %.3f s, randomised %.3f s, %.1f times faster (at least 8)\n", N,
           N, RANK, exact, fast, exact / fast);
    printf("relative error: optimum %.5f, randomised %.5f, %+.2f %% (at most 2 %%)\n", best, error,
           100 * (error / best - 1));
    free(a);
    free(work);
    free(u);
    free(vt);
    mc_linalg_free(la);
    return exact >= 8 * fast && error <= 1.02 * best ? 0 : 1;
}
