/* Few directions in place of many rows: each row becomes a multiple of one of them. */
#ifndef MC_PASSES_SHARE_CLUSTER_H
#define MC_PASSES_SHARE_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Of rows x_i with products gram[i,j] = x_i · x_j [m,m]: directions c_k = sum_i part[i] x_i over the rows with of[i] = k, and scale[i],
 * of small sum ‖x_i - scale[i] c_of[i]‖². scaled false: all scales are 1, and c_k is the mean.
 * k in 1..m, of [m] in 0..k-1 (each is there), part [m], scale [m]. Lloyd's iterations: a row joins the direction that leaves least of
 * it, a direction becomes the best for its rows (the first eigenvector of their products, or their mean); from rows that are far from each
 * other, and from some random starts, of which the best is kept. With k = m every row is its own direction, scales 1.
 * Errors: MC_EDATA where gram is not finite, MC_ENOMEM. Cost: some m² k for each iteration. The same for the same seed. *ret_error: the sum.
 * Source: Gersho, Gray, Vector Quantization and Signal Compression, 1992, ch. 12.10 (gain and shape). */
int mc_share_cluster(const float *gram, int64_t m, int64_t k, bool scaled, uint64_t seed,
                     int32_t *of, float *part, float *scale, double *ret_error, struct mc_err *err);

#endif
