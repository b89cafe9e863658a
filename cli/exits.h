/* Exit statuses, and the one table from errors to them. */
#ifndef MC_CLI_EXITS_H
#define MC_CLI_EXITS_H

enum mc_exit {
    MC_EXIT_OK = 0,
    MC_EXIT_FAILED = 1,
    MC_EXIT_USAGE = 2,
    MC_EXIT_INPUT = 3, /* input or data unreadable, missing or unsupported */
    MC_EXIT_GATE = 4,  /* a gate or target missed; the model and the report are written */
    MC_EXIT_INTERRUPTED = 130,
};

/* Of a return value: 0 or one of enum mc_code. */
enum mc_exit mc_exit_of(int code);
/* Row i: its status and what it means, for the help; NULL at the end. */
const char *mc_exit_text(int i, enum mc_exit *ret_exit);

#endif
