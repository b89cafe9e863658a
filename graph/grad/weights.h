/* What of a graph can be trained. */
#ifndef MC_GRAPH_GRAD_WEIGHTS_H
#define MC_GRAPH_GRAD_WEIGHTS_H

#include "graph/graph.h"

struct mc_weight {
    struct mc_value
        *value; /* a float constant of the main graph: an initializer, or of a Constant node */
    struct mc_shape shape;
    const char *why; /* NULL: to be trained; else why it stays as it is */
    bool decays;     /* weight decay is for it: rank 2 and above, no norm's scale */
    bool statistic;  /* running mean or variance of a BatchNormalization: kept up, not trained */
};

struct mc_weights {
    struct mc_arena mem;
    struct mc_weight *list; /* in the order of first use */
    size_t n, n_trained;
};

struct mc_weights_opts {
    const char *freeze,
        *only; /* POSIX extended regular expressions on names of values; NULL: none */
};

/* Every float constant that nodes of g compute with. Trained are: weights (input 1, 2 … of Conv, Gemm, MatMul, norms,
 * PRelu, recurrent cells, tables of Gather) also where views, Transpose, Slice, Cast or arithmetic among
 * constants stand between; operands of elementwise nodes and of Concat with more than one element. Not: scalars,
 * running statistics, constants combined with nothing but graph inputs (preprocessing), masks (an element
 * that is not finite or of 1e4 and more), scales of quantisation, constants in bodies and functions. `only` trains also
 * what would stay otherwise, where it has a float type. Shared constants are listed once.
 * Errors: MC_EUSAGE for a bad expression, or one that matches no constant; MC_ENOMEM. */
int mc_weights_find(struct mc_graph *g, const struct mc_weights_opts *opts, struct mc_weights *ret,
                    struct mc_err *err);
void mc_weights_free(struct mc_weights *w);

#endif
