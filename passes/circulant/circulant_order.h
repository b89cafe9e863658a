/* Which rows share a block of rows, and at which place of it each stands.
 *
 * Rows of a block are one row in all its rotations, so a block loses less where the rows in it fit together. Hidden units have
 * no order that matters, so that this is free where the next layer can be told of it. */
#ifndef MC_PASSES_CIRCULANT_ORDER_H
#define MC_PASSES_CIRCULANT_ORDER_H

#include "passes/circulant/circulant_form.h"

/* order [m]: row order[i] of cross should become row i. Starts from the order as it is, and exchanges pairs of rows while
 * that explains more of the layer's outputs: *ret_before and *ret_after are what a fit explains. Rows of a last block that
 * is not whole stay in it. second, cross, ridge: as for mc_circulant_form_fit.
 * Errors: those of it. Cost: m b n² for the start, 4 m² n a round of at most three. Memory: m b n floats (n columns with padding);
 * *ret_large: they are more than `most`, and order is as it was. The same for any thread count. */
int mc_circulant_order(const struct mc_circulant_form *f, struct mc_linalg *la, const float *second,
                       const float *cross, double ridge, double most, int64_t *order,
                       double *ret_before, double *ret_after, bool *ret_large, struct mc_err *err);

#endif
