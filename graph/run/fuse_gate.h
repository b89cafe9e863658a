/* Activations that exporters write as several nodes, in which a value meets a function of itself: x sigmoid(x),
 * x clip(x + 3, 0, 6) / 6, x (1 + erf(x / sqrt 2)) / 2. Private to graph/run. */
#ifndef MC_GRAPH_RUN_FUSE_GATE_H
#define MC_GRAPH_RUN_FUSE_GATE_H

#include "graph/run/plan.h"

enum { MC_GATE_STEPS = 5 };

/* Is all that is done with v such an activation? Fills in steps, in their order: the last gives the result; and
 * e->act. Returns their number, 0 if not. */
int mc_fuse_gate(const struct mc_plan *p, const struct mc_value *v, int step[MC_GATE_STEPS],
                 struct mc_epilogue *e);

#endif
