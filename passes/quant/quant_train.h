/* Training a quantised model: latent float weights, scales that learn (quantisation-aware training). */
#ifndef MC_PASSES_QUANT_TRAIN_H
#define MC_PASSES_QUANT_TRAIN_H

#include "passes/quant/quant_form.h"

/* File form -> training form: each DequantizeLinear of integer weights becomes latent floats -> QuantizeLinear ->
 * DequantizeLinear; int32 biases become floats; scales of weights and activations are weights that train, their gradients
 * as Esser et al., Learned Step Size Quantization, ICLR 2020, scale them. A model without QuantizeLinear is left alone. */
int mc_quant_open(struct mc_pass_ctx *ctx, struct mc_model *m, struct mc_err *err);
/* Back: what was trained rounded to integers; what is written computes what was trained. */
int mc_quant_close(struct mc_pass_ctx *ctx, struct mc_model *m, struct mc_err *err);

#endif
