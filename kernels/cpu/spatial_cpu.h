/* The parts of the spatial family, one file each. Private to kernels/cpu. */
#ifndef MC_KERNELS_CPU_SPATIAL_CPU_H
#define MC_KERNELS_CPU_SPATIAL_CPU_H

#include "kernels/cpu/vec.h"
#include "kernels/spatial.h"

void MC_CPU(mc_fold)(const struct mc_fold *f, struct mc_pool *pool);
void MC_CPU(mc_resample)(const struct mc_resample *r, struct mc_pool *pool);
void MC_CPU(mc_lrn)(const struct mc_lrn *l, struct mc_pool *pool);

#endif
