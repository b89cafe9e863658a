/* What operator families share: arguments, attributes, contents known at inference, buffers at run time. */
#ifndef MC_GRAPH_OPS_HELPER_H
#define MC_GRAPH_OPS_HELPER_H

#include "graph/ops/op.h"
#include "kernels/kernels.h"
#include "kernels/typed.h"

/* ---- inference ---- */

/* Input or output i, NULL if omitted or beyond the node's list. */
const struct mc_vtype *mc_op_in(const struct mc_infer_ctx *c, int i);
struct mc_vtype *mc_op_out(const struct mc_infer_ctx *c, int i);
/* Rank of input i, -1 if omitted or not known. */
int mc_op_rank(const struct mc_infer_ctx *c, int i);
/* Output i has this dtype and shape (NULL: rank not known). Does nothing for an output nobody wants. */
void mc_op_give(struct mc_infer_ctx *c, int i, enum mc_dtype dtype, const struct mc_shape *shape);

/* Inputs i and j have equal dtypes where both are known. Errors: MC_EDTYPE. */
int mc_op_need_same(const struct mc_infer_ctx *c, int i, int j, struct mc_err *err);
/* Elements of input i are whole bytes, where the type is known. Errors: MC_EUNSUP. */
int mc_op_need_movable(const struct mc_infer_ctx *c, int i, struct mc_err *err);
/* Input i is int64 or int32, where it is known and there: run() may call mc_op_ints. Errors: MC_EDTYPE. */
int mc_op_need_index(const struct mc_infer_ctx *c, int i, struct mc_err *err);
/* Not one of the inputs float64 and another a narrower float: a node has one kernel table. Half types
 * beside float32 are fine. Errors: MC_EUNSUP. */
int mc_op_need_one_width(const struct mc_infer_ctx *c, struct mc_err *err);
/* Input i has rank in [least, most] where it is known. Errors: MC_ESHAPE. */
int mc_op_need_rank(const struct mc_infer_ctx *c, int i, int least, int most, struct mc_err *err);
/* Input i, where it is there, holds exactly one element. Errors: MC_ESHAPE. */
int mc_op_need_single(const struct mc_infer_ctx *c, int i, struct mc_err *err);
/* Axis in [-rank, rank) to [0, rank). Errors: MC_ESHAPE naming `what`. */
int mc_op_need_axis(const struct mc_node *n, const char *what, int64_t axis, int rank, int *ret,
                    struct mc_err *err);
/* The axes of the attribute, in its order, each once; all of them where it is left out. Errors: MC_ESHAPE. */
int mc_op_need_axes(const struct mc_node *n, int rank, int axes[MC_RANK_MAX], int *ret_n,
                    struct mc_err *err);
/* Two dimensions that must be equal: *ret is the known one. Errors: MC_ESHAPE naming `what`. */
int mc_op_need_dim(const struct mc_node *n, const char *what, int64_t a, int64_t b, int64_t *ret,
                   struct mc_err *err);
/* An INTS attribute with exactly n elements, or absent (*ret NULL). Errors: MC_ESHAPE. */
int mc_op_need_ints(const struct mc_node *node, const char *name, int n, const int64_t **ret,
                    struct mc_err *err);

/* Integer contents; sym as in mc_partial, MC_DIM_ANY where even the symbol is unknown. */
struct mc_contents {
    int n;
    int64_t value[MC_PARTIAL_MAX], sym[MC_PARTIAL_MAX];
};
bool mc_op_contents(const struct mc_infer_ctx *c, int i, struct mc_contents *ret);
/* Output 0 has the type of input 0 and the shape that the int64 vector in input i holds, as far as it is known.
 * Errors: MC_EDTYPE, MC_ESHAPE, MC_EUNSUP. */
int mc_op_give_shape(struct mc_infer_ctx *c, int i, struct mc_err *err);
/* Give output i these contents, where it is an integer that nothing else describes. Errors: MC_ENOMEM. */
int mc_op_set_contents(struct mc_infer_ctx *c, int i, const struct mc_contents *p,
                       struct mc_err *err);
/* The same, all from input i. */
int mc_op_copy_contents(struct mc_infer_ctx *c, int i, struct mc_err *err);
/* Input i holds a shape: as much of it as is known. ret->rank is -1 where not even the rank is.
 * Errors: MC_ESHAPE for a negative size or too many. */
int mc_op_given_shape(const struct mc_infer_ctx *c, int i, struct mc_shape *ret,
                      struct mc_err *err);
/* Contents as known numbers only. Returns false if something is not known. */
bool mc_op_numbers(const struct mc_infer_ctx *c, int i, struct mc_contents *ret);

/* ---- running ---- */

/* Input or output i, NULL if omitted. */
const struct mc_buf *mc_op_arg(const struct mc_call *c, int i);
struct mc_buf *mc_op_res(const struct mc_call *c, int i);
int mc_op_elem_bytes(enum mc_dtype dtype); /* of a type of whole bytes */
/* Kernel type of a dtype, MC_ELEM_COUNT if there is none. */
enum mc_elem mc_op_elem(enum mc_dtype dtype);
bool mc_op_is_float(enum mc_dtype dtype);   /* one of the kernel tables' types: float32, float64 */
bool mc_op_is_integer(enum mc_dtype dtype); /* int8 to uint64 */
/* Elements of a known shape, and of a part of it: dimensions [from, to). */
int64_t mc_op_count(const struct mc_buf *b);
int64_t mc_op_span(const struct mc_buf *b, int from, int to);
/* The int32 or int64 elements of b. Returns their number, at most `max`, or -1 if it is omitted. */
int mc_op_ints(const struct mc_buf *b, int64_t *ret, int max);
/* Row-major strides in elements. */
void mc_op_strides(const struct mc_shape *s, int64_t *ret);
/* Strides of x read as the broadcast shape `to`: 0 where x repeats. */
void mc_op_broadcast_strides(const struct mc_shape *x, const struct mc_shape *to, int64_t *ret);
/* Copy the whole of in to out: the same number of elements and the same type. Nothing if out is in. */
void mc_op_copy(const struct mc_call *c, const struct mc_buf *in, struct mc_buf *out);
/* Zeros everywhere in b, of whole bytes. */
void mc_op_zero(const struct mc_call *c, struct mc_buf *b);
/* v as one float32 or float64 element, kept in *store. */
const void *mc_op_scalar(int elem_bytes, double v, double *store);
/* The scratch of a call from byte `at`, which is advanced by `bytes` rounded up to MC_ALIGN. During setup
 * (no scratch yet) only counts: run through the same calls there and store the sum in scratch_bytes. */
void *mc_op_scratch(const struct mc_call *c, size_t *at, size_t bytes);

#endif
