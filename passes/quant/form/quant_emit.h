/* Nodes one after the other, where what fails is asked once, at the end. */
#ifndef MC_PASSES_QUANT_EMIT_H
#define MC_PASSES_QUANT_EMIT_H

#include "graph/graph.h"

struct mc_quant_emit {
    struct mc_graph *g;
    size_t pos; /* of the next node */
    int rc;     /* of the first that failed; nothing is done from then on */
    struct mc_err *err;
};

/* A node of ai.onnx with n_out new outputs, named `hint` or after it; short hints, each is in the file twice or more.
 * in may hold NULL. Version: the one imported, at least 13. NULL after a failure. */
struct mc_node *mc_quant_emit_node(struct mc_quant_emit *e, const char *op, const char *hint,
                                   struct mc_value *const *in, size_t n_in, size_t n_out);
/* With one output, which is returned: mc_quant_emit(e, "Mul", "m", a, b). */
#define mc_quant_emit(e, op, hint, ...)                                                            \
    mc_quant_emit_list(e, op, hint, NULL, (struct mc_value *[]){__VA_ARGS__},                      \
                       sizeof((struct mc_value *[]){__VA_ARGS__}) / sizeof(struct mc_value *))
/* The same into y, a value without producer. */
#define mc_quant_emit_to(e, op, y, ...)                                                            \
    mc_quant_emit_list(e, op, NULL, y, (struct mc_value *[]){__VA_ARGS__},                         \
                       sizeof((struct mc_value *[]){__VA_ARGS__}) / sizeof(struct mc_value *))
struct mc_value *mc_quant_emit_list(struct mc_quant_emit *e, const char *op, const char *hint,
                                    struct mc_value *y, struct mc_value *const *in, size_t n_in);
/* x as `to`, into y or, where that is NULL, a new value. */
struct mc_value *mc_quant_emit_cast(struct mc_quant_emit *e, const char *hint, struct mc_value *y,
                                    struct mc_value *x, enum mc_dtype to);
struct mc_value *mc_quant_emit_transpose(struct mc_quant_emit *e, const char *hint,
                                         struct mc_value *y, struct mc_value *x, int rank,
                                         const int64_t *perm);
/* A constant. Takes over the reference to t; NULL passes. */
struct mc_value *mc_quant_emit_tensor(struct mc_quant_emit *e, const char *hint,
                                      struct mc_tensor *t);
struct mc_value *mc_quant_emit_ints(struct mc_quant_emit *e, const char *hint, int n,
                                    const int64_t *v);

#endif
