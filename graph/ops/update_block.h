/* What the two ways of running an update share: on the CPU and on a GPU. */
#ifndef MC_GRAPH_OPS_UPDATE_BLOCK_H
#define MC_GRAPH_OPS_UPDATE_BLOCK_H

#include "graph/ops/op.h"

/* A scalar double attribute; 0 where it is not there. */
double mc_update_number(const struct mc_node *n, const char *name);

#endif
