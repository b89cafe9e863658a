/* Places where a gradient says what units are worth: gates on what is read, or weights. */
#ifndef MC_PASSES_IMPORTANCE_GATE_H
#define MC_PASSES_IMPORTANCE_GATE_H

#include "passes/prune/importance_end.h"

struct mc_gate {
    const struct mc_unit_end *end; /* whose node reads it, and the units of the axis */
    const struct mc_value *value;  /* of mc_gates.model: the gate, or the constant */
    bool constant;
    int batch_axis; /* of the samples; -1: not known */
    float *content; /* of the constant */
    double *square; /* [end->n] room for a sum, of weights */
    int act;        /* free for the user */
};

struct mc_gates {
    struct mc_model *model; /* a copy with an Identity at each end */
    struct mc_unit_ends ends;
    struct mc_gate *list;
    size_t n;
};

/* All ends that are not the second side of a product, in the float types; of what stays inside a node the constant.
 * Errors: MC_ENOMEM; MC_EUNSUP where an end is of another type. */
int mc_gates_of_ends(const struct mc_coupling *c, struct mc_gates *ret, struct mc_err *err);
/* All axes of float constants that make units, read them or lie along them; end->node is NULL. */
int mc_gates_of_weights(const struct mc_coupling *c, struct mc_gates *ret, struct mc_err *err);
void mc_gates_free(struct mc_gates *g);

#endif
