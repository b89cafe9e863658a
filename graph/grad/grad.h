/* State of one backward pass. Private to graph/grad. */
#ifndef MC_GRAPH_GRAD_GRAD_H
#define MC_GRAPH_GRAD_GRAD_H

#include "graph/grad/rule.h"

struct mc_grad {
    struct mc_graph *g;
    struct mc_infer *inf;
    size_t n_nodes, n_values; /* of the forward graph: what stands behind was emitted */
    bool *depends;            /* [n_values] on a value whose gradient is asked for */
    bool *reaches;            /* [n_values] the loss */
    struct mc_value **sum;    /* [n_values] gradient so far, or NULL */
    struct mc_value **shape;  /* [n_shape] Shape(v) by index of v; grows */
    size_t n_shape;
    const char **stop; /* [n_node_ids] why no gradient goes through a node, or NULL */
    bool refused;      /* a rule set a stop: what was emitted is for nothing */
    struct mc_node *last;
    size_t n_emitted; /* for names */
    int rc;
    struct mc_err *err;
};

/* In the model's arena; NULL when out of memory. */
const char *mc_grad_text(struct mc_grad *g, const struct mc_node *n, const char *what);

#endif
