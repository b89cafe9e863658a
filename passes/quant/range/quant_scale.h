/* Scales of up to 16 parts of a weight at once, a lane each. Private to passes/quant. */
#ifndef MC_PASSES_QUANT_SCALE_H
#define MC_PASSES_QUANT_SCALE_H

#include "graph/dtype.h"
#include "passes/quant/range/quant_range.h"

enum { MC_QUANT_LANES = 16 };

/* x [rows][16], aligned to 64 bytes. Lane j holds the values of part j; or, `wide`, all lanes hold those of one part,
 * row by row. What is not filled is 0, which costs no error. */
struct mc_quant_strip {
    float *x;
    int64_t rows;
    int parts; /* 1 if wide */
    bool wide;
};

/* Whether all values are finite. */
bool mc_quant_strip_finite(const struct mc_quant_strip *s);
/* One for each part: MINMAX or MSE; its scale is a number of type `scale_type`. */
void mc_quant_strip_params(const struct mc_quant_strip *s, const struct mc_quant_type *t,
                           enum mc_quant_range_method method, enum mc_dtype scale_type,
                           struct mc_quant_param *ret);
/* q [rows][16] = clamp(round(x / scale) + zero), as bytes; adds to *error and *square the sums of squares of what is
 * lost and of x. */
void mc_quant_strip_round(const struct mc_quant_strip *s, const struct mc_quant_type *t,
                          const struct mc_quant_param *p, uint8_t *q, double *error,
                          double *square);

#endif
