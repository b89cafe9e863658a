/* Signs packed by rows: what functions of binary weights share. */
#ifndef MC_GRAPH_OWN_OWN_BINARY_H
#define MC_GRAPH_OWN_OWN_BINARY_H

#include "graph/own/own.h"

/* Input i, where it is a constant, is uint8 [rows, ceil(columns / 8)] without bits behind the columns; rows < 0: any.
 * Errors: MC_EDTYPE, MC_ESHAPE, MC_EDATA. */
int mc_own_need_bits(const struct mc_node *call, size_t i, int64_t rows, int64_t columns,
                     struct mc_err *err);
/* bits [rows, ceil(columns / 8)] of w [rows, columns]: 0 below 0, else 1; 0 behind the columns. */
void mc_own_pack(const float *w, int64_t rows, int64_t columns, uint8_t *bits);
/* w [rows, columns] = sign * scale[row]; scale NULL: 1. */
void mc_own_unpack(const uint8_t *bits, const float *scale, int64_t rows, int64_t columns,
                   float *w);

#endif
