/* The rows of a product: what it multiplies, and its result. Private to refit.c. */
#ifndef MC_PASSES_REFIT_ROWS_H
#define MC_PASSES_REFIT_ROWS_H

#include "passes/fit/layer_rows.h"
#include "passes/fit/refit.h"

struct mc_refit_rows {
    struct mc_rows r;
    bool back; /* ConvTranspose: row `at` holds what reaches output position `at` */
};

/* free(ret->r.own) in any case. Errors: MC_ESHAPE naming the node, MC_EDTYPE, MC_ENOMEM. */
int mc_refit_rows_in(const struct mc_refit *f, const struct mc_array *t, int64_t samples,
                     struct mc_refit_rows *ret, struct mc_err *err);
int mc_refit_rows_out(const struct mc_refit *f, const struct mc_array *y, int64_t total,
                      struct mc_rows *ret, struct mc_err *err);
/* n elements of row `at` for a group, in the order of the weight's: channel, then the window's axes. */
void mc_refit_rows_get(struct mc_refit_rows *r, int64_t group, int64_t at, float *dst);
/* m elements of a result. */
void mc_refit_rows_result(const struct mc_refit *f, const struct mc_rows *r, int64_t group,
                          int64_t at, float *dst);

#endif
