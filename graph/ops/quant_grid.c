#include "graph/ops/quant_grid.h"

/* The axis that scales are along, or -1: one scale for all. */
static int scale_axis(const struct mc_node *n, const struct mc_shape *x, const struct mc_shape *s,
                      int *ret, struct mc_err *err)
{
    *ret = -1;
    if (s->rank == 0 || (s->rank == 1 && s->dim[0] == 1 && mc_node_int(n, "block_size", 0) == 0))
        return 0;
    return mc_op_need_axis(n, "axis", mc_node_int(n, "axis", 1), x->rank, ret, err);
}

int mc_quant_grid_of(const struct mc_node *n, const struct mc_shape *x, const struct mc_shape *s,
                     struct mc_quant_grid *g, struct mc_err *err)
{
    int axis, rc = scale_axis(n, x, s, &axis, err);
    int64_t block = mc_node_int(n, "block_size", 0), same;
    char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
    *g = (struct mc_quant_grid){1, 1, mc_shape_count(x), 0, 0, 0, 1};
    if (rc || axis < 0)
        return rc;
    if (block < 0)
        return mc_op_fail(err, MC_ESHAPE, n, "block_size %lld", (long long)block);
    g->outer = mc_shape_span(x, 0, axis);
    g->axis = x->dim[axis];
    g->inner = mc_shape_span(x, axis + 1, x->rank);
    if (block == 0) {
        if (s->rank != 1)
            return mc_op_fail(err, MC_ESHAPE, n, "scales %s without block_size, must be one list",
                              mc_shape_text(s, a));
        g->a_step = 1;
        return mc_op_need_dim(n, "scales and the axis", s->dim[0], g->axis, &same, err);
    }
    bool fits = s->rank == x->rank;
    for (int d = 0; d < x->rank && fits; d++) {
        int64_t dim = x->dim[d], blocks = dim < 0 ? -1 : dim / block + (dim % block != 0);
        fits = dim < 0 || s->dim[d] < 0 || s->dim[d] == (d == axis ? blocks : dim);
    }
    if (!fits)
        return mc_op_fail(err, MC_ESHAPE, n, "scales %s do not fit %s in blocks of %lld",
                          mc_shape_text(s, a), mc_shape_text(x, b), (long long)block);
    g->block = block;
    g->i_step = 1;
    g->a_step = g->inner;
    g->o_step = s->dim[axis] * g->inner;
    return 0;
}
