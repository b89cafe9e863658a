/* The parts of the loss family, one file each. Private to kernels/cpu. */
#ifndef MC_KERNELS_CPU_LOSS_CPU_H
#define MC_KERNELS_CPU_LOSS_CPU_H

#include "kernels/cpu/vec.h"
#include "kernels/losses.h"

void MC_CPU(mc_ctc)(const struct mc_ctc *c, struct mc_pool *pool);

#endif
