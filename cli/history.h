/* What was done to a model, in its own metadata: ai.mcompress.recipe, the steps as a recipe, and
 * ai.mcompress.history, a line for each step with what came of it. Both go on from what a model has already. They name
 * no folders and no times: the same work gives the same bytes. */
#ifndef MC_CLI_HISTORY_H
#define MC_CLI_HISTORY_H

#include "cli/chain.h"

/* What a step was given, without what only says how others are trained; a new reference. */
json_t *mc_history_values(const struct mc_chain_step *s);
/* A step as a recipe, "svd:keep=0.3"; a malloc'd string, NULL when out of memory. */
char *mc_history_step(const struct mc_chain_step *s);
/* "svd:keep=0.3: 3.73 MB -> 1.12 MB, 3 of 4 layers changed"; likewise. */
char *mc_history_line(const struct mc_chain_step *s);

/* Bytes that the two entries will take at most, known before the work: who aims at a size aims at one below. */
uint64_t mc_history_room(const struct mc_chain *c);
/* Write them. Errors: MC_ENOMEM. */
int mc_history_put(const struct mc_chain *c, struct mc_model *m, struct mc_err *err);

#endif
