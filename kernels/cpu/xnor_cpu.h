/* What the files of products of signs share.
 *
 * Both sides of a product are words of 32 bits along k. One side lies in lanes, PANEL columns of it beside each other; of the
 * other, TILE_ROWS rows are broadcast word by word. Counting bits costs as much as a whole adder of vectors, so words are
 * added up in pairs before they are counted: with x = a ^ b and o the exclusive or of all earlier x, the carry is
 *
 *     c = maj(o, x1, x2) = o ^ (o ^ x1) & (o ^ x2),    sum of bits = 2 popcount(all c) + popcount(the last o).
 * o ^ x1, o ^ x2 and o are linear, hence made of a and of b apart, once for all rows and columns they meet (mc_xnor_rows,
 * mc_xnor_lanes): 5 instructions a pair of words (3 of them logic) where xor, popcount, add take 6; where there is no popcount
 * of vectors it saves more than that. Measured on a Zen 4: 2.7 against 2.4 TOP/s.
 *
 * An operand so made is, for each pair, the three words of every row (or lane), and at the end o:
 * [pairs][3][TILE_ROWS] + [TILE_ROWS], and [pairs][3][PANEL] + [PANEL]. */
#ifndef MC_KERNELS_CPU_XNOR_CPU_H
#define MC_KERNELS_CPU_XNOR_CPU_H

#include <stdbool.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/vec.h"
#include "kernels/xnor.h"

#ifdef __AVX512VPOPCNTDQ__
enum { PAIRS_STEP = 1 };
#else
enum { PAIRS_STEP = 2 }; /* two carries are added up again before bits are counted */
#endif
enum {
    TILE_ROWS = MC_LEVEL == 5 ? 4 : 2,
    PANEL = 2 * LANES,
};

typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef uint8_t vb __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu_unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t vi_unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline vu vu_load(const uint32_t *p)
{
    return *(const vu_unaligned *)p;
}

static inline void vu_store(uint32_t *p, vu v)
{
    *(vu_unaligned *)p = v;
}

static inline vu vu_set1(uint32_t x)
{
    return x - (vu){0};
}

/* Lanes of v in m, which are 0, read from p; other memory is not touched. */
static inline vu vu_load_more(vu v, const uint32_t *p, vm m)
{
    return (vu)vf_load_more((vf)v, (const float *)p, m);
}

/* Bit i: !(x[i] < t[i]). */
static inline uint32_t vf_not_less(vf x, vf t)
{
#if MC_LEVEL == 5
    return _mm512_cmp_ps_mask((__m512)x, (__m512)t, _CMP_NLT_UQ);
#elif MC_LEVEL == 2
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps((__m256)x, (__m256)t, _CMP_NLT_UQ));
#else
    vi less = x < t;
    return (uint32_t)((less[0] & 1) | (less[1] & 2) | (less[2] & 4) | (less[3] & 8)) ^ 15;
#endif
}

/* Bit i: lo[i] <= x[i] <= hi[i]. */
static inline uint32_t vi_within(vi x, vi lo, vi hi)
{
#if MC_LEVEL == 5
    return _mm512_mask_cmple_epi32_mask(_mm512_cmple_epi32_mask((__m512i)lo, (__m512i)x),
                                        (__m512i)x, (__m512i)hi);
#elif MC_LEVEL == 2
    return (uint32_t)_mm256_movemask_ps((__m256)((lo <= x) & (x <= hi)));
#else
    vi in = (lo <= x) & (x <= hi);
    return (uint32_t)((in[0] & 1) | (in[1] & 2) | (in[2] & 4) | (in[3] & 8));
#endif
}

static inline int64_t mc_xnor_pairs(int64_t k)
{
    return ceil_div(k, 64 * PAIRS_STEP) * PAIRS_STEP;
}

/* Words of one group of rows, of one panel. */
static inline int64_t mc_xnor_group_words(int64_t pairs)
{
    return (3 * pairs + 1) * TILE_ROWS;
}

static inline int64_t mc_xnor_panel_words(int64_t pairs)
{
    return (3 * pairs + 1) * PANEL;
}

/* One group of rows: `rows` of them, `step` bytes apart, of `bytes` bytes; the others are 0. */
void MC_CPU(mc_xnor_rows)(const uint8_t *a, int64_t step, int64_t bytes, int rows, int64_t pairs,
                          uint32_t *to);
/* Words [2 pairs][PANEL] as they are to an operand. */
void MC_CPU(mc_xnor_lanes)(const uint32_t *words, int64_t pairs, uint32_t *to);

struct mc_xnor_tile {
    const uint32_t *rows, *lanes; /* lanes: made, or with raw the words as they are */
    bool raw;
    int n_rows, n_cols; /* what is wanted: 1 to TILE_ROWS, 1 to PANEL */
    int64_t k, pairs;
    float *y; /* of PANEL columns, rows y_row apart; NULL: sums are wanted */
    int64_t y_row;
    const float *scale, *bias; /* [PANEL]; bias may be NULL */
};

/* sum[i * PANEL + j] of the product of signs; columns up to the end of a vector are written. Or y = scale * sum + bias. */
void MC_CPU(mc_xnor_tile)(const struct mc_xnor_tile *t, int32_t *sum);

void MC_CPU(mc_xnor_pack)(const struct mc_xnor_pack *p, struct mc_pool *pool);
void MC_CPU(mc_xnor_image)(const struct mc_xnor_image *p, struct mc_pool *pool);
void MC_CPU(mc_xnor_signs_fill)(struct mc_xnor_kernels *k);
void MC_CPU(mc_xnor_conv_fill)(struct mc_xnor_kernels *k);

#endif
