/* What the attributes and shapes of an LSTM node say. */
#ifndef MC_GRAPH_OPS_LSTM_NODE_H
#define MC_GRAPH_OPS_LSTM_NODE_H

#include "graph/ops/op.h"
#include "kernels/nn.h"

enum mc_lstm_input {
    MC_LSTM_X,
    MC_LSTM_W,
    MC_LSTM_R,
    MC_LSTM_B,
    MC_LSTM_LENS,
    MC_LSTM_H,
    MC_LSTM_C,
    MC_LSTM_P,
    MC_LSTM_INPUTS
};

struct mc_lstm_node {
    int dirs;
    bool reverse[2], batch_first, input_forget;
    struct mc_rnn_fn fn[2][3];
    double clip;
    int64_t steps, batch, input, hidden;
    const void *packed_w[2], *packed_r[2]; /* of constants, per direction; setup fills them in */
};

/* From the attributes; sizes stay 0. Errors: MC_ESHAPE, and MC_EUNSUP for unknown words. */
int mc_lstm_parse(const struct mc_node *n, struct mc_lstm_node *ret, struct mc_err *err);
/* Sizes from the inputs' shapes, which must fit each other; negative where not known. Errors: MC_ESHAPE. */
int mc_lstm_shapes(const struct mc_infer_ctx *c, struct mc_lstm_node *l, struct mc_err *err);

#endif
