/* The functions of a model by name. Private to graph/. */
#ifndef MC_GRAPH_FUNCTION_TABLE_H
#define MC_GRAPH_FUNCTION_TABLE_H

#include "graph/graph.h"

struct mc_function_table {
    const struct mc_function **sorted; /* by name, domain, overload */
    size_t n;
};

/* Errors: MC_EFORMAT if a function is defined twice; MC_ENOMEM. */
int mc_function_table_make(struct mc_function_table *t, const struct mc_model *m,
                           struct mc_err *err);
void mc_function_table_free(struct mc_function_table *t);
/* Place in `sorted` of the function that a node calls, or -1. Cost: log n. */
ptrdiff_t mc_function_table_find(const struct mc_function_table *t, const struct mc_node *n);

#endif
