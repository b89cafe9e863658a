#ifndef MC_PASSES_SHARE_REPORT_H
#define MC_PASSES_SHARE_REPORT_H

#include "passes/share/share_run.h"

/* MC_EUNSUP naming the largest weight and its reason where none is left to convert. */
int mc_share_check_any(const struct mc_share_run *r, struct mc_err *err);
/* Rows for all weights of the run, and what the errors are measured in; before the model changes. */
int mc_share_report(struct mc_share_job *job, const struct mc_share_run *r, struct mc_err *err);

#endif
