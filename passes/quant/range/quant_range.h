/* From what a value holds to a scale and a zero point. Numbers only: no graphs. */
#ifndef MC_PASSES_QUANT_RANGE_H
#define MC_PASSES_QUANT_RANGE_H

#include <jansson.h>

#include "passes/quant/quant_form.h"

/* An online histogram: bins of equal width around all values seen, whose width doubles when they no longer fit, so that
 * memory and result do not depend on how many there are, and two can be added. NaN and infinity are counted apart. */
enum { MC_QUANT_BINS = 2048 };

struct mc_quant_hist {
    double width;    /* of a bin, a power of two; 0: no value yet that is not 0 */
    int64_t first;   /* bin i holds values in [(first + i) width, (first + i + 1) width) */
    uint64_t *count; /* [MC_QUANT_BINS], heap */
    uint64_t zeros;  /* exact zeros, in no bin: they are quantised without loss */
    uint64_t n;      /* finite values, zeros included */
    uint64_t nan, infinite;
    double min, max, sum, square; /* exact, over finite values */
};

int mc_quant_hist_init(struct mc_quant_hist *h, struct mc_err *err);
void mc_quant_hist_free(struct mc_quant_hist *h);
/* Errors: MC_ENOMEM. Cost: one pass. */
int mc_quant_hist_add(struct mc_quant_hist *h, const float *x, int64_t n, struct mc_err *err);
int mc_quant_hist_merge(struct mc_quant_hist *h, const struct mc_quant_hist *of,
                        struct mc_err *err);

struct mc_quant_type { /* of integers */
    int bits;
    bool is_signed;
    bool symmetric; /* zero point 0 (unsigned: the middle, 128) and as much on both sides */
    bool narrow;    /* without the lowest number: [-127, 127] */
};
void mc_quant_type_limits(const struct mc_quant_type *t, int32_t *ret_lo, int32_t *ret_hi);

struct mc_quant_param {
    float scale;  /* > 0, finite, not subnormal */
    int32_t zero; /* within the limits; 0.0 is always representable */
};

/* The grid that holds [lo, hi] and 0, as ONNX Runtime makes it: asymmetric ones round the zero point. */
void mc_quant_param_of(double lo, double hi, const struct mc_quant_type *t,
                       struct mc_quant_param *ret);

/* The range of least loss by `method`. Of nothing but zeros (or nothing): scale 1. Never fails: a range of one constant
 * c != 0 gives a scale that represents c exactly or nearly.
 * Source: Migacz, 8-bit inference with TensorRT, 2017 (entropy: Kullback-Leibler over 2048 bins);
 * Choukroun et al., Low-bit Quantization of Neural Networks for Efficient Inference, 2019 (mse). */
void mc_quant_range(const struct mc_quant_hist *h, const struct mc_quant_type *t,
                    enum mc_quant_range_method method, double percentile,
                    struct mc_quant_param *ret);
/* Mean squared error of the histogram's values under p. */
double mc_quant_hist_error(const struct mc_quant_hist *h, const struct mc_quant_type *t,
                           const struct mc_quant_param *p);

json_t *mc_quant_hist_json(const struct mc_quant_hist *h); /* sparse; NULL when out of memory */
/* Errors: MC_EDATA naming what is wrong. */
int mc_quant_hist_read(const json_t *o, struct mc_quant_hist *ret, struct mc_err *err);

#endif
