/* Recurrent cells, by ONNX's definition. */
#ifndef MC_KERNELS_REF_RNN_REF_H
#define MC_KERNELS_REF_RNN_REF_H

#include "kernels/body.h"
#include "kernels/nn.h"

static inline elem rnn_ref(const struct mc_rnn_fn *f, double clip, elem x)
{
    elem a = (elem)f->a, b = (elem)f->b, limit = (elem)clip;
    if (clip > 0)
        x = x > limit ? limit : x < -limit ? -limit : x;
    switch (f->act) {
    case MC_RNN_SIGMOID: return mc_sigmoid_of(x);
    case MC_RNN_TANH: return tanh(x);
    case MC_RNN_RELU: return x < 0 ? 0 : x;
    case MC_RNN_AFFINE: return a * x + b;
    case MC_RNN_LEAKY: return x < 0 ? a * x : x;
    case MC_RNN_THRESHOLDED: return x <= a ? 0 : x;
    case MC_RNN_SCALED_TANH: return a * tanh(b * x);
    case MC_RNN_HARD_SIGMOID: x = a * x + b; return x < 0 ? 0 : x > 1 ? 1 : x;
    case MC_RNN_ELU: return x < 0 ? a * expm1(x) : x;
    case MC_RNN_SOFTSIGN: return x / (1 + fabs(x));
    case MC_RNN_SOFTPLUS: return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
    case MC_RNN_COUNT: break;
    }
    return x;
}

void MC_REF(mc_lstm_cell)(const struct mc_lstm_cell *l, struct mc_pool *pool);
void MC_REF(mc_gru_reset)(const struct mc_gru_cell *g, struct mc_pool *pool);
void MC_REF(mc_gru_cell)(const struct mc_gru_cell *g, struct mc_pool *pool);
void MC_REF(mc_rnn_cell)(const struct mc_rnn_cell *r, struct mc_pool *pool);

#endif
