/* The inner loops of all products of bytes.
 *
 * Both sides are words of 32 bits that hold GROUP neighbours along k: four bytes where the CPU multiplies those
 * (VNNI), else two values of 16 bits. A is read where it lies, row by row; there it counts as unsigned and B as
 * signed: the other kind is shifted by 128, which its zero point makes up for, as all sums wrap alike.
 *
 *     C = sum a'b' - za' colsum(b') - zb' rowsum(a') + k za' zb'
 * The first two terms and the bias are what a sum starts from (mc_s8_panel); the others are rare and added after
 * (mc_s8_rest). B is packed in panels of PANEL columns, (group, column) of a panel at b[group*PANEL + column].
 * k may be cut into segments: places of A that lie apart, each of whole groups (a row of a convolution's
 * window). B follows them without a gap. */
#ifndef MC_KERNELS_CPU_DOT_S8_H
#define MC_KERNELS_CPU_DOT_S8_H

#include <stdbool.h>
#include <stddef.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "kernels/cpu/vec.h"
#include "kernels/gemm_s8.h"

#ifdef __AVX512VNNI__
enum { GROUP = 4 };
typedef uint8_t a_elem; /* of A as it is read */
#else
enum { GROUP = 2 };
typedef int16_t a_elem;
#endif

enum {
    TILE_ROWS = MC_LEVEL == 5   ? 12
                : MC_LEVEL == 2 ? 6
                                : 4, /* at most */
    PANEL = 2 * LANES,
};

typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu_unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* A: rows `row` bytes apart. Segments start at a + segment[s], each of `groups` words. far: the rows lie side by
 * side, and those after a whole tile are likely in memory and read next: they are fetched. */
struct mc_s8_rows {
    const char *a;
    int64_t row;
    const int64_t *segment;
    int64_t segments, groups;
    bool far;
};

/* Columns [first, first + PANEL) of B and of what comes out, of which `cols` exist. */
struct mc_s8_panel {
    const uint32_t *b;
    int cols;
    uint32_t start[PANEL], rest[PANEL]; /* rest: colsum(b') - k zb' */
    uint32_t b_zero[PANEL];             /* zb' */
    float scale[PANEL], shift[PANEL];
};

/* What lies along the rows of a tile: read if the panel's start does not hold it all. */
struct mc_s8_line {
    const uint32_t *a_zero, *a_sum; /* za' and rowsum(a') of each row, or NULL */
};

/* Packing of B [k, n]. Each run of `inner` along k is a segment, padded with zeros to whole groups; a segment is
 * runs of `depth`: with p = (s*inner/depth + t)*depth + i, element (p,j) lies at
 * data[s*outer + t*hop + i*row + j*col]. */
struct mc_s8_pack {
    int64_t k, n, inner, depth, outer, hop, row, col;
    const void *data;
    bool is_signed;
};

size_t MC_CPU(mc_s8_pack_bytes)(const struct mc_s8_pack *p);
void MC_CPU(mc_s8_pack)(const struct mc_s8_pack *p, void *dst, struct mc_pool *pool);

/* One side of a product as all its tiles see it. */
struct mc_s8_weights {
    const void *packed; /* [panels][groups][PANEL] words, then PANEL sums for each panel */
    int64_t k, n, groups;
    bool is_signed; /* before packing */
    struct mc_s8_zero zero;
    const struct mc_s8_out *to; /* of column 0 */
};

/* Panel `index`, for an A whose zero point, as it is read, is a_zero for every row. */
void MC_CPU(mc_s8_panel)(const struct mc_s8_weights *w, int64_t index, uint32_t a_zero,
                         struct mc_s8_panel *ret);
/* Whether sums of A's rows are wanted. */
bool MC_CPU(mc_s8_wants_sums)(const struct mc_s8_weights *w);
uint32_t MC_CPU(mc_s8_row_sum)(const struct mc_s8_rows *r, int64_t len);

/* sum[i*PANEL + j] for 1 <= rows <= TILE_ROWS. */
void MC_CPU(mc_s8_tile)(const struct mc_s8_rows *r, const struct mc_s8_panel *p, int rows,
                        uint32_t *sum);
/* Adds the terms of rows. */
void MC_CPU(mc_s8_rest)(const struct mc_s8_panel *p, const struct mc_s8_line *line, int rows,
                        uint32_t *sum);
/* Sums of a tile to y (and from the residual), whose rows are y_row elements apart; both point at the tile's
 * first element. */
void MC_CPU(mc_s8_finish)(const struct mc_s8_out *to, const struct mc_s8_panel *p,
                          const uint32_t *sum, int rows, void *y, int64_t y_row,
                          const void *residual, int64_t r_row);

/* n values as A holds them, of which the zero point is shifted by mc_s8_flip(). */
void MC_CPU(mc_s8_widen)(int64_t n, const uint8_t *x, bool is_signed, a_elem *to);

/* What reading A shifts its values by. */
static inline uint32_t mc_s8_flip(bool is_signed)
{
    return GROUP == 4 && is_signed ? 128 : 0;
}

/* A may be read where it lies. */
static inline bool mc_s8_as_is(bool is_signed)
{
    return GROUP == 4 && !is_signed;
}

static inline int64_t mc_s8_groups(int64_t k)
{
    return (k + GROUP - 1) / GROUP;
}

/* sum + a·b over the group of each lane. */
static inline vu mc_s8_dot(vu sum, vu a, vu b)
{
#if defined(__AVX512VNNI__)
    /* The intrinsic makes gcc 12 copy its sums about: 0.5 of the speed. */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#elif MC_LEVEL == 5
    return sum + (vu)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif MC_LEVEL == 2
    return sum + (vu)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return sum + (vu)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    vi x = (vi)a, y = (vi)b;
    vu even = (vu)((x << 16) >> 16) * (vu)((y << 16) >> 16);
    return sum + even + (vu)(x >> 16) * (vu)(y >> 16);
#endif
}

#endif
