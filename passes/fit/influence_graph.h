/* A model with gradients from its outputs to inner values behind it. */
#ifndef MC_PASSES_INFLUENCE_GRAPH_H
#define MC_PASSES_INFLUENCE_GRAPH_H

#include "graph/infer.h"
#include "passes/fit/influence.h"

enum { MC_INFLUENCE_NONE = -1 };

struct mc_influence_graph {
    const char **names;          /* inputs to be fed, then outputs */
    const struct mc_value **out; /* floating outputs of the given model */
    size_t n_in, n_out;

    struct mc_model *model; /* the copy */
    const char **d;         /* [n_d] its inputs for gradients of outputs, copy by copy */
    size_t n_d;
    int copies;
    const char **only; /* what is to be computed */
    size_t n_only;
    int *grad_of; /* [copies * n] place in `only` of value i's gradient, or MC_INFLUENCE_NONE */
    const char *
        why; /* of the first value that an operator without a gradient keeps it from; NULL: there is none */
    struct mc_arena mem;
};

/* Inputs and outputs. Errors: MC_EUNSUP if a model has no floating output that nodes make. */
int mc_influence_graph_open(const struct mc_model *m, struct mc_influence_graph *ret,
                            struct mc_err *err);
/* `copies` gradients in one run, each from outputs' gradients of its own. Errors: those of mc_backward. */
int mc_influence_graph_build(struct mc_influence_graph *g, const struct mc_model *m,
                             const struct mc_infer_opts *infer, const struct mc_influence *inf,
                             size_t n, int copies, struct mc_err *err);
void mc_influence_graph_free(struct mc_influence_graph *g);

#endif
