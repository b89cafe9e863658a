/* Hidden units in another order: rows of the weight that makes them, and whatever counts them up to the weights that read them. */
#ifndef MC_PASSES_CIRCULANT_HIDDEN_H
#define MC_PASSES_CIRCULANT_HIDDEN_H

#include "passes/layer/layer.h"

struct mc_circulant_axis { /* of a constant, that has the units along it */
    struct mc_value *value;
    int axis;
};

struct mc_circulant_hidden {
    int64_t m;                      /* units */
    struct mc_circulant_axis *axis; /* [n]; an axis k m long has k positions a unit, side by side */
    size_t n, cap;
};

/* What to change with the order of a layer's outputs. *ret_free: the order is free: they go through element-wise operators,
 * norms, pools and a Flatten into products with constants that nobody else has. Otherwise `ret` is empty.
 * Errors: MC_ENOMEM. Cost: linear in the nodes behind. */
int mc_circulant_hidden_find(const struct mc_layer *l, struct mc_circulant_hidden *ret,
                             bool *ret_free, struct mc_err *err);
void mc_circulant_hidden_free(struct mc_circulant_hidden *h);

/* Unit order[i] becomes unit i: what the model computes stays the same. Errors: MC_ENOMEM, MC_EIO; the model must be dropped
 * then. Cost: the constants are copied. */
int mc_circulant_hidden_apply(const struct mc_circulant_hidden *h, const int64_t *order,
                              struct mc_err *err);

/* Put position order[i * run + k], k < run, of an axis at i * run + k: a constant of its own, of the same type. order [dim /
 * run]. Errors: MC_ENOMEM, MC_EIO. */
int mc_circulant_permute(struct mc_value *v, int axis, const int64_t *order, int64_t run,
                         struct mc_err *err);

#endif
