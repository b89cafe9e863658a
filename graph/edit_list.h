/* Small pieces shared by the edit files. Private to graph/. */
#ifndef MC_GRAPH_EDIT_LIST_H
#define MC_GRAPH_EDIT_LIST_H

#include "graph/graph.h"

/* Take every occurrence of v out of a list, keeping the order. */
void mc_edit_list_remove(struct mc_value **list, size_t *n, const struct mc_value *v);
/* Append a zeroed attribute to an arena list; NULL when out of memory. */
struct mc_attr *mc_edit_list_attr(struct mc_arena *a, struct mc_attr **list, size_t *n,
                                  const char *name, enum mc_attr_type type);

/* Enter or remove one use of v: an input slot of a node, or with slot -1 the capture by a proxy. */
int mc_edit_use(struct mc_value *v, struct mc_node *n, int slot, struct mc_value *proxy,
                struct mc_err *err);
void mc_edit_unuse(struct mc_value *v, const struct mc_node *n, int slot,
                   const struct mc_value *proxy);
/* Empty a body that leaves its node, bodies in it included. */
void mc_edit_drop_body(struct mc_graph *g);
/* Unlink a node from its values and empty its bodies; it stays in graph->nodes. */
void mc_edit_detach(struct mc_node *n);
/* Forget v's name, content and uses; it stays in the graph's lists. */
void mc_edit_forget(struct mc_value *v);

#endif
