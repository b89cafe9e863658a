/* What the files of the 8-bit convolution share. Inside, everything is channels last. */
#ifndef MC_KERNELS_CPU_CONV_S8_CPU_H
#define MC_KERNELS_CPU_CONV_S8_CPU_H

#include "base/mem.h"
#include "kernels/conv_s8.h"
#include "kernels/cpu/dot_s8.h"

enum { MC_S8_PLACES = 1024, MC_S8_SEGMENTS = 256 }; /* of a chunk at most */

/* A chunk is a block of places, for some panels of channels. Its part of x is brought close in one of three ways. */
enum mc_s8_way {
    MC_S8_AS_IS, /* pointwise: places are rows of A where they lie */
    MC_S8_FRAMED, /* the input rows it needs, with their padding: a window is a few segments of that, so nothing
                    * is copied twice, but a tile's places must lie in one output row */
    MC_S8_PATCHES, /* a row of all values under the window for each place: few places in a row, few channels in a
                    * group, depth */
};

struct mc_s8_plan {
    struct mc_conv_s8 c;
    enum mc_s8_way way;
    int64_t per, of;      /* channels of a group, in and out */
    int64_t inner, k;     /* of a window's row; of a window */
    int64_t groups;       /* words of a window */
    int64_t lines, width; /* output rows of all images; places of one */
    int64_t cols;         /* input columns under one, with padding */
    int64_t step_lines, step_width, n_lines, n_widths; /* of a chunk; and how many */
    int64_t panels, step_panels, n_panels;             /* of a group */
    int64_t row;                                       /* bytes between rows of A */
    size_t sums, block, residual, worker;              /* places in a worker's scratch, its size */
};

struct mc_s8_chunk {
    const struct mc_s8_plan *p;
    const uint8_t *x;              /* channels last */
    int64_t line, lines, o, width; /* its places: rows of the output, and which of each */
    char *scratch;
    const char *base[MC_S8_PLACES]; /* MC_S8_FRAMED: row 0 of the tiles of each line */
    struct mc_s8_rows rows;         /* of group 0 */
    int64_t segment[MC_S8_SEGMENTS];
};

static inline size_t mc_s8_round_up(size_t n)
{
    return (n + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

struct mc_s8_plan MC_CPU(mc_s8_plan)(const struct mc_conv_s8 *c);
/* Fills base, rows and segment of a chunk whose places are set; or its patches for one group. */
void MC_CPU(mc_s8_take_frames)(struct mc_s8_chunk *k);
void MC_CPU(mc_s8_take_patches)(struct mc_s8_chunk *k, int64_t group);

/* Depthwise: one filter for each channel. */
static inline bool mc_conv_s8_is_dw(const struct mc_conv_s8 *c)
{
    return c->group > 1 && c->group == c->c && c->group == c->oc && c->kernel[0] == 1;
}

/* Of depthwise convolutions, channels last on both sides. */
size_t MC_CPU(mc_conv_dw_s8_w_bytes)(const struct mc_conv_s8 *c);
void MC_CPU(mc_conv_dw_s8_pack)(const struct mc_conv_s8 *c, const void *w, void *dst,
                                struct mc_pool *pool);
size_t MC_CPU(mc_conv_dw_s8_scratch)(const struct mc_conv_s8 *c, int threads);
void MC_CPU(mc_conv_dw_s8_run)(const struct mc_conv_s8 *c, void *scratch, struct mc_pool *pool);

#endif
