/* Gates: --max-drop, --min-sqnr and --require decide whether a result is good enough. */
#ifndef MC_CLI_GATES_H
#define MC_CLI_GATES_H

#include "cli/command.h"
#include "graph/run/measure.h"

/* True if any was given. */
bool mc_gates_given(const struct mc_cli *cli);

/* Can they be judged? Called as early as possible, so that no work is done in vain.
 * Errors: MC_EUSAGE for a --require that is no test, or a gate that needs a reference where has_reference
 * is false; MC_EDATA for one that needs labels where there are none. */
int mc_gates_check(const struct mc_cli *cli, bool has_reference, bool has_labels,
                   bool has_sequences, struct mc_err *err);

/* *ret_rows: [{name, limit, value, passed, message}, …]. Returns MC_EGATE, with the first message in err and
 * *ret_rows still filled in, if one was missed. */
int mc_gates_judge(const struct mc_cli *cli, const struct mc_measure *m, json_t **ret_rows,
                   struct mc_err *err);

#endif
