/* Other programs as processes of their own, a few at a time, each within limits of memory and time. */
#ifndef MC_BASE_PROCESS_H
#define MC_BASE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct mc_process_limits { /* 0: none */
    uint64_t memory;       /* bytes resident at once, as the report's peak memory counts them */
    double seconds;        /* from start to end */
};

/* How a process ended. */
struct mc_process_end {
    int status, signal; /* exit status, or -1 and the signal that ended it */
    bool over_memory, over_time;
    bool stopped; /* mc_process_stop was called before the end */
    double seconds;
    char line[MC_ERR_MSG]; /* the last line it wrote to standard error, or "" */
};

struct mc_process;

/* Start `file` with argv (closed by NULL): a process group of its own, standard input and output on /dev/null. It
 * does not outlive this process, whatever ends that. Call it from the thread that will wait.
 * A look 50 times a second finds what takes too much memory; allocations beyond the limit and what a program maps
 * but never touches fail in the process itself. Errors: MC_EFAIL. */
int mc_process_start(const char *file, char *const *argv, const struct mc_process_limits *limits,
                     struct mc_process **ret, struct mc_err *err);

/* Wait until one of n ends, or `seconds` pass: its index, or -1. Entries that are NULL are passed over. Looks after
 * the limits and standard error of all meanwhile. What is over its time is asked to end as by
 * mc_process_stop, what is over its memory is killed. */
int mc_process_wait(struct mc_process *const *list, int n, double seconds,
                    struct mc_process_end *ret);

/* Ask the process's group to end (SIGTERM), and kill it `grace` seconds later if it is still there: it ends in
 * mc_process_wait. A second call can only shorten the grace. */
void mc_process_stop(struct mc_process *p, double grace);

/* Kills what still runs, and everything of its group. Accepts NULL. */
void mc_process_free(struct mc_process *p);

#endif
