/* The model that a cut has to equal: the first one, where every float value has zeros at the positions that go, after
 * each node, every constant too, and norms take their statistics over what stays alone. */
#ifndef MC_TESTS_MASK_REFERENCE_H
#define MC_TESTS_MASK_REFERENCE_H

#include "passes/couple/coupling.h"

/* A new model from c->m. *ret_norms: norms and means that were written out because positions of their statistics go.
 * Failures are cmocka failures. */
struct mc_model *mask_reference(const struct mc_coupling *c, const bool *gone, int *ret_norms);

#endif
