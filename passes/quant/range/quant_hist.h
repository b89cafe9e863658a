/* Parts of histograms for passes/quant. */
#ifndef MC_PASSES_QUANT_HIST_H
#define MC_PASSES_QUANT_HIST_H

#include "passes/quant/range/quant_range.h"

enum { MC_QUANT_PARTS = 8 }; /* pieces of a large value that are counted at once */

/* As after mc_quant_hist_init. */
void mc_quant_hist_clear(struct mc_quant_hist *h);
/* Widen [*lo, *hi] to the finite of n values and add them to *sum. */
void mc_quant_extremes(const float *x, int64_t n, float *lo, float *hi, double *sum);

#endif
