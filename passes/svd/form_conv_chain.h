/* A chain of convolutions in place of one. */
#ifndef MC_PASSES_FORM_CONV_CHAIN_H
#define MC_PASSES_FORM_CONV_CHAIN_H

#include "passes/svd/svd_run.h"

struct mc_conv_stage {
    struct mc_shape shape; /* of its weight */
    unsigned axes; /* bit i: it has the window along spatial axis i, otherwise that is 1 wide */
    int64_t group;
    const char *suffix; /* of its weight's name, and its node's */
    const float *w;     /* content, or NULL where only the size counts */
};

enum { MC_CONV_STAGES = 3 };
struct mc_conv_chain {
    struct mc_conv_stage stage[MC_CONV_STAGES];
    size_t n;
};

uint64_t mc_conv_chain_bytes(const struct mc_layer *l, const struct mc_conv_chain *c);
/* Multiply-accumulates of a sample at all sites; NAN: unknown. */
double mc_conv_chain_macs(const struct mc_layer *l, const struct mc_conv_chain *c);

/* Put it at every site of a layer l of m. The last stage is
 * the node that was there, with its bias. Padding stays zero in front of each stage, since none but the last has a
 * bias. mean_error[site] [m], or NULL there, or NULL: what the bias takes up; content does not count where stages
 * have none. */
int mc_conv_chain_place(struct mc_model *m, const struct mc_layer *l, const struct mc_conv_chain *c,
                        float *const *mean_error, struct mc_err *err);

#endif
