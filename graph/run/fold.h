/* The prepare step before every pass: constant subgraphs become initializers where the file does not grow,
 * equal constants are merged. BatchNormalization is not folded here. */
#ifndef MC_GRAPH_RUN_FOLD_H
#define MC_GRAPH_RUN_FOLD_H

#include "graph/graph.h"

struct mc_fold_stats {
    size_t folded_nodes, merged_constants;
};

/* Edits m in place; nodes that cannot be evaluated stay. Errors: MC_ENOMEM, MC_EIO. */
int mc_prepare(struct mc_model *m, struct mc_fold_stats *ret_stats, struct mc_err *err);

/* mc_infer_eval over the operator table with the plain kernels; ctx unused. */
int mc_fold_eval(void *ctx, const struct mc_node *node, const struct mc_tensor *const *in,
                 struct mc_tensor **ret, struct mc_err *err);

#endif
