#include "cli/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "cli/exits.h"

static void on_stop(int number)
{
    static volatile sig_atomic_t asked;
    (void)number;
    if (asked) {
        mc_out_discard_all();
        _exit(MC_EXIT_INTERRUPTED);
    }
    asked = 1;
    mc_interrupt_request();
}

/* Weights lie in file mappings: a file that is cut short, or a disk that fails, shows up here. */
static void on_bus(int number)
{
    static const char message[] =
        "mcompress: an input file was cut short or could not be read while it was in use\n";
    (void)number;
    mc_out_discard_all();
    ssize_t n = write(2, message, strlen(message));
    _exit(n < 0 ? MC_EXIT_FAILED : MC_EXIT_INPUT);
}

void mc_signals_install(void)
{
    struct sigaction stop = {.sa_handler = on_stop};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGHUP, &stop, NULL);
    struct sigaction bus = {.sa_handler = on_bus};
    sigaction(SIGBUS, &bus, NULL);
    /* A file size limit is an error of write(), with a message. A closed pipe ends us as it ends cat:
     * standard output is written last, when every file is in its place. */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, fatal = {.sa_handler = SIG_DFL};
    sigaction(SIGXFSZ, &ignore, NULL);
    sigaction(SIGPIPE, &fatal, NULL);
}
