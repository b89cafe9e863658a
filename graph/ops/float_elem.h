/* One element of an array of float32 or float64: for what is too small to need a kernel. */
#ifndef MC_GRAPH_OPS_FLOAT_ELEM_H
#define MC_GRAPH_OPS_FLOAT_ELEM_H

#include "graph/ops/op.h"

static inline double mc_param(const void *p, int elem_bytes, int64_t i)
{
    return elem_bytes == 8 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static inline void mc_set_param(void *p, int elem_bytes, int64_t i, double v)
{
    if (elem_bytes == 8)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}

/* Of a buffer of float32 or float64. */
static inline double mc_buf_param(const struct mc_buf *b, int64_t i)
{
    return mc_param(b->data, b->dtype == MC_DTYPE_F64 ? 8 : 4, i);
}

static inline void mc_buf_put(const struct mc_buf *b, int64_t i, double v)
{
    mc_set_param(b->data, b->dtype == MC_DTYPE_F64 ? 8 : 4, i, v);
}

#endif
