/* Put two factors where a weight was. */
#ifndef MC_PASSES_SVD_REWRITE_H
#define MC_PASSES_SVD_REWRITE_H

#include "passes/layer/layer.h"

/* W ≈ A B: A [m, rank] (row stride lda), B [rank, n]; both NULL: placeholders that must never be read, of
 * the right size, for a model that is only counted.
 * shift: per site, what to add to its product W x, [m]; NULL, or NULL for a site: nothing. */
struct mc_svd_factors {
    int64_t rank, lda;
    const float *a, *b;
    float *const *shift;
};

/* Rewrite every site of a layer: MatMul -> MatMul, MatMul; Gemm -> MatMul, Gemm; Conv -> Conv, 1x1 Conv; Gather ->
 * Gather, MatMul; inputs of a cell -> MatMul, cell.
 * Factors keep the weight's dtype; large ones go to the model's spill space. The node keeps its name and
 * its output. The old weight stays, unused, for mc_edit_sweep. */
int mc_svd_rewrite(struct mc_model *m, const struct mc_layer *l, const struct mc_svd_factors *f,
                   struct mc_err *err);

/* What other forms put together. */

/* A factor x, laid out as shape says, in the dtype of the layer's weight, or a placeholder where x is NULL: a constant
 * of the sites' graph, named after the weight. */
int mc_svd_factor(struct mc_model *m, const struct mc_layer *l, const struct mc_shape *shape,
                  const float *x, const char *suffix, struct mc_value **ret, struct mc_err *err);
/* Add shift [m] to what the site's product gives, in its bias. */
int mc_svd_shift_site(struct mc_model *m, const struct mc_layer *l, const struct mc_layer_site *s,
                      const float *shift, struct mc_err *err);

#endif
