/* Functions of recurrent cells, as the reference and the device compute them, by ONNX's definition. */
#ifndef MC_KERNELS_BODY_RNN_H
#define MC_KERNELS_BODY_RNN_H

#include "kernels/body.h"
#include "kernels/nn.h"

MC_HD elem mc_rnn_of(const struct mc_rnn_fn *f, double clip, elem x)
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

/* f'(x) from y = f(x). */
MC_HD elem mc_rnn_slope_of(const struct mc_rnn_fn *f, elem y)
{
    elem a = (elem)f->a, b = (elem)f->b;
    switch (f->act) {
    case MC_RNN_SIGMOID: return y * (1 - y);
    case MC_RNN_TANH: return 1 - y * y;
    case MC_RNN_RELU: return y > 0;
    case MC_RNN_AFFINE: return a;
    case MC_RNN_LEAKY: return y < 0 ? a : 1;
    case MC_RNN_THRESHOLDED: return y < 0 || y > 0;
    case MC_RNN_SCALED_TANH: return f->a < 0 || f->a > 0 ? a * b * (1 - y / a * (y / a)) : 0;
    case MC_RNN_HARD_SIGMOID: return y > 0 && y < 1 ? a : 0;
    case MC_RNN_ELU: return y < 0 ? y + a : 1;
    case MC_RNN_SOFTSIGN: return (1 - fabs(y)) * (1 - fabs(y));
    case MC_RNN_SOFTPLUS: return -expm1(-y);
    case MC_RNN_COUNT: break;
    }
    return 1;
}

#endif
