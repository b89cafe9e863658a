/* What the files of the 8-bit convolution share. Inside, everything is channels last. */
#ifndef MC_KERNELS_CPU_CONV_S8_H
#define MC_KERNELS_CPU_CONV_S8_H

#include "kernels/conv_s8.h"
#include "kernels/cpu/dot_s8.h"

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
