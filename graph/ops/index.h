/* What the operators that pick and order elements share. */
#ifndef MC_GRAPH_OPS_INDEX_H
#define MC_GRAPH_OPS_INDEX_H

#include "graph/ops/op.h"
#include "kernels/places.h"

/* Index i of a buffer of int32 or int64, wrapped into [0, size). Errors: MC_EDATA naming the index. */
int mc_index_at(const struct mc_call *c, const struct mc_buf *b, int64_t i, int64_t size,
                int64_t *ret, struct mc_err *err);

/* Fill p->place from the indices in b; the rest of p is there. Errors: MC_EDATA naming the index; on a device, later. */
int mc_index_places(const struct mc_call *c, const struct mc_buf *b, struct mc_places *p,
                    struct mc_err *err);

/* key[i] orders as element i does, for n elements `stride` apart, the first at x: any type of numbers of
 * whole bytes, and bool. Equal numbers, 0 and -0 among them, have equal keys; NaN is the largest. */
void mc_index_keys(enum mc_dtype dtype, const void *x, int64_t stride, int64_t n, uint64_t *key);
/* The types that mc_index_keys knows. */
bool mc_index_orders(enum mc_dtype dtype);

/* Node has ordered numbers in input i, where the type is known. Errors: MC_EUNSUP. */
int mc_index_need_order(const struct mc_infer_ctx *c, int i, struct mc_err *err);

#endif
