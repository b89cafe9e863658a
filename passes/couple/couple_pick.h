/* What the rules of operators that move positions share: numbers they are told, and picking after a cut. */
#ifndef MC_PASSES_COUPLE_PICK_H
#define MC_PASSES_COUPLE_PICK_H

#include "passes/couple/couple_rule.h"

/* Integers in a value, from its content or as far as inference knows them: known[i] says whether value[i] holds. Returns
 * how many, at most `max`; -1: nothing is known. */
int mc_pick_ints(const struct mc_infer *inf, const struct mc_value *v, int64_t *value, bool *known,
                 int max);
/* All elements of a constant of integers, freed by the caller; NULL: it is none, or w->rc. */
int64_t *mc_pick_list(struct mc_couple *w, const struct mc_value *v, int64_t *ret_n);

/* Numbers that count or address something: int64, or int32 of at most one axis. They have no channels: the node is held. */
bool mc_pick_is_index(struct mc_couple *w, const struct mc_value *v);
/* Are both shapes there? Otherwise the node is held. */
bool mc_pick_ranked(struct mc_couple *w, const struct mc_value *x, const struct mc_value *y);

/* ---- after a cut ---- */

/* v of the model that coupling looked at; NULL: v was made since. */
const struct mc_value *mc_pick_original(const struct mc_cutting *k, const struct mc_value *v);
/* Position i of an axis of y was position index[i] of an axis of x: the same for what stays of y, in positions of what
 * stays of x; freed by the caller. Returns how many, or -1: out of memory. -1 in index stays -1. */
int64_t mc_pick_kept(const struct mc_cutting *k, const struct mc_value *x, int x_axis,
                     const struct mc_value *y, int y_axis, const int64_t *index, int64_t **ret);
/* A Gather of these positions of x at position pos of the graph; it makes y, which has no producer now. */
int mc_pick_gather(struct mc_graph *g, size_t pos, const char *name, struct mc_value *x, int axis,
                   const int64_t *index, int64_t n, struct mc_value *y, struct mc_err *err);

#endif
