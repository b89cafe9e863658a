/* Outputs of a model as they are: what they hold as JSON, and their values in a file. */
#ifndef MC_CLI_SURVEYED_H
#define MC_CLI_SURVEYED_H

#include "cli/models.h"
#include "formats/npz_gather.h"
#include "graph/run/observe.h"
#include "graph/run/survey.h"

/* [1, 3, null]: null where a dimension varies; null where the rank does. */
json_t *mc_cli_shape(const struct mc_shape *shape, bool *ok);
/* "float32"; "not a tensor" for a sequence or an optional. */
const char *mc_cli_type_name(enum mc_dtype dtype);
/* {name, type, shape, elements, min, mean, max, nan, infinite} */
json_t *mc_cli_survey(const char *name, const struct mc_survey *s, bool *ok);

/* *ret: where --save-outputs wants them, or NULL. Errors: MC_EIO; MC_EUSAGE for a name that is no .npz. */
int mc_cli_save_outputs(const struct mc_cli *cli, struct mc_npz_gather **ret, struct mc_err *err);

/* All outputs of a graph over samples: surveyed, and saved where the invocation says so. */
struct mc_cli_look {
    size_t n;
    const char **names;
    struct mc_survey *survey;
    struct mc_npz_gather *saved;
    bool whole; /* samples are whole tensors */
};
/* Errors: MC_EUSAGE for an --output that is none; those of mc_cli_save_outputs. */
int mc_cli_look_open(const struct mc_cli *cli, const struct mc_graph *g,
                     const struct mc_dataset *data, struct mc_cli_look *ret, struct mc_err *err);
mc_observe_fn mc_cli_look_batch; /* ctx: the struct mc_cli_look */
/* Write what is to be saved. */
int mc_cli_look_finish(struct mc_cli_look *l, struct mc_err *err);
json_t *mc_cli_look_json(const struct mc_cli_look *l, bool *ok); /* a row for each output */
void mc_cli_look_close(struct mc_cli_look *l);                   /* accepts a zeroed struct */

#endif
