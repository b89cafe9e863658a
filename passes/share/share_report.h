#ifndef MC_PASSES_SHARE_REPORT_H
#define MC_PASSES_SHARE_REPORT_H

#include "passes/share/share_run.h"

/* MC_EUNSUP naming the largest weight and its reason where none is left to convert. */
int mc_share_check_any(const struct mc_share_run *r, struct mc_err *err);
/* {layers: [...], norm, search, …}; before the model changes. */
int mc_share_report(const struct mc_share_run *r, json_t **ret, struct mc_err *err);
/* bytes_before, bytes_after of the model m. */
int mc_share_report_bytes(const struct mc_share_run *r, const struct mc_model *m, json_t *o,
                          struct mc_err *err);

#endif
