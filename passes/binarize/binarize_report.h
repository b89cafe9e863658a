/* What binarising came to, for the report. */
#ifndef MC_PASSES_BINARIZE_REPORT_H
#define MC_PASSES_BINARIZE_REPORT_H

#include <jansson.h>

#include "passes/binarize/binarize_plan.h"

struct mc_binarize_account {
    const struct mc_binarize_plan *plan;
    const double *error; /* [plan->n] of the weights, relative; NAN: not known */
    int64_t thresholds;  /* samples that they were measured on; 0: there are none */
    int64_t judged;      /* samples that the answers were compared on; 0: they were not */
    double agreement;    /* share of decisions that are the same; NAN: the outputs decide nothing */
    double noise;        /* squared error over variance; NAN */
    bool trains;         /* it is trained next */
    json_t *search;      /* of the report, or NULL */
    uint64_t bytes_before, bytes_after; /* of the model; 0: not known */
};

int mc_binarize_report(const struct mc_binarize_account *a, json_t **ret, struct mc_err *err);

#endif
