/* Several matrices with one input as one: [W1; W2; …] in a norm whose outer side is block diagonal. */
#ifndef MC_PASSES_SVD_STACK_H
#define MC_PASSES_SVD_STACK_H

#include "passes/svd/svd_norm.h"

struct mc_svd_stack {
    struct mc_layer layer; /* W [sum of m, n] f32, one site without a node */
    struct mc_tensor *weight;
    struct mc_layer_site site;
    struct mc_svd_norm norm; /* so that errors are comparable as they are */
    struct mc_svd_norm_hold hold;
    struct mc_tensor *out; /* norm.out */
};

/* Of an item's layers. Errors: MC_ENOMEM, MC_EIO, MC_EDATA for weights that are not finite. */
int mc_svd_stack_make(struct mc_svd_run *r, const struct mc_svd_item *it, struct mc_svd_stack *ret,
                      struct mc_err *err);
void mc_svd_stack_free(struct mc_svd_stack *s);

#endif
