/* Training a quantised model: latent float weights, scales that learn (quantisation-aware training).
 *
 * In the training form a pair of QuantizeLinear and DequantizeLinear is one node, FakeQuantize of ai.mcompress.grad
 * (graph/ops/fake_quant.c), which our executor never turns into integer kernels; stored integers are latent floats behind
 * one. Which nodes: DequantizeLinear of the main graph whose scale is a float32 constant, of constant integers that nothing
 * else reads (per tensor, per channel or in blocks), or of what a QuantizeLinear with the same constants gives. Others stay.
 *
 * Activations of fewer bits than their type, in the file: Clip(x, (lo - zero) scale, (hi - zero) scale) -> QuantizeLinear to
 * uint8 -> DequantizeLinear, the bounds float32 constants; every runtime computes that, and the bounds follow the scale
 * that is trained. QuantizeLinear to uint4 or int4 (opset 21) needs no Clip and trains as well. */
#ifndef MC_PASSES_QUANT_TRAIN_H
#define MC_PASSES_QUANT_TRAIN_H

#include "passes/quant/quant_form.h"

/* File form -> training form. Latent floats are what the integers stand for. Weights keep the fewest bits that hold their
 * integers. Scales of weights and activations are trained (zero points are not), with gradients as Esser et al., Learned
 * Step Size Quantization, ICLR 2020, scale them; deviates: what is trained is the logarithm of how much a scale has grown,
 * so that it stays above 0 for any optimiser, and the gradient of that is cut at 1. Equal scales at both ends of
 * what only moves elements stay equal. Biases of 32 bits whose scale is the product of two others train as floats behind a
 * rounding to that product. A model without such nodes is left alone.
 * Errors: MC_ENOMEM, MC_ESHAPE for scales that do not fit. */
int mc_quant_open(struct mc_pass_ctx *ctx, struct mc_model *m, struct mc_err *err);
/* Back: latent floats are rounded to integers, biases have the product of their scales. What is written computes what was
 * trained, to the rounding of floats; where nothing was trained it has the integers and scales of before. Errors: MC_ENOMEM. */
int mc_quant_close(struct mc_pass_ctx *ctx, struct mc_model *m, struct mc_err *err);

#endif
