/* Matrix products of a node: input 0 times input 1, which is packed once per session where it is constant, and in
 * each run otherwise.
 *
 * In setup: fill in sizes and strides, mc_product_pack, then the calls of run() without scratch, which count it:
 * mc_product_packed and mc_op_scratch(mc_product_scratch); at last mc_product_keep. */
#ifndef MC_GRAPH_OPS_PRODUCT_H
#define MC_GRAPH_OPS_PRODUCT_H

#include "graph/ops/op.h"
#include "kernels/kernels.h"

/* One call as `batch` products of [m,k] and [k,n]; B has `b_count` distinct matrices. */
struct mc_product {
    int64_t batch, m, n, k, b_count;
    int64_t a_row, a_col, b_row, b_col;
    int64_t k_step;     /* k, or less: so much of it at a time */
    size_t packed_each; /* bytes of one packed B */
    const void *packed; /* of a constant B, or NULL */
    const void *signs;  /* the same block, where B is held as numbers and signs (product_signs.c) */
};

/* Pack B where it is constant; otherwise run() packs it into scratch. Sets k_step and what follows it. A device packs
 * nothing, and has no scratch for it. */
int mc_product_pack(struct mc_call *c, struct mc_product *p, struct mc_err *err);
/* A copy of p as the state of c. */
int mc_product_keep(struct mc_call *c, const struct mc_product *p, struct mc_err *err);
void mc_product_free(struct mc_call *c); /* teardown */

/* What is fused behind the node, or nothing. */
struct mc_epilogue mc_product_epilogue(const struct mc_call *c);
/* Bytes for one product beside its packed B. */
size_t mc_product_scratch(const struct mc_call *c, const struct mc_product *p);
/* All of B, packed; where k goes by parts, room for one of them. */
const void *mc_product_packed(struct mc_call *c, const struct mc_product *p, size_t *at);
/* g, all but its packed_b, which is `packed` (from mc_product_packed), and on a device its b, which is input 1. */
void mc_product_run(const struct mc_call *c, const struct mc_product *p, struct mc_gemm *g,
                    const void *packed, void *scratch);

/* The products of a device at every index below dim[0..rank), A, B and C (with its residual) stride[0..2] elements on
 * with each; g is that of index 0, its batch and steps are not read. In few calls: the longest dimension is one. dim and
 * stride are changed. */
void mc_product_batch(const struct mc_kernels *k, const struct mc_gemm *g, int rank, int64_t *dim,
                      int64_t stride[3][MC_MOVE_RANK], struct mc_pool *pool);

/* ---- product_signs.c: B of one number a column, with signs, and few rows ---- */

/* Sets p->signs if B is such, constant, and worth it. Errors: MC_ENOMEM. */
int mc_product_pack_signs(struct mc_call *c, struct mc_product *p, struct mc_err *err);
size_t mc_product_signs_scratch(const struct mc_call *c, const struct mc_product *p);
void mc_product_run_signs(const struct mc_call *c, const struct mc_product *p,
                          const struct mc_gemm *g, void *scratch);

/* Whole numbers of 32 and 64 bits are multiplied by the definition; sums wrap. */
bool mc_product_whole(enum mc_dtype d);
/* Matrices number `a` and `b` of the inputs give number i of the output. */
void mc_product_run_whole(const struct mc_call *c, const struct mc_product *p, int64_t a, int64_t b,
                          int64_t i);
/* z = fn(x, y), y repeated where it has fewer elements. */
void mc_product_whole_binary(const struct mc_call *c, enum mc_binary_fn fn, const struct mc_buf *x,
                             const struct mc_buf *y, const struct mc_buf *z);

#endif
