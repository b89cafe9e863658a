/* What `info` says of weights in small forms (graph/own). */
#ifndef MC_CLI_PACKED_H
#define MC_CLI_PACKED_H

#include <jansson.h>

#include "graph/graph.h"

/* report["packed"] = {"layers": [{name, function, weights, bytes, bits_per_weight}, …], weights, bytes, bits_per_weight}, where the
 * model has calls that are recognised; otherwise nothing. What does not fit is in the list with an "error". A call that gives
 * another one its weight has "part_of", the name of that, and is counted there; bodies that round inputs have "approximate",
 * true. */
void mc_cli_put_packed(json_t *report, const struct mc_model *m, bool *ok);

#endif
