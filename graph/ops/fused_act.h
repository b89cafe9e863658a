/* The `activation` attribute of FusedConv and FusedGemm (com.microsoft). */
#ifndef MC_GRAPH_OPS_FUSED_ACT_H
#define MC_GRAPH_OPS_FUSED_ACT_H

#include "graph/ops/op.h"
#include "kernels/elementwise.h"
#include "kernels/epilogue.h"

struct mc_fused_act {
    struct mc_epilogue epilogue;
    bool rest;             /* a function that no epilogue holds, for mc_fused_act_rest */
    struct mc_unary unary; /* fn, a, b */
};

/* Errors: MC_EUNSUP for a function that is not known. */
int mc_fused_act(const struct mc_node *n, struct mc_fused_act *ret, struct mc_err *err);
/* What is left to do to output 0. */
void mc_fused_act_rest(const struct mc_call *c, const struct mc_fused_act *act);

#endif
