/* One matrix for all gates of a recurrent cell, with a scale for each gate and unit. */
#ifndef MC_PASSES_SHARE_GATE_H
#define MC_PASSES_SHARE_GATE_H

#include "passes/share/share_code.h"

/* x->w [d g n, m], rows of gate i of direction k at (k g + i) n; with x->parts = 1 or d, and its norms as in share_code.h.
 * w0 [d, n, m] and a [d, g, n] of least error sum over rows ‖(w_i - a_i w0_u) K‖² g_i, u the row's unit: for each unit the
 * closest matrix [g, m] of rank one (Eckart, Young, 1936), whose scales are the first eigenvector of the g x g matrix of
 * products. Scales of a unit have a mean square of 1, and a sum that is not negative. Errors: MC_EDATA for what is not finite, MC_ENOMEM.
 * *ret_error, *ret_total: what is left, and of zeros. Cost: d g n m² with K, else d g² n m.
 * Equal gates come out equal, to the rounding of floats. */
int mc_share_gate_fit(const struct mc_share_matrix *x, int64_t d, int64_t g, float *w0, float *a,
                      double *ret_error, double *ret_total, struct mc_err *err);

#endif
