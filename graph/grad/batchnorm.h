/* BatchNormalization as it is in training: mean and variance of the batch, running statistics kept up. */
#ifndef MC_GRAPH_GRAD_BATCHNORM_H
#define MC_GRAPH_GRAD_BATCHNORM_H

#include "graph/graph.h"

/* Put every BatchNormalization of g whose statistics are constants into training mode (training_mode = 1, outputs
 * 1 and 2 made). Before mc_backward; older nodes are lifted to version 15. *ret_n = how many. Where several share
 * their statistics, each moves what the one before it left.
 * Errors: MC_ENOMEM. */
int mc_batchnorm_train(struct mc_graph *g, size_t *ret_n, struct mc_err *err);

struct mc_batchnorm_stat {
    struct mc_value *in;  /* a constant: running mean or variance before the step */
    struct mc_value *out; /* the same after it */
};
/* What mc_batchnorm_train left to be kept up, before mc_backward or after it, in the order of nodes. *ret is
 * free()d by the caller. Errors: MC_ENOMEM. */
int mc_batchnorm_stats(const struct mc_graph *g, struct mc_batchnorm_stat **ret, size_t *ret_n,
                       struct mc_err *err);

#endif
