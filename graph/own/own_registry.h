/* All families of functions, closed by NULL; each is a table closed by a row without name. */
#ifndef MC_GRAPH_OWN_OWN_REGISTRY_H
#define MC_GRAPH_OWN_OWN_REGISTRY_H

#include "graph/own/own.h"

extern const struct mc_own *const mc_own_families[];

#endif
