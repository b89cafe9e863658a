/* 1x1, the window on fewer channels on both sides, 1x1.
 * Source: Kim, Park, Yoo, Choi, Yang, Shin, Compression of Deep Convolutional Neural Networks for Fast and Low Power
 * Mobile Applications, ICLR 2016; deviates: ranks from the plan, errors in the norm of the data. */
#include "passes/svd/form_conv_kind.h"

static const struct mc_conv_kind tucker = {.first = MC_CONV_NO_AXIS,
                                           .tucker = true,
                                           .suffix = "_reduce"};

MC_CONV_KIND_FORM(tucker, "tucker");
