/* The inner loop of the weights' gradient: a tile of it is summed over positions in registers. */
#include "kernels/cpu/conv_dw_cpu.h"

/* rows and vectors are constants where this is inlined. */
static inline __attribute__((always_inline)) void outer(const struct mc_outer *o, int rows,
                                                        int vectors)
{
    const float *a[OUTER_ROWS], *b = o->b;
    const int32_t *at = o->at;
    vf sum[OUTER_ROWS * 2];
#pragma GCC unroll 24
    for (int i = 0; i < rows; i++)
        a[i] = o->a[i];
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        sum[i] = (vf){0};
    for (int64_t p = 0; p < o->n; p++, b += vectors * LANES) {
        int64_t from = at[p];
        vf bv[2];
#pragma GCC unroll 24
        for (int v = 0; v < vectors; v++)
            bv[v] = vf_load(b + v * LANES);
#pragma GCC unroll 24
        for (int i = 0; i < rows; i++) {
            vf av = vf_set1(a[i][from]);
#pragma GCC unroll 24
            for (int v = 0; v < vectors; v++)
                sum[i * vectors + v] = vf_fma(av, bv[v], sum[i * vectors + v]);
        }
    }
    float *c = o->c;
#pragma GCC unroll 24
    for (int i = 0; i < rows * vectors; i++)
        vf_store(c + i * LANES, vf_load(c + i * LANES) + sum[i]);
}

#define OUTER(rows)                                                                                \
    static void outer_##rows##x1(const struct mc_outer *o)                                         \
    {                                                                                              \
        outer(o, rows, 1);                                                                         \
    }                                                                                              \
    static void outer_##rows##x2(const struct mc_outer *o)                                         \
    {                                                                                              \
        outer(o, rows, 2);                                                                         \
    }

/* clang-format off */
OUTER(1) OUTER(2) OUTER(3) OUTER(4)
#if MC_LEVEL > 0
OUTER(5) OUTER(6)
#endif
#if MC_LEVEL == 5
OUTER(7) OUTER(8) OUTER(9) OUTER(10) OUTER(11) OUTER(12)
#endif
    /* clang-format on */

    typedef void outer_fn(const struct mc_outer *o);

static outer_fn *const tiles[OUTER_ROWS][2] = {
    {outer_1x1, outer_1x2},   {outer_2x1, outer_2x2},   {outer_3x1, outer_3x2},
    {outer_4x1, outer_4x2},
#if MC_LEVEL > 0
    {outer_5x1, outer_5x2},   {outer_6x1, outer_6x2},
#endif
#if MC_LEVEL == 5
    {outer_7x1, outer_7x2},   {outer_8x1, outer_8x2},   {outer_9x1, outer_9x2},
    {outer_10x1, outer_10x2}, {outer_11x1, outer_11x2}, {outer_12x1, outer_12x2},
#endif
};

void MC_CPU(mc_outer_tile)(const struct mc_outer *o, int rows, int vectors)
{
    tiles[rows - 1][vectors - 1](o);
}
