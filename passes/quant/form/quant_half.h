/* Weights, and on request activations, in 16-bit floats. */
#ifndef MC_PASSES_QUANT_HALF_H
#define MC_PASSES_QUANT_HALF_H

#include "passes/quant/quant_form.h"

struct mc_quant_half {
    enum mc_dtype to; /* F16 or BF16 */
    bool computed;    /* F16 only: activations become halves, too */
};

/* Halve the file: float weights of the graph, its bodies and functions are stored as `to`, and a Cast makes floats of
 * them, which runtimes do once when they load the model: speed and operators stay those of floats. (ONNX Runtime 1.32 on
 * a CPU computes in F16 up to a quarter slower than in F32, and refuses Conv, Gemm and LSTM in BF16.)
 *
 * computed: every operator of the main graph that can compute in F16 does, for devices that are made for it; inputs and
 * outputs of the model stay float, and so do, between Casts, the others: those without the type, If, Loop, Scan and calls, and with ctx->calib those that read or give values
 * beyond half of what F16 holds. Bodies and functions have stored weights.
 *
 * A weight that would lose more than rounding (values beyond the largest half, or lost below the smallest) stays, and its
 * row says so. *ret_report: {"layers": [{name, op, weight, action, reason, bytes_before, bytes_after, error}], "type",
 * "computed", "float_nodes"}.
 * Errors: MC_EUNSUP for computed BF16, MC_EDATA for calibration that does not fit, MC_ENOMEM. */
int mc_quant_half(struct mc_pass_ctx *ctx, struct mc_model *m, const struct mc_quant_half *how,
                  json_t **ret_report, struct mc_err *err);

#endif
