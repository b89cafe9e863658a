/* Activations of an epilogue that a tile does not apply itself. */
#ifndef MC_KERNELS_CPU_ACT_CPU_H
#define MC_KERNELS_CPU_ACT_CPU_H

#include "kernels/cpu/vec.h"
#include "kernels/epilogue.h"

/* c[i,j] = act(c[i,j]) on a block just written, so still in L1; nothing for no activation or a clamp. */
void MC_CPU(mc_act_block)(const struct mc_epilogue *e, float *c, int64_t c_row, int rows,
                          int64_t cols);

#endif
