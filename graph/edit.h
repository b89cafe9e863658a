/* The only way to change a graph. Strings are copied into the model's arena; tensors are referenced.
 * Functions that return a pointer return NULL when out of memory. */
#ifndef MC_GRAPH_EDIT_H
#define MC_GRAPH_EDIT_H

#include "graph/graph.h"

/* ---- building, used by readers ---- */

/* An empty graph. Without parent and owner it becomes the main graph if the model has none yet; a body
 * is put into an attribute of its owner by the caller. */
struct mc_graph *mc_edit_graph(struct mc_model *m, struct mc_graph *parent, struct mc_node *owner,
                               const char *name);
/* A function with an empty body, appended to the model's list. */
struct mc_function *mc_edit_function(struct mc_model *m, const char *domain, const char *name,
                                     const char *overload);
int mc_edit_function_opset(struct mc_function *f, const char *domain, int64_t version,
                           struct mc_err *err);
int mc_edit_function_attr(struct mc_function *f, const char *name, struct mc_err *err);
/* As mc_edit_attr_new, for an attribute with a default. */
struct mc_attr *mc_edit_function_default(struct mc_function *f, const char *name,
                                         enum mc_attr_type type);
/* A value with exactly this name; NULL also if the name is taken. Define all names of a graph before its
 * nodes' bodies are built: a body resolves a name when it is first used there. */
struct mc_value *mc_edit_value(struct mc_graph *g, const char *name);
/* The value a name means in this graph: its own, or a proxy (value->outer) for one of an enclosing graph,
 * made on first use and recorded there as a captured use of the owner node; NULL if nobody has it. */
struct mc_value *mc_edit_resolve(struct mc_graph *g, const char *name);
/* Errors: MC_EFORMAT if v is an input already or has a producer. */
int mc_edit_input(struct mc_graph *g, struct mc_value *v, struct mc_err *err);
/* Graph inputs that have a content and a rank above 0 become plain initializers: weights that an exporter
 * listed as inputs, which nobody feeds. Scalars stay (thresholds that a caller may set), and so does everything
 * before IR 4, where every initializer is an input by rule. Returns how many. Cost: linear in inputs. */
size_t mc_edit_fix_inputs(struct mc_graph *g);
/* No initializer is an input any more: what a model before IR 4 means, once it is one of IR 4. */
void mc_edit_free_inputs(struct mc_graph *g);
int mc_edit_output(struct mc_graph *g, struct mc_value *v, struct mc_err *err);
/* An output no longer; the value stays. */
void mc_edit_output_drop(struct mc_value *v);
int mc_edit_info(struct mc_graph *g, struct mc_value *v,
                 struct mc_err *err); /* list in value_info */
/* Set (or with NULL remove) the initializer content of a value without producer; takes its own reference.
 * Errors: MC_EFORMAT if a node produces v. */
int mc_edit_tensor(struct mc_value *v, struct mc_tensor *t, struct mc_err *err);
/* Declare a tensor type; rank -1: not ranked. dims NULL: all unknown. dtype NONE: nothing declared.
 * False when out of memory. */
bool mc_edit_type(struct mc_value *v, enum mc_dtype dtype, int rank, const struct mc_dim *dims);
/* Set or add an import; "ai.onnx" is "". */
int mc_edit_opset(struct mc_model *m, const char *domain, int64_t version, struct mc_err *err);
int mc_edit_meta(struct mc_model *m, const char *key, const char *value, struct mc_err *err);

/* ---- changing ---- */

/* A new value whose name is `hint`, or hint_1, hint_2, … where that is taken by any graph between the main
 * graph (or function) and the bodies below it. */
struct mc_value *mc_edit_fresh(struct mc_graph *g, const char *hint);
/* A fresh value with content. */
struct mc_value *mc_edit_constant(struct mc_graph *g, const char *hint, struct mc_tensor *t);

/* Insert a node at position pos (g->n_nodes: append). in/out may hold NULL. Each out value must have no
 * producer, not be an input and have no content. version 0: the one imported,
 * or that which ONNX Runtime takes where the import of one of its domains is missing. Errors: MC_EFORMAT naming the
 * value that would be produced twice. */
int mc_edit_node(struct mc_graph *g, size_t pos, const char *op_type, const char *domain,
                 int version, const char *name, struct mc_value *const *in, size_t n_in,
                 struct mc_value *const *out, size_t n_out, struct mc_node **ret,
                 struct mc_err *err);
/* v may be NULL; a slot beyond n_in extends the list. */
int mc_edit_set_input(struct mc_node *n, size_t slot, struct mc_value *v, struct mc_err *err);
/* An output that the node does not have yet, or left out; a slot beyond n_out extends the list. v must be as for
 * mc_edit_node. Errors: MC_EFORMAT if it is not, or the slot is taken. */
int mc_edit_set_output(struct mc_node *n, size_t slot, struct mc_value *v, struct mc_err *err);
/* Make a node one of another operator: attributes, inputs and outputs stay. */
int mc_edit_op(struct mc_node *n, const char *domain, const char *op_type, int version,
               struct mc_err *err);
/* Make `to` (of the same graph) what `from` was: every use moves, captures by bodies and those of to's own
 * producer included; where `to` declares no type it takes from's. A graph output keeps its name and type:
 * the two swap names, or an Identity is appended where `to` must keep its own (it is an input or another
 * output itself, or an outer value). `from` stays, unused.
 * Errors: MC_ENOMEM, MC_EFAIL if a body has an unrelated value of to's name. */
int mc_edit_replace_uses(struct mc_value *from, struct mc_value *to, struct mc_err *err);
/* Detach and drop a node; its outputs stay as values without producer. */
void mc_edit_remove_node(struct mc_node *n);
void mc_edit_remove_value(struct mc_value *v); /* must be unused and unproduced */
/* Remove nodes whose outputs nobody uses, and constants nobody uses, in bodies too; graph inputs stay.
 * Returns how many nodes went. Cost: linear in nodes and uses. */
size_t mc_edit_sweep(struct mc_graph *g);

/* Set an attribute (replacing one of that name). */
int mc_edit_attr_int(struct mc_node *n, const char *name, int64_t v, struct mc_err *err);
int mc_edit_attr_float(struct mc_node *n, const char *name, float v, struct mc_err *err);
int mc_edit_attr_string(struct mc_node *n, const char *name, const char *v, struct mc_err *err);
int mc_edit_attr_ints(struct mc_node *n, const char *name, const int64_t *v, size_t count,
                      struct mc_err *err);
int mc_edit_attr_tensor(struct mc_node *n, const char *name, struct mc_tensor *t,
                        struct mc_err *err);
/* body was made by mc_edit_graph with n as owner. */
int mc_edit_attr_graph(struct mc_node *n, const char *name, struct mc_graph *body,
                       struct mc_err *err);
/* Append a zeroed attribute and return it for a reader to fill in: arrays and bytes from the model's arena,
 * tensors with a reference of their own. Valid until the next one is appended; NULL when out of memory. */
struct mc_attr *mc_edit_attr_new(struct mc_node *n, const char *name, enum mc_attr_type type);
void mc_edit_attr_remove(struct mc_node *n, const char *name);

#endif
