/* What stands before a sign in the training form, as a threshold. Private to binarize_close.c. */
#ifndef MC_PASSES_BINARIZE_THRESHOLD_H
#define MC_PASSES_BINARIZE_THRESHOLD_H

#include "graph/graph.h"

struct mc_sign_threshold {
    struct mc_value *x; /* what is compared */
    float *at;          /* [channels] */
    bool *flip;         /* [channels] the sign is x < at ? 1 : -1, the other way round */
    int64_t channels;
};

/* sign: a SignSTE of channels. Behind a BatchNormalization, which is folded, or a Sub of a constant; otherwise thresholds are 0.
 * reshaped: the first dimension of what is compared was made by a Reshape, of a product of higher rank.
 * Errors: MC_EDATA for NaN and infinity, or where no channel has a sign that depends on x; MC_ESHAPE, MC_EUNSUP for
 * parameters that are none; MC_ENOMEM. */
int mc_sign_threshold(const struct mc_node *sign, bool reshaped, int64_t channels,
                      struct mc_sign_threshold *ret, struct mc_err *err);
void mc_sign_threshold_free(struct mc_sign_threshold *t);

/* BatchNormalization behind a product: y by + plus, [channels] each. */
struct mc_norm_line {
    double *by, *plus; /* of one block; NULL: there is none */
};

/* Errors: MC_EDATA for NaN and infinity; MC_ESHAPE; MC_ENOMEM. */
int mc_norm_line(const struct mc_node *norm, int64_t channels, struct mc_norm_line *ret,
                 struct mc_err *err);
void mc_norm_line_free(struct mc_norm_line *l);

#endif
