/* Weights as integers: scales, rounding, packing. Numbers and tensors only: no graphs. */
#ifndef MC_PASSES_QUANT_WEIGHT_H
#define MC_PASSES_QUANT_WEIGHT_H

#include "graph/tensor.h"
#include "passes/quant/range/quant_range.h"

/* How a weight is cut into parts with a scale each. */
struct mc_quant_cut {
    int axis;  /* channels along this axis have scales of their own; -1: one for all */
    int block; /* > 0: along `axis` so many elements share one, each for every index of the other axes (DequantizeLinear of
                * opset 21 with block_size) */
};

struct mc_quant_weight {
    struct mc_tensor *q;     /* INT8, UINT8, INT4, UINT4, INT2 or UINT2, the shape of the weight */
    struct mc_tensor *scale; /* of dtype `scale_type`; scalar, [channels], or blocked shape */
    struct mc_tensor *zero;  /* as q; NULL: all 0 */
    double error;            /* ||w - dequantised|| / ||w||; 0 for a weight of zeros */
    double error_square;     /* ||w - dequantised||² */
};

/* w: F32, F16, BF16 or F64. method MINMAX: the extremes; MSE: the scale of least squared error of each part (searched; exact in
 * what it compares). Channels of zeros get scale 1 (a normal number). Stored in 8 bits where t->bits > 4, in
 * 4 where > 2, else in 2.
 * Errors: MC_EDATA naming `name` and the element for NaN or infinity; MC_ENOMEM. Cost: a few passes, vectorised, on pool. */
int mc_quant_weight_make(const struct mc_tensor *w, const char *name, const struct mc_quant_type *t,
                         const struct mc_quant_cut *cut, enum mc_quant_range_method method,
                         enum mc_dtype scale_type, struct mc_pool *pool, struct mc_spill *spill,
                         struct mc_quant_weight *ret, struct mc_err *err);
void mc_quant_weight_free(struct mc_quant_weight *w);
/* Back to floats (free()). */
int mc_quant_weight_f32(const struct mc_tensor *q, const struct mc_tensor *scale,
                        const struct mc_tensor *zero, const struct mc_quant_cut *cut, float **ret,
                        struct mc_err *err);

#endif
