/* Shapes of convolutions, drawn for all kernels that have them. */
#ifndef MC_TESTS_CHECK_CONV_H
#define MC_TESTS_CHECK_CONV_H

#include "check.h"

/* Sizes, kernel, stride, dilation, padding (below 0 where the border is not read), groups. */
void check_conv_shape(struct check *c, struct mc_conv *v);

#endif
