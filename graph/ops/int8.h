/* What operators on quantised tensors share. */
#ifndef MC_GRAPH_OPS_INT8_H
#define MC_GRAPH_OPS_INT8_H

#include "graph/ops/op.h"
#include "kernels/gemm_s8.h"
#include "kernels/quant.h"

/* Input i is int8 or uint8, where it is there and known. Errors: MC_EDTYPE. */
int mc_int8_need(const struct mc_infer_ctx *c, int i, struct mc_err *err);
/* Inputs of a quantised tensor: its scale is a float, its zero point has the type of input `of` (or of the
 * output, -1), both of one element or, with `many`, of any number. Left-out inputs are fine.
 * Errors: MC_EDTYPE, MC_ESHAPE. */
int mc_int8_need_params(const struct mc_infer_ctx *c, int scale, int zero, int of, bool many,
                        struct mc_err *err);

/* The zero points of b, at most `max` of them, in store; 0 and a step of 0 where b is NULL. */
struct mc_s8_zero mc_int8_zero(const struct mc_buf *b, int32_t *store);
/* The same of device memory, by its kernel. */
struct mc_s8_zero mc_int8_device_zero(const struct mc_call *c, const struct mc_buf *b,
                                      int32_t *store);
/* Element i of a buffer of float32 or float64, `missing` where b is NULL. */
float mc_int8_scale(const struct mc_buf *b, int64_t i, float missing);
/* Element 0 of an integer buffer, 0 where b is NULL. */
int32_t mc_int8_first(const struct mc_buf *b);

/* Range of the type of a row. */
void mc_int8_range(enum mc_dtype dtype, int32_t *lo, int32_t *hi);

/* x to uint8 by its own range with 0 in it:   scale = (max - min) / 255, zero = round(-min / scale)
 * Errors: none; a range of 0 has the scale 1. */
void mc_int8_dynamic(const struct mc_quant_kernels *k, const float *x, int64_t n, uint8_t *y,
                     float *ret_scale, int32_t *ret_zero, struct mc_pool *pool);

/* y = round(x / scale) + zero, or back, of n elements, cut for the pool. r->n is not read; r->step is 0. */
void mc_int8_quantize(const struct mc_quant_kernels *k, const struct mc_quant_row *r, int64_t n,
                      const float *x, void *y, struct mc_pool *pool);
void mc_int8_dequantize(const struct mc_quant_kernels *k, const struct mc_quant_row *r, int64_t n,
                        const void *x, float *y, struct mc_pool *pool);

#endif
