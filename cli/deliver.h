/* A finished result goes to where the user wants it. */
#ifndef MC_CLI_DELIVER_H
#define MC_CLI_DELIVER_H

#include "cli/command.h"

/* Before any work: can every --report be written, and is none of them one of the `n` given files? NULL among these
 * is passed over. Errors: MC_EUSAGE, MC_EIO. */
int mc_cli_check_reports(const struct mc_cli *cli, const char *const *files, int n,
                         struct mc_err *err);

/* Write every --report, then print: --json, else text; nothing with -q. to_stderr: standard output holds
 * the model. Errors: MC_EIO. */
int mc_cli_deliver(const struct mc_cli *cli, const json_t *result, bool to_stderr,
                   struct mc_err *err);

/* "arguments": the command line, into a result. */
void mc_cli_put_arguments(const struct mc_cli *cli, json_t *result, bool *ok);
/* "seconds", "peak_rss_bytes", "threads", "device", … of this invocation into a result. */
void mc_cli_put_cost(const struct mc_cli *cli, json_t *result, bool *ok);

#endif
