/* The part of a model behind one value, as a model of its own. */
#ifndef MC_PASSES_INFLUENCE_CUT_H
#define MC_PASSES_INFLUENCE_CUT_H

#include "graph/infer.h"

struct mc_cut {
    struct mc_model *model;
    /* What to feed: values of the whole model ("from") that are inputs of the part ("to"); [0] is the value
     * it was cut at. */
    const char **from, **to;
    size_t n;
    const char **outputs;              /* floating outputs of the part that change with [0] */
    const struct mc_value **output_of; /* the same in the whole model */
    size_t n_outputs;
    bool whole;  /* the value itself is an output of the model */
    double work; /* of one sample, in multiply-accumulates; -1: unknown */
    struct mc_arena mem;
};

/* y is a value of the main graph. Errors: MC_ENOMEM, MC_EUNSUP where an edge has no known type. */
int mc_cut_behind(const struct mc_model *m, const struct mc_value *y, struct mc_cut *ret,
                  struct mc_err *err);
void mc_cut_free(struct mc_cut *c);

/* Multiply-accumulates of a graph run on these inputs, what moving its values takes counted in; -1: unknown. */
int mc_cut_work(const struct mc_graph *g, const struct mc_infer_opts *o, double *ret,
                struct mc_err *err);

#endif
