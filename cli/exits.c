#include "cli/exits.h"

#include <stddef.h>

#include "base/err.h"

enum { CODES = 8 };

static const struct {
    enum mc_exit exit;
    const char *text;
    int codes[CODES];
} table[] = {
    {MC_EXIT_OK, "done", {MC_OK}},
    {MC_EXIT_FAILED,
     "failed: no memory, no disk space, outputs that are not those expected, models of a batch",
     {MC_EFAIL, MC_ENOMEM, MC_EIO}},
    {MC_EXIT_USAGE, "the command line is wrong", {MC_EUSAGE}},
    {MC_EXIT_INPUT,
     "a model or data is missing, unreadable, malformed or unsupported",
     {MC_EOPEN, MC_EFORMAT, MC_EUNSUP, MC_ESHAPE, MC_EDTYPE, MC_EDATA}},
    {MC_EXIT_GATE, "a gate or target was missed; the model and the report are written", {MC_EGATE}},
    {MC_EXIT_INTERRUPTED,
     "interrupted; OUT is as it was, and --checkpoint has what was done",
     {MC_EINTR}},
};
enum { ROWS = sizeof table / sizeof *table };

enum mc_exit mc_exit_of(int code)
{
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < CODES && (k == 0 || table[i].codes[k]); k++)
            if (table[i].codes[k] == code)
                return table[i].exit;
    return MC_EXIT_FAILED;
}

const char *mc_exit_text(int i, enum mc_exit *ret_exit)
{
    if (i >= ROWS)
        return NULL;
    *ret_exit = table[i].exit;
    return table[i].text;
}
