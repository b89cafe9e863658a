/* Which linear nodes in a row can become one. */
#ifndef MC_PASSES_MERGE_PAIR_H
#define MC_PASSES_MERGE_PAIR_H

#include "passes/svd/merge_window.h"
#include "passes/layer/layer.h"

/* Two nodes of which the first can be part of the second. */
struct mc_pair {
    struct mc_layer first, second; /* of one site each */
    struct mc_value *between;      /* what the second reads */
    struct mc_merge_window window; /* of both together */
    struct mc_node
        *product; /* recurrent weights: the node that multiplies two constants, no `first` */
    struct mc_value *w1, *w2;
    size_t uses1, uses2; /* of their contents, by nodes that count */
    size_t readers;      /* of the value between: more than 1 where one factor serves several */
};

struct mc_pairs {
    struct mc_pair *item; /* [n] in the order of their second nodes */
    size_t n, cap;
    const struct mc_node **gone; /* [n_gone] nodes that nobody reads any more: part of no pair */
    size_t n_gone, cap_gone;
};

/* Pairs of these graphs, added to the list. Errors: MC_ENOMEM. */
int mc_pairs_find(struct mc_pairs *g, struct mc_graph *const *graph, size_t n, struct mc_err *err);
/* No pairs; what is gone stays so. */
void mc_pairs_clear(struct mc_pairs *g);
void mc_pairs_free(struct mc_pairs *g);

/* A node is gone. Errors: MC_ENOMEM. */
int mc_pairs_leave(struct mc_pairs *g, const struct mc_node *n, struct mc_err *err);
bool mc_pairs_is_gone(const struct mc_pairs *g, const struct mc_node *n);

/* What the first adds to its product, NULL: nothing. *ret_scale multiplies it. */
const struct mc_value *mc_pair_bias(const struct mc_layer *first, float *ret_scale);
/* The same weights used in the same way: their product is one weight. */
bool mc_pair_alike(const struct mc_pair *a, const struct mc_pair *b);
/* Does nothing but pairs like p read its weights? Tied weights are merged everywhere or nowhere. */
bool mc_pair_fits(const struct mc_pairs *g, const struct mc_pair *p);

#endif
