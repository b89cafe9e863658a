/* How a row of the table writes the body of its function.
 *
 *     static int body(struct mc_own_body *b)
 *     {
 *         int bits = mc_body(b, "Cast", mc_body_in(b, P));
 *         mc_body_int(b, "to", MC_DTYPE_I32);
 *         int signs = mc_body(b, "Gather", mc_body_in(b, TABLE), bits);
 *         return mc_body_end(b, mc_body(b, "Reshape", signs, mc_body_attr(b, "shape")));
 *     }
 *
 * The same lines build a function (values named x0, x1, …) and tell whether one of a model is exactly this: operators, attributes,
 * wiring, order. Values are small numbers, MC_BODY_NONE for an input left out. Errors are sticky: after one, calls do nothing. */
#ifndef MC_GRAPH_OWN_OWN_BODY_H
#define MC_GRAPH_OWN_OWN_BODY_H

#include "graph/own/own.h"

enum { MC_BODY_NONE = -1 };

/* Input i of the function. */
int mc_body_in(struct mc_own_body *b, int i);
/* A node of ai.onnx; its output 0. */
#define mc_body(b, op, ...)                                                                        \
    mc_body_node(b, op, (const int[]){__VA_ARGS__},                                                \
                 sizeof((const int[]){__VA_ARGS__}) / sizeof(int))
int mc_body_node(struct mc_own_body *b, const char *op, const int *in, size_t n_in);
/* Another output of the node made last; i > 0, in order. */
int mc_body_more(struct mc_own_body *b, int i);

/* Attributes of the node made last. */
void mc_body_int(struct mc_own_body *b, const char *name, int64_t v);
void mc_body_float(struct mc_own_body *b, const char *name, float v);
void mc_body_ints(struct mc_own_body *b, const char *name, const int64_t *v, size_t n);
/* The attribute `from` of the call, which has this type; left out where the call leaves it out. */
void mc_body_ref(struct mc_own_body *b, const char *name, enum mc_attr_type type, const char *from);

/* Constants: a vector of int64; the call's attribute of integers as one; any other, of whole bytes, rank at most 4. */
int mc_body_const(struct mc_own_body *b, const int64_t *v, size_t n);
int mc_body_attr(struct mc_own_body *b, const char *from);
int mc_body_tensor(struct mc_own_body *b, enum mc_dtype dtype, int rank, const int64_t *dims,
                   const void *data);

/* The output of the function. Returns what `body` has to return. */
int mc_body_end(struct mc_own_body *b, int v);

/* ---- for own_find.c and own_call.c ---- */

/* Is f exactly the function of the row? The version of ai.onnx is any from MC_OWN_OPSET on. */
bool mc_own_body_is(const struct mc_own *own, const struct mc_function *f);
/* Add the function to m, importing the version of ai.onnx that m imports. Errors: MC_ENOMEM. */
int mc_own_body_build(const struct mc_own *own, struct mc_model *m, struct mc_err *err);

#endif
