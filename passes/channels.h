/* Which axes of which values are one and the same: the channels of a network.
 *
 * An axis is a list of atoms, outermost first (a flattened [C,H,W] has three; an axis of length 1 has none). Atoms that
 * must have the same length are one class. What an operator does not let shrink is fixed, with a reason: axes of
 * inputs and outputs, batch and space, heads that a Reshape cuts out, and all that meets an operator
 * that nobody described here. The other classes can lose elements everywhere at once and leave a valid model. */
#ifndef MC_PASSES_CHANNELS_H
#define MC_PASSES_CHANNELS_H

#include "graph/infer.h"

enum { MC_AXIS_ATOMS = 6 };

struct mc_axis {
    int n;
    int atom[MC_AXIS_ATOMS]; /* mc_channels_class gives the class */
};

struct mc_class {    /* of atoms; read through mc_channels_class */
    int parent;      /* union-find; itself: a class of its own */
    int64_t size;    /* elements; a symbol (< 0) for dynamic axes */
    const char *why; /* it is fixed for this reason; NULL: free */
    bool leaf;       /* one axis of a constant that one node reads, so far */
};

struct mc_channels {
    struct mc_arena mem;
    const struct mc_graph *g;
    const struct mc_infer *inf;
    struct mc_class *classes;
    int n, cap;
    struct mc_axis **axes; /* [n_values] [rank] of each value; NULL: not known */
};

/* inf: of g, with symbols for dynamic axes; both must outlive *ret. Errors: MC_ENOMEM. Cost: linear in nodes. */
int mc_channels_find(const struct mc_graph *g, const struct mc_infer *inf, struct mc_channels *ret,
                     struct mc_err *err);
void mc_channels_free(struct mc_channels *c);

/* Representative of an atom's class. */
int mc_channels_class(const struct mc_channels *c, int atom);
/* Axes of v, or NULL. */
const struct mc_axis *mc_channels_axes(const struct mc_channels *c, const struct mc_value *v);

#endif
