/* Parts of the gradient of a convolution by its weights, of one level. */
#ifndef MC_KERNELS_CPU_CONV_DW_CPU_H
#define MC_KERNELS_CPU_CONV_DW_CPU_H

#include "kernels/conv_grad.h"
#include "kernels/cpu/conv_cpu.h"

/* ---- conv_dw_cpu.c: positions are cut into blocks ---- */

struct mc_dw_blocks {
    int64_t images, count[3];        /* of a block: whole images, or rows of one */
    int64_t blocks[3], image_blocks; /* how many there are */
    int64_t total, positions;        /* blocks; positions of the largest */
};

/* Of about `fit` positions. */
struct mc_dw_blocks MC_CPU(mc_dw_blocks_of)(const struct mc_conv *c, int64_t fit);
struct mc_block MC_CPU(mc_dw_block)(const struct mc_conv *c, const struct mc_dw_blocks *b,
                                    int64_t i);

/* ---- conv_outer_cpu.c: sums of outer products ---- */

enum { OUTER_ROWS = TILE_ROWS };

struct mc_outer {          /* c[i][j] += sum over p < n of a[i][at[p]] b[p][j] */
    const float *const *a; /* [rows] */
    const int32_t *at;     /* [n] */
    int64_t n;
    const float *b; /* [n][vectors * LANES] */
    float *c;       /* [rows][vectors * LANES] */
};

/* 1 <= rows <= OUTER_ROWS, 1 or 2 vectors. */
void MC_CPU(mc_outer_tile)(const struct mc_outer *o, int rows, int vectors);

/* ---- conv_dot_cpu.c: few filters in a group ---- */

/* Products along positions: better than the other way where a vector of filters would be half empty. */
static inline bool dw_by_dots(const struct mc_conv *c)
{
    return c->oc / c->group * 2 < LANES;
}

size_t MC_CPU(mc_conv_dot_bytes)(const struct mc_conv *c, int threads);
void MC_CPU(mc_conv_dot)(const struct mc_conv_grad *g, void *scratch, struct mc_pool *pool);

#endif
