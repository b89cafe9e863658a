/* The products and cells of LSTM, GRU and RNN, one direction at a time. */
#ifndef MC_GRAPH_OPS_RECURRENT_STEP_H
#define MC_GRAPH_OPS_RECURRENT_STEP_H

#include "graph/ops/op.h"
#include "graph/ops/rnn_node.h"

struct mc_rnn_space { /* parts of the scratch */
    void *x;          /* steps first, where the model has the batch first */
    void *gates;      /* [steps, batch, gates, hidden] */
    void *bias, *h;   /* [gates, hidden]; [batch, hidden] */
    void *c;          /* [batch, hidden]: state of an LSTM, reset state or product of a GRU */
    const void *h_before,
        *c_before; /* states before the step where they are kept, else NULL: h, c */
    bool keep;     /* gates become their activations */
    void *
        z; /* [steps, batch, hidden] or [batch, hidden]: products that gates have in common; or NULL */
    void *packed_w, *packed_r[2], *gemm;
    uint8_t *active;
};

/* Gates in one of a step's two recurrent products: those of a GRU are update and reset, then hidden; the
 * others have all of them in the first. */
int mc_rnn_part_gates(const struct mc_rnn_node *l, int part);

/* to = from, n elements, or zeros where it is NULL. */
void mc_rnn_copy(const struct mc_call *c, void *to, const void *from, int64_t n);
/* Before the first step: the rows of each step that its sequences reach, where there are lengths. On a GPU all steps at
 * once; on the CPU lengths are checked before, and steps mark their own. */
void mc_rnn_lengths(const struct mc_call *c, const struct mc_rnn_node *l, uint8_t *active);
/* Bytes of that. */
size_t mc_rnn_active_bytes(const struct mc_call *c, const struct mc_rnn_node *l);
/* Those of step t, or NULL: all. */
const uint8_t *mc_rnn_active(const struct mc_call *c, const struct mc_rnn_node *l, uint8_t *active,
                             int64_t t);
/* The rows of a state [batch, hidden] whose sequences have no elements become 0. */
void mc_rnn_clear_empty(const struct mc_call *c, const struct mc_rnn_node *l, void *state);
/* What products need on this side: bytes; on a GPU none, and nothing is packed there. */
size_t mc_rnn_pack_bytes(const struct mc_call *c, int64_t k, int64_t n);
size_t mc_rnn_product_bytes(const struct mc_call *c, int64_t m, int64_t n, int64_t k);

/* Packing of W (part -1) or of a part of R. */
size_t mc_rnn_packed_bytes(const struct mc_call *c, const struct mc_rnn_node *l, int part);
void mc_rnn_pack(const struct mc_call *c, const struct mc_rnn_node *l, int part, int dir,
                 void *dst);

/* The input products of all steps, before the first. */
void mc_rnn_begin(const struct mc_call *c, const struct mc_rnn_node *l,
                  const struct mc_rnn_space *s, int dir);
/* Step t: updates the states, writes the row of Y. */
void mc_rnn_step(const struct mc_call *c, const struct mc_rnn_node *l, const struct mc_rnn_space *s,
                 int dir, int64_t t);

#endif
