/* Signs of weights, packed, and their scales. */
#ifndef MC_PASSES_BINARIZE_PACK_H
#define MC_PASSES_BINARIZE_PACK_H

#include "graph/tensor.h"

/* How a weight lies: W [m outputs, n inputs], or with `last` [n, m]. */
struct mc_signs_of {
    int64_t m, n;
    bool last;
};

/* w: a float tensor of m n elements. *ret_bits uint8 [m, ceil(n/8)]: bit i of byte j of a row is weight 8j+i, 1: not
 * negative; *ret_scale float [m,1]: mean |w| of each row, times `by`.
 * flip[i] turns the signs of the inputs of channel i over; each channel has `each` inputs in a row. NULL: none is.
 * Errors: MC_EDATA naming `name` for NaN and infinity; MC_EDTYPE, MC_ENOMEM. Cost: one pass over w.
 * Source: Rastegari et al., XNOR-Net, ECCV 2016, eq. (6): the scale of least squared error. */
int mc_signs_pack(const char *name, const struct mc_tensor *w, const struct mc_signs_of *of,
                  const bool *flip, int64_t each, double by, struct mc_tensor **ret_bits,
                  struct mc_tensor **ret_scale, struct mc_err *err);
/* scale * sign as float32 [m, n] of this shape, which holds as many elements. Errors: MC_ESHAPE, MC_EDTYPE, MC_ENOMEM. */
int mc_signs_unpack(const struct mc_tensor *bits, const struct mc_tensor *scale, int64_t n,
                    const struct mc_shape *shape, struct mc_spill *spill, struct mc_tensor **ret,
                    struct mc_err *err);
/* Share of the squares of w that scale * sign does not have, as a root: |w - alpha sign(w)| / |w|; 0 where w is 0. */
int mc_signs_error(const struct mc_tensor *w, const struct mc_signs_of *of, double *ret,
                   struct mc_err *err);

#endif
