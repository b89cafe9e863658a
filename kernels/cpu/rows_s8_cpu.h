/* Floats become bytes: what the files of 8-bit rows share. */
#ifndef MC_KERNELS_CPU_ROWS_S8_CPU_H
#define MC_KERNELS_CPU_ROWS_S8_CPU_H

#include <string.h>

#include "kernels/cpu/vec.h"
#include "kernels/rows_s8.h"

void MC_CPU(mc_s8_pool)(const struct mc_pool_s8 *p, struct mc_pool *pool);

/* y[j*y_row + i] = x[i*x_row + j] */
void MC_CPU(mc_s8_turn)(int64_t rows, int64_t cols, const uint8_t *x, int64_t x_row, uint8_t *y,
                        int64_t y_row);
void MC_CPU(mc_s8_transpose)(int64_t n, int64_t rows, int64_t cols, const uint8_t *x, uint8_t *y,
                             struct mc_pool *pool);

/* clamp(round(v) + zero, lo, hi). Clamped first, a value is so small that adding and taking away 1.5 * 2^23
 * rounds it, half to even. */
struct s8_round {
    float lo, hi;
    int32_t zero;
};

static inline struct s8_round s8_round_of(int32_t zero, int32_t lo, int32_t hi)
{
    return (struct s8_round){(float)(lo - zero), (float)(hi - zero), zero};
}

#if MC_LEVEL == 5
/* 64 values, 16 to a vector, to bytes in their order. Of a NaN the smallest. */
static inline __m512i s8_narrow(const struct s8_round *r, const __m512 f[4])
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512 x = _mm512_max_ps(f[i], _mm512_set1_ps(r->lo));
        v[i] = _mm512_cvtps_epi32(_mm512_min_ps(x, _mm512_set1_ps(r->hi)));
        v[i] = _mm512_and_si512(_mm512_add_epi32(v[i], _mm512_set1_epi32(r->zero)),
                                _mm512_set1_epi32(0xff));
    }
    __m512i low = _mm512_packs_epi32(v[0], v[1]), high = _mm512_packs_epi32(v[2], v[3]);
    return _mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
}
#endif

/* The first n <= 64 of 64 values. */
static inline void s8_put_run(const struct s8_round *r, const float f[64], int64_t n, uint8_t *y)
{
#if MC_LEVEL == 5
    __m512 v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        v[i] = _mm512_loadu_ps(f + 16 * i);
    __m512i all = s8_narrow(r, v);
    if (n == 64)
        _mm512_storeu_si512(y, all);
    else
        _mm512_mask_storeu_epi8(y, (1ull << n) - 1, all);
#else
    uint8_t done[64];
    for (int i = 0; i < 64; i++) {
        float v = f[i] > r->lo ? f[i] : r->lo; /* a NaN too */
        v = v < r->hi ? v : r->hi;
        done[i] = (uint8_t)((int32_t)((v + 0x1.8p23f) - 0x1.8p23f) + r->zero);
    }
    if (n == 64)
        memcpy(y, done, 64);
    else
        memcpy(y, done, (size_t)n);
#endif
}

#endif
