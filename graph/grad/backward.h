/* From a graph and one of its values, a scalar loss, to the gradients of chosen values: one rule per operator
 * (graph/grad/rule.h), emitted behind the nodes that are there. */
#ifndef MC_GRAPH_GRAD_BACKWARD_H
#define MC_GRAPH_GRAD_BACKWARD_H

#include "graph/graph.h"

struct mc_backward_opts {
    /* Called for a rule's own questions about types: shapes of inputs that the graph leaves open. May be NULL. */
    const struct mc_infer_opts *infer;
    /* Gradients that are there already, instead of a loss, which is NULL then: d_from[i] (a value of g) is that of
     * from[i], of its shape and type. Different values; n_from may be 0. */
    struct mc_value *const *from, *const *d_from;
    size_t n_from;
};

/* wrt[0..n): float values of g (initializers, inputs, results of nodes). For each, grad[i] is the value that
 * holds d loss / d wrt[i] with its shape and type, or NULL, and then why[i] says why (in the model's arena):
 * an operator without a rule on the way to the loss, naming node and operator, or that the loss does not depend
 * on it. loss: a float value of one element. Nodes are appended to g; there are none that lead nowhere.
 * Gradients of several uses are summed in the order of nodes, so results do not vary.
 * Errors: MC_ENOMEM; MC_EUNSUP if no wrt has a gradient, naming the first reason; what inference gives. On
 * failure g must be dropped.
 * Cost: linear in nodes, once more for each operator without a rule. */
int mc_backward(struct mc_graph *g, struct mc_value *loss, struct mc_value *const *wrt, size_t n,
                const struct mc_backward_opts *opts, struct mc_value **grad, const char **why,
                struct mc_err *err);

/* The reason of those that the loss does not depend on, which is no lack of a rule. */
extern const char mc_backward_independent[];

#endif
