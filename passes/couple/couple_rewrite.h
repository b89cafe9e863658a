/* Parts of a graph that only hide what goes with what, written more plainly before a cut. For mc_coupling_prepare. */
#ifndef MC_PASSES_COUPLE_REWRITE_H
#define MC_PASSES_COUPLE_REWRITE_H

#include "graph/infer.h"

/* Where(s == -1, 1, s) of a shape s in which -1 is written, or is not, is put together of what it gives. *ret_any: something changed, and inf is out of date. */
int mc_rewrite_choices(struct mc_graph *g, const struct mc_infer *inf, bool *ret_any,
                       struct mc_err *err);
/* Reshape, Transpose, Reshape that join an axis with one of unknown length and take it apart again (batch times heads):
 * without joining. */
int mc_rewrite_joins(struct mc_graph *g, const struct mc_infer *inf, bool *ret_any,
                     struct mc_err *err);

/* A Gather that reads all elements of a flattened value in order, into its shape, is that value. */
int mc_rewrite_strided(struct mc_graph *g, const struct mc_infer *inf, bool *ret_any,
                       struct mc_err *err);
/* Vectors of one number over and over that nodes share by chance (exporters store equal biases once) are given to each of
 * them: their layers have nothing else in common. */
int mc_rewrite_shared(struct mc_graph *g, struct mc_err *err);
/* Cells whose first states are zeros do without. */
int mc_rewrite_states(struct mc_graph *g, struct mc_err *err);

/* If whose branches give different ranks, and whose readers take one of them: the condition becomes a constant (where
 * it is the other, what reads would fail). For mc_branches_fold. */
int mc_rewrite_ranks(struct mc_graph *g, const struct mc_infer *inf, bool *ret_any,
                     struct mc_err *err);

#endif
