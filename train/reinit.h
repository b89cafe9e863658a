/* Fresh weights, as PyTorch's layers begin with: training from the start. */
#ifndef MC_TRAIN_REINIT_H
#define MC_TRAIN_REINIT_H

#include <jansson.h>

#include "graph/graph.h"

/* Replace the weights of m, in place (prepared, graph/run/fold.h):
 *   Conv, ConvTranspose, Gemm, MatMul   uniform in +-1 / sqrt(fan-in), and so is their bias, also one that an Add
 *                                       brings (He et al., Delving Deep into Rectifiers, 2015, with a = sqrt(5))
 *   LSTM, GRU, RNN                      uniform in +-1 / sqrt(hidden)
 *   norms                               scale 1, shift 0; running mean 0, running variance 1
 *   Gather's table                      normal, 0 and 1
 *   PRelu                               0.25
 * What else could be trained keeps its values and is named in the report.
 * *ret_report: {"fresh": tensors, "parameters": of them, "kept": [{name, why}]}.
 * Errors: MC_EUNSUP if there is nothing to begin afresh; MC_ENOMEM, MC_EIO. */
int mc_reinit(struct mc_model *m, uint64_t seed, json_t **ret_report, struct mc_err *err);

/* A new tensor of draws from [-bound, bound); the same for the same seed and stream. */
int mc_reinit_uniform(const struct mc_model *m, const struct mc_shape *shape, enum mc_dtype dtype,
                      double bound, uint64_t seed, uint64_t stream, struct mc_tensor **ret,
                      struct mc_err *err);

#endif
