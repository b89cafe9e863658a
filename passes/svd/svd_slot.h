/* Weights in other places than the second input of a MatMul, Gemm or Conv: tables behind Gather, the left
 * side of a MatMul, input and recurrent weights of LSTM, GRU and RNN. */
#ifndef MC_PASSES_SVD_SLOT_H
#define MC_PASSES_SVD_SLOT_H

#include "passes/svd/svd_layer.h"

enum { MC_SVD_SLOTS = 2 };

struct mc_svd_slot {
    enum mc_svd_kind kind;
    const char *why; /* it cannot be factorised; NULL: it can */
};

/* Such weights of a node; 0 for nodes without. */
int mc_svd_slots(const struct mc_node *n, struct mc_svd_slot ret[MC_SVD_SLOTS]);

/* LSTM, GRU, RNN: rows of W for a hidden cell, directions; false for other nodes. */
bool mc_svd_cell(const struct mc_node *n, int64_t *ret_gates, int64_t *ret_dirs);
/* Can a constant be added to its products of inputs (or of states) for nearly nothing? B is there as a constant, or
 * can be; a GRU's states must be multiplied before they are reset. */
bool mc_svd_cell_bias(const struct mc_node *n, bool recurrent);

#endif
