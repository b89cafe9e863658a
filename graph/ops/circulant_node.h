/* What products with circulant weights and convolutions by them share. */
#ifndef MC_GRAPH_OPS_CIRCULANT_NODE_H
#define MC_GRAPH_OPS_CIRCULANT_NODE_H

#include "graph/ops/op.h"
#include "kernels/circulant.h"

/* For infer(): X, C and at most n inputs in all, of one float type; C of this rank. Of a call, it went through its check.
 * Errors: MC_ESHAPE, MC_EDTYPE. */
int mc_circulant_inputs(struct mc_infer_ctx *c, int n, int rank, struct mc_err *err);

/* q b of the shape of C, or p b (rows), where it is known. */
int64_t mc_circulant_features(const struct mc_shape *c, bool rows);
/* Its blocks; false where there are none. */
bool mc_circulant_of(const struct mc_shape *c, struct mc_circulant *ret);
/* Shape of W [p b, q b, taps…] for C [p, q, b, taps…]; unknown where that is. */
void mc_circulant_dense_shape(const struct mc_shape *c, struct mc_shape *ret);
/* W from C; elements of 4 or 8 bytes. */
void mc_circulant_dense_weight(const struct mc_shape *c, const void *col, int elem_bytes, void *w,
                               struct mc_pool *pool);

#endif
