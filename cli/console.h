/* What a person sees: progress, notes and errors on standard error, results on standard output. */
#ifndef MC_CLI_CONSOLE_H
#define MC_CLI_CONSOLE_H

#include "cli/command.h"

/* Progress drawn on standard error ten times a second, with the time left; for terminals only. */
const struct mc_progress *mc_console_progress(void);
/* Wipe the progress line before anything else is printed. */
void mc_console_clear(void);

/* "mcompress svd: …", one line on standard error. command: NULL outside of one. */
void mc_console_error(const char *command, const char *message);
/* The same as "warning: …"; not with -q. */
void mc_console_warn(const struct mc_cli *cli, const char *message);
/* What has just happened, a line of its own: with -v, and where no progress is drawn; not with -q. */
void mc_console_line(const struct mc_cli *cli, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Detail, with -v only. */
void mc_console_note(const struct mc_cli *cli, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Name of the invocation's command: that of its pass where it has one. */
const char *mc_console_name(const struct mc_cli *cli);

/* Print text to standard output (to_stderr: standard error, where the former holds a model). */
void mc_console_print(const char *text, bool to_stderr);
/* Columns of the terminal on standard output, 100 where it is none. */
int mc_console_columns(void);
/* 0 if all that was printed got through. Errors: MC_EIO. */
int mc_console_finish(struct mc_err *err);

#endif
