/* Outputs of a model as they are: what they hold as JSON, and their values in a file. */
#ifndef MC_CLI_SURVEYED_H
#define MC_CLI_SURVEYED_H

#include "cli/models.h"
#include "formats/npz_gather.h"
#include "graph/run/survey.h"

/* [1, 3, null]: null where a dimension varies; null where the rank does. */
json_t *mc_cli_shape(const struct mc_shape *shape, bool *ok);
/* {name, type, shape, elements, min, mean, max, nan, infinite} */
json_t *mc_cli_survey(const char *name, const struct mc_survey *s, bool *ok);

/* *ret: where --save-outputs wants them, or NULL. Errors: MC_EIO; MC_EUSAGE for a name that is no .npz. */
int mc_cli_save_outputs(const struct mc_cli *cli, struct mc_npz_gather **ret, struct mc_err *err);

#endif
