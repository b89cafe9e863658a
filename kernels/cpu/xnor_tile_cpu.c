#include <string.h>

#include "kernels/cpu/xnor_cpu.h"

enum { VECTORS = PANEL / LANES };

/* ---- operands ---- */

static uint32_t word_at(const uint8_t *row, int64_t bytes, int64_t at)
{
    uint32_t w = 0;
    if (at + 4 <= bytes)
        memcpy(&w, row + at, 4);
    else if (at < bytes)
        memcpy(&w, row + at, (size_t)(bytes - at));
    return w;
}

static void one_row(const uint8_t *row, int64_t bytes, int64_t from, int64_t pairs, uint32_t o,
                    uint32_t *to)
{
    for (int64_t p = from; p < pairs; p++) {
        uint32_t x1 = word_at(row, bytes, 8 * p), x2 = word_at(row, bytes, 8 * p + 4);
        uint32_t *at = to + 3 * p * TILE_ROWS;
        at[0] = o ^ x1;
        at[TILE_ROWS] = o ^ x2;
        at[2 * TILE_ROWS] = o;
        o ^= x1 ^ x2;
    }
    to[3 * pairs * TILE_ROWS] = o;
}

#if MC_LEVEL == 5
/* Two pairs of four rows at a time; returns how many pairs are done. */
static int64_t four_rows(const uint8_t *a, int64_t step, int64_t bytes, uint32_t *to, uint32_t *o)
{
    __m128i past = _mm_setzero_si128();
    int64_t p = 0;
    for (; 8 * p + 16 <= bytes; p += 2) {
        const uint8_t *at = a + 8 * p;
        __m128i r0 = _mm_loadu_si128((const __m128i *)at);
        __m128i r1 = _mm_loadu_si128((const __m128i *)(at + step));
        __m128i r2 = _mm_loadu_si128((const __m128i *)(at + 2 * step));
        __m128i r3 = _mm_loadu_si128((const __m128i *)(at + 3 * step));
        __m128i lo01 = _mm_unpacklo_epi32(r0, r1), hi01 = _mm_unpackhi_epi32(r0, r1);
        __m128i lo23 = _mm_unpacklo_epi32(r2, r3), hi23 = _mm_unpackhi_epi32(r2, r3);
        __m128i x[4] = {_mm_unpacklo_epi64(lo01, lo23), _mm_unpackhi_epi64(lo01, lo23),
                        _mm_unpacklo_epi64(hi01, hi23), _mm_unpackhi_epi64(hi01, hi23)};
        __m128i *out = (__m128i *)(to + 3 * p * TILE_ROWS);
        for (int i = 0; i < 2; i++) {
            _mm_storeu_si128(out + 3 * i, _mm_xor_si128(past, x[2 * i]));
            _mm_storeu_si128(out + 3 * i + 1, _mm_xor_si128(past, x[2 * i + 1]));
            _mm_storeu_si128(out + 3 * i + 2, past);
            past = _mm_xor_si128(past, _mm_xor_si128(x[2 * i], x[2 * i + 1]));
        }
    }
    _mm_storeu_si128((__m128i *)o, past);
    return p;
}
#endif

void MC_CPU(mc_xnor_rows)(const uint8_t *a, int64_t step, int64_t bytes, int rows, int64_t pairs,
                          uint32_t *to)
{
    uint32_t o[TILE_ROWS] = {0};
    int64_t done = 0;
#if MC_LEVEL == 5
    if (rows == TILE_ROWS)
        done = four_rows(a, step, bytes, to, o);
#endif
    for (int i = 0; i < TILE_ROWS; i++)
        one_row(a + (i < rows ? i * step : 0), i < rows ? bytes : 0, done, pairs, o[i], to + i);
}

void MC_CPU(mc_xnor_lanes)(const uint32_t *words, int64_t pairs, uint32_t *to)
{
    for (int v = 0; v < VECTORS; v++) {
        const uint32_t *from = words + v * LANES;
        uint32_t *at = to + v * LANES;
        vu o = {0};
        for (int64_t p = 0; p < pairs; p++, from += 2 * PANEL, at += 3 * PANEL) {
            vu x1 = vu_load(from), x2 = vu_load(from + PANEL);
            vu_store(at, o ^ x1);
            vu_store(at + PANEL, o ^ x2);
            vu_store(at + 2 * PANEL, o);
            o ^= x1 ^ x2;
        }
        vu_store(at, o);
    }
}

/* ---- counting ---- */

/* (p1 ^ q1) & (p2 ^ q2) ^ oa ^ ob */
static inline vu carry(vu p1, vu p2, vu oa, vu q1, vu q2, vu ob)
{
#if MC_LEVEL == 5
    __m512i d = _mm512_xor_si512((__m512i)p1, (__m512i)q1);
    d = _mm512_ternarylogic_epi32(d, (__m512i)p2, (__m512i)q2, 0x60);
    return (vu)_mm512_ternarylogic_epi32(d, (__m512i)oa, (__m512i)ob, 0x96);
#else
    return ((p1 ^ q1) & (p2 ^ q2)) ^ (oa ^ ob);
#endif
}

/* Bits of each lane. */
static inline vu count_lanes(vu x)
{
#ifdef __AVX512VPOPCNTDQ__
    return (vu)_mm512_popcnt_epi32((__m512i)x);
#else
    x -= (x >> 1) & 0x55555555;
    x = (x & 0x33333333) + ((x >> 2) & 0x33333333);
    x = (x + (x >> 4)) & 0x0f0f0f0f;
    return (x * 0x01010101) >> 24;
#endif
}

#ifndef __AVX512VPOPCNTDQ__
/* Bits of each byte. */
static inline vu count_bytes(vu x)
{
#if MC_LEVEL == 5
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i table =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    __m512i lo = _mm512_and_si512((__m512i)x, low);
    __m512i hi = _mm512_and_si512(_mm512_srli_epi32((__m512i)x, 4), low);
    return (vu)_mm512_add_epi8(_mm512_shuffle_epi8(table, lo), _mm512_shuffle_epi8(table, hi));
#elif MC_LEVEL == 2
    const __m256i low = _mm256_set1_epi8(15);
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                           2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    __m256i lo = _mm256_and_si256((__m256i)x, low);
    __m256i hi = _mm256_and_si256(_mm256_srli_epi32((__m256i)x, 4), low);
    return (vu)_mm256_add_epi8(_mm256_shuffle_epi8(table, lo), _mm256_shuffle_epi8(table, hi));
#else
    x -= (x >> 1) & 0x55555555;
    x = (x & 0x33333333) + ((x >> 2) & 0x33333333);
    return (x + (x >> 4)) & 0x0f0f0f0f;
#endif
}

/* Sum of the bytes of each lane. */
static inline vu widen(vu x)
{
    x = (x & 0x00ff00ff) + ((x >> 8) & 0x00ff00ff);
    return (x & 0xffff) + (x >> 16);
}

/* *twos and two carries added up: returns what is carried on. */
static inline vu fours(vu *twos, vu c1, vu c2)
{
    vu t = *twos;
#if MC_LEVEL == 5
    *twos = (vu)_mm512_ternarylogic_epi32((__m512i)t, (__m512i)c1, (__m512i)c2, 0x96);
    return (vu)_mm512_ternarylogic_epi32((__m512i)t, (__m512i)c1, (__m512i)c2, 0xe8);
#else
    vu either = c1 ^ c2;
    *twos = t ^ either;
    return (c1 & c2) | (t & either);
#endif
}
#endif

/* ---- the tile ---- */

struct side { /* the three words of a pair, of one vector */
    vu q1, q2, o;
};

/* The next pair of vector v of lanes. past: o of raw words so far. */
static inline struct side next(const uint32_t *lanes, bool raw, vu *past)
{
    if (!raw)
        return (struct side){vu_load(lanes), vu_load(lanes + PANEL), vu_load(lanes + 2 * PANEL)};
    vu x1 = vu_load(lanes), x2 = vu_load(lanes + PANEL), o = *past;
    *past = o ^ x1 ^ x2;
    return (struct side){o ^ x1, o ^ x2, o};
}

static inline vu pair(const uint32_t *row, const struct side *s)
{
    return carry(vu_set1(row[0]), vu_set1(row[TILE_ROWS]), vu_set1(row[2 * TILE_ROWS]), s->q1,
                 s->q2, s->o);
}

#ifdef __AVX512VPOPCNTDQ__
/* n[i][v]: bits in the carries. */
static inline __attribute__((always_inline)) void add_up(const struct mc_xnor_tile *t, bool raw,
                                                         int rows, int vectors, vu *past,
                                                         vu (*n)[VECTORS])
{
    const uint32_t *a = t->rows, *b = t->lanes;
    int64_t hop = (raw ? 2 : 3) * PANEL;
    for (int64_t p = 0; p < t->pairs; p++, a += 3 * TILE_ROWS, b += hop) {
        struct side s[VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            s[v] = next(b + v * LANES, raw, past + v);
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                n[i][v] += count_lanes(pair(a + i, s + v));
    }
}
#else
/* n[i][v]: twice the bits in the carries' carries, and those left over. */
static inline __attribute__((always_inline)) void add_up(const struct mc_xnor_tile *t, bool raw,
                                                         int rows, int vectors, vu *past,
                                                         vu (*n)[VECTORS])
{
    enum { STEPS = 31 }; /* of at most 8 bits to a byte */
    const uint32_t *a = t->rows, *b = t->lanes;
    int64_t hop = (raw ? 2 : 3) * PANEL;
    vu twos[TILE_ROWS][VECTORS] = {0};
    for (int64_t left = t->pairs / 2; left > 0; left -= STEPS) {
        vu bytes[TILE_ROWS][VECTORS] = {0};
        for (int64_t p = min64(left, STEPS); p > 0; p--, a += 6 * TILE_ROWS, b += 2 * hop) {
            struct side s[2][VECTORS];
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) {
                s[0][v] = next(b + v * LANES, raw, past + v);
                s[1][v] = next(b + hop + v * LANES, raw, past + v);
            }
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
                for (int v = 0; v < vectors; v++) {
                    vu c = fours(&twos[i][v], pair(a + i, s[0] + v),
                                 pair(a + 3 * TILE_ROWS + i, s[1] + v));
                    bytes[i][v] = (vu)((vb)bytes[i][v] + (vb)count_bytes(c));
                }
        }
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                n[i][v] += widen(bytes[i][v]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            n[i][v] = 2 * n[i][v] + count_lanes(twos[i][v]);
}
#endif

static inline __attribute__((always_inline)) void tile(const struct mc_xnor_tile *t, bool raw,
                                                       int rows, int vectors, int32_t *sum)
{
    vu n[TILE_ROWS][VECTORS] = {0}, past[VECTORS] = {0};
    add_up(t, raw, rows, vectors, past, n);
    const uint32_t *last = t->rows + 3 * t->pairs * TILE_ROWS;
    for (int v = 0; v < vectors && !raw; v++)
        past[v] = vu_load(t->lanes + 3 * t->pairs * PANEL + v * LANES);
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
        vf scale = t->y ? vf_load(t->scale + v * LANES) : (vf){0};
        vf bias = t->bias ? vf_load(t->bias + v * LANES) : (vf){0};
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            vu differ = 2 * n[i][v] + count_lanes(past[v] ^ vu_set1(last[i]));
            vi all = (vi)(vu_set1((uint32_t)t->k) - 2 * differ);
            if (t->y) {
                vf y = __builtin_convertvector(all, vf) * scale;
                vf_store(t->y + i * t->y_row + v * LANES, t->bias ? y + bias : y);
            } else {
                vu_store((uint32_t *)sum + i * PANEL + v * LANES, (vu)all);
            }
        }
    }
}

#define CASE(raw, rows)                                                                            \
    case 2 * (rows) + (raw):                                                                       \
        if (t->n_cols > LANES)                                                                     \
            tile(t, raw, rows, 2, sum);                                                            \
        else                                                                                       \
            tile(t, raw, rows, 1, sum);                                                            \
        break

void MC_CPU(mc_xnor_tile)(const struct mc_xnor_tile *t, int32_t *sum)
{
    switch (2 * t->n_rows + t->raw) {
        CASE(false, 1);
        CASE(true, 1);
        CASE(false, 2);
        CASE(true, 2);
#if MC_LEVEL == 5
        CASE(false, 3);
        CASE(true, 3);
        CASE(false, 4);
        CASE(true, 4);
#endif
    }
}
