/* Two models side by side, from one value to the next: what was there in front of it is kept for the samples and never computed
 * again, so that going through all layers costs about one run of both. */
#ifndef MC_PASSES_QUANT_WALK_H
#define MC_PASSES_QUANT_WALK_H

#include "graph/run/observe.h"

enum { MC_QUANT_FLOATS, MC_QUANT_INTEGERS, MC_QUANT_SIDES }; /* the model before, the built one */

struct mc_quant_walk;

struct mc_quant_walk_opts {
    struct mc_pool *pool;
    struct mc_dataset *data;
    int64_t count; /* samples, from the first */
    double
        bytes; /* of values kept at most: with less room fewer samples go on, one batch at least */
};

/* Values by name, of each side; in the main graphs. */
struct mc_quant_stop {
    const char *const *name[MC_QUANT_SIDES];
    size_t n[MC_QUANT_SIDES];
};

int mc_quant_walk_new(const struct mc_model *before, const struct mc_model *built,
                      const struct mc_quant_walk_opts *opts, struct mc_quant_walk **ret,
                      struct mc_err *err);
void mc_quant_walk_free(struct mc_quant_walk *w);

/* Compute these values, which may depend on what an earlier stop asked for, and hand them out as mc_observe_all does: those of
 * the model before, then those of the built one. NULL fn: nothing is handed out.
 * Errors: what running and reading give; MC_EUSAGE for a value that an earlier stop left behind. */
int mc_quant_walk_to(struct mc_quant_walk *w, const struct mc_quant_stop *stop, mc_observe_fn *fn,
                     void *ctx, struct mc_err *err);
/* What is kept of value `name` of the built model gets add[c] more, for the c-th of `channels` along its axis: what a change of
 * the layer behind which it stands does. */
void mc_quant_walk_add(struct mc_quant_walk *w, const char *name, int axis, int64_t channels,
                       const double *add);
int64_t mc_quant_walk_samples(const struct mc_quant_walk *w); /* that are left */

#endif
