#ifndef MC_PASSES_SHARE_SEARCH_H
#define MC_PASSES_SHARE_SEARCH_H

#include "passes/share/share_run.h"

/* Bits for each weight: answers in weight[i].bits, "search" of the report, job->miss where the goal is not reached.
 * Errors: those of mc_search_run. */
int mc_share_search(struct mc_share_job *job, struct mc_share_run *r,
                    const struct mc_search_ask *ask, struct mc_err *err);
/* "4 bits": the option's name in reports and choices files. */
const char *mc_share_label(int bits);

#endif
