/* Indices of a few bits: what functions of codebooks share. */
#ifndef MC_GRAPH_OWN_OWN_SHARED_H
#define MC_GRAPH_OWN_OWN_SHARED_H

#include "graph/own/own.h"

/* Attribute bits of a call, 1 to 8; 0 if it is not there or no such number. */
int mc_own_index_bits(const struct mc_node *call);
/* Bytes that hold `count` indices, and the indices (below 2^bits) packed into them. */
int64_t mc_own_index_bytes(int bits, bool planes, int64_t count);
void mc_own_index_pack(const uint8_t *index, int bits, bool planes, int64_t count, uint8_t *data);

#endif
