/* Gradient rules: for a node y = f(x, …), the nodes that make dx from dy.
 *
 * One table per operator family, in graph/ops/FAMILY_rule.c:
 *     const struct mc_rule mc_rules_FAMILY[] = {{"", "Relu", 1, relu_rule}, …, {0}};
 * and one word in graph/ops/meson.build's list `rule_families`. A rule may be called for any version from
 * `since` up to the next row of that name, with any of the node's outputs and inputs left out.
 *
 *     static void mul_rule(struct mc_grad *g, struct mc_node *n)
 *     {
 *         struct mc_value *dy = mc_grad_of(g, n, 0);
 *         for (int i = 0; i < 2; i++)
 *             if (mc_grad_wants(g, n, i))
 *                 mc_grad_give(g, n, i,
 *                              mc_grad_sum_to(g, mc_emit(g, "Mul", dy, n->in[1 - i]), n->out[0], n->in[i]));
 *     }
 *
 * Nodes are emitted behind all others, and run in the order in which they are emitted: what a value is needed
 * for should come soon, so that its memory is free early. The graph must stay free of numbers that follow from
 * the batch size: shapes are values (mc_grad_shape), which the plan of each signature knows.
 *
 * Errors are sticky: after one, every call does nothing and returns NULL or false, and NULL goes through
 * everything. Rules check nothing for it. */
#ifndef MC_GRAPH_GRAD_RULE_H
#define MC_GRAPH_GRAD_RULE_H

#include "graph/infer.h"

/* Operators that ONNX has not: kernels of gradients, losses, updates. Version 1. */
#define MC_GRAD_DOMAIN "ai.mcompress.grad"

enum { MC_GRAD_OPSET = 20 }; /* version of the ai.onnx nodes that rules emit */

struct mc_grad; /* one backward pass in the making */

typedef void mc_rule_emit(struct mc_grad *g, struct mc_node *n);

struct mc_rule {
    const char *domain, *name; /* NULL closes a table */
    int since;
    mc_rule_emit *emit;
};

/* For operators whose derivative is zero wherever it exists, or whose results are no numbers to follow
 * (Floor, Sign, Shape, ArgMax, comparisons): nothing flows back, and nothing is frozen because of it. */
mc_rule_emit mc_rule_zero;
/* For operators that round to whole numbers: the one rule whose gradients these do not stop
 * (graph/ops/quantize_rule.c). */
mc_rule_emit mc_rule_straight_through;

/* Rule for a node or NULL. */
const struct mc_rule *mc_rule_find(const struct mc_node *n);
const struct mc_rule *mc_rule_lookup(const char *domain, const char *name, int version);
/* All rows; i from 0, NULL at the end. */
const struct mc_rule *mc_rule_at(size_t i);

/* ---- what there is ---- */

/* Gradient of the loss by output i, of its shape and type; NULL if none arrives there: nothing depends on that
 * output. A rule is called only if at least one output has one. */
struct mc_value *mc_grad_of(struct mc_grad *g, const struct mc_node *n, int i);
/* Whether a gradient of input i is asked for: false for inputs left out, integers, and what leads to no
 * parameter. */
bool mc_grad_wants(const struct mc_grad *g, const struct mc_node *n, int i);
/* Type and shape of a value of the forward graph, dynamic axes as symbols (graph/infer.h): what can be known
 * when rules run. A value emitted by a rule has a row that knows nothing. */
const struct mc_vtype *mc_grad_type(const struct mc_grad *g, const struct mc_value *v);
/* Rank, or -1: not known. */
int mc_grad_rank(const struct mc_grad *g, const struct mc_value *v);
/* True if both have the same known shape, symbol by symbol. */
bool mc_grad_same_shape(const struct mc_grad *g, const struct mc_value *a,
                        const struct mc_value *b);
/* A constant input as tensor (graph/constant.h), or what inference knows of it; NULL if it is neither. */
const struct mc_tensor *mc_grad_known(const struct mc_grad *g, const struct mc_value *v);
/* Elements of a known integer vector (axes, pads); as mc_constant_ints: -1 if it is not known. */
int mc_grad_known_ints(const struct mc_grad *g, const struct mc_value *v, int64_t *ret, int max);
struct mc_graph *mc_grad_graph(const struct mc_grad *g);

/* ---- what comes of it ---- */

/* d, of input i's shape and type, is (a part of) the gradient of input i; parts are added up. Must be wanted. */
void mc_grad_give(struct mc_grad *g, const struct mc_node *n, int i, struct mc_value *d);
/* No gradient can be had of this node: with a reason for the user ("mode 'cubic' has no gradient yet"). What
 * leads into the node is frozen for it, the rest is trained. */
void mc_grad_refuse(struct mc_grad *g, const struct mc_node *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As mc_op_fail: for what is wrong rather than unsupported. */
void mc_grad_fail(struct mc_grad *g, int code, const struct mc_node *n, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool mc_grad_failed(const struct mc_grad *g);

/* Output i of a node of the forward graph that the file does not ask for (Indices of MaxPool): made if it is
 * not there. */
struct mc_value *mc_grad_output(struct mc_grad *g, struct mc_node *n, int i);

/* Make a node of the forward graph one of MC_GRAD_DOMAIN, version 1: an operator that computes the same, and in
 * further outputs what a gradient needs. It has a row in a table of rules, too: rules may run twice. */
void mc_grad_replace(struct mc_grad *g, struct mc_node *n, const char *op);

/* ---- emitting ---- */

/* A node of ai.onnx; returns its output 0. Inputs may be NULL: left out. */
#define mc_emit(g, op, ...)                                                                        \
    mc_grad_emit(g, "", op, (struct mc_value *[]){__VA_ARGS__},                                    \
                 sizeof((struct mc_value *[]){__VA_ARGS__}) / sizeof(struct mc_value *))
/* The same of MC_GRAD_DOMAIN. */
#define mc_emit_own(g, op, ...)                                                                    \
    mc_grad_emit(g, MC_GRAD_DOMAIN, op, (struct mc_value *[]){__VA_ARGS__},                        \
                 sizeof((struct mc_value *[]){__VA_ARGS__}) / sizeof(struct mc_value *))
struct mc_value *mc_grad_emit(struct mc_grad *g, const char *domain, const char *op,
                              struct mc_value *const *in, size_t n_in);
/* Another output of the node emitted last; i > 0. */
struct mc_value *mc_emit_output(struct mc_grad *g, int i);
/* Attributes of the node emitted last. */
void mc_emit_int(struct mc_grad *g, const char *name, int64_t v);
void mc_emit_ints(struct mc_grad *g, const char *name, const int64_t *v, size_t n);
void mc_emit_float(struct mc_grad *g, const char *name, double v);
void mc_emit_string(struct mc_grad *g, const char *name, const char *v);
/* The attribute of that name of `from`, where it has it. */
void mc_emit_copy(struct mc_grad *g, const struct mc_node *from, const char *name);
/* The version of the node emitted last, where it is not MC_GRAD_OPSET. */
void mc_emit_version(struct mc_grad *g, int version);

/* Constants: an integer vector; an integer scalar; a scalar (rank 0) of like's float type. */
struct mc_value *mc_grad_ints(struct mc_grad *g, const int64_t *v, size_t n);
struct mc_value *mc_grad_int(struct mc_grad *g, int64_t v);
struct mc_value *mc_grad_scalar(struct mc_grad *g, const struct mc_value *like, double x);

/* Shape(v) as a value; one node per v. */
struct mc_value *mc_grad_shape(struct mc_grad *g, struct mc_value *v);
/* Element i of the shape of v (i < 0: from the end) as a vector of one. */
struct mc_value *mc_grad_dim(struct mc_grad *g, struct mc_value *v, int i);
/* d, of the shape of `from`, summed over the axes along which `like` was broadcast to it. */
struct mc_value *mc_grad_sum_to(struct mc_grad *g, struct mc_value *d, const struct mc_value *from,
                                struct mc_value *like);
/* Sum over axes (ReduceSum). keep: they stay as 1. */
struct mc_value *mc_grad_reduce_sum(struct mc_grad *g, struct mc_value *d, const int64_t *axes,
                                    size_t n, bool keep);
/* alpha a b of matrices, MatMul of MC_GRAD_DOMAIN: operands are read transposed where ta and tb say so. */
struct mc_value *mc_grad_product(struct mc_grad *g, struct mc_value *a, bool ta, struct mc_value *b,
                                 bool tb, double alpha);
/* Zeros of a shape given as a value, of the type of `like`. */
struct mc_value *mc_grad_zeros(struct mc_grad *g, const struct mc_value *like,
                               struct mc_value *shape);
/* d with the shape of v (Reshape). */
struct mc_value *mc_grad_reshape_as(struct mc_grad *g, struct mc_value *d, struct mc_value *v);

#endif
