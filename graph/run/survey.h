/* What an output holds, for models whose outputs are no class scores. */
#ifndef MC_GRAPH_RUN_SURVEY_H
#define MC_GRAPH_RUN_SURVEY_H

#include "graph/dataset.h"

struct mc_survey {         /* zeroed before the first array */
    enum mc_dtype dtype;   /* NONE: a sequence or an optional; counts are those of all its items */
    struct mc_shape shape; /* of the first array; a dimension that changed is MC_DIM_ANY, a changed
                              rank -1 */
    int64_t arrays, elements, nan, infinite;
    double min, max, mean; /* over finite elements; NaN where there are none */
    double sum;
};

/* Count an array in. Of strings and complex numbers there are only shapes and a count.
 * Errors: MC_ENOMEM. */
int mc_survey_add(struct mc_survey *s, const struct mc_array *a, struct mc_err *err);

#endif
