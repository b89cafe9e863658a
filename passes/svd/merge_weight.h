/* The weight of two linear nodes together. */
#ifndef MC_PASSES_MERGE_WEIGHT_H
#define MC_PASSES_MERGE_WEIGHT_H

#include "kernels/linalg.h"
#include "passes/svd/merge_window.h"
#include "passes/layer/layer.h"

/* W2 W1 (times `scale`) as the second layer stores its own; a table [n,m] where the first is one. Convolutions: w1, w2 are their
 * windows, both of them the one of the result. *ret is NULL where the product has elements that its type cannot hold.
 * Errors: MC_ENOMEM, MC_EIO. */
int mc_merge_weights(struct mc_linalg *la, const struct mc_layer *first,
                     const struct mc_layer *second, float scale, const struct mc_merge_window *both,
                     struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err);
/* Of two constants a [parts, m, r], b [parts, r, n]: their product; NULL as above. */
int mc_merge_product(struct mc_linalg *la, const struct mc_tensor *a, const struct mc_tensor *b,
                     struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err);
/* W2 b1, summed over the window of a convolution: ret [m], zeroed by the caller. */
int mc_merge_bias(const struct mc_layer *second, const float *b1, float *ret, struct mc_err *err);

#endif
