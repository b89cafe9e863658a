/* What `mcompress bench` runs a model on. */
#ifndef MC_CLI_BENCH_INPUTS_H
#define MC_CLI_BENCH_INPUTS_H

#include "cli/command.h"
#include "graph/dataset.h"
#include "graph/run/session.h"

struct mc_bench_inputs {
    int n;
    struct mc_array *arrays;
};

/* Arrays for the inputs of a session, of --shape, the declared shape and --batch: seeded normal numbers for
 * floats, ones for others. Errors: MC_EUSAGE for a --shape that fits no input or a dimension nobody gives. */
int mc_bench_inputs_make(const struct mc_cli *cli, const struct mc_session *s,
                         struct mc_bench_inputs *ret, struct mc_err *err);
void mc_bench_inputs_clear(struct mc_bench_inputs *in); /* accepts a zeroed struct */

#endif
