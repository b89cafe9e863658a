/* A part of the elementwise family, in its own file. Private to kernels/ref. */
#ifndef MC_KERNELS_REF_UNARY_GRAD_REF_H
#define MC_KERNELS_REF_UNARY_GRAD_REF_H

#include "kernels/elementwise.h"
#include "kernels/ref/elem.h"

void MC_REF(mc_unary_grad)(const struct mc_unary_grad *u, struct mc_pool *pool);

#endif
