/* Kernels of neural nets beside the products: windows, softmax, norms, reductions, recurrent cells.
 * Arrays are dense and row-major unless strides are given; outputs may not alias inputs unless said. */
#ifndef MC_KERNELS_NN_H
#define MC_KERNELS_NN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/threads.h"
#include "kernels/move.h"

struct mc_window { /* pooling: y[p, o…] over the window at o*stride - pad */
    bool average;
    bool count_pad;                                 /* average: padding counts as zeros */
    int64_t planes;                                 /* batch times channels */
    int64_t in[3], out[3], kernel[3];               /* depth, height, width; leading ones are 1 */
    int64_t stride[3], dilation[3], pad[3], end[3]; /* padding before and after */
    const void *x;                                  /* [planes, in…] */
    void *y;      /* [planes, out…]; NaN if the window holds one */
    int64_t *arg; /* maximum: position in the plane of its first occurrence, or NULL */
};

struct mc_softmax { /* along n of [outer, n, inner]; y may be x */
    bool log;
    int64_t outer, n, inner;
    const void *x;
    void *y;
};

struct
    mc_norm { /* y = (x - mean) / sqrt(variance + eps) * scale + bias over rows of n; y may be x */
    bool rms; /* the mean is taken as 0 */
    int64_t rows, n;
    int64_t channels; /* 0: scale and bias are per column [n]; else per row, of row % channels */
    double eps;
    const void *x, *scale, *bias; /* scale, bias or NULL */
    void *y;
    void *mean, *inv_std; /* [rows] or NULL */
};

struct mc_affine { /* y = x * scale + shift per channel of [outer, channels, inner]; y may be x */
    int64_t outer, channels, inner;
    const void *x, *scale, *shift;
    void *y;
};

enum mc_reduce_fn {
    MC_REDUCE_SUM,
    MC_REDUCE_MEAN,
    MC_REDUCE_MAX,
    MC_REDUCE_MIN,
    MC_REDUCE_PROD,
    MC_REDUCE_SUM_SQUARE,
    MC_REDUCE_L1,
    MC_REDUCE_L2,
    MC_REDUCE_LOG_SUM,
    MC_REDUCE_LOG_SUM_EXP,
    MC_REDUCE_COUNT
};

struct
    mc_reduce { /* y[i…] = fn over j… of x[i… and j…]; an empty sum is 0, an empty maximum -inf */
    enum mc_reduce_fn fn;
    int keep_rank, over_rank; /* at least 1 each */
    int64_t keep[MC_MOVE_RANK], over[MC_MOVE_RANK];
    int64_t keep_stride[MC_MOVE_RANK], over_stride[MC_MOVE_RANK]; /* of x, in elements */
    const void *x;
    void *y; /* dense over keep */
};

struct mc_argext { /* position of the largest or smallest along n of [outer, n, inner]; n > 0 */
    bool smallest, last; /* last: of equals, the last */
    int64_t outer, n, inner;
    const void *x;
    int64_t *y; /* [outer, inner]; a NaN is never better than a number */
};

enum mc_rnn_act {
    MC_RNN_SIGMOID,
    MC_RNN_TANH,
    MC_RNN_RELU,
    MC_RNN_AFFINE,       /* a x + b */
    MC_RNN_LEAKY,        /* x < 0 ? a x : x */
    MC_RNN_THRESHOLDED,  /* x > a ? x : 0 */
    MC_RNN_SCALED_TANH,  /* a tanh(b x) */
    MC_RNN_HARD_SIGMOID, /* max(0, min(1, a x + b)) */
    MC_RNN_ELU,          /* x < 0 ? a (exp(x) - 1) : x */
    MC_RNN_SOFTSIGN,     /* x / (1 + |x|) */
    MC_RNN_SOFTPLUS,     /* log(1 + exp(x)) */
    MC_RNN_COUNT
};

struct mc_rnn_fn {
    enum mc_rnn_act act;
    double a, b;
};

/* One step of an LSTM for `batch` rows, after the products: with i, o, f, c the four parts of a row of
 * gates (complete sums, bias included) and P the peepholes,
 *     i = f0(i + Pi C)   f = f0(f + Pf C) or 1 - i   c = f1(c)   C' = f C + i c
 *     o = f0(o + Po C')  H = o f2(C')
 * where the arguments of f0 and f1 are limited to [-clip, clip] if clip > 0; that of f2 is not, as in ONNX
 * Runtime (ONNX says "the input of activations"). */
struct mc_lstm_cell {
    int64_t batch, hidden;
    struct mc_rnn_fn f[3];
    double clip;
    bool input_forget;     /* f = 1 - i */
    const void *gates;     /* [batch, 4 hidden] */
    const void *peephole;  /* [3 hidden]: i, o, f; or NULL */
    const uint8_t *active; /* [batch]: rows that are 0 keep c and h and write zeros; or NULL */
    void *c, *h;           /* [batch, hidden], updated */
    const void *c_before, *h_before; /* what they were before the step, elsewhere; or NULL */
    void *acts; /* [batch, 4 hidden]: i, o, f, c after their functions, or NULL; may be gates */
    void *y;    /* [batch] rows of hidden, y_row elements apart, or NULL */
    int64_t y_row;
};

/* One step of a GRU for `batch` rows: with z, r, h the three parts of a row of gates and H the state,
 *     H' = z H + (1 - z) n   where z = f0(z), and n = f1(h), or with a product Q, n = f1(h + f0(r) Q)
 * All sums are complete, but h without Q. gru_reset makes f0(r) H, from which the caller completes h where
 * there is no product. Arguments are limited to [-clip, clip] if clip > 0. */
struct mc_gru_cell {
    int64_t batch, hidden;
    struct mc_rnn_fn f[2];
    double clip;
    const void *gates;     /* [batch, 3 hidden] */
    const void *product;   /* [batch, hidden] or NULL */
    const uint8_t *active; /* as in mc_lstm_cell */
    void *h;               /* [batch, hidden], updated */
    const void *h_before;  /* as in mc_lstm_cell */
    void *acts;            /* [batch, 3 hidden]: z, r, n, or NULL; may be gates */
    void *reset;           /* [batch, hidden]: result of gru_reset, which leaves h alone */
    void *y;               /* as in mc_lstm_cell */
    int64_t y_row;
};

struct mc_rnn_cell { /* one step of an RNN: H' = f(gates) */
    int64_t batch, hidden;
    struct mc_rnn_fn f;
    double clip;
    const void *gates;     /* [batch, hidden] */
    const uint8_t *active; /* as in mc_lstm_cell */
    void *h;               /* [batch, hidden], updated */
    const void *h_before;  /* as in mc_lstm_cell */
    void *y;               /* as in mc_lstm_cell */
    int64_t y_row;
};

struct mc_nn_kernels {
    void (*window)(const struct mc_window *w, struct mc_pool *pool);
    void (*softmax)(const struct mc_softmax *s, struct mc_pool *pool);
    void (*norm)(const struct mc_norm *n, struct mc_pool *pool);
    void (*affine)(const struct mc_affine *a, struct mc_pool *pool);
    void (*reduce)(const struct mc_reduce *r, struct mc_pool *pool);
    void (*argext)(const struct mc_argext *a, struct mc_pool *pool);
    void (*lstm_cell)(const struct mc_lstm_cell *c, struct mc_pool *pool);
    void (*gru_reset)(const struct mc_gru_cell *c, struct mc_pool *pool);
    void (*gru_cell)(const struct mc_gru_cell *c, struct mc_pool *pool);
    void (*rnn_cell)(const struct mc_rnn_cell *c, struct mc_pool *pool);
};

#endif
