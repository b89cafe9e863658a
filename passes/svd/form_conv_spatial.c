/* k x 1, then 1 x k, and the other way round; of a window with more axes the first or the last one comes first.
 * Source: Jaderberg, Vedaldi, Zisserman, Speeding up Convolutional Neural Networks with Low Rank Expansions, BMVC 2014,
 * scheme 2. */
#include "passes/svd/form_conv_kind.h"

static const struct mc_conv_kind spatial = {.first = MC_CONV_FIRST_AXIS, .suffix = "_column"};
static const struct mc_conv_kind spatial_row = {.first = MC_CONV_LAST_AXIS, .suffix = "_row"};

MC_CONV_KIND_FORM(spatial, "spatial");
MC_CONV_KIND_FORM(spatial_row, "spatial-row");
