/* The gradient of circulant columns by fast transforms. Two rows make one row of complex numbers: of dy times the conjugate of
 * x, transformed back, the real part is the sum of what each of the two gives. */
#include <string.h>

#include "kernels/cpu/circulant_cpu.h"
#include "kernels/cpu/complex_cpu.h"
#include "kernels/fourier.h"

enum { TILE_FLOATS = 1 << 17, LEAST_PAIRS = 8, MOST_PAIRS = 64 };

struct grad_job {
    const struct mc_circulant_gradient *g;
    const struct mc_fourier *plan;
    int64_t p, q, b, vectors, step;
    int64_t tile, first, pairs; /* pairs of rows: at a time, before this tile, in it */
    int64_t each;               /* floats of work per worker */
    float *x, *y, *d, *work;    /* spectra [pair][block][step], sums [vector][p][q][LANES] */
};

static int64_t lay(struct grad_job *j, const struct mc_circulant *c, int64_t rows, int threads,
                   float *scratch)
{
    j->p = c->p;
    j->q = c->q;
    j->b = c->b;
    j->vectors = ceil_div(2 * j->b, LANES);
    j->step = mc_fourier_step(j->b);
    int64_t fit = TILE_FLOATS / ((j->p + j->q) * j->step);
    j->tile = min64(ceil_div(max64(1, rows), 2), min64(MOST_PAIRS, max64(LEAST_PAIRS, fit)));
    int64_t x = j->q * j->tile * j->step, y = j->p * j->tile * j->step;
    int64_t d = circulant_line(j->vectors * j->p * j->q * LANES);
    j->each = j->step * max64(2, max64(j->p, j->q));
    if (scratch) {
        j->x = scratch;
        j->y = j->x + x;
        j->d = j->y + y;
        j->work = j->d + d;
    }
    return x + y + d + j->each * threads;
}

size_t MC_CPU(mc_circulant_fft_gradient_scratch)(const struct mc_circulant *c, int64_t rows,
                                                 int threads)
{
    struct grad_job j;
    return (size_t)lay(&j, c, rows, threads, NULL) * sizeof(float);
}

/* A pair of rows of x, or of dy. */
static void transform(void *ctx, int64_t chunk, int worker)
{
    const struct grad_job *j = ctx;
    const struct mc_circulant_gradient *g = j->g;
    bool is_x = chunk % 2 == 0;
    int64_t pair = chunk / 2, row = 2 * (j->first + pair), blocks = is_x ? j->q : j->p;
    int64_t ld = is_x ? g->ldx : g->lddy;
    const float *a = (const float *)(is_x ? g->x : g->dy) + row * ld;
    const float *b = row + 1 < g->rows ? a + ld : NULL;
    float *z = j->work + worker * j->each;
    for (int64_t i = 0; i < blocks; i++)
        complex_join(j->b, a + i * j->b, b ? b + i * j->b : NULL, z + i * j->step);
    mc_fourier_forward_all(j->plan, blocks, z, (is_x ? j->x : j->y) + pair * blocks * j->step);
}

static inline __attribute__((always_inline)) void sums(const struct grad_job *j, const float *y,
                                                       const float *x, float *d, int rows, int cols)
{
    vf sum[4];
    int64_t x_row = j->q * j->step, y_row = j->p * j->step;
#pragma GCC unroll 4
    for (int s = 0; s < rows * cols; s++)
        sum[s] = j->first ? vf_load(d + (s / cols * j->q + s % cols) * LANES) : vf_set1(0);
    for (int64_t r = 0; r < j->pairs; r++, x += x_row, y += y_row) {
        vf a[2], swapped[2];
#pragma GCC unroll 2
        for (int i = 0; i < rows; i++) {
            a[i] = vf_load(y + i * j->step);
            swapped[i] = complex_swap(a[i]);
        }
#pragma GCC unroll 2
        for (int c = 0; c < cols; c++) {
            vf v = vf_load(x + c * j->step), re = complex_real(v), im = -complex_turn(v);
#pragma GCC unroll 2
            for (int i = 0; i < rows; i++) {
                sum[i * cols + c] = vf_fma(re, a[i], sum[i * cols + c]);
                sum[i * cols + c] = vf_fma(im, swapped[i], sum[i * cols + c]);
            }
        }
    }
#pragma GCC unroll 4
    for (int s = 0; s < rows * cols; s++)
        vf_store(d + (s / cols * j->q + s % cols) * LANES, sum[s]);
}

/* One vector of frequencies. */
static void sum(void *ctx, int64_t v, int worker)
{
    (void)worker;
    const struct grad_job *j = ctx;
    float *d = j->d + v * j->p * j->q * LANES;
    for (int64_t i = 0; i < j->p; i += 2) {
        for (int64_t c = 0; c < j->q; c += 2) {
            const float *y = j->y + i * j->step + v * LANES, *x = j->x + c * j->step + v * LANES;
            float *to = d + (i * j->q + c) * LANES;
            bool tall = i + 1 < j->p, wide = c + 1 < j->q;
            if (tall && wide)
                sums(j, y, x, to, 2, 2);
            else if (tall)
                sums(j, y, x, to, 2, 1);
            else if (wide)
                sums(j, y, x, to, 1, 2);
            else
                sums(j, y, x, to, 1, 1);
        }
    }
}

static void back(void *ctx, int64_t block, int worker)
{
    const struct grad_job *j = ctx;
    float *z = j->work + worker * j->each, *t = z + j->step;
    float *dcol = (float *)j->g->dcol + block * j->b, scale = 1 / (float)j->b;
    for (int64_t v = 0; v < j->vectors; v++)
        vf_store(z + v * LANES, vf_load(j->d + (v * j->p * j->q + block) * LANES));
    mc_fourier_inverse(j->plan, z, t);
    for (int64_t k = 0; k < j->b; k++)
        dcol[k] = scale * t[2 * k];
}

void MC_CPU(mc_circulant_fft_gradient)(const struct mc_circulant_gradient *g, float *scratch,
                                       struct mc_pool *pool)
{
    struct grad_job j = {.g = g, .plan = mc_fourier_get(g->c.b)};
    int64_t all = ceil_div(g->rows, 2);
    lay(&j, &g->c, g->rows, mc_pool_threads(pool), scratch);
    for (; j.first < all; j.first += j.tile) {
        j.pairs = min64(j.tile, all - j.first);
        mc_pool_run(pool, 2 * j.pairs, transform, &j);
        mc_pool_run(pool, j.vectors, sum, &j);
    }
    mc_pool_run(pool, j.p * j.q, back, &j);
}
