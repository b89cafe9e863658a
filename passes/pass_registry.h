/* All passes, closed by NULL. */
#ifndef MC_PASSES_PASS_REGISTRY_H
#define MC_PASSES_PASS_REGISTRY_H

#include "passes/pass.h"

extern const struct mc_pass *const mc_passes[];

#endif
