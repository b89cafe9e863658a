/* The inner loop of convolutions: as tile_cpu.c, but B's vectors lie where the offsets say. */
#include <stddef.h>

#include "kernels/cpu/conv_cpu.h"

/* rows and vectors are constants where this is inlined, so that sum lives in registers. */
static inline __attribute__((always_inline)) void product(const struct mc_direct *d, int rows,
                                                          int vectors, vf sum[])
{
    const float *a = d->a, *b[8];
    const int32_t *offset = d->offset;
    int64_t step = d->rows_packed;
#pragma GCC unroll 24
    for (int v = 0; v < vectors; v++)
        b[v] = d->b + d->cover[v].at;
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        sum[i] = (vf){0};
    for (int64_t p = 0; p < d->k; p++, a += step) {
        int64_t at = offset[p];
        vf bv[8];
#pragma GCC unroll 24
        for (int v = 0; v < vectors; v++)
            bv[v] = vf_load(b[v] + at);
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++) {
            vf av = vf_set1(a[i]);
#pragma GCC unroll 24
            for (int v = 0; v < vectors; v++)
                sum[i * vectors + v] = vf_fma(av, bv[v], sum[i * vectors + v]);
        }
    }
}

static inline __attribute__((always_inline)) void store(const struct mc_direct *d, int rows,
                                                        int vectors, vf sum[])
{
    vf lo = vf_set1(d->lo), hi = vf_set1(d->hi);
    if (d->scale) {
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++) {
            vf scale = vf_set1(d->scale[i]);
#pragma GCC unroll 24
            for (int v = 0; v < vectors; v++)
                sum[i * vectors + v] *= scale;
        }
    }
    if (d->bias) {
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++) {
            vf bias = vf_set1(d->bias[i]);
#pragma GCC unroll 24
            for (int v = 0; v < vectors; v++)
                sum[i * vectors + v] += bias;
        }
    }
#pragma GCC unroll 24
    for (int v = 0; v < vectors; v++) {
        const struct mc_piece *p = d->piece + d->cover[v].first, *end = p + d->cover[v].pieces;
        for (; p < end; p++) {
            float *y = d->y + p->y;
            const float *prior = d->prior ? d->prior + p->y : NULL;
#pragma GCC unroll 24
            for (int i = 0; i < rows; i++) {
                vf out = sum[i * vectors + v];
                if (prior)
                    out += vf_load_mask(prior + i * d->y_row, p->lanes);
                vf_store_mask(y + i * d->y_row, vf_at_most(vf_at_least(out, lo), hi), p->lanes);
            }
        }
    }
}

#define DIRECT(rows, vectors)                                                                      \
    static void direct_##rows##x##vectors(const struct mc_direct *d)                               \
    {                                                                                              \
        vf sum[rows * vectors];                                                                    \
        product(d, rows, vectors, sum);                                                            \
        store(d, rows, vectors, sum);                                                              \
    }

/* clang-format off */
DIRECT(1, 1) DIRECT(1, 2) DIRECT(1, 4) DIRECT(1, 8)
DIRECT(2, 1) DIRECT(2, 2) DIRECT(2, 4)
DIRECT(3, 1) DIRECT(3, 2)
DIRECT(4, 1) DIRECT(4, 2)
#if MC_LEVEL > 0
DIRECT(5, 1) DIRECT(5, 2)
DIRECT(6, 1) DIRECT(6, 2)
#endif
#if MC_LEVEL == 5
DIRECT(2, 8) DIRECT(3, 4) DIRECT(4, 4)
DIRECT(7, 1) DIRECT(7, 2)
DIRECT(8, 1) DIRECT(8, 2)
DIRECT(9, 1) DIRECT(9, 2)
DIRECT(10, 1) DIRECT(10, 2)
DIRECT(11, 1) DIRECT(11, 2)
DIRECT(12, 1) DIRECT(12, 2)
#endif
    /* clang-format on */

    typedef void direct_fn(const struct mc_direct *d);

/* [rows - 1][log2 of vectors] */
static direct_fn *const tiles[TILE_ROWS][4] = {
    {direct_1x1, direct_1x2, direct_1x4, direct_1x8},
#if MC_LEVEL == 5
    {direct_2x1, direct_2x2, direct_2x4, direct_2x8},
    {direct_3x1, direct_3x2, direct_3x4},
    {direct_4x1, direct_4x2, direct_4x4},
#else
    {direct_2x1, direct_2x2, direct_2x4},
    {direct_3x1, direct_3x2},
    {direct_4x1, direct_4x2},
#endif
#if MC_LEVEL > 0
    {direct_5x1, direct_5x2},
    {direct_6x1, direct_6x2},
#endif
#if MC_LEVEL == 5
    {direct_7x1, direct_7x2},
    {direct_8x1, direct_8x2},
    {direct_9x1, direct_9x2},
    {direct_10x1, direct_10x2},
    {direct_11x1, direct_11x2},
    {direct_12x1, direct_12x2},
#endif
};

void MC_CPU(mc_direct_tile)(const struct mc_direct *d, int rows, int vectors)
{
    int shape = vectors == 8 ? 3 : vectors == 4 ? 2 : vectors - 1;
    tiles[rows - 1][shape](d);
}
