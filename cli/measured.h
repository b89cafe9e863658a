/* Measurements as JSON. */
#ifndef MC_CLI_MEASURED_H
#define MC_CLI_MEASURED_H

#include "cli/command.h"
#include "graph/graph.h"
#include "graph/run/measure.h"

/* As the options of the invocation say. */
struct mc_measure_opts mc_cli_measure_opts(const struct mc_cli *cli);
/* Measure model (and reference, may be NULL) as the options of the invocation say. */
int mc_cli_measure(const struct mc_cli *cli, const struct mc_model *model,
                   const struct mc_model *reference, struct mc_dataset *data,
                   struct mc_measure *ret, struct mc_err *err);

/* {top1, top5, loss, samples}: null where there are no labels; label_error_rate where they are sequences. */
json_t *mc_cli_metrics(const struct mc_metrics *m);
/* {top1, cosine, sqnr_db, max_abs, max_rel, samples} */
json_t *mc_cli_agreement(const struct mc_agreement *a);
/* {top1, ci95, of: "labels" | "agreement"}, or null where neither can be had. */
json_t *mc_cli_drop(const struct mc_measure *m);

#endif
