/* Scales that depend on others. Private to quant_train*.c. */
#ifndef MC_PASSES_QUANT_TRAIN_TIE_H
#define MC_PASSES_QUANT_TRAIN_TIE_H

#include "graph/graph.h"

/* What moves or picks elements (pools, Reshape, Concat, …) keeps the scales of its two ends equal where they are: they become
 * one constant, so that they train as one. */
int mc_train_share(struct mc_graph *g, struct mc_err *err);
/* Biases whose scale is that of the input times that of the weight get the product in its place. */
int mc_train_tie(struct mc_graph *g, struct mc_err *err);

#endif
