/* A model to measure recurrent cells in: what their nodes keep inside are values there.
 *
 * It computes the same outputs as the model it is made from and has all its values under their names. Each LSTM,
 * GRU and RNN of the main graph that holds layers gives all its states; and where `sums` are wanted, the products of its
 * inputs are a MatMul in front of it, whose result [.., directions gates h] is what an error of its input weights, or of
 * its recurrent ones, adds to. */
#ifndef MC_PASSES_SVD_PROBE_H
#define MC_PASSES_SVD_PROBE_H

#include "passes/layer/layer.h"

struct mc_svd_probe {
    struct mc_model *model;
    const struct mc_value **states, **sums; /* by id of the original's node; NULL: none */
};

/* *ret stays empty where no layer needs it. Errors: MC_ENOMEM. */
int mc_svd_probe_make(const struct mc_model *m, const struct mc_layers *l, bool sums,
                      struct mc_svd_probe *ret, struct mc_err *err);
void mc_svd_probe_free(struct mc_svd_probe *p);

#endif
