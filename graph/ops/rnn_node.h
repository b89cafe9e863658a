/* What the attributes and shapes of an LSTM, GRU or RNN node say. */
#ifndef MC_GRAPH_OPS_RNN_NODE_H
#define MC_GRAPH_OPS_RNN_NODE_H

#include "graph/ops/op.h"
#include "kernels/nn.h"

enum mc_rnn_input { /* RNN and GRU have the first six */
                    MC_RNN_IN_X,
                    MC_RNN_IN_W,
                    MC_RNN_IN_R,
                    MC_RNN_IN_B,
                    MC_RNN_IN_LENS,
                    MC_RNN_IN_H,
                    MC_RNN_IN_C,
                    MC_RNN_IN_P,
                    MC_RNN_INPUTS
};

enum mc_rnn_kind { MC_RNN_LSTM, MC_RNN_GRU, MC_RNN_PLAIN };

struct mc_rnn_node {
    enum mc_rnn_kind kind;
    int gates, fns; /* rows of W and R per hidden cell; activations of a direction */
    int dirs;
    bool reverse[2], batch_first, input_forget, linear_before_reset;
    struct mc_rnn_fn fn[2][3];
    double clip;
    int64_t steps, batch, input, hidden;
    bool from_zero;             /* the first step reads a state of zeros; setup says so */
    const void *packed_w[2];    /* of constants, per direction; setup fills them in */
    const void *packed_r[2][2]; /* the gates of a step's first product, and of the second */
    /* The one matrix of all gates of W, of the first product of R, per direction, and their scales [gates, hidden]; NULL: there is none,
     * or packed_w, packed_r. */
    const void *shared_w[2], *shared_r[2], *scale_w[2], *scale_r[2];
};

/* What LSTM, GRU and RNN of ai.mcompress.grad keep for their gradients, in outputs behind those of ONNX: the gates of
 * each step after their functions [dirs, steps, batch, gates * hidden] (not RNN), and states [dirs, steps + 1, batch,
 * hidden], of which step t reads number t and makes t + 1, or in reverse the other way round. The third are the
 * cells of an LSTM, so too, or the products that a GRU with linear_before_reset resets [dirs, steps, batch, hidden]. */
enum mc_rnn_kept { MC_RNN_GATES = 3, MC_RNN_STATES, MC_RNN_CELLS };

/* From the attributes; sizes stay 0. Of LSTM, GRU, RNN and their gradients (LSTMGrad, …). Errors: MC_ESHAPE, and MC_EUNSUP for unknown words. */
int mc_rnn_parse(const struct mc_node *n, struct mc_rnn_node *ret, struct mc_err *err);
/* In setup: no initial hidden state is given, or a constant of zeros, as exporters write it. */
bool mc_rnn_from_zero(const struct mc_call *c);
/* Sizes from the inputs' shapes, which must fit each other; negative where not known. Errors: MC_ESHAPE. */
int mc_rnn_shapes(const struct mc_infer_ctx *c, struct mc_rnn_node *l, struct mc_err *err);

#endif
