/* Segments of the forward part of a step graph, and their nodes once more. Private to graph/grad. */
#ifndef MC_GRAPH_GRAD_SEGMENT_CUT_H
#define MC_GRAPH_GRAD_SEGMENT_CUT_H

#include "graph/grad/recompute.h"

struct mc_segments;

/* Look at the forward part of g. Errors: MC_EUSAGE if g has no such loss; MC_ENOMEM; of inference. */
int mc_segments_find(struct mc_graph *g, const char *loss, const struct mc_recompute_opts *o,
                     struct mc_segments **ret, struct mc_err *err);
void mc_segments_free(struct mc_segments *s);
/* Nodes of the forward part that depend on the inputs of a run. */
int mc_segments_nodes(const struct mc_segments *s);
/* Cut them into n segments with about the same bytes to be kept, where little crosses the cut, and compute what
 * gradients need of the first `repeat` again. Once only. Adds to ret's n_nodes and apart; *ret_cost is the work, in
 * multiply-accumulates, or elements where those are not known. */
int mc_segments_repeat(struct mc_segments *s, int n, int repeat, struct mc_recompute *ret,
                       double *ret_cost, struct mc_err *err);

#endif
