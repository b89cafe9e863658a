/* The layers of a model that integers can hold or compute, and which forms each may have.
 *
 * A site is a node with a weight, or a product of two activations. Weights are seen through mc_constant wherever they are
 * (Constant nodes, bodies, f16); one weight that several nodes read gives a site each, and their forms must agree where that
 * is about the bytes. */
#ifndef MC_PASSES_QUANT_SITE_H
#define MC_PASSES_QUANT_SITE_H

#include "passes/quant/quant_form.h"

enum mc_quant_kind {
    MC_QUANT_MATMUL, /* MatMul with a constant on the right [.., K, N] or on the left; also Gemm-like FusedMatMul */
    MC_QUANT_GEMM,
    MC_QUANT_CONV,
    MC_QUANT_CONVT,
    MC_QUANT_CELL,    /* LSTM, GRU, RNN: W and R */
    MC_QUANT_TABLE,   /* Gather of rows of a constant */
    MC_QUANT_PRODUCT, /* MatMul of two activations (attention): STATIC only */
    MC_QUANT_FUSED,   /* any other operator with a large constant: WEIGHT only, a site each */
};

enum { MC_QUANT_SLOTS = 2 };

struct mc_quant_site {
    enum mc_quant_kind kind;
    struct mc_node *node;
    int n_weights;            /* 0 (PRODUCT, or not constant), 1, or 2 (CELL: W and R) */
    int slot[MC_QUANT_SLOTS]; /* input slots of the weights */
    struct mc_value
        *weight[MC_QUANT_SLOTS];     /* the constant, behind Cast and Transpose if the slot is */
    bool transposed[MC_QUANT_SLOTS]; /* the slot reads the transpose of the weight (of rank 2) */
    enum mc_dtype dtype;             /* of the slots: what the node computes in */
    int out_axis
        [MC_QUANT_SLOTS]; /* axis of the output channels in the weight, as the constant has it */
    int in_axis[MC_QUANT_SLOTS]; /* axis of the inner dimension (blocks) */
    int x_slot;                  /* of the activation */
    int bias_slot;               /* of the node, -1: the operator has none */
    struct mc_node *
        add; /* Add of a constant, one number an output channel, that alone reads a MatMul; or NULL */
    int add_slot; /* of that constant */
    struct mc_node *
        act; /* Relu or Clip (mc_quant_is_act) that alone reads the output: computed with the layer; or NULL */
    struct mc_value *y; /* what the layer gives: behind add and act */
    int y_rank;         /* of the node's output; 0: unknown */
    bool in_body;       /* of If, Loop, Scan, or a function: no statistics, no STATIC */
    uint64_t bytes;     /* of the weights */
    double macs;        /* for one sample; NAN: unknown */
    const char *why[MC_QUANT_FORMS]; /* why this form is not possible; NULL: it is */
    const char *reason; /* why nothing is: quantised already, not a float, weight not constant, … */
    size_t shared;      /* other sites with the same weight: number + 1 of the first, 0: none */
};

struct mc_quant_sites {
    struct mc_quant_site *item; /* in the order of nodes: main graph, its bodies, functions */
    size_t n, cap;
    uint64_t
        weight_bytes; /* of all float constants of the model, for the share that was compressed */
    int opset;        /* the newest version of ai.onnx that all nodes can be lifted to */
};

/* m was prepared (mc_prepare, mc_quant_prepare). Two clones of a model give the same list. Errors: MC_ENOMEM. */
int mc_quant_sites_find(const struct mc_model *m, const struct mc_quant_rules *rules,
                        struct mc_quant_sites *ret, struct mc_err *err);
void mc_quant_sites_free(struct mc_quant_sites *s);

/* Elements of the inner dimension of weight k that share a scale in MC_QUANT_BLOCK. */
int mc_quant_block(const struct mc_quant_site *s, const struct mc_quant_rules *r, int k);

/* After mc_prepare: a MatMul of a matrix with an Add of a constant vector becomes a Gemm, where the other operand is known to be
 * a matrix, so that integers get their bias; initializers are no inputs. */
int mc_quant_prepare(struct mc_model *m, struct mc_err *err);
/* Part of it (quant_carry.c), the same results: constants that a Loop of g, or of its bodies, carries unchanged are read from outside
 * its body. */
int mc_quant_carry(struct mc_graph *g, struct mc_err *err);
/* Part of it (quant_tidy.c), the same results: Pad with zeros becomes part of the convolution behind it; Relu and Clip go in front
 * of MaxPool, Reshape and the like that stand between them and their layer; ReduceMean over an image behind a convolution
 * becomes GlobalAveragePool. */
int mc_quant_tidy(struct mc_model *m, struct mc_err *err);

/* The sites of one node, all that it has of kind, slots, axes, reason (the rest is zero), at most `max`. */
enum { MC_QUANT_NODE_SITES = 8 };
int mc_quant_describe(struct mc_node *n, struct mc_quant_site ret[MC_QUANT_NODE_SITES]);

#endif
