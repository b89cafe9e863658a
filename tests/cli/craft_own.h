/* Models with weights in small forms, for the command line's tests. */
#ifndef MC_TESTS_CLI_CRAFT_OWN_H
#define MC_TESTS_CLI_CRAFT_OWN_H

#include "graph/graph.h"

/* Every weight of Gemm, MatMul, Conv and LSTM becomes a call, by turns: levels of 4 bits, of 5 bits, signs; one matrix for
 * the gates of an LSTM. Nothing is trained. */
int craft_own(struct mc_model *m, struct mc_err *err);

#endif
