/* The list of gradient rules that meson generates. Private to graph/. */
#ifndef MC_GRAPH_OPS_RULE_REGISTRY_H
#define MC_GRAPH_OPS_RULE_REGISTRY_H

#include "graph/grad/rule.h"

extern const struct mc_rule *const mc_rule_families[]; /* closed by NULL */

#endif
