/* One operator set for a model whose nodes may be of any version. */
#ifndef MC_GRAPH_OPSET_H
#define MC_GRAPH_OPSET_H

#include "graph/graph.h"

/* Lift the main graph with its bodies, and every function, to the lowest version of ai.onnx that holds every
 * node, not below what it imports or `least`; nodes whose form changes on the way (attributes that become
 * inputs, operators that get another name) are rewritten. The IR version rises where something in the model
 * needs it. A model that needs nothing is left as it is. Functions that import what the model imported follow
 * it: runtimes read both alike. New constants are initializers, or Constant nodes in functions.
 * Errors: MC_EUNSUP naming the node that prevents it and why; MC_ENOMEM. m may be half lifted then. */
int mc_opset_lift(struct mc_model *m, int least, struct mc_err *err);

#endif
