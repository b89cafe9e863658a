/* In which order samples run: as they are, or, where they differ in shape, shape by shape. Private to
 * graph/run. */
#ifndef MC_GRAPH_RUN_ORDER_H
#define MC_GRAPH_RUN_ORDER_H

#include "graph/dataset.h"

struct mc_order {
    int64_t *index; /* [n] sample numbers; NULL: all samples have one shape, in their own order */
    int64_t *end;   /* [n] where the samples of the same shape as index[i] end */
};

/* The order of samples [first, first + n). Errors: those of mc_dataset_group; MC_ENOMEM. */
int mc_order_make(struct mc_dataset *d, int64_t first, int64_t n, struct mc_order *ret,
                  struct mc_err *err);
void mc_order_free(struct mc_order *o); /* accepts a zeroed struct */

#endif
