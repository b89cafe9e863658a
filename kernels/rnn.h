/* Gradients of recurrent cells, and what else the table of cells in nn.h has no room for. One step back in time for `batch` rows.
 *
 * Activations are kept after them (acts of mc_lstm_cell and mc_gru_cell, states of an RNN), and their slopes follow
 * from their values: of functions that do not rise, LeakyRelu and Elu with alpha < 0, they do not. Nor is anything
 * limited by a clip. Rows that are not active pass their gradients on and have none of their gates. dgates may be
 * acts. */
#ifndef MC_KERNELS_RNN_H
#define MC_KERNELS_RNN_H

#include "kernels/nn.h"

/* With dH the sum of dh and dy, and the names of mc_lstm_cell:
 *     do = dH f2(C') o'   dC = dc + dH o f2'(C') + do Po   di = dC c i'   df = dC C f'   dz = dC i c'
 *     dc = dC f + di Pi + df Pf;   where f is 1 - i, di = (dC c - dC C) i' and df = 0
 * dh itself is made by the caller, from dgates: dh is set to 0 where a row is active. */
struct mc_lstm_grad {
    int64_t batch, hidden;
    struct mc_rnn_fn f[3];
    bool input_forget;
    const void *acts;         /* [batch, 4 hidden] */
    const void *c_before, *c; /* [batch, hidden] */
    const void *peephole;     /* [3 hidden]: i, o, f; or NULL */
    const uint8_t *active;    /* [batch] or NULL */
    const void *dy;           /* [batch] rows of hidden, dy_row elements apart, or NULL */
    int64_t dy_row;
    void *dh, *dc; /* [batch, hidden], updated */
    void *dgates;  /* [batch, 4 hidden] */
};

/* dz = dH (H - n) z'   dn = dH (1 - z) n'   dh = dH z, and with a product Q: dr = dn Q r', dproduct = dn r.
 * gru_reset_grad, where there is none, from dreset, the gradient of reset = r H: dr = dreset H r', and
 * dh = dh + dreset r; it makes reset once more. */
struct mc_gru_grad {
    int64_t batch, hidden;
    struct mc_rnn_fn f[2];
    const void *acts;      /* [batch, 3 hidden] */
    const void *h_before;  /* [batch, hidden] */
    const void *product;   /* [batch, hidden] or NULL */
    const uint8_t *active; /* as in mc_lstm_grad */
    const void *dy;
    int64_t dy_row;
    const void *dreset; /* [batch, hidden]; gru_reset_grad only, as */
    void *reset;
    void *dh;       /* [batch, hidden], updated */
    void *dgates;   /* [batch, 3 hidden] */
    void *dproduct; /* [batch, hidden]; where there is a product */
};

struct mc_rnn_grad { /* dgates = dH f'; dh as in mc_lstm_grad */
    int64_t batch, hidden;
    struct mc_rnn_fn f;
    const void *h; /* [batch, hidden]: after the step */
    const uint8_t *active;
    const void *dy;
    int64_t dy_row;
    void *dh;     /* [batch, hidden], updated */
    void *dgates; /* [batch, hidden] */
};

struct mc_column_sum { /* sum[j] = sum over rows of a[r, j], or of a[r, j] b[r, j] */
    int64_t rows, n;
    const void *a, *b; /* b or NULL */
    int64_t a_row, b_row;
    void *sum;
};

/* Gates that have one matrix: to[r, i hidden + j] = (add ? to : 0) + bias[i, j] + scale[i, j] z[r, j] for gates i. */
struct mc_gate_spread {
    int64_t rows, hidden, gates;
    const void *z;     /* [rows, hidden] */
    const void *scale; /* [gates, hidden] */
    const void *bias;  /* [gates, hidden] or NULL */
    bool add;
    void *to; /* [rows] of gates * hidden, to_row elements apart */
    int64_t to_row;
};

/* What lengths of sequences say: active[t, i] = t < lens[i], and row i of the state [batch, hidden] becomes 0 where
 * lens[i] is 0. A length outside of 0 to `steps` is a fault of the device. */
struct mc_rnn_lengths {
    int64_t steps, batch, hidden;
    const int32_t *lens;
    uint8_t *active; /* [steps, batch] or NULL */
    void *state;     /* or NULL */
};

struct mc_rnn_kernels {
    void (*lstm_grad)(const struct mc_lstm_grad *g, struct mc_pool *pool);
    void (*gru_grad)(const struct mc_gru_grad *g, struct mc_pool *pool);
    void (*gru_reset_grad)(const struct mc_gru_grad *g, struct mc_pool *pool);
    void (*rnn_grad)(const struct mc_rnn_grad *g, struct mc_pool *pool);
    void (*column_sum)(const struct mc_column_sum *s, struct mc_pool *pool);
    void (*gate_spread)(const struct mc_gate_spread *s, struct mc_pool *pool);
    void (*lengths)(const struct mc_rnn_lengths *l, struct mc_pool *pool); /* of devices alone */
};

#endif
