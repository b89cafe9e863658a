/* Putting the nodes of a function's body or of a branch where a node was. Private to graph/.
 *
 *     mc_splice_begin(&s, g) -> mc_splice_node(&s, node, from, call) for some of g's nodes -> mc_splice_end(&s)
 *
 * Linear in what is copied, for any number of nodes. On failure g must be dropped. */
#ifndef MC_GRAPH_SPLICE_H
#define MC_GRAPH_SPLICE_H

#include "graph/graph.h"

struct mc_splice {
    struct mc_graph *g;
    size_t n_old;        /* nodes at the beginning; copies stand behind them until the end */
    size_t *first, *end; /* [n_old] copies that take the place of a node; end 0: it stays */
};

int mc_splice_begin(struct mc_splice *s, struct mc_graph *g, struct mc_err *err);
/* Replace node n by copies of the nodes of `from`, whose inputs are in[0..n_in) of g (NULL: left out) and
 * whose outputs are n's. Values keep n's names where they are its outputs; others get fresh ones. What `from`
 * captures must be values of g.
 * call: n stands for a function, `from` is its body: attributes that refer to the caller get the values given
 * by n, else the defaults of the function, else go; only the element types of its values are kept.
 * Errors: MC_EFORMAT naming n and what does not fit. */
int mc_splice_node(struct mc_splice *s, struct mc_node *n, const struct mc_graph *from,
                   struct mc_value *const *in, size_t n_in, bool call, struct mc_err *err);
/* Put the copies in their places; also after a failure, with what that returned. */
int mc_splice_end(struct mc_splice *s, int rc, struct mc_err *err);

#endif
