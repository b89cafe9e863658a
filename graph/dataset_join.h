/* Samples with labels and samples without, as one data set. */
#ifndef MC_GRAPH_DATASET_JOIN_H
#define MC_GRAPH_DATASET_JOIN_H

#include "graph/dataset.h"

enum { MC_LABEL_NONE = -1 }; /* label of a sample that has none */

/* The samples of a, then those of b, whose labels are MC_LABEL_NONE. Takes over both, also on failure.
 * Errors: MC_EDATA where a has no labels or a count is not known; MC_ESHAPE where samples are not alike in
 * type and shape (checked on the first of each); what reading gives. */
int mc_dataset_join(struct mc_dataset *a, struct mc_dataset *b, struct mc_dataset **ret,
                    struct mc_err *err);

#endif
