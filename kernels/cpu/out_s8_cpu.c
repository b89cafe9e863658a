/* Sums of a tile become what is stored. The bias is in them already. Of a byte's bounds, the upper one holds in
 * float (so that no conversion overflows), the lower one where narrowing has saturated. */
#include <string.h>

#include "kernels/cpu/dot_s8.h"

static void finish_i32(const struct mc_s8_panel *p, const uint32_t *sum, int rows, int32_t *y,
                       int64_t y_row)
{
    for (int i = 0; i < rows; i++, sum += PANEL, y += y_row)
        memcpy(y, sum, (size_t)p->cols * sizeof *y);
}

static void finish_f32(const struct mc_s8_out *to, const struct mc_s8_panel *p, const uint32_t *sum,
                       int rows, float *y, int64_t y_row)
{
    for (int i = 0; i < rows; i++, sum += PANEL, y += y_row)
        for (int v = 0; v * LANES < p->cols; v++) {
            vi s = *(const vi *)(sum + v * LANES);
            vf f = __builtin_convertvector(s, vf) * vf_load(p->scale + v * LANES) +
                   vf_load(p->shift + v * LANES);
            f = vf_at_most(vf_at_least(f, vf_set1(to->least)), vf_set1(to->most));
            if (p->cols - v * LANES >= LANES)
                vf_store(y + v * LANES, f);
            else
                vf_store_mask(y + v * LANES, f, vm_first(p->cols - v * LANES));
        }
}

#if MC_LEVEL == 5
struct bytes {
    const struct mc_s8_out *to;
    const struct mc_s8_panel *p;
    __m512 scale[2], most, r_scale;
    __m512i zero, lo, r_zero;
    __mmask32 cols;
};

/* A row of sums as 32 values of 16 bits, in the order of _mm512_packs_epi32. */
static inline __m512i narrow_row(const struct bytes *b, const uint32_t *sum,
                                 const uint8_t *residual)
{
    __m512 f[2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) {
        __m512i s = _mm512_load_si512(sum + v * LANES);
        f[v] = _mm512_mul_ps(_mm512_cvtepi32_ps(s), b->scale[v]);
    }
    if (residual) {
        __m256i r = _mm256_maskz_loadu_epi8(b->cols, residual);
        __m128i half[2] = {_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1)};
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            __m512i wide =
                b->to->r_signed ? _mm512_cvtepi8_epi32(half[v]) : _mm512_cvtepu8_epi32(half[v]);
            __m512 by = _mm512_cvtepi32_ps(_mm512_sub_epi32(wide, b->r_zero));
            f[v] = _mm512_add_ps(f[v], _mm512_mul_ps(by, b->r_scale));
        }
    }
    __m512i whole[2];
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++)
        whole[v] = _mm512_cvtps_epi32(_mm512_min_ps(f[v], b->most));
    return _mm512_adds_epi16(_mm512_packs_epi32(whole[0], whole[1]), b->zero);
}

static inline __attribute__((always_inline)) void rows_of_bytes(const struct bytes *b,
                                                                bool is_signed, const uint32_t *sum,
                                                                int rows, uint8_t *y, int64_t y_row,
                                                                const uint8_t *residual,
                                                                int64_t r_row)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (int i = 0; i < rows; i += 2, sum += 2 * PANEL, y += 2 * y_row) {
        bool two = i + 1 < rows;
        __m512i low = narrow_row(b, sum, residual), high = low;
        if (two)
            high = narrow_row(b, sum + PANEL, residual ? residual + r_row : NULL);
        if (residual)
            residual += 2 * r_row;
        __m512i all = is_signed ? _mm512_max_epi8(_mm512_packs_epi16(low, high), b->lo)
                                : _mm512_max_epu8(_mm512_packus_epi16(low, high), b->lo);
        all = _mm512_permutexvar_epi32(order, all);
        _mm256_mask_storeu_epi8(y, b->cols, _mm512_castsi512_si256(all));
        if (two)
            _mm256_mask_storeu_epi8(y + y_row, b->cols, _mm512_extracti64x4_epi64(all, 1));
    }
}

static void finish_bytes(const struct mc_s8_out *to, const struct mc_s8_panel *p,
                         const uint32_t *sum, int rows, uint8_t *y, int64_t y_row,
                         const uint8_t *residual, int64_t r_row)
{
    struct bytes b = {.to = to,
                      .p = p,
                      .scale = {_mm512_loadu_ps(p->scale), _mm512_loadu_ps(p->scale + LANES)},
                      .most = _mm512_set1_ps((float)(to->hi - to->zero)),
                      .r_scale = _mm512_set1_ps(to->r_scale),
                      .zero = _mm512_set1_epi16((int16_t)to->zero),
                      .lo = _mm512_set1_epi8((char)to->lo),
                      .r_zero = _mm512_set1_epi32(to->r_zero),
                      .cols = p->cols >= 32 ? UINT32_MAX : (1u << p->cols) - 1};
    if (to->type == MC_S8_I8 && residual)
        rows_of_bytes(&b, true, sum, rows, y, y_row, residual, r_row);
    else if (to->type == MC_S8_I8)
        rows_of_bytes(&b, true, sum, rows, y, y_row, NULL, 0);
    else if (residual)
        rows_of_bytes(&b, false, sum, rows, y, y_row, residual, r_row);
    else
        rows_of_bytes(&b, false, sum, rows, y, y_row, NULL, 0);
}
#else
static void finish_bytes(const struct mc_s8_out *to, const struct mc_s8_panel *p,
                         const uint32_t *sum, int rows, uint8_t *y, int64_t y_row,
                         const uint8_t *residual, int64_t r_row)
{
    float lo = (float)(to->lo - to->zero), hi = (float)(to->hi - to->zero);
    int32_t flip = to->r_signed ? 128 : 0, r_zero = to->r_zero + flip;
    for (int i = 0; i < rows; i++, sum += PANEL, y += y_row) {
        float f[PANEL];
        uint8_t done[PANEL];
        for (int j = 0; j < PANEL; j++)
            f[j] = (float)(int32_t)sum[j] * p->scale[j];
        if (residual) {
            for (int j = 0; j < p->cols; j++)
                f[j] += (float)((residual[j] ^ flip) - r_zero) * to->r_scale;
            residual += r_row;
        }
        for (int j = 0; j < PANEL; j++) {
            float v = f[j] > lo ? f[j] : lo;
            v = v < hi ? v : hi;
            /* So small that this rounds it, half to even. */
            done[j] = (uint8_t)((int32_t)((v + 0x1.8p23f) - 0x1.8p23f) + to->zero);
        }
        memcpy(y, done, (size_t)p->cols);
    }
}
#endif

void MC_CPU(mc_s8_finish)(const struct mc_s8_out *to, const struct mc_s8_panel *p,
                          const uint32_t *sum, int rows, void *y, int64_t y_row,
                          const void *residual, int64_t r_row)
{
    switch (to->type) {
    case MC_S8_I32: finish_i32(p, sum, rows, y, y_row); break;
    case MC_S8_F32: finish_f32(to, p, sum, rows, y, y_row); break;
    case MC_S8_U8:
    case MC_S8_I8: finish_bytes(to, p, sum, rows, y, y_row, residual, r_row); break;
    }
}
