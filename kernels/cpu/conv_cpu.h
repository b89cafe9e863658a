/* Parts of the convolution of one level.
 *
 * Some channels of a block of outputs are copied once, with their padding, into a buffer in which the inputs of
 * neighbouring outputs are neighbours for every tap of the kernel, whatever the stride. Then a vector of
 * outputs reads one vector per tap, at an offset that is the same for every vector: a matrix product whose
 * second side is never written down. */
#ifndef MC_KERNELS_CPU_CONV_CPU_H
#define MC_KERNELS_CPU_CONV_CPU_H

#include <stdbool.h>

#include "base/mem.h"
#include "kernels/conv.h"
#include "kernels/cpu/tile.h"

/* Room for n elements of scratch at byte *at, which goes on behind them; base NULL only counts. */
static inline void *part_of(char *base, size_t *at, int64_t n, size_t size)
{
    void *p = base ? base + *at : NULL;
    *at += ((size_t)n * size + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
    return p;
}

/* ---- conv_cpu.c ---- */

/* Height as width where there is none, as one-dimensional convolutions come in four dimensions; a pointwise
 * convolution sees an image as one row, so that runs are as long as can be. */
struct mc_conv MC_CPU(mc_conv_simplify)(const struct mc_conv *given);

/* Weights by strides: that of filter `row` in a group, its channel and its tap at
 * w[group*group_step + row*row_step + channel*channel_step + tap[tap]]. */
struct mc_conv_weights {
    const float *w;
    int64_t group_step, row_step, channel_step;
    const int32_t *tap; /* [taps]; NULL: 0, 1, 2, … */
};
/* As pack_w of the table. */
void MC_CPU(mc_conv_pack)(const struct mc_conv *c, const struct mc_conv_weights *w, void *dst,
                          struct mc_pool *pool);

/* ---- padded_cpu.c ---- */

struct mc_block { /* outputs [first, first + count) of some images */
    int64_t image, images;
    int64_t first[3], count[3];
};

/* A vector of a buffer's row: where it comes from in a row of the input. */
struct mc_padded_load {
    int64_t first; /* column of the first lane */
    vm low, high;  /* lanes inside of the row; at stride 2 high is for a second vector */
};

/* The buffer: [channel][phase][depth][height][image][width], where a phase is one remainder per dimension of
 * tap * dilation modulo the stride; only those that occur are there. */
struct mc_padded {
    int64_t phases[3], size[3]; /* size[2]: floats from a row to the next */
    int64_t images;
    int64_t plane;   /* floats from a channel to the next */
    int64_t loads;   /* vectors that make a row, per phase */
    int64_t full[2]; /* at stride 1: those of them [from, to) that lie inside the row */
    bool shared_pad; /* the padding behind a row is the one before the next */
};

/* For blocks of `images` images and `count` outputs. */
struct mc_padded MC_CPU(mc_padded_of)(const struct mc_conv *c, int64_t images,
                                      const int64_t count[3]);
/* Place of tap t's input for output 0, in elements from the channel's first. */
int64_t MC_CPU(mc_padded_offset)(const struct mc_conv *c, const struct mc_padded *p, int64_t tap);
/* loads[phases[2] * loads] for the rows of a block, and p->full. */
void MC_CPU(mc_padded_rows)(const struct mc_conv *c, struct mc_padded *p, const struct mc_block *b,
                            struct mc_padded_load *loads);
/* Copy channels; x is the first one's plane in the block's first image. */
void MC_CPU(mc_padded_fill)(const struct mc_conv *c, const struct mc_padded *p,
                            const struct mc_block *b, const struct mc_padded_load *loads,
                            const float *x, int64_t channels, float *to);

/* ---- direct_cpu.c ---- */

/* Lanes of a vector that are neighbours in y. */
struct mc_piece {
    int64_t y; /* where lane 0 would be, from the first output of the channel in image 0 */
    int lane, count;
    vm lanes;
};

struct mc_cover { /* a vector of outputs */
    int64_t at;   /* in the buffer, from the channel's first, for output 0's tap */
    int first, pieces;
};

struct mc_direct {
    const float *a; /* weights: (row, k) at a[k*rows_packed + row] */
    int64_t k, rows_packed;
    const float *b;        /* the buffer */
    const int32_t *offset; /* [k] in it */
    const struct mc_cover *cover;
    const struct mc_piece *piece;
    float *y; /* of the first row's channel in image 0 */
    int64_t y_row;
    const float *scale, *bias, *prior; /* [rows], [rows], as y; or NULL. prior may be y */
    float lo, hi;                      /* clamp, or -inf and inf */
};

/* How many vectors a tile of so many rows takes at most: 2, 4 or 8. */
static inline int direct_vectors(int64_t rows)
{
    return 2 * tile_panels((int)rows);
}

/* y[row][o] = clamp(scale * sum over k of a b + bias + prior) for the first `rows` rows and `vectors` vectors of the
 * cover; 1 <= rows <= TILE_ROWS, vectors is 1, 2, 4 or 8, at most direct_vectors(rows). */
void MC_CPU(mc_direct_tile)(const struct mc_direct *d, int rows, int vectors);

#endif
