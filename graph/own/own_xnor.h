/* Layers of signs: what passes need to write them. */
#ifndef MC_GRAPH_OWN_OWN_XNOR_H
#define MC_GRAPH_OWN_OWN_XNOR_H

#include "graph/own/own.h"

/* How runtimes compute a layer of binary weights. */
enum mc_own_speed {
    MC_OWN_EXACT, /* as the layer of floats, to the bit */
    MC_OWN_FAST, /* activations rounded to 8 bits: products of integers; 0.4 to 1 % of the largest output */
};

/* The function for a layer of binary weights, whose activations are signs too (always exact) or real: XnorGemm, XnorConv,
 * BinaryGemmFast, BinaryConvFast, or BinaryWeight, which makes the weight of an ordinary layer. */
const char *mc_own_binary_name(bool conv, bool signs, enum mc_own_speed speed);

/* For mc_own_call: attributes of Xnor… and Binary…Fast. */
struct mc_own_layer {
    int64_t columns;
    const struct mc_node
        *conv; /* a Conv of group 1 with these strides, pads and dilations; NULL: a product */
    struct mc_shape shape; /* of its weight */
};
/* Errors: MC_EUNSUP for groups and auto_pad; MC_ENOMEM. */
int mc_own_set_layer(void *layer, struct mc_node *n, struct mc_err *err);

/* MC_OWN_FAST: every Gemm, MatMul and Conv (group 1, pads written out) of m's main graph whose weight is a BinaryWeight
 * becomes BinaryGemmFast or BinaryConvFast; layers that cannot (LSTM, groups) stay. MC_OWN_EXACT: back. *ret_n, unless NULL: how
 * many. Errors: MC_ENOMEM, MC_EUNSUP where the model has another function of that name; m must be dropped then. */
int mc_own_binary_speed(struct mc_model *m, enum mc_own_speed speed, size_t *ret_n,
                        struct mc_err *err);

#endif
