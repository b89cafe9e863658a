/* The one view of a constant, wherever the model hides it: an initializer, a Constant node (any of its
 * value attributes), an Identity of one, or an initializer of an enclosing graph. What stands behind Slice,
 * Cast, Transpose… of constants is folded first by the prepare step (graph/run/fold.h). */
#ifndef MC_GRAPH_CONSTANT_H
#define MC_GRAPH_CONSTANT_H

#include "graph/graph.h"

/* Content of v, borrowed, or NULL if it is not constant. An initializer that is also a graph input of an
 * IR >= 4 model can be overridden by the caller and is not constant. */
const struct mc_tensor *mc_constant(const struct mc_value *v);

/* All elements as f32 in a new buffer (free()); *ret_n elements. Errors: MC_EDTYPE, MC_ENOMEM, and
 * MC_EUNSUP if v is not constant. */
int mc_constant_f32(const struct mc_value *v, float **ret, int64_t *ret_n, struct mc_err *err);
/* Elements of a small integer constant (shapes, axes, pads); at most `max`. Returns how many, or -1 if v
 * is NULL, not constant, not of integers, or longer. */
int mc_constant_ints(const struct mc_value *v, int64_t *ret, int max);

/* A new tensor holding `n` f32 values converted to `dtype`, for a replacement that keeps the dtype. */
int mc_constant_make(const float *src, const struct mc_shape *shape, enum mc_dtype dtype,
                     struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err);
/* A new constant of graph g, named hint or after it: an initializer, or, in a function's own body, which has
 * none, a Constant node at position pos. Errors: MC_ENOMEM. */
int mc_constant_new(struct mc_graph *g, size_t pos, const char *hint, struct mc_tensor *t,
                    struct mc_value **ret, struct mc_err *err);
/* Put new content where v has its constant, for all users of v, keeping name and place. */
int mc_constant_replace(struct mc_value *v, struct mc_tensor *t, struct mc_err *err);

#endif
