/* Reshape, Transpose, Reshape back: an axis whose positions change places (a channel shuffle). Taken as a permutation each
 * of them can go by itself, which the three nodes one by one do not show. */
#ifndef MC_PASSES_COUPLE_SHUFFLE_H
#define MC_PASSES_COUPLE_SHUFFLE_H

#include "passes/couple/couple_rule.h"

/* w->n is the first or the last of three such nodes: what there is to say is said. */
bool mc_shuffle_walk(struct mc_couple *w);
/* *ret_done: n is one of them, and nothing else is to be done. */
int mc_shuffle_cut(struct mc_cutting *k, struct mc_node *n, bool *ret_done, struct mc_err *err);

#endif
