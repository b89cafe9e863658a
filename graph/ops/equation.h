/* The equation of an Einsum node, for operands of known rank. */
#ifndef MC_GRAPH_OPS_EQUATION_H
#define MC_GRAPH_OPS_EQUATION_H

#include "graph/ops/op.h"

/* Labels: A-Z, a-z in this order, then the dimensions of an ellipsis, from the last one backwards. */
enum {
    MC_LABEL_ELLIPSIS = 52,
    MC_LABELS = MC_LABEL_ELLIPSIS + MC_RANK_MAX,
    MC_EQUATION_TERMS = 16
};

struct mc_term {
    int rank;
    uint8_t label[MC_RANK_MAX]; /* of each dimension */
};

struct mc_equation {
    int n;
    struct mc_term in[MC_EQUATION_TERMS], out; /* labels of `out` are different from each other */
};

/* Errors: MC_ESHAPE where the equation is malformed or does not fit the ranks; MC_EUNSUP for more operands
 * or dimensions than can run. */
int mc_equation_parse(const struct mc_node *node, int n, const int *rank, struct mc_equation *ret,
                      struct mc_err *err);

#endif
