/* XnorGemm and XnorConv that hand bits to one another: between the sums of one and the signs that the next takes, all
 * that happens to a number keeps or turns the order of numbers, so a sign is a comparison of the sum, an integer, with a
 * threshold. BatchNormalization goes that way, as do Relu, Clip, constants per channel, a maximum pool.
 *
 * The decisions are those of the steps themselves: thresholds are found by running them (fuse_xnor_threshold.c). Private
 * to graph/run. */
#ifndef MC_GRAPH_RUN_FUSE_XNOR_H
#define MC_GRAPH_RUN_FUSE_XNOR_H

#include "graph/ops/xnor_step.h"
#include "graph/run/fuse_integer.h"

enum { MC_XNOR_LINKS = 12 }; /* steps between two products, at most */

struct mc_xnor_link {
    struct mc_integers f;
    int head, reader; /* steps of XnorGemm, XnorConv */
    int between[MC_XNOR_LINKS], n;
    int pool;        /* place in `between` of a MaxPool; n if there is none */
    bool conv;       /* the head is one */
    bool flat;       /* of an image, for an XnorGemm */
    int64_t filters; /* of the head */
    int64_t pixels;  /* of its result, or of the pool's */
};

void mc_fuse_xnor(struct mc_session *s, struct mc_plan *p);

/* Every sum is compared with a threshold: what `bits` are then, in the plan's memory. False if it is not so, or there
 * is no memory for it. Cost: log2(k) runs of what is between, on one number a channel. */
bool mc_xnor_thresholds(const struct mc_xnor_link *l, struct mc_xnor_bits *ret);

#endif
