/* Calls of model-local functions replaced by the nodes of their bodies, in a copy that is only run or looked
 * at: what is written keeps its calls. */
#ifndef MC_GRAPH_INLINE_H
#define MC_GRAPH_INLINE_H

#include "graph/graph.h"

/* Has the main graph, or a body in it, a call of a function that no operator row stands for? */
int mc_inline_needed(const struct mc_model *m, bool *ret, struct mc_err *err);

/* Inline all such calls of the main graph and of bodies in it, those in functions included, in place. Values
 * and nodes of the main graph keep their names; each inlined node keeps the operator version that its
 * function imports. Attributes that a function refers to and its caller does not give have the function's
 * default, or are left out. Functions stay in the model's list.
 * Errors: MC_EFORMAT naming the call for one that does not fit its function or a function that calls itself;
 * MC_EUNSUP where more than MC_INLINE_NODES nodes would come about; MC_ENOMEM. m must be dropped then. */
enum { MC_INLINE_NODES = 1 << 20 };
int mc_inline(struct mc_model *m, struct mc_err *err);
/* The same with the calls that `pick` says, whether a row stands for them or not, also where functions call them. */
int mc_inline_some(struct mc_model *m, bool (*pick)(const struct mc_node *n), struct mc_err *err);

#endif
