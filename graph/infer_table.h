/* The table behind graph/infer.h. Private to graph/. */
#ifndef MC_GRAPH_INFER_TABLE_H
#define MC_GRAPH_INFER_TABLE_H

#include "graph/infer.h"

struct mc_infer_symbol {
    const char *name; /* NULL: an unknown of inference's own */
    uint64_t hash;
    int64_t bound; /* its value where an input gives one, else -1 */
    bool torn;     /* inputs give it different values: every place is an unknown of its own */
};

struct mc_infer_rows {
    const struct mc_graph *g; /* NULL: not looked at */
    struct mc_vtype *rows;    /* [n] by value index */
    size_t n;
};

struct mc_infer {
    const struct mc_graph *g;
    struct mc_infer_rows *tables; /* [n_tables] by graph index: g and the bodies in it */
    size_t n_tables;
    struct mc_model
        *own;   /* copy with calls inlined, whose tensors the rows may refer to; or NULL */
    bool loose; /* an input contradicts its declaration: declared dimensions do not hold */
    size_t n_conflicts;
    const char *conflict[MC_INFER_CONFLICTS]; /* the first of them, in the arena */
    struct mc_arena arena;
    struct mc_tensor **tensors; /* folded ones, owned */
    size_t n_tensors, cap_tensors;
    struct mc_infer_symbol *symbols; /* dimension -2 - i is symbols[i] */
    size_t n_symbols, cap_symbols;
    size_t *slots; /* hash of the named ones: index + 1, 0 empty */
    size_t n_slots, n_named;
};

/* All three return false when out of memory. */
/* A new unknown. */
bool mc_infer_fresh(struct mc_infer *inf, int64_t *ret_dim);
/* The dimension a name stands for: its value if bound, else its symbol. */
bool mc_infer_named(struct mc_infer *inf, const char *name, int64_t *ret_dim);
/* An input says what a name is. */
bool mc_infer_bind(struct mc_infer *inf, const char *name, int64_t value);
/* Row of a declared type; dtype NONE and not ranked where nothing is declared. */
bool mc_infer_declared(struct mc_infer *inf, const struct mc_type *type, struct mc_vtype *ret);

static inline struct mc_vtype *mc_infer_row(struct mc_infer *inf, const struct mc_value *v)
{
    return &inf->tables[v->graph->index].rows[v->index];
}
struct mc_vtype mc_infer_tensor(const struct mc_tensor *t);

/* Infer a body whose inputs are given, or NULL. */
int mc_infer_body(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_graph *body,
                  int depth, const struct mc_vtype *given, struct mc_err *err);
/* The nodes of a graph whose other values are in the table. depth: of bodies around it. */
int mc_infer_nodes(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_graph *g,
                   int depth, struct mc_err *err);
/* The bodies of a node, and from them its outputs. */
int mc_infer_bodies(struct mc_infer *inf, const struct mc_infer_opts *o, const struct mc_node *n,
                    int depth, const struct mc_vtype *const *in, struct mc_vtype *out,
                    struct mc_err *err);
bool mc_infer_has_body(const struct mc_node *n);
/* mc_infer_macs of a node with bodies. */
double mc_infer_body_macs(const struct mc_infer *inf, const struct mc_node *n);

/* Has the node bodies, or attributes that a function's caller gives? Its operator's row would not see all. */
bool mc_infer_opaque(const struct mc_node *n);

#endif
