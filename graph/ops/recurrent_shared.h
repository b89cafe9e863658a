/* Gates that are one matrix with a scale for each unit: the product with it is made once for all of them. */
#ifndef MC_GRAPH_OPS_RECURRENT_SHARED_H
#define MC_GRAPH_OPS_RECURRENT_SHARED_H

#include "graph/ops/op.h"
#include "graph/ops/rnn_node.h"

/* In setup: *ret_block is the matrix of direction dir, packed, and behind *ret_scale what each gate's rows are of it, where all
 * gates of constant W (recurrent false) or of the first product of R (mc_rnn_part_gates; at least two) are multiples of one matrix but for
 * the rounding of their floats, as GateWeight of graph/own makes them. Else both stay NULL. Cost: of reading the weight, mostly much less.
 * Errors: MC_ENOMEM. */
int mc_rnn_shared_find(struct mc_call *c, const struct mc_rnn_node *l, bool recurrent, int dir,
                       const void **ret_block, const void **ret_scale, struct mc_err *err);

#endif
