/* The weight matrices of a model, wherever it keeps them.
 *
 * A layer is one constant and every node that multiplies by it ("site"). W [m,n] maps n inputs to m
 * outputs, whatever way round the model stores it: MatMul [n,m], Gemm either way, Conv [m, c, k…] with
 * n = c·k…. */
#ifndef MC_PASSES_LAYER_H
#define MC_PASSES_LAYER_H

#include "graph/graph.h"

enum mc_layer_kind {
    MC_LAYER_MATMUL,
    MC_LAYER_GEMM,
    MC_LAYER_CONV,
    MC_LAYER_LEFT,  /* MatMul with the weight on the left: [m,n], inputs are columns */
    MC_LAYER_TABLE, /* Gather: [n,m], the input is a one-hot row of n */
    MC_LAYER_INPUT, /* W of LSTM, GRU, RNN: [directions, gates h, n], directions over one input */
    MC_LAYER_RECURRENT, /* their R: [directions, gates h, h], each direction has its own input */
};

struct mc_layer_site {
    struct mc_node *node;
    struct mc_node
        *add;     /* of a MatMul: the node that adds its bias, and nothing else reads it; NULL */
    int add_slot; /* of the bias in `add` */
    bool bias;    /* a constant can be added to its output for (nearly) nothing */
    int cov;      /* its input's statistics, or -1 */
    /* Of one sample, -1 where unknown: how many products W x it makes (rows of a matrix product, positions of a
     * convolution's output), and a convolution's spatial dimensions. */
    int y_rank; /* of the output; 0: unknown */
    int y_parts; /* 2 or 3 equal parts, such as Q, K and V, that the node behind takes apart; 0: none are seen */
    int64_t rows, in_dim[MC_RANK_MAX], out_dim[MC_RANK_MAX];
};

struct mc_layer {
    enum mc_layer_kind kind;
    bool out_major; /* stored [m,n], otherwise [n,m] */
    struct mc_value *value;
    const struct mc_tensor *weight;
    int64_t m, n;
    int64_t parts; /* matrices [m / parts, n] with inputs of their own, one below the other; 1 */
    struct mc_layer_site *sites;
    size_t n_sites, cap_sites;
    /* What stands in its place in the model as it was given (merge.h), if that is smaller, otherwise 0: bytes, and
     * multiply-accumulates for one product W x. */
    uint64_t given_bytes;
    double given_macs;
    const char *given_share; /* what it has in common with others: a value of the model; NULL */
    size_t uses;             /* of the weight by any node; more than sites: others read it too */
    const char *reason;      /* why it is left alone; NULL: it is not */
};

/* The reason of a layer that factors would not make smaller, which is none for other passes; compare addresses. */
extern const char mc_layer_no_rank[];

struct mc_layers {
    struct mc_layer *item;
    size_t n, cap;
    uint32_t *slots; /* hash of weights: position in item + 1 */
    size_t n_slots;
    struct mc_layer
        *others; /* nodes that have weights but no form this pass knows: one site each */
    size_t n_others, cap_others;
};

/* Whether a node by itself can be factorised; otherwise *ret_why, or NULL there for a node without
 * weights, which nobody misses. */
bool mc_layer_applies(const struct mc_node *n, const char **ret_why);

/* All graphs: the main one, those of functions, bodies in them; an array for free(). */
int mc_layer_graphs(const struct mc_model *m, struct mc_graph ***ret, size_t *ret_n,
                    struct mc_err *err);
/* One node that can be factorised as a layer of one site; sites for free(). */
int mc_layer_single(struct mc_node *n, struct mc_layer *ret, struct mc_err *err);

/* Find all layers of the main graph, of functions, and of the bodies in them, in the order of the nodes; nodes that nobody
 * reads are none. Two clones of a model give the same list. */
int mc_layers_collect(struct mc_model *m, struct mc_layers *ret, struct mc_err *err);
void mc_layers_free(struct mc_layers *l);

/* Whether v is a constant of this rank that can be factorised, else *ret_why. */
bool mc_layer_weight_fits(const struct mc_value *v, int min_rank, int max_rank,
                          const char **ret_why);
/* Which input of the node is the weight; the value that it is multiplied with. That of a table are indices, that of
 * recurrent weights NULL where the node does not give all its states. */
size_t mc_layer_weight_slot(const struct mc_layer *l);
const struct mc_value *mc_layer_input(const struct mc_layer *l, const struct mc_layer_site *s);

/* W [m,n] as f32 (free()). Errors: MC_EDATA naming node, weight and element for NaN and infinity. */
int mc_layer_read(const struct mc_layer *l, float **ret, struct mc_err *err);

/* Bytes of the layer as it is, and of its two factors of rank r; ranks below mc_layer_rank_cap + 1 save bytes. */
uint64_t mc_layer_dense_bytes(const struct mc_layer *l);
uint64_t mc_layer_rank_bytes(const struct mc_layer *l);
int64_t mc_layer_rank_cap(const struct mc_layer *l);

/* Fill in rows, in_dim and out_dim of the sites, by inference with one sample. What cannot be inferred stays unknown.
 * Errors: MC_ENOMEM. */
int mc_layers_extents(const struct mc_model *m, struct mc_layers *l, struct mc_err *err);
/* Multiply-accumulates of a sample at all sites: of the weight, of its two factors for each rank. NAN: unknown. */
double mc_layer_dense_macs(const struct mc_layer *l);
double mc_layer_rank_macs(const struct mc_layer *l);

#endif
