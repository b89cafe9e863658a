/* Models and samples as commands name them. */
#ifndef MC_CLI_MODELS_H
#define MC_CLI_MODELS_H

#include "cli/command.h"
#include "graph/dataset.h"
#include "graph/graph.h"

struct mc_cli_model {
    const char *name; /* as the user gave it; "-" is standard input */
    const char *path; /* where the bytes can be read, more than once */
    struct mc_model *model;
};
/* Errors: those of mc_onnx_read. */
int mc_cli_read(const char *name, struct mc_cli_model *ret, struct mc_err *err);
void mc_cli_close(struct mc_cli_model *m); /* accepts a zeroed struct */

/* Would writing a model (and OUT.data, its weights) to `out` replace the model's own files? */
int mc_cli_check_out(const struct mc_cli_model *m, const char *out, struct mc_err *err);

/* {path, bytes, parameters, macs, sha256} of a file as it is. */
int mc_cli_describe(const struct mc_cli_model *m, json_t **ret, struct mc_err *err);
/* The same with bytes and digest already known. */
int mc_cli_describe_as(const char *name, const struct mc_model *m, uint64_t bytes,
                       const char *sha256, json_t **ret, struct mc_err *err);

/* How 8-bit images become inputs: the command line beats the model, the model beats the reference (may be
 * NULL); NULL: the default, value/255. */
const char *mc_cli_preprocess(const struct mc_cli *cli, const struct mc_model *model,
                              const struct mc_model *reference);
/* Samples for the model's inputs. Errors: those of mc_samples_open. */
int mc_cli_samples(const char *spec, const struct mc_model *model, const char *preprocess,
                   bool no_labels, struct mc_dataset **ret, struct mc_err *err);

/* Two models that are given the same samples: m's one input takes the name that `like` has for its own. Models
 * of several inputs must agree by themselves. Errors: MC_ESHAPE naming an input that the other does not have. */
int mc_cli_adopt_input(struct mc_model *m, const struct mc_model *like, struct mc_err *err);

#endif
