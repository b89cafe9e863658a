/* Parts of the convolution of one level. */
#ifndef MC_KERNELS_CPU_CONV_CPU_H
#define MC_KERNELS_CPU_CONV_CPU_H

#include "kernels/conv.h"
#include "kernels/cpu/tile.h"

enum { CHUNK_PANELS = 8 }; /* at most; 384 * 32 floats each are 384 KiB of an L2 */

/* Patches of some output positions as panels of B in a matrix product. A column is a position counted
 * through all images: image * out_size + position. A row is k = tap * channels + channel, of one group. */
struct mc_patches {
    const struct mc_conv *c;
    const float *x;          /* the group's first channel in image 0 */
    int64_t column, columns; /* the first, and how many: at most CHUNK_PANELS * PANEL */
    int64_t k0, kc;          /* rows */
    float *dst;              /* [panel][kc][PANEL]; columns beyond the last stay as they are */
};
void MC_CPU(mc_patches_gather)(const struct mc_patches *p);

/* Convolution where each output channel sees one input channel: a direct sum over a padded copy of the
 * plane. packed_w is w as it is. */
size_t MC_CPU(mc_depthwise_scratch)(const struct mc_conv *c, int threads);
void MC_CPU(mc_depthwise_run)(const struct mc_conv *c, void *scratch, struct mc_pool *pool);

#endif
