/* Where an invocation computes: --device, --precision, and the environment's MCOMPRESS_DEVICE. */
#ifndef MC_CLI_MACHINE_H
#define MC_CLI_MACHINE_H

#include "cli/command.h"

/* The words alone; no driver is asked. Errors: MC_EUSAGE. */
int mc_machine_check(const struct mc_cli *cli, struct mc_err *err);
/* The pool of the invocation computes there from now on: after everything else that can be wrong with the command line,
 * before the first session. Once is enough, more do nothing. main ends it.
 * Errors: those of mc_device_start. */
int mc_machine_start(const struct mc_cli *cli, struct mc_err *err);
/* Would it be a GPU, by what the driver says? Nothing is started. Errors: those of mc_device_start. */
int mc_machine_probe(const struct mc_cli *cli, bool *ret_gpu, struct mc_err *err);

/* What the environment says, else "auto". */
const char *mc_machine_default(void);

/* "device", "kernels", and "gpu" where there is one: of the whole invocation so far. */
void mc_machine_put(const struct mc_cli *cli, json_t *result, bool *ok);

#endif
