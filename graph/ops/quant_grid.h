/* Which scale belongs to which element of a quantised tensor: by the attributes axis and block_size. */
#ifndef MC_GRAPH_OPS_QUANT_GRID_H
#define MC_GRAPH_OPS_QUANT_GRID_H

#include "graph/ops/helper.h"

struct mc_quant_grid { /* x as [outer, axis, inner]; its element (o, a, i) has the scale */
    int64_t outer, axis, inner;
    int64_t o_step, a_step, i_step, block; /* o o_step + a / block a_step + i i_step */
};

/* One scale for all: {1, 1, count}. Errors: MC_ESHAPE if the scales do not fit; sizes that are not known fit. */
int mc_quant_grid_of(const struct mc_node *n, const struct mc_shape *x, const struct mc_shape *s,
                     struct mc_quant_grid *ret, struct mc_err *err);

#endif
