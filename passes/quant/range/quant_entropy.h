/* Where to clip so that what quantisation leaves of a distribution tells least apart from it. */
#ifndef MC_PASSES_QUANT_ENTROPY_H
#define MC_PASSES_QUANT_ENTROPY_H

#include "passes/quant/range/quant_range.h"

/* Search of the window of bins with the least Kullback-Leibler divergence between the values, those outside put into
 * the outermost bins, and the same in `levels` equal steps. `folded`: of magnitudes, *ret_lo = -*ret_hi; else each end
 * on its own, where there are values beyond 0. Every window of whole bins with at least `levels` bins is looked at
 * (ends that move apart: in turn until neither moves). Fewer bins than levels: all of the range.
 * Cost: levels logarithms a window.
 * Source: Migacz, 8-bit inference with TensorRT, 2017; deviates: a bin of the steps is a whole part of the window
 * also where levels do not divide it, zeros do not count (all steps hold them), and the empty steps that outliers are put into
 * rule a window out. */
void mc_quant_entropy(const struct mc_quant_hist *h, int levels, bool folded, double *ret_lo,
                      double *ret_hi);

#endif
