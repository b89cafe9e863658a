/* Put two factors where a weight was. */
#ifndef MC_PASSES_SVD_REWRITE_H
#define MC_PASSES_SVD_REWRITE_H

#include "passes/svd_layer.h"

/* W ≈ A B: A [m, rank] (row stride lda), B [rank, n]; both NULL: placeholders that must never be read, of
 * the right size, for a model that is only counted.
 * shift: per site, what to add to its product W x, [m]; NULL, or NULL for a site: nothing. */
struct mc_svd_factors {
    int64_t rank, lda;
    const float *a, *b;
    float *const *shift;
};

/* Rewrite every site of a layer: MatMul -> MatMul, MatMul; Gemm -> MatMul, Gemm; Conv -> Conv, 1x1 Conv.
 * Factors keep the weight's dtype; large ones go to the model's spill space. The node keeps its name and
 * its output. The old weight stays, unused, for mc_edit_sweep. */
int mc_svd_rewrite(struct mc_model *m, const struct mc_svd_layer *l, const struct mc_svd_factors *f,
                   struct mc_err *err);

#endif
