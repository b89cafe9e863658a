/* A run of `binarize`. For pass_binarize.c and binarize_search.c. */
#ifndef MC_PASSES_BINARIZE_RUN_H
#define MC_PASSES_BINARIZE_RUN_H

#include "passes/binarize/binarize_report.h"
#include "passes/search/search.h"

struct mc_binarize_run {
    struct mc_pass_ctx *ctx;
    struct mc_model *m;      /* becomes the result */
    struct mc_model *before; /* a clone of it, which the plan is of */
    struct mc_binarize_rules rules;
    struct mc_binarize_plan plan;
    double *error;
    struct mc_binarize_account account;
    bool missed; /* --target and --keep: */
    struct mc_err miss;
};

/* m, a clone of `before`, with the layers that the plan does not leave in the form of the file. sizes_only: thresholds
 * are not measured. Errors: those of opening, measuring and closing. */
int mc_binarize_apply(const struct mc_binarize_run *r, struct mc_model *m, bool sizes_only,
                      struct mc_err *err);

/* ---- binarize_search.c ---- */

/* Which layers: by how much each harms the outputs for the bytes that it saves. What the search leaves is left in
 * the plan. Errors: those of mc_search_run; MC_EUSAGE for goals that signs do not change. */
int mc_binarize_search(struct mc_binarize_run *r, const struct mc_search_ask *ask,
                       struct mc_err *err);

#endif
