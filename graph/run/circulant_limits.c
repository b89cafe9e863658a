#include <math.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/mem.h"
#include "graph/run/device.h"
#include "kernels/kernels.h"
#include "kernels/linalg.h"

enum { ROUNDS = 5 };
static const double LEAST = 2e-3; /* seconds of a round: short products are repeated */

static const enum mc_circulant_way ways[MC_CIRCULANT_WAYS] = {MC_CIRCULANT_DENSE, MC_CIRCULANT_DFT,
                                                              MC_CIRCULANT_FFT};
const char *const mc_circulant_ways[MC_CIRCULANT_WAYS] = {"dense", "dft", "fft"};

/* Buffers of the largest product. */
struct buffers {
    const struct mc_kernels *k;
    struct mc_linalg *la;
    int64_t n, rows;
    float *x, *y, *w;
};

struct timed {
    const struct buffers *b;
    struct mc_circulant_product m; /* its c.b 0: the dense product by OpenBLAS */
    void *scratch;
};

static int once(const struct timed *t, struct mc_err *err)
{
    const struct buffers *b = t->b;
    if (t->m.c.b) {
        b->k->circulant.run(&t->m, t->scratch, NULL);
        return 0;
    }
    return mc_linalg_gemm(b->la, 'n', 't', b->rows, b->n, b->n, 1, b->x, b->n, b->w, b->n, 0, b->y,
                          b->n, err);
}

/* The best of several rounds: other work on the CPU comes and goes. */
static int time_one(const struct timed *t, double *ret, struct mc_err *err)
{
    int rc = once(t, err);
    *ret = INFINITY;
    for (int r = 0; !rc && r < ROUNDS; r++) {
        double start = mc_now(), now = start;
        int calls = 0;
        for (; !rc && now - start < LEAST; calls++, now = mc_now())
            rc = once(t, err);
        *ret = fmin(*ret, (now - start) / calls);
    }
    return rc;
}

static int time_way(const struct buffers *b, struct mc_circulant c, enum mc_circulant_way way,
                    double *ret, struct mc_err *err)
{
    const struct mc_circulant_kernels *k = &b->k->circulant;
    void *packed = mc_alloc_aligned(k->pack_bytes(&c, way));
    void *scratch = mc_alloc_aligned(k->scratch_bytes(&c, way, b->rows, 1));
    int rc = packed && scratch ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc) {
        struct timed t = {.b = b, .scratch = scratch};
        t.m = (struct mc_circulant_product){.c = c,
                                            .way = way,
                                            .rows = b->rows,
                                            .x = b->x,
                                            .ldx = b->n,
                                            .packed = packed,
                                            .y = b->y,
                                            .ldy = b->n};
        k->pack(&c, way, b->w, packed, NULL);
        rc = time_one(&t, ret, err);
    }
    free(packed);
    free(scratch);
    return rc;
}

static float *numbers(int64_t n)
{
    float *x = mc_alloc_aligned((size_t)n * sizeof *x);
    for (int64_t i = 0; x && i < n; i++)
        x[i] = (float)(i * 7 % 13 - 6) / 8;
    return x;
}

int mc_circulant_limits_measure(int64_t n, int64_t rows, struct mc_circulant_limits *ret,
                                struct mc_err *err)
{
    struct buffers b = {mc_kernels_get(NULL, 4), NULL,          n, rows, numbers(rows * n),
                        numbers(rows * n),       numbers(n * n)};
    *ret = (struct mc_circulant_limits){.n = n, .rows = rows};
    int rc = b.x && b.y && b.w ? mc_linalg_new("cpu", &b.la, err)
                               : mc_fail(err, MC_ENOMEM, "out of memory");
    struct timed sgemm = {.b = &b};
    if (!rc)
        rc = time_one(&sgemm, &ret->sgemm, err);
    for (int64_t block = 2; !rc && block <= n && n % block == 0; block *= 2) {
        struct mc_circulant_limit *l = &ret->blocks[ret->n_blocks++];
        struct mc_circulant c = {n / block, n / block, block, false};
        l->block = block;
        l->taken = b.k->circulant.choose(&c, rows);
        for (int w = 0; !rc && w < MC_CIRCULANT_WAYS; w++) {
            l->seconds[w] = NAN;
            if (ways[w] != MC_CIRCULANT_DFT || block <= MC_CIRCULANT_DFT_MOST)
                rc = time_way(&b, c, ways[w], &l->seconds[w], err);
        }
    }
    mc_linalg_free(b.la);
    free(b.x);
    free(b.y);
    free(b.w);
    return rc;
}
