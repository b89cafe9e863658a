/* The prepare step before every pass: an If whose condition is known gives way to its branch, constant
 * subgraphs become initializers where the file does not grow, in bodies too, and equal constants are merged (but
 * not float vectors of one number over and over: fresh biases and scales, which are equal by chance).
 * BatchNormalization is not folded here. */
#ifndef MC_GRAPH_RUN_FOLD_H
#define MC_GRAPH_RUN_FOLD_H

#include "graph/graph.h"

struct mc_fold_stats {
    size_t folded_nodes, merged_constants, folded_branches;
};

/* Edits m in place; nodes that cannot be evaluated stay. Errors: MC_ENOMEM, MC_EIO. */
int mc_prepare(struct mc_model *m, struct mc_fold_stats *ret_stats, struct mc_err *err);

/* mc_infer_eval over the operator table with the plain kernels; ctx unused. */
int mc_fold_eval(void *ctx, const struct mc_node *node, const struct mc_tensor *const *in,
                 struct mc_tensor **ret, struct mc_err *err);

/* If nodes of g, and of bodies in it, whose condition is a constant or follows from the declared shapes of the
 * inputs: are there any; put the nodes of the branch in their place. Values that only the branch has get
 * fresh names. Errors: MC_ENOMEM, MC_EIO. */
int mc_branches_known(const struct mc_graph *g, bool *ret, struct mc_err *err);
int mc_branches_fold(struct mc_graph *g, size_t *ret_folded, struct mc_err *err);

#endif
