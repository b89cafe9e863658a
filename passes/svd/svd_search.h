/* The svd pass's items as the search that all passes share sees them. */
#ifndef MC_PASSES_SVD_SEARCH_H
#define MC_PASSES_SVD_SEARCH_H

#include "passes/search/search.h"
#include "passes/svd/svd_run.h"

/* Search (or with ctx->choices take) every item's point: at and point, or a reason why it stays as it is. *ret_is_missed:
 * the goal was not reached, and *ret_missed (MC_EGATE) says so. *ret_report: "search" of the pass's report.
 * Errors: those of analysing, building and mc_search_run. */
int mc_svd_search(struct mc_svd_run *r, const struct mc_search_ask *ask, json_t **ret_report,
                  struct mc_err *ret_missed, bool *ret_is_missed, struct mc_err *err);

#endif
