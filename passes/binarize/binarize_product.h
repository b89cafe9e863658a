/* Products of signs in the training form, with what belongs to them. For binarize_*.c. */
#ifndef MC_PASSES_BINARIZE_PRODUCT_H
#define MC_PASSES_BINARIZE_PRODUCT_H

#include "graph/graph.h"

struct mc_sign_product {
    struct mc_node *node;  /* Gemm, MatMul, Conv */
    struct mc_node *w;     /* BinarizeWeight */
    struct mc_node *sign;  /* SignSTE; NULL: inputs are real */
    bool reshaped;         /* a Reshape stands between sign and node */
    struct mc_node *add;   /* adds a constant row; NULL */
    struct mc_value *bias; /* NULL */
    struct mc_node
        *norm; /* BatchNormalization of its outputs alone, with constant statistics; NULL */
};

/* Is n a product with binarised weights, of signs, or of real inputs in one call? */
bool mc_sign_product_find(struct mc_node *n, struct mc_sign_product *ret);
/* What comes out of it: of its norm, else behind its bias. */
struct mc_node *mc_sign_product_last(const struct mc_sign_product *p);

#endif
