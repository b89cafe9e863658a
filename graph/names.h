/* The names of a graph: name -> value, each lookup and change O(1). Private to graph/. */
#ifndef MC_GRAPH_NAMES_H
#define MC_GRAPH_NAMES_H

#include "graph/graph.h"

void mc_names_free(struct mc_names *t); /* accepts NULL */
struct mc_value *mc_names_get(const struct mc_names *t, const char *name);

/* Enter or remove v under v->name; also counted in the outermost graph, where mc_names_taken looks.
 * False when out of memory. */
bool mc_names_put(struct mc_value *v);
void mc_names_drop(struct mc_value *v);

/* Is the name used in any graph from the outermost one around g down? */
bool mc_names_taken(const struct mc_graph *g, const char *name);
/* Number to try next for the suffix of a taken name: counts up with every call. */
uint32_t mc_names_next(struct mc_graph *g, const char *name);

#endif
