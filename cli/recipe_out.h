/* --recipe-out: what was run, as a recipe with all options and what came of each step in comments. */
#ifndef MC_CLI_RECIPE_OUT_H
#define MC_CLI_RECIPE_OUT_H

#include "cli/chain.h"

/* Can it be written there? files: NULL-terminated or not, [n]; those it must not replace. Errors: MC_EUSAGE, MC_EIO. */
int mc_recipe_out_check(const char *path, const char *const *files, int n, struct mc_err *err);
/* A YAML file that `run` takes again: options of the run that are not what they are anyway, each step with every option
 * it had, a learning rate that was looked for as it was found. report: of the job. */
int mc_recipe_out_write(const char *path, const struct mc_cli *run, const struct mc_chain *c,
                        const json_t *about, const json_t *report, struct mc_err *err);

#endif
