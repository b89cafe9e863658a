#include "kernels/cpu/tile.h"

#include <stdbool.h>

static inline vf load_part(const float *p, int n)
{
    return n >= LANES ? vf_load(p) : vf_load_mask(p, vm_first(n));
}

static inline void store_part(float *p, vf v, int n)
{
    if (n >= LANES)
        vf_store(p, v);
    else
        vf_store_mask(p, v, vm_first(n));
}

/* Rows of a panel fetched before they are used: 4 KiB. Products of few rows, which B's way from memory
 * decides, gain most: 8x4096x4096 went from 11.2 to 8.8 ms, 64x512x784 from 0.42 to 0.33 ms (AVX-512). */
enum { AHEAD = 32 };

/* rows and vectors are constants where this is inlined, so that sum lives in registers. */
static inline __attribute__((always_inline)) void product(const struct mc_tile_in *in, int rows,
                                                          int vectors, bool packed, vf sum[])
{
    const float *a = in->a, *b = in->b;
    int64_t a_row = packed ? 1 : in->a_row, a_col = packed ? in->a_col : 1, step = in->panel_step;
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        sum[i] = (vf){0};
    for (int64_t p = in->k; p > 0; p--, a += a_col, b += PANEL) {
        vf bv[8];
#pragma GCC unroll 24
        for (int v = 0; v < vectors; v++) {
            const float *from = b + v / 2 * step + v % 2 * LANES;
            bv[v] = vf_load(from);
            __builtin_prefetch(from + AHEAD * PANEL);
        }
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++) {
            vf av = vf_set1(a[i * a_row]);
#pragma GCC unroll 24
            for (int v = 0; v < vectors; v++)
                sum[i * vectors + v] = vf_fma(av, bv[v], sum[i * vectors + v]);
        }
    }
}

static inline __attribute__((always_inline)) void store(const struct mc_tile_store *s, int rows,
                                                        int vectors, int cols, const vf sum[])
{
    vf alpha = vf_set1(s->alpha), lo = vf_set1(s->lo), hi = vf_set1(s->hi);
#pragma GCC unroll 24
    for (int v = 0; v < vectors; v++) {
        int at = v * LANES, n = cols - at;
        if (n <= 0)
            break;
        vf bias = s->col_bias ? load_part(s->col_bias + at, n) : vf_set1(0);
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++) {
            vf y = sum[i * vectors + v] * alpha + bias;
            if (s->row_bias)
                y += vf_set1(s->row_bias[i]);
            if (s->prior)
                y += load_part(s->prior + i * s->c_row + at, n);
            store_part(s->c + i * s->c_row + at, vf_at_most(vf_at_least(y, lo), hi), n);
        }
    }
}

#define TILE(rows, vectors)                                                                        \
    static void tile_##rows##x##vectors(const struct mc_tile_in *in, int cols,                     \
                                        const struct mc_tile_store *s)                             \
    {                                                                                              \
        vf sum[rows * vectors];                                                                    \
        if (in->a_row == 1)                                                                        \
            product(in, rows, vectors, true, sum);                                                 \
        else                                                                                       \
            product(in, rows, vectors, false, sum);                                                \
        store(s, rows, vectors, cols, sum);                                                        \
    }

/* clang-format off */
TILE(1, 1) TILE(1, 2) TILE(1, 4) TILE(1, 8)
TILE(2, 1) TILE(2, 2) TILE(2, 4)
TILE(3, 1) TILE(3, 2)
TILE(4, 1) TILE(4, 2)
#if MC_LEVEL > 0
TILE(5, 1) TILE(5, 2)
TILE(6, 1) TILE(6, 2)
#endif
#if MC_LEVEL == 5
TILE(2, 8) TILE(3, 4) TILE(4, 4)
TILE(7, 1) TILE(7, 2)
TILE(8, 1) TILE(8, 2)
TILE(9, 1) TILE(9, 2)
TILE(10, 1) TILE(10, 2)
TILE(11, 1) TILE(11, 2)
TILE(12, 1) TILE(12, 2)
#endif
    /* clang-format on */

    typedef void tile_fn(const struct mc_tile_in *in, int cols, const struct mc_tile_store *s);

/* [rows - 1][log2 of vectors] */
static tile_fn *const tiles[TILE_ROWS][4] = {
#if MC_LEVEL == 5
    {tile_1x1, tile_1x2, tile_1x4, tile_1x8},
    {tile_2x1, tile_2x2, tile_2x4, tile_2x8},
    {tile_3x1, tile_3x2, tile_3x4},
    {tile_4x1, tile_4x2, tile_4x4},
    {tile_5x1, tile_5x2},
    {tile_6x1, tile_6x2},
    {tile_7x1, tile_7x2},
    {tile_8x1, tile_8x2},
    {tile_9x1, tile_9x2},
    {tile_10x1, tile_10x2},
    {tile_11x1, tile_11x2},
    {tile_12x1, tile_12x2},
#else
    {tile_1x1, tile_1x2, tile_1x4, tile_1x8},
    {tile_2x1, tile_2x2, tile_2x4},
    {tile_3x1, tile_3x2},
    {tile_4x1, tile_4x2},
#if MC_LEVEL == 2
    {tile_5x1, tile_5x2},
    {tile_6x1, tile_6x2},
#endif
#endif
};

void MC_CPU(mc_tile)(const struct mc_tile_in *in, int rows, int cols, const struct mc_tile_store *s)
{
    int shape = cols <= LANES ? 0 : cols <= 2 * LANES ? 1 : cols <= 4 * LANES ? 2 : 3;
    tiles[rows - 1][shape](in, cols, s);
}
