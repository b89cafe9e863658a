/* Weights that ONNX has no type for: model-local functions of the domain ai.mcompress, version 1.
 *
 * A call holds the small form; the function's body, of standard operators, says what it means, so any runtime that knows
 * functions runs it. Here a call whose function has exactly the body that this table builds, and no attribute or table but those, is an
 * operator with a row in graph/ops (own_weight.c, xnor_product.c, circulant_*.c; the Fast ones have none, and are inlined) and a
 * rule for training (…_rule.c; Xnor… are trained in another form, passes/binarize). Any other is a function like others, and
 * inlined.
 *
 *  function        inputs (then tables)     attributes                  meaning
 *  BinaryWeight    P, S                     shape, columns              W = S * sign: P uint8 [M, ceil(K/8)], bit i of byte j
 *                                                                       of a row is weight 8j+i, 1 means +1, 0 means -1, bits
 *                                                                       behind K are 0; S float [M, 1]; shape holds M*K
 *                                                                       elements; columns = [K]
 *  SharedWeight    I, D                     shape, count, bits          W = D[index]: D float [2^bits]; bits 1, 2, 4 or 8; I uint8
 *                                                                       [ceil(count bits / 8)], the first index in the lowest bits;
 *                                                                       shape holds count elements
 *  SharedPlanes    I, D                     shape, count, bits          the same for 1 to 7 bits: bit i of byte j of row p of I uint8
 *                                                                       [bits, ceil(count/8)] is bit p of index 8j+i
 *  GateWeight      W, A                     shape                       all gates of a recurrent cell from one matrix: W float [d, n, m],
 *                                                                       A [d, g, n, 1] (or [d, g, 1, m], [d, g, n, m]); row u of gate i
 *                                                                       is W[., u, :] * A[., i, u, :]; shape = [d, g n, m]
 *  XnorGemm        X, T, P, S, B            columns                     a = X < T ? -1 : 1; Y = (a sign(P)^T) * S + B. X
 *                                                                       [.., K]; T [K] or []; S, B float [M]; P as above
 *  XnorConv        X, T, P, S, B            shape, columns, strides,    the same over shape = [M, C, kh, kw] or [M, C, kw],
 *                                           pads, dilations             group 1; T [C,1,1] or []; S, B [M,1,1] (of one
 *                                                                       dimension [C,1], [M,1]); padding counts as 0,
 *                                                                       neither -1 nor 1
 *  BinaryGemmFast  X, P, S, B               columns                     Y = (X sign(P)^T) * S + B, X rounded to 8 bits of the
 *                                                                       range that all of it has in the run: the rest of a
 *                                                                       batch matters a little; shapes of XnorGemm
 *  BinaryConvFast  X, P, S, B               as XnorConv                 the same; shapes of XnorConv
 *  CirculantGemm…  X, C, B                  own_circulant.h             W is p x q blocks of b x b, C float [p, q, b] their first
 *                                                                       columns: block[r, c] = C[(r - c) mod b];
 *                                                                       X [.., q b], Y [.., p b] = X W^T + B, B [p b] or [1]
 *  CirculantConv…  X, C, B                  strides, pads, dilations … C [p, q, b, kh, kw], circulant over channels
 *
 * Variants of a body (Dft, Window, …) are functions with a name of their own, and the same inputs up to the tables. An input
 * may be left out where the body hands it to an operator that may miss it. Bodies hold for any version of ai.onnx from 13
 * on, and use no operator whose form changed since.
 *
 * Tables (of signs, indices, the DFT) are inputs, so that layers share them: initializers that hold what `table` says. A call
 * with another table is not recognised.
 *
 * One file per family in this folder; each ends with
 *     const struct mc_own mc_own_FAMILY[] = {{…}, {…}, {0}};
 * and is one word in meson.build's list, from which the registry is generated. */
#ifndef MC_GRAPH_OWN_OWN_H
#define MC_GRAPH_OWN_OWN_H

#include "graph/graph.h"

#define MC_OWN_DOMAIN "ai.mcompress"

enum {
    MC_OWN_VERSION = 1,
    MC_OWN_OPSET = 13,
    MC_OWN_IR = 8
}; /* of the domain; least of ai.onnx and of the IR */

struct mc_own_body; /* a body in the making (own_body.h) */

/* A table of small whole numbers. */
enum { MC_OWN_TABLE = 2048 };
struct mc_own_table {
    enum mc_dtype dtype;
    struct mc_shape shape;
    float at[MC_OWN_TABLE];
};

struct mc_own {
    const char *name;          /* of the function; NULL closes a table */
    int n_in, n_tables;        /* inputs of the function */
    const char *const *inputs; /* [n_in + n_tables] their names */
    const char *const *attrs;  /* closed by NULL */
    /* What training makes of in[0..n_in), a letter each: w a weight, s one that does not decay (scale, bias, codebook,
     * threshold), . none (activations, packed bits). */
    const char *roles;
    /* The nodes, always the same ones in the same order. */
    int (*body)(struct mc_own_body *b);
    /* Table i for a call that went through check (constants and types of its inputs are what it may look at); ret is zeroed.
     * NULL: there are none. */
    void (*table)(const struct mc_node *call, int i, struct mc_own_table *ret);
    /* Do constants and attributes fit together? Inputs that are no constants (a step of training has its weights as inputs)
     * fit. Errors: MC_ESHAPE, MC_EDTYPE, MC_EDATA naming node, input and what is wrong. */
    int (*check)(const struct mc_node *call, struct mc_err *err);
    /* Weights that the call stands for (as many as the dense layer has, padding of blocks left out), and the bytes
     * that hold them (scales and codebooks included, tables and biases not). Of a call that went through check. */
    void (*size)(const struct mc_node *call, int64_t *ret_weights, uint64_t *ret_bytes);
    /* The weight as the dense layer has it, float32 (BinaryWeight: of `shape`; Gemm: [M, K]; Conv: [M, C, kh, kw]). Of a
     * call that went through check; MC_EUNSUP where an input that it needs is no constant. */
    int (*dense)(const struct mc_node *call, struct mc_tensor **ret, struct mc_err *err);
    /* Put before the call the nodes of the dense layer that it stands for; *ret: what takes the place of its output.
     * NULL: the output is the weight, which becomes a constant. */
    int (*expand)(const struct mc_node *call, struct mc_value **ret, struct mc_err *err);
    /* Does the body round activations to 8 bits? The dense layer that the call stands for does not. */
    bool approximate;
};

const struct mc_own *mc_own_lookup(
    const char *name);                    /* without looking at a model; NULL: none of ours */
const struct mc_own *mc_own_at(size_t i); /* NULL at the end */

/* What n calls, if it is one of ours: domain, body and tables are right, and it has no attribute that the body does not use
 * (a row might). NULL: any other node. Whether its inputs fit is another question: mc_own_check. Takes no memory. Cost:
 * nodes of the body and bytes of the tables. */
const struct mc_own *mc_own_find(const struct mc_node *n);
/* The check of what n calls. Errors: of it; MC_EFORMAT if n is none of ours. */
int mc_own_check(const struct mc_node *n, struct mc_err *err);

/* A call at position pos: the function and the import of its domain are added where the model has none, tables where the graph has
 * none. in[0..n_in) as in the table above, out as for mc_edit_node; attributes are set by `set` before tables are made
 * (NULL: there are none). The model may be of any opset: mc_opset_lift brings it to one that the body holds in.
 * Errors: MC_EUNSUP where the model has a function of that name with another body; MC_ENOMEM; MC_EDATA for constants that are not finite;
 * those of check. g must be dropped then. */
int mc_own_call(struct mc_graph *g, size_t pos, const char *function, const char *name,
                struct mc_value *const *in, size_t n_in, struct mc_value *const *out, size_t n_out,
                int (*set)(void *ctx, struct mc_node *n, struct mc_err *err), void *ctx,
                struct mc_node **ret, struct mc_err *err);

/* For mc_own_call: the attribute shape, and those of columns, count and bits that are not 0. */
struct mc_own_form {
    struct mc_shape shape;
    int64_t columns, count, bits;
};
int mc_own_set_form(void *form, struct mc_node *n, struct mc_err *err);

/* The attribute shape; of unknown size where it has too many numbers. */
struct mc_shape mc_own_shape(const struct mc_node *call);
/* Element type of an input, a constant or declared; NONE: not known, or left out. */
enum mc_dtype mc_own_dtype(const struct mc_node *call, size_t i);
/* Content of an input, NULL if it is no constant or left out. */
const struct mc_tensor *mc_own_constant(const struct mc_node *call, size_t i);
/* Bytes of the constants that input i is, or is made of, by as many nodes; tables not. */
enum { MC_OWN_PARTS = 4 }; /* Mul(Cast(integers), scale), shaped */
uint64_t mc_own_bytes(const struct mc_node *call, size_t i);
/* "BinaryWeight 'fc1': …" */
int mc_own_fail(struct mc_err *err, int code, const struct mc_node *call, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A list of positive numbers that must be there, n of them (n < 0: 1 to MC_RANK_MAX). Errors: MC_ESHAPE. */
int mc_own_need_ints(const struct mc_node *call, const char *name, int n, const int64_t **ret,
                     size_t *ret_n, struct mc_err *err);
/* Input i, where it is a constant, has this type (NONE: float16, bfloat16, float or double) and this shape (a negative dimension: any);
 * an input that is left out does not fit. Errors: MC_EDTYPE, MC_ESHAPE. */
int mc_own_need(const struct mc_node *call, size_t i, enum mc_dtype dtype, int rank,
                const int64_t *dims, struct mc_err *err);
/* All constants of floating-point type are finite. Errors: MC_EDATA. */
int mc_own_need_finite(const struct mc_node *call, struct mc_err *err);

/* --inline: every call of a function of the domain gives way to its body, in bodies and functions too; functions and import go.
 * Errors: as mc_inline. */
int mc_own_inline(struct mc_model *m, struct mc_err *err);
/* --expand: every call of ours gives way to the dense layer that it stands for. Errors: of check; MC_EUNSUP for a call whose inputs
 * are no constants, or that is not recognised. m may be half expanded then. */
int mc_own_expand(struct mc_model *m, struct mc_err *err);
/* Functions of ours that nothing calls, and the import then, go. */
void mc_own_sweep(struct mc_model *m);

#endif
