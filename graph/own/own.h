/* Weights that ONNX has no type for: model-local functions of the domain ai.mcompress, version 1.
 *
 * A call holds the small form; the function's body, of standard operators, says what it means, so any runtime that knows
 * functions runs it. Here a call whose function has exactly the body that this table builds is an operator with a row in
 * graph/ops (own_*.c) and a rule for training; one with any other body is a function like others, and inlined.
 *
 *  function        inputs (then tables)     attributes                  meaning
 *  BinaryWeight    P, S                     shape, columns              W = S * sign: P uint8 [M, ceil(K/8)], bit i of byte j
 *                                                                       of a row is weight 8j+i, 1 means +1, 0 means -1, bits
 *                                                                       behind K are 0; S float [M, 1]; shape holds M*K
 *                                                                       elements; columns = [K]
 *  SharedWeight    I, D                     shape, bits …               W = D[index]: D float [2^bits], I packed
 *  XnorGemm        X, T, P, S, B            columns                     a = X < T ? -1 : 1; Y = (a sign(P)^T) * S + B. X
 *                                                                       [.., K]; T [K] or []; S, B float [M]; P as above
 *  XnorConv        X, T, P, S, B            shape, columns, strides,    the same over [M, C, kh, kw], group 1; T [C,1,1] or
 *                                           pads, dilations             []; padding counts as 0, neither -1 nor 1
 *  CirculantGemm…  X, C, B                  …                           W is p x q blocks of b x b, C [p, q, b] their first
 *                                                                       columns: block[r, c] = C[(r - c) mod b];
 *                                                                       X [.., q b], Y [.., p b] = X W^T + B
 *  CirculantConv…  X, C, B                  strides, pads, dilations    C [p, q, b, kh, kw], circulant over channels
 *
 * Variants of a body (Dft, Window, …) are functions with a name of their own, and the same inputs up to the tables. B may be
 * left out. Bodies hold for any version of ai.onnx from 13 on, and use no operator whose form changed since.
 *
 * Tables (of signs, indices, the DFT) are inputs, so that layers share them: initializers that hold what mc_own_table says. A call
 * with another table is not recognised. */
#ifndef MC_GRAPH_OWN_OWN_H
#define MC_GRAPH_OWN_OWN_H

#include "graph/graph.h"

#define MC_OWN_DOMAIN "ai.mcompress"

struct mc_own_body; /* a body in the making (own_body.h) */

struct mc_own {
    const char *name;          /* of the function; NULL closes a table */
    int n_in, n_tables;        /* inputs of the function */
    const char *const *inputs; /* [n_in + n_tables] their names */
    const char *const *attrs;  /* closed by NULL */
    /* The nodes, always the same ones in the same order. */
    int (*body)(struct mc_own_body *b);
    /* Table i for a call with these inputs (constants and shapes of in[0..n_in) are what it may look at). */
    int (*table)(const struct mc_node *call, int i, struct mc_tensor **ret, struct mc_err *err);
    /* Do constants and attributes fit together? Errors: MC_ESHAPE, MC_EDTYPE, MC_EDATA naming node, input and what is wrong. */
    int (*check)(const struct mc_node *call, struct mc_err *err);
    /* Weights that the call stands for (as many as the dense layer has, padding of blocks left out), and the bytes
     * that hold them (scales and codebooks included, tables not). */
    void (*size)(const struct mc_node *call, int64_t *ret_weights, uint64_t *ret_bytes);
    /* The weight as the dense layer has it, float32 (BinaryWeight: of `shape`; Gemm: [M, K]; Conv: [M, C, kh, kw]). */
    int (*dense)(const struct mc_node *call, struct mc_tensor **ret, struct mc_err *err);
    /* Is what runtimes compute by this body an approximation (activations rounded to 8 bits)? */
    bool approximate;
};

const struct mc_own *mc_own_lookup(
    const char *name);                    /* without looking at a model; NULL: none of ours */
const struct mc_own *mc_own_at(size_t i); /* NULL at the end */

/* What n calls, if it is one of ours: domain, body and tables are right. NULL: any other node. Cost: nodes of the body and
 * bytes of the tables. */
const struct mc_own *mc_own_find(const struct mc_node *n);

/* A call at position pos: the function and the import of its domain are added where the model has none, tables where the graph has
 * none. in[0..n_in) as in the table above, out as for mc_edit_node; attributes are set by `set` before tables are made
 * (NULL: there are none).
 * Errors: MC_EUNSUP where the model has a function of that name with another body; MC_ENOMEM, those of check. */
int mc_own_call(struct mc_graph *g, size_t pos, const char *function, const char *name,
                struct mc_value *const *in, size_t n_in, struct mc_value *const *out, size_t n_out,
                int (*set)(void *ctx, struct mc_node *n, struct mc_err *err), void *ctx,
                struct mc_node **ret, struct mc_err *err);

/* --inline: every call of ours gives way to its body; functions and import go where nothing calls them any more. */
int mc_own_inline(struct mc_model *m, struct mc_err *err);
/* --expand: every call of ours gives way to the dense layer that it stands for. */
int mc_own_expand(struct mc_model *m, struct mc_err *err);
/* Functions of ours that nothing calls, and the import then, go. */
void mc_own_sweep(struct mc_model *m);

#endif
