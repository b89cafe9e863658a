/* Constants per channel behind a convolution, gathered into one factor and one summand each. Private to
 * graph/run. */
#ifndef MC_GRAPH_RUN_FUSE_AFFINE_H
#define MC_GRAPH_RUN_FUSE_AFFINE_H

#include "graph/run/plan.h"

struct mc_fuse_affine { /* y = v * scale + shift per output channel; zeroed: nothing gathered */
    int64_t n;
    double *scale, *shift; /* in the plan's arena */
    bool scaled;           /* a scale is not 1 */
};

/* The convolution `head` gave v, which only `st` reads: where st is BatchNormalization, or Mul, Div, Add, Sub
 * with a constant per channel, take it in and return true. */
bool mc_fuse_affine_join(struct mc_fuse_affine *a, struct mc_plan *p, const struct mc_step *head,
                         const struct mc_step *st, const struct mc_value *v);
/* Put what was gathered, as elements of `dtype`, into the epilogue; the node's own bias is in it. Once. */
void mc_fuse_affine_finish(const struct mc_fuse_affine *a, enum mc_dtype dtype,
                           struct mc_epilogue *e);

#endif
