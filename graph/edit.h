/* The only way to change a graph. Strings are copied into the model's arena; tensors are referenced.
 * Functions that return a pointer return NULL when out of memory. */
#ifndef MC_GRAPH_EDIT_H
#define MC_GRAPH_EDIT_H

#include "graph/graph.h"

/* ---- building, used by readers ---- */

struct mc_graph *mc_edit_graph(struct mc_model *m, struct mc_graph *parent, struct mc_node *owner,
                               const char *name);
/* A value with exactly this name; NULL also if the name is taken. */
struct mc_value *mc_edit_value(struct mc_graph *g, const char *name);
/* The value a name means in this graph: its own, or a proxy (value->outer) for one of an enclosing graph,
 * made on first use and recorded there as a captured use of the owner node; NULL if nobody has it. */
struct mc_value *mc_edit_resolve(struct mc_graph *g, const char *name);
int mc_edit_input(struct mc_graph *g, struct mc_value *v, struct mc_err *err);
int mc_edit_output(struct mc_graph *g, struct mc_value *v, struct mc_err *err);
int mc_edit_info(struct mc_graph *g, struct mc_value *v,
                 struct mc_err *err); /* list in value_info */
/* Set (or with NULL remove) the initializer content of a value without producer. */
int mc_edit_tensor(struct mc_value *v, struct mc_tensor *t, struct mc_err *err);
void mc_edit_type(struct mc_value *v, enum mc_dtype dtype, int rank, const struct mc_dim *dims);
int mc_edit_opset(struct mc_model *m, const char *domain, int64_t version, struct mc_err *err);
int mc_edit_meta(struct mc_model *m, const char *key, const char *value, struct mc_err *err);

/* ---- changing ---- */

/* A new value whose name is `hint`, or hint_1, hint_2, … where that is taken. */
struct mc_value *mc_edit_fresh(struct mc_graph *g, const char *hint);
/* A fresh value with content. */
struct mc_value *mc_edit_constant(struct mc_graph *g, const char *hint, struct mc_tensor *t);

/* Insert a node at position pos (g->n_nodes: append). in/out may hold NULL. Each out value must have no
 * producer. version 0: the one the model imports. Errors: MC_EFAIL for a value produced twice. */
int mc_edit_node(struct mc_graph *g, size_t pos, const char *op_type, const char *domain,
                 int version, const char *name, struct mc_value *const *in, size_t n_in,
                 struct mc_value *const *out, size_t n_out, struct mc_node **ret,
                 struct mc_err *err);
int mc_edit_set_input(struct mc_node *n, size_t slot, struct mc_value *v, struct mc_err *err);
/* Make `to` the producer side of what `from` was: every use and graph output moves; a graph output keeps
 * its name by swapping names. */
int mc_edit_replace_uses(struct mc_value *from, struct mc_value *to, struct mc_err *err);
/* Detach and drop a node; its outputs stay as values without producer. */
void mc_edit_remove_node(struct mc_node *n);
void mc_edit_remove_value(struct mc_value *v); /* must be unused and unproduced */
/* Remove nodes whose outputs nobody uses, and constants nobody uses, repeatedly; model inputs stay, as do
 * nodes of a graph whose operator may have effects (none in ONNX). Returns how many nodes went. */
size_t mc_edit_sweep(struct mc_graph *g);

/* Set an attribute (replacing one of that name). */
int mc_edit_attr_int(struct mc_node *n, const char *name, int64_t v, struct mc_err *err);
int mc_edit_attr_float(struct mc_node *n, const char *name, float v, struct mc_err *err);
int mc_edit_attr_string(struct mc_node *n, const char *name, const char *v, struct mc_err *err);
int mc_edit_attr_ints(struct mc_node *n, const char *name, const int64_t *v, size_t count,
                      struct mc_err *err);
int mc_edit_attr_tensor(struct mc_node *n, const char *name, struct mc_tensor *t,
                        struct mc_err *err);
/* Append a zeroed attribute and return it for a reader to fill in; NULL when out of memory. */
struct mc_attr *mc_edit_attr_new(struct mc_node *n, const char *name, enum mc_attr_type type);
void mc_edit_attr_remove(struct mc_node *n, const char *name);

#endif
