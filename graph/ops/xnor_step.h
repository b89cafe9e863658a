/* XnorGemm and XnorConv, and the bits that they hand to one another in place of floats: the planner finds out
 * which sums become which sign by all that is between two of them (graph/run/fuse_xnor.h). */
#ifndef MC_GRAPH_OPS_XNOR_STEP_H
#define MC_GRAPH_OPS_XNOR_STEP_H

#include "graph/ops/op.h"
#include "graph/ops/window.h"
#include "kernels/kernels.h"

enum { MC_XNOR_X, MC_XNOR_T, MC_XNOR_P, MC_XNOR_S, MC_XNOR_B, MC_XNOR_TABLE, MC_XNOR_INPUTS };

struct mc_xnor_bits {            /* what becomes of the sums of a product, by column or filter */
    const int32_t *least, *most; /* as mc_xnor_out has them */
    bool image;                  /* of a convolution */
    /* A maximum behind it: 1 where one bit of the window is, then the exclusive or with `turned`, a word for 32
     * channels. */
    const struct mc_window_dims *pool;
    const uint32_t *turned;
    bool flat; /* a row for each image, [channels * height * width] in this order */
};

/* mc_call.xnor; NULL: floats on both sides. Bits lie as kernels/xnor.h has them. */
struct mc_xnor {
    bool packed;                    /* input 0 is bits */
    struct mc_shape x;              /* of input 0 as floats */
    const struct mc_xnor_bits *out; /* or NULL: floats */
};

struct mc_xnor_sizes {  /* what attributes say */
    int64_t filters, k; /* filters of XnorGemm: MC_DIM_ANY */
    int rank;           /* spatial dimensions, 1 or 2; of XnorGemm 0 */
    int64_t channels, kernel[MC_WINDOW_DIMS];
};

bool mc_xnor_is_conv(const struct mc_node *n);
/* Sizes of the weight, all of them from 1 to 2^24, as k is. Errors: MC_ESHAPE, MC_EUNSUP naming node and attribute. */
int mc_xnor_weight(const struct mc_node *n, struct mc_xnor_sizes *ret, struct mc_err *err);

/* Bytes that a call with the result y hands on: [rows, bytes], of convolutions [n, words, height, width, 4]. */
struct mc_shape mc_xnor_bits_shape(const struct mc_xnor_bits *b, const struct mc_shape *y);

/* Pool and flatten the bits of n images [n, words, pixels]; scratch bytes for it. */
size_t mc_xnor_hand_scratch(const struct mc_xnor_bits *b, int64_t n, int64_t channels);
void mc_xnor_hand(const struct mc_xnor_bits *b, int64_t n, int64_t channels, int64_t pixels,
                  const uint32_t *bits, void *to, void *scratch, struct mc_pool *pool);

#endif
