/* Weights in other places than the second input of a MatMul, Gemm or Conv: tables behind Gather, the left
 * side of a MatMul, input and recurrent weights of LSTM, GRU and RNN. */
#ifndef MC_PASSES_LAYER_SLOT_H
#define MC_PASSES_LAYER_SLOT_H

#include "passes/layer/layer.h"

enum { MC_LAYER_SLOTS = 2 };

struct mc_layer_slot {
    enum mc_layer_kind kind;
    const char *why; /* it cannot be factorised; NULL: it can */
};

/* Such weights of a node; 0 for nodes without. */
int mc_layer_slots(const struct mc_node *n, struct mc_layer_slot ret[MC_LAYER_SLOTS]);

/* LSTM, GRU, RNN: rows of W for a hidden cell, directions; false for other nodes. */
bool mc_layer_cell(const struct mc_node *n, int64_t *ret_gates, int64_t *ret_dirs);
/* Can a constant be added to its products of inputs (or of states) for nearly nothing? B is there as a constant, or
 * can be; a GRU's states must be multiplied before they are reset. */
bool mc_layer_cell_bias(const struct mc_node *n, bool recurrent);

#endif
