/* Nodes put behind a graph, one call each. Errors are sticky: after one, calls return NULL, and NULL goes through
 * everything. Private to train/. */
#ifndef MC_TRAIN_WIRE_H
#define MC_TRAIN_WIRE_H

#include "graph/edit.h"

struct mc_wire {
    struct mc_graph *g;
    struct mc_node *last; /* made last: attributes go there */
    int rc;
    struct mc_err *err;
};

/* A node of ai.onnx (of the version that gradients are made of) or of ai.mcompress.grad; its output 0. */
#define mc_wire(w, op, ...)                                                                        \
    mc_wire_node(w, "", op, (struct mc_value *[]){__VA_ARGS__},                                    \
                 sizeof((struct mc_value *[]){__VA_ARGS__}) / sizeof(struct mc_value *))
#define mc_wire_own(w, op, ...)                                                                    \
    mc_wire_node(w, MC_GRAD_DOMAIN, op, (struct mc_value *[]){__VA_ARGS__},                        \
                 sizeof((struct mc_value *[]){__VA_ARGS__}) / sizeof(struct mc_value *))
struct mc_value *mc_wire_node(struct mc_wire *w, const char *domain, const char *op,
                              struct mc_value *const *in, size_t n_in);
void mc_wire_int(struct mc_wire *w, const char *name, int64_t v);
void mc_wire_int_list(struct mc_wire *w, const char *name, const int64_t *v, size_t n);
void mc_wire_float(struct mc_wire *w, const char *name, float v);

void mc_wire_string(struct mc_wire *w, const char *name, const char *v);

/* A graph input; rank -1: of any shape. */
struct mc_value *mc_wire_input(struct mc_wire *w, const char *name, enum mc_dtype dtype, int rank,
                               const struct mc_dim *dims);
/* Constants: a number of float type `dtype`; integers. */
struct mc_value *mc_wire_scalar(struct mc_wire *w, enum mc_dtype dtype, double v);
struct mc_value *mc_wire_ints(struct mc_wire *w, const int64_t *v, int64_t n);

#endif
