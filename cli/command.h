/* Commands: one row each in command.c's table. Passes are commands by themselves, from their own registry.
 *
 * A command reads its options from `values`, does its work below cli/, builds one JSON tree and gives it
 * to mc_cli_deliver. It prints nothing itself, save `list` and `help`. */
#ifndef MC_CLI_COMMAND_H
#define MC_CLI_COMMAND_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/param.h"
#include "base/progress.h"
#include "base/threads.h"
#include "passes/pass.h"

struct mc_cli { /* one invocation */
    const struct mc_command *command;
    const struct mc_pass *pass; /* where the command is one */
    json_t *values;             /* options and "operands" */
    int argc;                   /* as they were given, from the program's name on */
    char **argv;
    bool quiet, verbose, json;
    struct mc_pool *pool;               /* of --threads; NULL for commands that compute nothing */
    const struct mc_progress *progress; /* NULL where nobody looks at it */
    double start;                       /* mc_now at the beginning */
};

struct mc_option_group {
    const char *title; /* over its options in the help */
    const struct mc_param *params;
};

enum { MC_CLI_GROUPS = 12 };

struct mc_command {
    const char *name;
    const char *operands; /* "MODEL [REFERENCE]" */
    int min_operands, max_operands;
    const char *summary; /* one line */
    const char *example;
    const struct mc_option_group *groups[MC_CLI_GROUPS]; /* closed by NULL */
    bool computes;                                       /* wants a pool and progress */
    int (*run)(struct mc_cli *cli, struct mc_err *err);
};

/* i from 0; NULL at the end. First the commands of the table, then one for every pass, whose *ret_pass is
 * set (NULL otherwise; ret_pass may be NULL). */
const struct mc_command *mc_command_at(size_t i, const struct mc_pass **ret_pass);
/* By name. Errors: MC_EUSAGE naming the nearest command. */
int mc_command_find(const char *name, const struct mc_command **ret,
                    const struct mc_pass **ret_pass, struct mc_err *err);

/* Operand i as text, NULL if not given. */
const char *mc_cli_operand(const struct mc_cli *cli, size_t i);

/* Options that the command line gives, without defaults, and its operands. */
int mc_cli_given(const struct mc_cli *cli, json_t **ret, struct mc_err *err);

/* The commands. */
int mc_cmd_batch(struct mc_cli *cli, struct mc_err *err);
int mc_cmd_bench(struct mc_cli *cli, struct mc_err *err);
int mc_cmd_eval(struct mc_cli *cli, struct mc_err *err);
int mc_cmd_help(struct mc_cli *cli, struct mc_err *err);
int mc_cmd_info(struct mc_cli *cli, struct mc_err *err);
int mc_cmd_list(struct mc_cli *cli, struct mc_err *err);
int mc_cmd_run(struct mc_cli *cli, struct mc_err *err);
int mc_cmd_step(struct mc_cli *cli, struct mc_err *err); /* passes, finetune, distill */

#endif
