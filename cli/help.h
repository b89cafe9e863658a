/* Help and the manual page, made from the tables of commands, options and exit statuses. */
#ifndef MC_CLI_HELP_H
#define MC_CLI_HELP_H

#include <stdio.h>

#include "cli/command.h"

void mc_help_overview(FILE *out);
int mc_help_command(FILE *out, const struct mc_command *c, const struct mc_pass *pass,
                    struct mc_err *err);
int mc_help_man(FILE *out, struct mc_err *err);

#endif
