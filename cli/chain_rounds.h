/* --steps N of a pass: cut and train in turns, as N steps of the chain. */
#ifndef MC_CLI_CHAIN_ROUNDS_H
#define MC_CLI_CHAIN_ROUNDS_H

#include "cli/chain.h"

/* How many steps these options are; 1 where they do not say. */
int mc_chain_rounds(const json_t *values);
/* Options of each of n rounds: shares are the n-th roots of those of the whole, training is divided. A target that is no
 * share is met at the end; mc_chain_rounds_aim. Errors: MC_EUSAGE: no training, options that mean nothing in rounds. */
int mc_chain_rounds_values(const json_t *values, int n, json_t **ret, struct mc_err *err);
/* With `left` rounds to go, this one's among them: the target of this one, between the model as it is and the last. */
int mc_chain_rounds_aim(struct mc_chain_step *s, const struct mc_job *j, struct mc_err *err);

#endif
