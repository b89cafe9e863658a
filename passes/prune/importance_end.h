/* Where units end: the inputs of nodes whose results know nothing of them any more.
 *
 * To take a unit away is to have zeros read there: in the columns of a weight that reads it, in all layers behind a
 * residual stream, in the product of queries and keys. What is computed at these places counts the whole unit, and
 * nothing of it twice. */
#ifndef MC_PASSES_IMPORTANCE_END_H
#define MC_PASSES_IMPORTANCE_END_H

#include "passes/couple/coupling.h"

struct mc_unit_end {
    const struct mc_node *node;
    size_t slot;
    const struct mc_value *v; /* node->in[slot] */
    int axis;
    int64_t n;     /* positions */
    int per;       /* units a position */
    int32_t *unit; /* [n][per]; -1: none, or one that goes on */
    bool second;   /* an input before it ends the same units there: the other side of a product */
    /* v is a constant, and what it reads stays inside the node, the states of a cell: */
    bool inside;
    const struct mc_value *states; /* the result of the node that has them, or NULL */
    int states_axis;
};

struct mc_unit_ends {
    struct mc_arena mem;
    struct mc_unit_end *list; /* in the order of nodes */
    size_t n;
};

/* Errors: MC_ENOMEM. Cost: linear in positions of axes that have units. */
int mc_unit_ends_find(const struct mc_coupling *c, struct mc_unit_ends *ret, struct mc_err *err);
void mc_unit_ends_free(struct mc_unit_ends *e);

/* ret[n]: for each position sum of squares of what reads it, of a constant of the node; 1 where there is none but the
 * node computes with it all the same, 0 where it only looks past it (Slice, Gather, Shape).
 * Errors: MC_ENOMEM. */
int mc_unit_end_weights(const struct mc_coupling *c, const struct mc_unit_end *e, double *ret,
                        struct mc_err *err);

#endif
