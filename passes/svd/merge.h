/* Linear nodes in a row become one: pairs that came apart before, by low rank or in training.
 *
 * y = W2 (W1 x + b1) + b2 is W x + b with W = W2 W1, b = W2 b1 + b2: MatMul or Gemm behind MatMul or Gemm, a cell's inputs or
 * a MatMul behind Gather, a convolution behind another where along every axis one of the two has a window of 1, recurrent
 * weights that are a product of two constants. Where nothing else reads the value between, nor the weights; a first product
 * that several read becomes part of all of them. The
 * second node keeps its name and outputs; the first stays in the graph, with nobody to read it, for undo. */
#ifndef MC_PASSES_MERGE_H
#define MC_PASSES_MERGE_H

#include "kernels/linalg.h"
#include "passes/svd/merge_window.h"
#include "passes/layer/layer.h"

struct mc_merge_put {
    const char *name; /* what an input was; NULL: left out */
    int slot;
    bool add; /* of the node that adds the bias */
};

struct mc_merge {
    struct mc_node *node; /* the second of the pair */
    int before;           /* merge that made the first of it, or -1 */
    const char *first;    /* output of the first */
    struct mc_merge_put put[3];
    int n_put;
    const char *op; /* the node's operator and version where they changed, or NULL */
    int version;
    struct mc_window_attrs attrs; /* of a convolution */
    const char *
        shared; /* output of the first where it serves several, each with a share of its cost; NULL */
    uint64_t bytes; /* of both weights */
    double macs;    /* of both, for one product W x */
};

struct mc_merges {
    struct mc_merge *item;
    size_t n, cap;
};

/* Merge all pairs of a model, also those of merged ones; *ret says how it was.
 * Errors: MC_ENOMEM, MC_EIO. Cost: the products of the weights. */
int mc_merge_pairs(struct mc_model *m, struct mc_linalg *la, struct mc_merges *ret,
                   struct mc_err *err);
void mc_merges_free(struct mc_merges *m);

/* The layers of the same model: tell those that were merged what they take as they were given. */
void mc_merge_tell(const struct mc_merges *all, struct mc_layers *l);
/* In a model whose layers are `in_m` (this one or a clone): put layer i's pairs back. Nothing for layers that were not
 * merged, or that are smaller so. */
int mc_merge_undo(const struct mc_merges *all, const struct mc_layers *mine,
                  const struct mc_layers *in_m, size_t i, struct mc_err *err);

#endif
