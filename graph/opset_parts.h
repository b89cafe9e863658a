/* Parts of graph/opset.c. Private to graph/. */
#ifndef MC_GRAPH_OPSET_PARTS_H
#define MC_GRAPH_OPSET_PARTS_H

#include "graph/infer.h"

enum { MC_OPSET_NEWEST = 28 };

/* The version at which an operator of ai.onnx got the definition that `version` has; 0: not known. */
int mc_opset_since(const char *op_type, int version);

struct mc_opset_lifter {
    int version;                /* to be reached */
    const struct mc_infer *inf; /* of the graph before; NULL: nothing is known */
};

/* A change of an operator's form. */
struct mc_opset_form {
    const char *op_type;
    int version; /* that has the new form */
    /* Rewrite n, which has the form before, in place; nodes put beside it are of l->version. */
    int (*convert)(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err);
};
/* Rows of one operator stand in the order of versions; op_type NULL closes the table. */
extern const struct mc_opset_form mc_opset_forms[];

/* "ReduceMean 'n' cannot be lifted to opset 18: …" */
int mc_opset_refuse(const struct mc_opset_lifter *l, const struct mc_node *n, struct mc_err *err,
                    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* ---- opset_shapes.c: forms that need more than an attribute's move ---- */

int mc_opset_softmax(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err);
int mc_opset_resize(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err);
int mc_opset_group_norm(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err);

/* ---- helpers ---- */

/* A constant named after n in n's graph, before n where it is a node. */
int mc_opset_constant(struct mc_node *n, const char *suffix, enum mc_dtype dtype, int rank,
                      const int64_t *dims, const void *data, struct mc_value **ret,
                      struct mc_err *err);
/* Element type and shape of an input, zeroed where nothing is known. */
struct mc_vtype mc_opset_type(const struct mc_opset_lifter *l, const struct mc_node *n, size_t i);

#endif
