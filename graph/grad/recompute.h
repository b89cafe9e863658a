/* Less memory for more work: what the backward part of a step graph needs of the forward part is computed again
 * right before it is needed, instead of being kept.
 *
 * The forward part is cut into segments; of a segment only what other segments read is kept, and before the
 * first gradient that needs more of it, the nodes for that are there once more. Results are the same bits.
 * Source: Chen, Xu, Zhang, Guestrin, Training Deep Nets with Sublinear Memory Cost, 2016, algorithm 1; where the
 * cuts are is tried out on the plan. */
#ifndef MC_GRAPH_GRAD_RECOMPUTE_H
#define MC_GRAPH_GRAD_RECOMPUTE_H

#include "graph/run/session.h"

struct mc_recompute_opts {
    size_t limit;                          /* bytes, as mc_session_peak counts */
    const struct mc_session_opts *session; /* it will run in: states, threads */
    const struct mc_array *inputs;         /* shapes of a run; no data is looked at */
    int n_inputs;
};

struct mc_recompute {
    size_t before, after; /* planned bytes */
    size_t n_nodes;       /* that are there once more; 0: it fitted as it was */
    /* Of the session that runs it, as `apart`: what was read by gradients is not joined with other nodes now that it
     * no longer is, which might change its last bit. In the model's arena. */
    const char **apart;
    size_t n_apart;
};

/* m: a step graph, of whose values `loss` is the last of the forward part: the nodes behind it are gradients and
 * update. Nothing is repeated that draws random numbers, has bodies or lists, and of BatchNormalization the statistics
 * are moved once. Of what fits, that with the least work is taken.
 * Errors: MC_EUSAGE naming the smallest number of bytes that would do, which is in ret->after as well;
 * MC_ENOMEM; what planning gives. On failure m is as it was, but for MC_ENOMEM: then it must be dropped. */
int mc_recompute(struct mc_model *m, const char *loss, const struct mc_recompute_opts *o,
                 struct mc_recompute *ret, struct mc_err *err);

#endif
