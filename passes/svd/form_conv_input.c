/* 1x1 to fewer channels, then the window: the plain product from the input's side, cheaper where there are fewer inputs
 * than outputs or the window makes the picture no smaller. */
#include "passes/svd/form_conv_kind.h"

static const struct mc_conv_kind input = {.first = MC_CONV_NO_AXIS, .suffix = "_reduce"};

MC_CONV_KIND_FORM(input, "input");
