/* `eval` on folders of test data: outputs compared with the expected ones. */
#ifndef MC_CLI_EVAL_SETS_H
#define MC_CLI_EVAL_SETS_H

#include "cli/models.h"

/* Run the model on each set of the folder and report. Sets without expected outputs are only run.
 * Errors: MC_EFAIL naming the first output that differs, after the report; those of running and reading. */
int mc_cli_eval_sets(const struct mc_cli *cli, const struct mc_cli_model *model, const char *dir,
                     struct mc_err *err);

#endif
